"""The rest-frame basis: a galaxy's spectrum as redshift, a few coefficients and emission lines.

    flux(lambda) = scale * [mean + components . h + lines(l, width)](lambda / (1 + z))

Mean and components are found by EM for probabilistic PCA with missing pixels (Tipping & Bishop 1999;
Bailey 2012, arXiv:1208.4122), inverse-variance weighted, next to explicit emission lines. Spectra reach
the common rest-frame lattice by a Fourier shift, which is exact for band-limited spectra and keeps white
noise white; the way back interpolates the smooth basis. The mean has a mean of one, and the components
of zero, between 5000 and 5500 A: `scale` is the continuum there, and line fluxes are in Angstrom of it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.scaling import fill_missing
from pix2spec.models.latent.line_profiles import EmissionLines
from pix2spec.runtime.progress import progress_bar

__all__ = ["Coefficients", "RestFrameBasis"]

NORMALISATION = (5000.0, 5500.0)  # Angstrom, rest frame: seen at any redshift below 0.61
WIDTHS = torch.tensor([15.0, 45.0, 70.0, 95.0, 125.0, 160.0, 205.0, 260.0, 330.0, 420.0])  # km/s
CHUNK = 512
HELD = 1e12  # precision of a line that is held at zero
CLEAN = 1e-6  # variance, relative to the continuum's square, of spectra without noise


@dataclass
class Coefficients:
    """Fits of n spectra; `samples` draws from each posterior, one for noise-free spectra."""

    scale: np.ndarray  # (n, samples) flux at 5000-5500 A, in the spectrum's unit
    values: np.ndarray  # (n, samples, components + lines): h, then line fluxes in Angstrom
    width: np.ndarray  # (n, samples) km/s
    chi2: np.ndarray  # (n,) per valid pixel; of noise-free spectra: mean squared residual / scale^2


class RestFrameBasis(nn.Module):
    """Mean, components and lines on a rest-frame lattice.

    Parameters
    ----------
    grid : SpectralGrid
        Observed-frame pixels of the spectra that are made.
    components : int
        Number of continuum components.
    z_max : float
        Largest redshift.
    """

    def __init__(self, grid: SpectralGrid, components: int = 16, z_max: float = 0.45):
        super().__init__()
        self.grid, self.z_max = grid, z_max
        blue = int(np.ceil(np.log10(1 + z_max) / grid.step)) + 4
        self.start = grid.start - grid.step * blue  # log10 of the rest-frame lattice's first pixel
        self.size = grid.size + blue + 16
        self.lines = EmissionLines(grid.step)
        self.n_components, self.n_lines = components, len(self.lines)
        self.register_buffer("mean", torch.ones(self.size))
        self.register_buffer("components", torch.zeros(components, self.size))
        p = 1 + components + self.n_lines  # scale, h, lines: a Gaussian prior, in units of the scale
        self.register_buffer("prior_mean", torch.zeros(p, dtype=torch.float64))
        self.register_buffer("prior_precision", torch.zeros(p, p, dtype=torch.float64))
        self.register_buffer("width_prior", torch.full((len(WIDTHS),), 1 / len(WIDTHS)))

    @property
    def loglam(self) -> torch.Tensor:
        """log10 of the rest-frame wavelengths in Angstrom, (size,) float64."""
        return self.start + self.grid.step * torch.arange(self.size, dtype=torch.float64)

    # ------------------------------------------------------------------ from coefficients to spectra

    def decode(self, zeta, h, lines, width) -> torch.Tensor:
        """Spectra (B, L) in units of the scale, on the observed-frame grid.

        Parameters
        ----------
        zeta : tensor (B,), float64
            log10(1 + z).
        h : tensor (B, components)
        lines : tensor (B, lines)
            Fluxes in Angstrom of the scale; negative ones count as zero.
        width : tensor (B,)
            Intrinsic dispersion of the lines in km/s.
        """
        rest = torch.addmm(self.mean, h, self.components)
        position = (self.grid.start - self.start - zeta) / self.grid.step
        first = position.floor().long()
        u = (position - first).float()[:, None]
        index = first[:, None] - 1 + torch.arange(self.grid.size + 3, device=h.device)
        taps = rest.gather(1, index.clamp(0, self.size - 1)).unfold(1, self.grid.size, 1)
        spectra = (cubic_weights(u)[..., None] * taps).sum(1)
        self.lines.add(spectra, self.grid.start, zeta, lines.clamp(min=0), width)
        return spectra

    # ------------------------------------------------------------------ from spectra to coefficients

    def to_rest(self, flux: np.ndarray, ivar: np.ndarray | None, z: np.ndarray, grid: SpectralGrid):
        """Spectra (n, L) on `grid` shifted to the rest-frame lattice: flux and weight, each (n, size).

        Without `ivar` the spectra have no noise, and the weight is one inside the spectrum.
        """
        n, length = flux.shape
        zeta = np.log10(1 + np.asarray(z, float))
        shift = (grid.start - zeta - self.start) / grid.step
        first = np.rint(shift).astype(int)
        filled = flux if ivar is None else fill_missing(flux, ivar)
        moved = fourier_shift(torch.from_numpy(np.ascontiguousarray(filled)), torch.from_numpy(shift - first))
        weight = torch.ones(n, length) if ivar is None else torch.from_numpy(np.ascontiguousarray(ivar))
        rest, rest_weight = torch.zeros(n, self.size), torch.zeros(n, self.size)
        for i in range(n):
            low, high = max(first[i], 0), min(first[i] + length, self.size)
            rest[i, low:high] = moved[i, low - first[i] : high - first[i]]
            rest_weight[i, low:high] = weight[i, low - first[i] : high - first[i]]
        return rest, rest_weight

    def fit(
        self, flux, ivar, z, grid: SpectralGrid, iterations: int = 15, refine: float = 0.0, progress=True
    ) -> "RestFrameBasis":
        """Find mean, components and prior by EM.

        Parameters
        ----------
        flux : array (n, L)
            Spectra on `grid`, which shares the lattice of the basis's own but may be longer.
        ivar : array (n, L) or None
            None for noise-free spectra.
        z : array (n,)
        iterations : int
        refine : float
            Start from the present basis instead of from nothing, and weigh it like so many spectra.
        """
        x, weight = self.to_rest(flux, ivar, z, grid)
        x, weight = normalise(x, weight, self.window(), clean=ivar is None)
        if not refine:
            self._begin(x, weight)
        pull = torch.cat([self.mean[None], self.components]).double()
        width = torch.full((len(x),), 3)
        for iteration in progress_bar(
            range(iterations), "fitting the rest-frame basis", progress, iterations
        ):
            if iteration in (2, 5, 9):
                width = self._solve_all(x, weight)[3].argmax(1)
            theta, covariance = self._solve(x, weight, width)
            self._maximise(x, weight, width, theta, covariance, pull, refine)
            if ivar is not None:
                self._learn_prior(theta, covariance)
        log_evidence = self._solve_all(x, weight)[3]
        self.width_prior = torch.softmax(log_evidence, 1).mean(0).float().clamp(min=1e-4)
        self._learn_prior(*self._solve(x, weight, log_evidence.argmax(1)))
        return self

    def encode(self, flux, ivar, z, grid: SpectralGrid, samples: int = 1, seed: int = 0) -> Coefficients:
        """Coefficients of spectra; with noise, `samples` draws from the posterior of each.

        The posterior is Gaussian at each line width, and a mixture over widths.
        """
        parts = []
        for start in range(0, len(flux), CHUNK):
            rows = slice(start, start + CHUNK)
            x, weight = self.to_rest(flux[rows], None if ivar is None else ivar[rows], z[rows], grid)
            parts.append(self._encode(x, weight, ivar is None, samples, [seed, start]))
        return Coefficients(*(np.concatenate(values) for values in zip(*parts)))

    def _encode(self, x, weight, clean: bool, samples: int, key):
        rng = np.random.default_rng(key)
        x, weight, unit = normalise(x, weight, self.window(), clean, return_unit=True)
        theta, chol, chi2, log_posterior = self._solve_all(x, weight)
        n, rows = len(x), torch.arange(len(x))[:, None]
        probability = torch.softmax(log_posterior, 1).numpy()
        uniform = torch.from_numpy((rng.random((n, samples, 1)) > np.cumsum(probability, 1)[:, None]).sum(-1))
        chosen = uniform.clamp(max=len(WIDTHS) - 1)
        best = log_posterior.argmax(1)
        if clean:  # no noise: the best width, between those of the lattice
            width, drawn = interpolate_width(log_posterior, theta, best, probability, chosen[:, 0])
            width, drawn = width[:, None], drawn[:, None]
        else:
            noise = torch.from_numpy(rng.standard_normal((n, samples, theta.shape[-1], 1)))
            spread = torch.linalg.solve_triangular(chol[rows, chosen].mT, noise, upper=True)[..., 0]
            drawn = theta[rows, chosen] + spread
            jitter = torch.from_numpy(rng.uniform(-0.5, 0.5, (n, samples)))
            width = between_widths(chosen + jitter)
        scale = drawn[..., 0].clamp(min=0.05)
        values = drawn[..., 1:] / scale[..., None]
        return (
            (scale * unit[:, None]).numpy(),
            values.float().numpy(),
            width.float().numpy(),
            chi2[torch.arange(n), best].numpy() * (CLEAN if clean else 1),
        )

    def residual(self, flux, ivar, z, grid: SpectralGrid):
        """What the best fits leave, in units of the scale, on the rest-frame lattice.

        Returns
        -------
        residual, weight : array (n, size)
        chi2 : array (n,)
            Per valid pixel.
        """
        x, weight = self.to_rest(flux, ivar, z, grid)
        x, weight = normalise(x, weight, self.window(), clean=ivar is None)
        theta, _, chi2, log_posterior = self._solve_all(x, weight)
        best = log_posterior.argmax(1)
        model = torch.empty_like(x)
        for k in best.unique().tolist():
            rows = best == k
            model[rows] = theta[rows, k].float() @ self.design(float(WIDTHS[k])).T
        return (x - model).numpy(), weight.numpy(), chi2[torch.arange(len(x)), best].numpy()

    # ------------------------------------------------------------------------------------- EM

    def window(self) -> torch.Tensor:
        """Weights (size,) that average over the wavelengths of the scale."""
        low, high = (np.log10(w) for w in NORMALISATION)
        inside = ((self.loglam >= low) & (self.loglam <= high)).float()
        return inside / inside.sum()

    def _begin(self, x, weight) -> None:
        """Mean and principal components of spectra whose lines are bridged."""
        reach = 12
        near = torch.zeros(self.size, dtype=torch.bool)
        for position in ((self.lines.loglam - self.start) / self.grid.step).round().long():
            near[max(int(position) - reach, 0) : int(position) + reach + 1] = True
        keep = np.flatnonzero(~near.numpy())
        seen = (weight > 0).float()
        mean = (x * seen).sum(0) / seen.sum(0).clamp(min=1)
        bridged = ((x - mean) * seen).numpy()[:2048]
        bridged = np.stack([np.interp(np.arange(self.size), keep, row[keep]) for row in bridged])
        _, _, v = np.linalg.svd(bridged, full_matrices=False)
        self.mean = torch.from_numpy(np.interp(np.arange(self.size), keep, mean.numpy()[keep])).float()
        self.components = torch.from_numpy(v[: self.n_components].copy()).float()
        self._orthogonalise()
        self.prior_precision.zero_().fill_diagonal_(1e-4)

    def design(self, width: float) -> torch.Tensor:
        """Columns of the linear model at one line width: (size, 1 + components + lines)."""
        lines = self.lines.templates(self.start, self.size, width)
        return torch.cat([self.mean[None], self.components, lines]).T.contiguous()

    def _normal(self, x, weight, width: float):
        """Precision (n, p, p) and solution (n, p) of the weighted fits at one width."""
        d = self.design(width)
        p = d.shape[1]
        upper = torch.triu_indices(p, p)
        products = d[:, upper[0]] * d[:, upper[1]]
        gram = torch.zeros(len(x), p, p, dtype=torch.float64)
        gram[:, upper[0], upper[1]] = (weight @ products).double()
        gram = gram + gram.mT - torch.diag_embed(torch.diagonal(gram, dim1=1, dim2=2))
        precision = gram + self.prior_precision
        right = ((x * weight) @ d).double() + self.prior_precision @ self.prior_mean
        return precision, right

    def _solve(self, x, weight, width):
        """Posterior mean (n, p) and covariance (n, p, p) at the width of each spectrum (an index)."""
        p = 1 + self.n_components + self.n_lines
        mean = torch.empty(len(x), p, dtype=torch.float64)
        covariance = torch.empty(len(x), p, p, dtype=torch.float64)
        for k in width.unique().tolist():
            for rows in torch.where(width == k)[0].split(CHUNK):
                precision, right = self._normal(x[rows], weight[rows], float(WIDTHS[k]))
                mean[rows], chol = self._posterior(precision, right)
                covariance[rows] = torch.cholesky_inverse(chol)
        return mean, covariance

    def _posterior(self, precision, right):
        """Mean and Cholesky factor of the posterior; lines that would be negative are held at zero."""
        for _ in range(3):
            chol = torch.linalg.cholesky(precision)
            theta = torch.cholesky_solve(right[..., None], chol)[..., 0]
            negative = (theta < -1e-6) & (torch.arange(theta.shape[1]) > self.n_components)
            precision = precision + torch.diag_embed(HELD * negative.double())
        return theta, chol

    def _solve_all(self, x, weight):
        """Fits at every width: theta (n, widths, p), Cholesky factor, chi2 per pixel, log posterior."""
        results = []
        for rows in torch.arange(len(x)).split(CHUNK):
            parts = [self._evidence(x[rows], weight[rows], float(w)) for w in WIDTHS]
            results.append([torch.stack(column, 1) for column in zip(*parts)])
        theta, chol, chi2, evidence = (torch.cat(column) for column in zip(*results))
        return theta, chol, chi2, evidence + torch.log(self.width_prior.double())

    def _evidence(self, x, weight, width: float):
        precision, right = self._normal(x, weight, width)
        theta, chol = self._posterior(precision, right)
        power = (x.square() * weight).sum(1).double()
        prior = self.prior_mean @ self.prior_precision @ self.prior_mean
        log_det = torch.log(torch.diagonal(chol, dim1=1, dim2=2)).sum(1)
        evidence = 0.5 * (theta * right).sum(1) - log_det
        misfit = power + prior - (theta * right).sum(1)  # chi2 and the prior's term, together
        off = theta - self.prior_mean
        chi2 = misfit - torch.einsum("np,pq,nq->n", off, self.prior_precision, off)
        return theta, chol, chi2 / (weight > 0).sum(1).clamp(min=1), evidence

    def _maximise(self, x, weight, width, theta, covariance, pull, refine: float) -> None:
        """M step: regress what the lines leave on (1, h), pixel by pixel."""
        k = 1 + self.n_components
        scale = theta[:, :1].clamp(min=0.05)
        faintest = (theta[:, k:] / scale).quantile(0.05, dim=0).float()  # as if these galaxies had no lines
        h = (theta[:, :k] / scale).float()
        residual = x / scale.float()
        for index in width.unique().tolist():
            rows = width == index
            lines = self.lines.templates(self.start, self.size, float(WIDTHS[index]))
            residual[rows] -= ((theta[rows, k:] / scale[rows]).float() - faintest) @ lines
        weight = weight * scale.float().square()
        weight = weight / weight.sum() * (weight > 0).sum()  # as many units as there are pixels
        second = h[:, :, None] * h[:, None, :] + (covariance[:, :k, :k] / scale[..., None] ** 2).float()
        gram = (weight.T @ second.flatten(1)).double().unflatten(1, (k, k))
        right = ((residual * weight).T @ h).double()
        if not refine:  # pixels that few spectra reach must not run away
            pull = torch.cat([self.mean[None].double(), torch.zeros_like(pull[1:])])
        ridge = (refine or 0.3) * torch.diag(second.double().mean(0).diagonal())  # like so many spectra
        solved = torch.linalg.solve(gram + ridge, (right + pull.T @ ridge)[..., None])[..., 0]
        self.mean, self.components = solved[:, 0].float(), solved[:, 1:].T.float().contiguous()
        if not refine:
            self._orthogonalise(h[:, 1:])

    def _orthogonalise(self, h=None) -> None:
        """Mean one and components zero at the scale's wavelengths; components in order of variance."""
        window = self.window()
        mean = self.mean / (window @ self.mean)
        components = self.components - (self.components @ window)[:, None] * mean
        if h is None:
            q = torch.linalg.qr(components.T)[0].T
        else:
            spread = torch.linalg.cholesky(torch.cov(h.T.double()) + 1e-9 * torch.eye(h.shape[1]))
            q = torch.linalg.svd(spread.T.float() @ components, full_matrices=False)[2]
        self.mean, self.components = mean, q.contiguous()

    def _learn_prior(self, theta, covariance) -> None:
        """Mean and precision of the coefficients' distribution, measurement errors taken off (EM)."""
        scale = theta[:, :1].clamp(min=0.05)
        relative = theta / scale
        self.prior_mean = relative.mean(0)
        spread = torch.cov(relative.T) + (covariance / scale[..., None] ** 2).mean(0)
        spread[0], spread[:, 0] = 0, 0
        spread[0, 0] = 1.0  # the scale is free
        jitter = 1e-6 * torch.eye(len(spread), dtype=torch.float64)
        self.prior_precision = torch.linalg.inv(spread + jitter)


