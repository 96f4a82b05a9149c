"""The rest-frame basis: describe a galaxy's spectrum by redshift, a few coefficients and emission lines.

    flux(lambda) = scale * [mean + components . h + lines(l, width)](lambda / (1 + z))

Here h are the coefficients of the continuum components, l are line fluxes, and width is the velocity
dispersion of the lines. The mean and the components are fitted together with the lines: by EM (expectation
maximisation) for probabilistic PCA with missing pixels (Tipping & Bishop 1999; Bailey 2012,
arXiv:1208.4122), weighted by inverse variance.

All rest-frame spectra share one lattice of pixels. A Fourier shift moves observed spectra to the lattice:
it is exact for band-limited spectra and keeps white noise white. To make observed spectra, the smooth basis
is interpolated.

Between 5000 and 5500 A, the mean averages to one, and each component to zero. Therefore `scale` is the
continuum there, and a line flux divided by `scale` is in Angstrom, like an equivalent width.
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

NORMALISATION = (5000.0, 5500.0)  # Angstrom, rest frame; in the observed range at any redshift below 0.61
WIDTHS = torch.tensor([15.0, 45.0, 70.0, 95.0, 125.0, 160.0, 205.0, 260.0, 330.0, 420.0])  # km/s
CHUNK = 1024  # spectra that are fitted at a time
ZERO_PRECISION = 1e12  # prior precision that holds a line at zero
CLEAN_VARIANCE = 1e-6  # variance to assume for noise-free spectra, relative to the squared continuum


@dataclass
class Coefficients:
    """Fits of n spectra: `samples` draws from the posterior of each. Noise-free spectra have one draw."""

    scale: np.ndarray  # (n, samples) continuum at 5000-5500 A, in the spectrum's unit
    values: np.ndarray  # (n, samples, components + lines): h, then line fluxes in Angstrom
    width: np.ndarray  # (n, samples) dispersion of the lines in km/s
    chi2: np.ndarray  # (n,) chi2 per valid pixel; for noise-free spectra, mean squared residual / scale^2


class RestFrameBasis(nn.Module):
    """Mean, components and emission lines on a rest-frame lattice of pixels.

    Parameters
    ----------
    grid : SpectralGrid
        Observed-frame pixels of the decoded spectra.
    components : int
        Number of continuum components.
    z_max : float
        Largest redshift.
    red : float, optional
        Wavelength in Angstrom to which the rest-frame lattice reaches; by default, that of the grid.
    """

    def __init__(
        self, grid: SpectralGrid, components: int = 16, z_max: float = 0.45, red: float | None = None
    ):
        super().__init__()
        self.grid, self.z_max = grid, z_max
        blue = int(np.ceil(np.log10(1 + z_max) / grid.step)) + 4
        self.start = grid.start - grid.step * blue  # log10 of the lattice's first wavelength in Angstrom
        end = grid.size if red is None else int((np.log10(red) - grid.start) / grid.step)
        self.size, self.blue = end + blue + 16, blue
        self.lines = EmissionLines(grid.step)
        self.n_components, self.n_lines = components, len(self.lines)
        self.register_buffer("mean", torch.ones(self.size))
        self.register_buffer("components", torch.zeros(components, self.size))
        p = 1 + components + self.n_lines  # the Gaussian prior of (scale, h, lines), in units of the scale
        self.register_buffer("prior_mean", torch.zeros(p, dtype=torch.float64))
        self.register_buffer("prior_precision", torch.zeros(p, p, dtype=torch.float64))
        self.register_buffer("width_prior", torch.full((len(WIDTHS),), 1 / len(WIDTHS)))

    @property
    def loglam(self) -> torch.Tensor:
        """log10 of the rest-frame wavelengths in Angstrom, (size,) float64."""
        return self.start + self.grid.step * torch.arange(self.size, dtype=torch.float64)

    # ------------------------------------------------------------------ from coefficients to spectra

    def decode(self, zeta, h, lines, width) -> torch.Tensor:
        """Make spectra on the observed-frame grid.

        Parameters
        ----------
        zeta : tensor (B,), float64
            log10(1 + z).
        h : tensor (B, components)
            Coefficients of the components.
        lines : tensor (B, lines)
            Line fluxes divided by the scale, in Angstrom. Negative fluxes count as zero.
        width : tensor (B,)
            Intrinsic dispersion of the lines in km/s.

        Returns
        -------
        tensor (B, L)
            Spectra divided by the scale.
        """
        return self.observed(torch.addmm(self.mean, h, self.components), zeta, lines, width)

    def observed(self, rest, zeta, lines, width) -> torch.Tensor:
        """Spectra (B, L) of continua `rest` (B, size) on the lattice; other parameters as for `decode`."""
        first, weights = self.place(zeta)
        number = torch.arange(len(rest), device=rest.device)
        spectra = self.interpolated(rest, number, first, weights, rest.new_empty(len(rest), self.grid.size))
        self.lines.add(spectra, self.grid.start, zeta, lines.clamp(min=0), width)
        return spectra

    def place(self, zeta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Place of the grid on the lattice at log10(1 + z) `zeta` (B,), float64.

        Returns
        -------
        first : tensor (B,), int64
            First pixel of the lattice that a spectrum needs, of ``grid.size + 3``.
        weights : tensor (B, 4), float32
            Weights of four neighbouring pixels of the lattice in one of the spectrum.
        """
        position = (self.grid.start - self.start - zeta) / self.grid.step
        first = position.floor()
        return (first.long() - 1).clamp(min=0), cubic_weights((position - first).float()[:, None])

    def interpolated(self, rest, number, first, weights, out) -> torch.Tensor:
        """Put continua on the grid into `out` (B, L).

        Parameters
        ----------
        rest : tensor (R, P)
            Continua on pixels of the lattice. Where they end before the grid, their last pixel stays.
        number : tensor (B,), int64
            Which of them.
        first, weights : tensor (B,), (B, 4)
            From `place`.
        """
        size = self.grid.size
        beyond = max(0, int(first.max()) + size + 3 - rest.shape[1])
        rest = torch.nn.functional.pad(rest[:, None], (0, beyond), mode="replicate")[:, 0] if beyond else rest
        taps = rest.unfold(1, size + 3, 1)[number, first]
        torch.mul(weights[:, :1], taps[:, :size], out=out)
        for k in range(1, 4):
            out.addcmul_(weights[:, k : k + 1], taps[:, k : k + size])
        return out

    # ------------------------------------------------------------------ from spectra to coefficients

    def to_rest(self, flux: np.ndarray, ivar: np.ndarray | None, z: np.ndarray, grid: SpectralGrid):
        """Shift spectra to the rest-frame lattice.

        Parameters
        ----------
        flux : array (n, L)
            Spectra on `grid`.
        ivar : array (n, L) or None
            Inverse variance, or None for noise-free spectra, whose pixels have the weight one.
        z : array (n,)
            Redshifts.
        grid : SpectralGrid
            Pixels of the spectra.

        Returns
        -------
        flux, weight : tensor (n, size)
            The weight is zero outside of the spectrum.
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
        """Fit the mean, the components and the prior by EM.

        Parameters
        ----------
        flux : array (n, L)
            Spectra on `grid`.
        ivar : array (n, L) or None
            Inverse variance, or None for noise-free spectra.
        z : array (n,)
            Redshifts.
        grid : SpectralGrid
            Pixels of the spectra. They have the step of the basis's own grid, but may reach further.
        iterations : int
            Number of EM iterations.
        refine : float
            If positive, start from the current basis, which counts like this number of spectra.
        progress : bool
            Show a progress bar.
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
        """Fit coefficients to spectra.

        The posterior at a given line width is Gaussian. The posterior of a spectrum is a mixture of these
        Gaussians over `WIDTHS`.

        Parameters
        ----------
        flux, ivar, z, grid
            As for `to_rest`.
        samples : int
            Number of draws from the posterior of each noisy spectrum.
        seed : int
            Seed of the draws.

        Returns
        -------
        Coefficients
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
        if clean:  # for noise-free spectra, interpolate the best width between those of `WIDTHS`
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
            chi2[torch.arange(n), best].numpy() * (CLEAN_VARIANCE if clean else 1),
        )

    def residual(self, flux, ivar, z, grid: SpectralGrid):
        """Residuals of the best fits on the rest-frame lattice. The parameters are those of `to_rest`.

        Returns
        -------
        residual, weight : array (n, size)
            Spectrum minus fit, divided by the scale, and its weight.
        chi2 : array (n,)
            chi2 per valid pixel.
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
        """Weights (size,) of a mean over the wavelengths that define the scale."""
        low, high = (np.log10(w) for w in NORMALISATION)
        inside = ((self.loglam >= low) & (self.loglam <= high)).float()
        return inside / inside.sum()

    def _begin(self, x, weight) -> None:
        """Start with the mean and principal components of spectra, interpolated across emission lines."""
        reach = 12  # pixels on each side of a line
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
        """Design matrix (size, 1 + components + lines) of the linear model at one line width in km/s."""
        lines = self.lines.templates(self.start, self.size, width)
        return torch.cat([self.mean[None], self.components, lines]).T.contiguous()

    def _normal(self, x, weight, width: float):
        """Precision (n, p, p) and right-hand side (n, p) of the weighted fits at one width."""
        d = self.design(width)
        p = d.shape[1]
        upper = torch.triu_indices(p, p)
        products = d[:, upper[0]] * d[:, upper[1]]
        gram = torch.zeros(len(x), p, p, dtype=torch.float64)
        gram[:, upper[0], upper[1]] = weighted_sums(weight, products)
        gram = gram + gram.mT - torch.diag_embed(torch.diagonal(gram, dim1=1, dim2=2))
        precision = gram + self.prior_precision
        right = ((x * weight) @ d).double() + self.prior_precision @ self.prior_mean
        return precision, right

    def _solve(self, x, weight, width):
        """Posterior mean (n, p) and covariance (n, p, p); `width` (n,) holds indices into `WIDTHS`."""
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
        """Mean and Cholesky factor of the posterior. Lines with a negative flux are held at zero."""
        for _ in range(3):
            chol = torch.linalg.cholesky(precision)
            theta = torch.cholesky_solve(right[..., None], chol)[..., 0]
            negative = (theta < -1e-6) & (torch.arange(theta.shape[1]) > self.n_components)
            precision = precision + torch.diag_embed(ZERO_PRECISION * negative.double())
        return theta, chol

    def _solve_all(self, x, weight):
        """Fit at every width.

        Returns theta (n, widths, p), Cholesky factors (n, widths, p, p), chi2 per pixel (n, widths), and the
        log posterior of the width (n, widths).
        """
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
        misfit = power + prior - (theta * right).sum(1)  # chi2 plus the term of the prior
        off = theta - self.prior_mean
        chi2 = misfit - torch.einsum("np,pq,nq->n", off, self.prior_precision, off)
        return theta, chol, chi2 / (weight > 0).sum(1).clamp(min=1), evidence

    def _maximise(self, x, weight, width, theta, covariance, pull, refine: float) -> None:
        """M step: subtract the lines and regress the rest on (1, h), pixel by pixel."""
        k = 1 + self.n_components
        scale = theta[:, :1].clamp(min=0.05)
        # Galaxies with the faintest lines are assumed to have none.
        faintest = (theta[:, k:] / scale).quantile(0.05, dim=0).float()
        h = (theta[:, :k] / scale).float()
        residual = x / scale.float()
        for index in width.unique().tolist():
            rows = width == index
            lines = self.lines.templates(self.start, self.size, float(WIDTHS[index]))
            residual[rows] -= ((theta[rows, k:] / scale[rows]).float() - faintest) @ lines
        weight = weight * scale.float().square()
        weight = weight / weight.sum() * (weight > 0).sum()  # a mean of one over valid pixels
        second = h[:, :, None] * h[:, None, :] + (covariance[:, :k, :k] / scale[..., None] ** 2).float()
        gram = (weight.T @ second.flatten(1)).double().unflatten(1, (k, k))
        right = ((residual * weight).T @ h).double()
        if not refine:  # regularise pixels that few spectra cover
            pull = torch.cat([self.mean[None].double(), torch.zeros_like(pull[1:])])
        ridge = (refine or 0.3) * torch.diag(second.double().mean(0).diagonal())  # weight in spectra
        solved = torch.linalg.solve(gram + ridge, (right + pull.T @ ridge)[..., None])[..., 0]
        self.mean, self.components = solved[:, 0].float(), solved[:, 1:].T.float().contiguous()
        if not refine:
            self._orthogonalise(h[:, 1:])

    def _orthogonalise(self, h=None) -> None:
        """Make the mean one and the components zero in the window; sort the components by variance."""
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
        """Estimate the prior: mean and precision of the coefficients without measurement errors (EM)."""
        scale = theta[:, :1].clamp(min=0.05)
        relative = theta / scale
        self.prior_mean = relative.mean(0)
        spread = torch.cov(relative.T) + (covariance / scale[..., None] ** 2).mean(0)
        spread[0], spread[:, 0] = 0, 0
        spread[0, 0] = 1.0  # a broad prior for the scale
        jitter = 1e-6 * torch.eye(len(spread), dtype=torch.float64)
        self.prior_precision = torch.linalg.inv(spread + jitter)


