"""Noise model of a survey's spectra. It turns noise-free spectra into observed ones."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2spec.errors import InputError
from pix2spec.models.latent.noise_stack import UNIFORM, WIDTH, NoiseStack
from pix2spec.runtime.random import normal_rows

__all__ = ["NoiseModel", "sampled_brightness"]

MAX_FITTED_SPECTRA = 4000  # maximum number of spectra in a fit; more would not change the model visibly
PER_FACTOR = 20  # number of spectra needed to fit one pattern
ROUNDS = 16  # iterations of the fit of patterns; the fit of the law has half as many
SPIKE = 6.0  # height of a spike in standard deviations, at least
MAX_SPIKES = 3  # per spectrum; more spikes point to a wrong noise-free spectrum, not to cosmic rays
SAMPLED = 256  # pixels whose median is the brightness of a noise-free spectrum
FAINTEST = 1e-2  # least median flux in 1e-17 erg/s/cm2/A; fainter spectra count as equally bright


class NoiseModel(nn.Module):
    """Inverse variance and noise of a survey's spectra as functions of wavelength and flux.

    Noise is the sum of four parts: white Gaussian noise; additive patterns, which do not depend on the galaxy
    (residuals of the sky); relative patterns, which are proportional to the galaxy's flux (calibration,
    telluric absorption); and spikes (cosmic rays). The *law* gives the variance that the survey states. The
    *conditions* of an exposure are the logarithm of its photon noise variance relative to a typical exposure.

    Fluxes are in 1e-17 erg/s/cm2/A. Each attribute below is a buffer.

    Parameters
    ----------
    size : int
        Number L of pixels of a spectrum.
    factors : int
        Number of patterns. Half of them (rounded up) are additive, and the others relative.
    bank : int
        Number of rows in the bank of observed conditions and amplitudes.
    spikes : int
        Number of observed spikes to store.

    Attributes
    ----------
    law : Tensor (4, L)
        Coefficients of the four terms of the variance; see `regressors`.
    white : Tensor (L,)
        True variance of the white noise, divided by that of the law's first two terms.
    patterns : Tensor (factors, L)
        Additive patterns, then relative ones, which are fractions of the flux.
    bank : Tensor (bank, 3 + factors)
        Columns: logarithm of the median flux, in ascending order; conditions minus their trend with
        brightness; relative level of the white noise; and amplitudes of the patterns. A sample draws a whole
        row, which keeps heavy tails and correlations.
    trend : Tensor (2,)
        Intercept and slope of the conditions as a linear function of the logarithm of the median flux.
    memory : Tensor ()
        Weight of the next pixel in the white noise of a pixel: resampling correlates neighbouring pixels.
    snippets : Tensor (spikes, 5)
        Noise around spikes, in units of the white noise.
    rate : Tensor ()
        Mean number of spikes in a spectrum.
    """

    def __init__(self, size: int, factors: int = 12, bank: int = 1024, spikes: int = 512):
        super().__init__()
        self.additive = (factors + 1) // 2
        self.register_buffer("law", torch.ones(4, size))
        self.register_buffer("white", torch.ones(size))
        self.register_buffer("patterns", torch.zeros(factors, size))
        self.register_buffer("bank", torch.zeros(bank, 3 + factors))
        self.register_buffer("trend", torch.zeros(2))
        self.register_buffer("memory", torch.zeros(()))
        self.register_buffer("snippets", torch.zeros(spikes, WIDTH))
        self.register_buffer("rate", torch.zeros(()))

    def variance(self, clean: Tensor, conditions: Tensor) -> Tensor:
        """Variance (B, L) that the survey would state.

        Parameters
        ----------
        clean : Tensor (B, L)
            Noise-free flux.
        conditions : Tensor (B,)
            Logarithm of the photon noise variance relative to a typical exposure.
        """
        terms = regressors(clean, conditions)
        return sum(coefficient * term for coefficient, term in zip(self.law, terms))

    def sample(self, clean: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Draw noise for noise-free spectra.

        A row depends on its own spectrum, its generator, and its place among the rows of that generator
        alone, to rounding.

        Parameters
        ----------
        clean : Tensor (B, L)
            Noise-free flux.
        generators : sequence of torch.Generator, length G
            On the CPU. Each draws the noise of B / G consecutive rows.

        Returns
        -------
        noise : Tensor (B, L)
            To add to `clean`.
        conditions : Tensor (B,)
            Of the exposures that were drawn; `variance` says what the survey would state.
        """
        numbers = normal_rows(len(clean), self.numbers, generators)
        observed, conditions = NoiseStack([self]).made(clean, sampled_brightness(clean), numbers)
        return observed.sub_(clean), conditions

    @property
    def numbers(self) -> int:
        """Normal numbers of which the noise of one spectrum is a function."""
        return len(self.white) + 1 + UNIFORM

    def _random(self, terms) -> Tensor:
        """Photon noise variance: the two terms of the law that scale with the conditions."""
        return self.law[0] * terms[0] + self.law[1] * terms[1]

    @classmethod
    def fit(
        cls,
        flux: np.ndarray,
        ivar: np.ndarray,
        clean: np.ndarray,
        factors: int = 12,
        bank: int = 1024,
        spikes: int = 512,
        seed: int = 0,
    ) -> "NoiseModel":
        """Fit a noise model to spectra whose noise-free flux is known or well estimated.

        Parameters
        ----------
        flux, ivar, clean : arrays (n, L)
            Observed flux, its inverse variance (0 where missing), and noise-free flux.
        factors, bank, spikes : int
            As for the class.
        seed : int
            Seed of the choice of spectra, if there are many, and of the draws in the bank.

        Raises
        ------
        InputError
            If no spectrum has a valid pixel.
        """
        model = cls(flux.shape[1], factors, bank, spikes)
        rng = torch.Generator().manual_seed(seed)
        chosen = np.flatnonzero(((ivar > 0) & np.isfinite(flux) & np.isfinite(clean)).any(1))
        if not len(chosen):
            raise InputError("ivar", "no spectrum has a valid pixel")
        chosen = chosen[torch.randperm(len(chosen), generator=rng)[:MAX_FITTED_SPECTRA].sort().values.numpy()]
        parts = (torch.as_tensor(np.asarray(a[chosen], np.float32)) for a in (flux, ivar, clean))
        observed, inverse, truth = parts
        good = (inverse > 0) & observed.isfinite() & truth.isfinite()
        bright = brightness(truth.where(good, torch.nan))
        truth = truth.where(good, 0)
        conditions = model._fit_law((1 / inverse).where(good, 0), truth, good)
        left = (observed - truth).where(good, 0)
        level, amplitudes = model._fit_patterns(left, truth, good, conditions, rng)

        centred = bright - bright.mean()
        slope = (centred * conditions).mean() / centred.square().mean().clamp(min=1e-6)
        model.trend.copy_(torch.stack([conditions.mean() - slope * bright.mean(), slope]))
        rest = conditions - model.trend[0] - model.trend[1] * bright
        rows = _some(len(rest), bank, rng)
        rows = rows[bright[rows].argsort()]
        model.bank.copy_(torch.cat([bright[:, None], rest[:, None], level, amplitudes], 1)[rows])
        return model

    def _fit_law(self, variance: Tensor, clean: Tensor, good: Tensor) -> Tensor:
        """Fit the law to variances (n, L). Return the conditions (n,) of the spectra, whose median is 0."""
        # The law has only four numbers per pixel: half of the spectra are enough.
        some = slice(0, MAX_FITTED_SPECTRA // 2)
        typical = variance[some].where(good[some], torch.nan).nanmedian(0).values
        typical = typical.where(typical.isfinite(), typical.nanmedian())
        self.law.copy_(typical * torch.tensor([1.0, 0.1, 0, 0])[:, None])
        conditions = variance.new_zeros(len(variance))
        for turn in range(ROUNDS // 2):
            terms = torch.stack(torch.broadcast_tensors(*regressors(clean[some], conditions[some])), -1)
            guess = (terms * self.law.T).sum(-1) if turn else variance[some].where(good[some], 1)
            # Minimise relative errors. Weights fall beyond 10 %, because some exposures lost pixels.
            error = (variance[some] / guess - 1).where(good[some], 0)
            weight = good[some] / (guess**2 * (1 + (error / 0.1) ** 2))
            x = (terms * weight.sqrt()[..., None]).transpose(0, 1)
            y = (variance[some] * weight.sqrt()).T[..., None]
            normal, product = x.mT @ x, (x.mT @ y)[..., 0]
            # In the first turn, conditions are unknown: the terms without them would absorb their effect.
            free = slice(4 if turn else 2)
            self.law[free] = _nonnegative(normal[:, free, free], product[:, free], self.law.T[:, free]).T
            self.law[0].clamp_(min=1e-2 * typical)  # every spectrum has noise, whatever its flux
            conditions = self._conditions(variance, clean, good)
        return conditions

    def _conditions(self, variance: Tensor, clean: Tensor, good: Tensor) -> Tensor:
        skip = slice(None, None, _stride(clean))
        law, clean = self.law[:, skip], clean[:, skip]
        one, linear, constant, square = regressors(clean, clean.new_zeros(len(clean)))
        stated = variance[:, skip]
        photons = torch.maximum(stated - law[2] * constant - law[3] * square, 0.1 * stated)
        ratio = photons / (law[0] * one + law[1] * linear)
        conditions = ratio.where(good[:, skip], torch.nan).nanmedian(1).values.log().nan_to_num()
        return conditions - conditions.median()

    def _fit_patterns(self, residual, clean, good, conditions, rng) -> tuple[Tensor, Tensor]:
        """Fit patterns, white noise and spikes. Return levels of white noise (n, 1), amplitudes (n, factors).

        The method maximises the likelihood by expectation maximisation, as in factor analysis. Unlike
        principal component analysis, it models the white noise of each pixel, and so does not attribute this
        noise to the patterns.
        """
        base = self._random(regressors(clean, conditions))
        self._start_patterns((residual / base.sqrt()).clamp(-SPIKE, SPIKE), clean, base, rng)
        left, level = residual, residual.new_ones(len(residual), 1)
        for turn in range(ROUNDS):
            if turn % 8 == 0:  # find spikes in what the patterns leave
                sigma = (base * level * self.white).sqrt()
                used = good & ~_widen(left.abs() > SPIKE * sigma)
            weights = [used / (base * level * self.white)]
            weights += [weights[0] * clean, weights[0] * clean**2]
            mean, covariance = self._amplitudes(residual, weights)
            weights = [weight.T for weight in weights]
            normal = self._outer(weights, covariance.float() + mean[:, :, None] * mean[:, None])
            # A prior of a thousandth of the data's weight: patterns are zero where no spectrum is valid.
            normal += torch.diag_embed(1e-3 * normal.diagonal(0, 1, 2).mean(0))
            product = self._inner(weights, residual.T, mean)
            self.patterns.copy_(torch.linalg.solve(normal, product).T)
            chi2 = (weights[0] * residual.T**2).sum(1) - (self.patterns.T * product).sum(1)
            count = used.sum(0)
            average = (chi2 / count.clamp(min=1)).median()
            # Ten spectra with the typical chi2 regularise pixels with few spectra.
            self.white *= ((chi2 + 10 * average) / (count + 10)).clamp(min=1e-3)
            left = residual - self._patterned(mean, clean)
            # Clip squares at 3 sigma: larger residuals, as in wings of emission lines, are not white noise.
            square = (weights[0].T * left**2).clamp(max=9).sum(1, keepdim=True)
            pixels = used.sum(1, keepdim=True)
            level = (level * square / pixels.clamp(min=1)).where(pixels > pixels.max() / 10, level)
            level = (level / level.median()).clamp(0.25, 4)
        scaled = left / (base * level * self.white).sqrt()
        self._collect_spikes(scaled, good, rng)
        self._fit_memory(scaled.where(used, 0))
        # Draw amplitudes from the posterior, because posterior means have too little variance.
        mean, covariance = self._amplitudes(residual, [weight.T for weight in weights])
        rng = torch.randn(*mean.shape, 1, generator=rng)
        return level, mean + (torch.linalg.cholesky(covariance).float() @ rng)[..., 0]

    def _start_patterns(self, scaled, clean, base, rng) -> None:
        """Start with principal components of residuals.

        Faint spectra give the additive patterns, and bright spectra give the relative ones.
        """
        used = min(len(self.patterns), len(clean) // PER_FACTOR)  # further patterns stay zero
        order = clean.median(1).values.argsort()
        faint, bright = order[: len(order) // 2], order[len(order) // 2 :]
        add, rel = (self.patterns[part] for part in self._parts())
        sigma = base.mean(0).sqrt()
        if start := min(len(add), (used + 1) // 2):
            add[:start] = _components(scaled[faint], start, rng) * sigma
        if start := min(len(rel), used // 2):
            rel[:start] = _components(scaled[bright], start, rng) * sigma / clean[bright].mean()

    def _collect_spikes(self, scaled: Tensor, good: Tensor, rng) -> None:
        size, edge = scaled.shape[1], WIDTH // 2
        height = scaled.abs() * good
        peak = (height > SPIKE) & (height >= F.max_pool1d(height, WIDTH, 1, edge))
        peak &= ~_widen(~good)
        peak[:, :edge] = peak[:, size - edge :] = False
        peak &= peak.sum(1, keepdim=True) <= MAX_SPIKES
        row, column = peak.nonzero(as_tuple=True)
        if len(row) and len(self.snippets):
            self.rate.fill_(len(row) / len(scaled))
            some = _some(len(row), len(self.snippets), rng)
            self.snippets.copy_(scaled[row[some, None], column[some, None] + torch.arange(-edge, edge + 1)])

    def _fit_memory(self, scaled: Tensor) -> None:
        """Fit `memory` to the correlation of neighbouring pixels.

        Resampling correlates next neighbours only: subtract the correlation of pixels at a distance of two.
        """
        one, two = ((scaled[:, lag:] * scaled[:, :-lag]).sum(1) for lag in (1, 2))
        rho = ((one - two) / scaled.square().sum(1)).nanmedian().clamp(-0.45, 0.45)
        self.memory.copy_(2 * rho / (1 + (1 - 4 * rho**2).sqrt()))

    def _parts(self) -> tuple[slice, slice]:
        return slice(0, self.additive), slice(self.additive, None)

    def _patterned(self, amplitudes: Tensor, clean: Tensor) -> Tensor:
        """Noise (n, L) of the patterns."""
        add, rel = (amplitudes[:, part] @ self.patterns[part] for part in self._parts())
        return add + clean * rel

    def _amplitudes(self, residual: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Posterior mean (n, K) and covariance (n, K, K) of the amplitudes, whose prior is N(0, 1)."""
        shapes = self.patterns.T
        precision = self._outer(weights, shapes[:, :, None] * shapes[:, None])
        # Bright spectra determine some amplitudes 1e6 times better than others: this needs 64 bits.
        precision = (precision + precision.mT).double() / 2 + torch.eye(len(self.patterns))
        covariance = torch.linalg.inv(precision)
        product = self._inner(weights, residual, shapes).double()
        return (covariance @ product[..., None])[..., 0].float(), covariance

    def _inner(self, weights, residual, values) -> Tensor:
        """Sum weight (r, m) x residual (r, m) x values (m, K) over m, pixels or spectra: (r, K).

        `weights` hold the weights times the powers 0, 1, 2 of the noise-free flux. A relative pattern needs
        one factor of the flux.
        """
        return torch.cat(
            [(weights[p] * residual) @ values[:, part] for p, part in enumerate(self._parts())], 1
        )

    def _outer(self, weights, values) -> Tensor:
        """Sum weight (r, m) x values (m, K, K) over m, as in `_inner`: (r, K, K)."""
        rows = []
        for p, part in enumerate(self._parts()):
            blocks = [(weights[p + q], values[:, part, other]) for q, other in enumerate(self._parts())]
            rows.append(torch.cat([(w @ v.flatten(1)).unflatten(1, v.shape[1:]) for w, v in blocks], 2))
        return torch.cat(rows, 1)


def regressors(clean: Tensor, conditions: Tensor) -> tuple[Tensor, ...]:
    """Terms (B, L) of the variance: photons of the sky, photons of the source, read-out, calibration errors.

    Parameters
    ----------
    clean : Tensor (B, L)
        Noise-free flux.
    conditions : Tensor (B,)
        Logarithm of the photon noise variance relative to a typical exposure.
    """
    scale = conditions.exp()[:, None].expand_as(clean)
    return scale, scale * clean.clamp(min=0), torch.ones_like(clean), clean**2


def brightness(clean: Tensor) -> Tensor:
    """Logarithm (B,) of the median flux over pixels that are not NaN, of spectra (B, L)."""
    return clean.nanmedian(-1).values.clamp(min=FAINTEST).log()


def sampled_brightness(clean: Tensor) -> Tensor:
    """`brightness` of noise-free spectra, from some of their pixels."""
    return brightness(clean[:, :: max(1, clean.shape[1] // SAMPLED)])


def _nonnegative(normal: Tensor, product: Tensor, start: Tensor) -> Tensor:
    """Solve normal equations (L, k, k) for coefficients (L, k) >= 0, by coordinate descent."""
    x = start.clone()
    for _ in range(100):
        for k in range(x.shape[1]):
            own = normal[:, k, k]
            step = (product[:, k] - (normal[:, k] * x).sum(1)) / own.clamp(min=1e-30)
            x[:, k] = (x[:, k] + step.where(own > 0, 0)).clamp(min=0)
    return x


def _components(x: Tensor, k: int, rng) -> Tensor:
    """The first k principal components (k, L) of x (n, L), approximately, scaled to their variance."""
    basis = torch.randn(x.shape[1], k, generator=rng)
    for _ in range(6):
        basis = torch.linalg.qr(x.T @ (x @ basis)).Q
    return ((x @ basis).square().mean(0).sqrt() * basis).T


def _stride(spectra: Tensor) -> int:
    """Step between pixels for a median over a spectrum: about a thousand pixels are enough."""
    return max(1, spectra.shape[1] // 900)


def _widen(mask: Tensor) -> Tensor:
    return F.max_pool1d(mask.float(), WIDTH, 1, WIDTH // 2) > 0


def _some(have: int, want: int, rng) -> Tensor:
    """Choose `want` of the numbers 0 to `have` - 1 at random. Their counts differ by one at most."""
    return torch.cat([torch.randperm(have, generator=rng) for _ in range(-(-want // have))])[:want]