def normalise(x, weight, window, clean: bool, return_unit: bool = False):
    """Divide spectra by their level at the scale's wavelengths; weights follow.

    Noise-free spectra get the same small variance everywhere.
    """
    seen = (weight > 0) * window
    unit = ((x * seen).sum(1) / seen.sum(1).clamp(min=1e-9)).clamp(min=1e-3)
    x = x / unit[:, None]
    weight = (weight > 0) / CLEAN if clean else weight * unit[:, None] ** 2
    return (x, weight, unit) if return_unit else (x, weight)


def fourier_shift(flux: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Resample spectra (n, L) so that pixel i shows what was at i - shift, |shift| < 1."""
    padded = torch.cat([flux, flux.flip(1)], 1).double()  # periodic without a jump, which would ring
    frequency = torch.fft.rfftfreq(padded.shape[1], dtype=torch.float64)
    phase = torch.exp(-2j * torch.pi * shift[:, None] * frequency)
    moved = torch.fft.irfft(torch.fft.rfft(padded) * phase, n=padded.shape[1])
    return moved[:, : flux.shape[1]].float()


def cubic_weights(u: torch.Tensor) -> torch.Tensor:
    """Weights (B, 4) of the pixels -1, 0, 1, 2 for positions `u` (B, 1) between 0 and 1 (Keys 1981)."""
    w = [
        -0.5 * u**3 + u**2 - 0.5 * u,
        1.5 * u**3 - 2.5 * u**2 + 1,
        -1.5 * u**3 + 2 * u**2 + 0.5 * u,
        0.5 * u**3 - 0.5 * u**2,
    ]
    return torch.cat(w, dim=1)


def between_widths(position: torch.Tensor) -> torch.Tensor:
    """Widths in km/s at fractional places of the lattice of widths."""
    position = position.clamp(0, len(WIDTHS) - 1)
    low = position.floor().long().clamp(max=len(WIDTHS) - 2)
    share = position - low
    return WIDTHS[low] * (1 - share) + WIDTHS[low + 1] * share


def interpolate_width(log_posterior, theta, best, probability, drawn):
    """Width at the peak of a parabola through the three best, and the coefficients there.

    Where lines are too weak to have a width, it is drawn from the posterior.
    """
    n = torch.arange(len(best))
    middle = best.clamp(1, len(WIDTHS) - 2)
    left, top, right = (log_posterior[n, middle + k] for k in (-1, 0, 1))
    curvature = (left - 2 * top + right).clamp(max=-1e-9)
    offset = (0.5 * (left - right) / curvature).clamp(-1, 1)
    weak = torch.from_numpy(probability.max(1) < 0.5)
    position = torch.where(weak, drawn.double(), middle + offset)
    low = position.floor().long().clamp(0, len(WIDTHS) - 2)
    share = (position - low)[:, None]
    return between_widths(position), theta[n, low] * (1 - share) + theta[n, low + 1] * share