def weighted_sums(weight: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """``weight @ products`` (n, m) in float64.

    It is fast for noise-free spectra: there, the weights of a row are one number from its first pixel to its
    last one, and differences of running sums give the result.
    """
    seen = weight > 0
    first, count, level = seen.int().argmax(1), seen.sum(1), weight.amax(1)
    reach = weight.shape[1] - seen.flip(1).int().argmax(1) - first
    without_gaps = ((reach == count) | (count == 0)).all()
    if not (without_gaps and torch.equal(weight, level[:, None] * seen)):
        return (weight @ products).double()
    sums = torch.cat([torch.zeros(1, products.shape[1]).double(), products.cumsum(0, dtype=torch.float64)])
    return level.double()[:, None] * (sums[first + count] - sums[first])


def normalise(x, weight, window, clean: bool, return_unit: bool = False):
    """Divide spectra (n, size) by their mean in the window of the scale, and adapt their weights (n, size).

    Noise-free spectra get the variance `CLEAN_VARIANCE` in all pixels. With `return_unit`, the function also
    returns the means (n,).
    """
    seen = (weight > 0) * window
    unit = ((x * seen).sum(1) / seen.sum(1).clamp(min=1e-9)).clamp(min=1e-3)
    x = x / unit[:, None]
    weight = (weight > 0) / CLEAN_VARIANCE if clean else weight * unit[:, None] ** 2
    return (x, weight, unit) if return_unit else (x, weight)


def fourier_shift(flux: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Move spectra (n, L) by `shift` (n,) pixels, |shift| < 1: pixel i gets the value at i - shift."""
    # The mirrored copy makes the spectrum periodic without a jump. A jump would cause ringing.
    padded = torch.cat([flux, flux.flip(1)], 1).double()
    frequency = torch.fft.rfftfreq(padded.shape[1], dtype=torch.float64)
    phase = torch.exp(-2j * torch.pi * shift[:, None] * frequency)
    moved = torch.fft.irfft(torch.fft.rfft(padded) * phase, n=padded.shape[1])
    return moved[:, : flux.shape[1]].float()


def cubic_weights(u: torch.Tensor) -> torch.Tensor:
    """Cubic weights (B, 4) of the pixels -1, 0, 1, 2 at positions `u` (B, 1) from 0 to 1 (Keys 1981)."""
    w = [
        -0.5 * u**3 + u**2 - 0.5 * u,
        1.5 * u**3 - 2.5 * u**2 + 1,
        -1.5 * u**3 + 2 * u**2 + 0.5 * u,
        0.5 * u**3 - 0.5 * u**2,
    ]
    return torch.cat(w, dim=1)


def between_widths(position: torch.Tensor) -> torch.Tensor:
    """Line widths in km/s at fractional indices into `WIDTHS`."""
    position = position.clamp(0, len(WIDTHS) - 1)
    low = position.floor().long().clamp(max=len(WIDTHS) - 2)
    share = position - low
    return WIDTHS[low] * (1 - share) + WIDTHS[low + 1] * share


def interpolate_width(log_posterior, theta, best, probability, drawn):
    """Width at the peak of a parabola through the three best log posteriors, and the coefficients there.

    If the lines are too weak to constrain the width, the function takes the width that was drawn from the
    posterior.
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
