"""Can a network tell generated spectra from observed ones? Is their texture real?"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import rfft, rfftfreq
from scipy.ndimage import median_filter
from scipy.signal.windows import hann
from torch import nn

from pix2spec.core.scaling import fill_missing
from pix2spec.errors import InputError

__all__ = [
    "Autocorrelation",
    "PowerSpectrum",
    "autocorrelation",
    "power_spectrum",
    "two_sample_accuracy",
]

BATCH_SPECTRA = 64
SPLIT_SHARES = (0.6, 0.15)  # of the galaxies: for training, and to choose the epoch
CONTINUUM_PIXELS = 101  # of the running median, 7,000 km/s on SDSS's grid: wider than blends of lines
WAVENUMBER_BINS = 12
MIN_POWER = 1e-9  # in units of the noise's power, so that spectra without noise have a logarithm


def _scale(spectra: np.ndarray) -> np.ndarray:
    """Median (N, 1) of spectra (N, L), at least the noise between neighbours; 1 where both are 0."""
    noise = np.median(np.abs(np.diff(spectra)), axis=1, keepdims=True) / 0.954
    scale = np.maximum(np.median(spectra, axis=1, keepdims=True), noise)
    return np.where(scale > 0, scale, 1)


def compress(spectra) -> torch.Tensor:
    """Spectra (N, L) divided by their scale, then arcsinh."""
    spectra = np.asarray(spectra, np.float32)
    return torch.from_numpy(np.arcsinh(spectra / _scale(spectra)))


class _Classifier(nn.Module):
    """Convolutions over the spectrum and over its difference from a smoothed version."""

    def __init__(self, mean: float, deviation: float, detail: float):
        super().__init__()
        self.mean, self.deviation, self.detail = mean, deviation, detail
        layers, channels = [], 2
        for width, kernel, stride in ((16, 7, 2), (32, 5, 3), (48, 5, 2), (64, 5, 2), (64, 3, 2)):
            layers += [
                nn.Conv1d(channels, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm1d(width),  # unlike a norm of each spectrum, it leaves their noise levels apart
                nn.LeakyReLU(0.1),
            ]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * channels, 1))

    def forward(self, x):
        """Logits (n,) that spectra (n, L) are generated."""
        x = x[:, None]
        smooth = nn.functional.avg_pool1d(x, 5, 1, 2, count_include_pad=False)
        x = self.body(torch.cat([(x - self.mean) / self.deviation, (x - smooth) / self.detail], 1))
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))[:, 0]


def _split(groups: np.ndarray, rng) -> list[np.ndarray]:
    """Indices of training, validation and test objects; no group is in two of them."""
    _, number = np.unique(groups, return_inverse=True)
    place = rng.permutation(number.max() + 1)[number] / (number.max() + 1)
    first, second = SPLIT_SHARES[0], sum(SPLIT_SHARES)
    return [
        np.flatnonzero(part) for part in (place < first, (place >= first) & (place < second), place >= second)
    ]


@torch.no_grad()
def _correct(model, real_and_fake, index) -> np.ndarray:
    """Whether the real and the fake spectrum of each object is recognised, (2, n)."""
    model.eval()
    logits = [torch.cat([model(x[i]) for i in torch.from_numpy(index).split(256)]) for x in real_and_fake]
    return np.stack([(logits[0] < 0).numpy(), (logits[1] >= 0).numpy()])


def two_sample_accuracy(
    real: np.ndarray,
    fake: np.ndarray,
    seed: int = 0,
    epochs: int = 12,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """Accuracy of a classifier trained to tell real from fake: a two-sample test.

    Near 0.5, the classifier found no difference between the distributions (Lopez-Paz & Oquab 2017,
    arXiv:1610.06545). It is a small convolutional network; the epoch that does best on 15 % of the galaxies
    is scored on another 25 %.

    Parameters
    ----------
    real, fake : array (N, L)
        Observed spectra, and generated ones of the same objects with noise like the observed. Missing
        pixels must be filled alike in both. Each spectrum is divided by its own median.
    seed : int
        Of the split and the network.
    epochs : int
        Passes over the training galaxies.
    groups : array (N,), optional
        Galaxy of each pair; by default, each pair is one of its own. No galaxy is on two sides of the split.

    Returns
    -------
    accuracy : float
        Fraction of test spectra, real and fake in equal numbers, that are recognised.
    error : float
        Its standard error, from the scatter between galaxies.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    if real.shape != fake.shape or real.ndim != 2:
        raise InputError("spectra", f"real {real.shape} and fake {fake.shape} are not pairs of spectra")
    groups = np.arange(len(real)) if groups is None else np.asarray(groups)
    rng = np.random.default_rng(seed)
    train, validation, test = _split(groups, rng)
    if not min(len(train), len(validation), len(test)):
        raise InputError("spectra", "there are too few galaxies for a classifier", "give at least ten")
    real_and_fake = [compress(real), compress(fake)]
    sample = torch.cat([x[train[:1000]] for x in real_and_fake])
    scales = sample.mean(), sample.std(), sample.diff().std()

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _Classifier(*(float(s) for s in scales))
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        steps = -(-len(train) // (BATCH_SPECTRA // 2))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, epochs=epochs, steps_per_epoch=steps)
        best, chosen = -1.0, None
        for _ in range(epochs):
            model.train()
            order = [
                torch.from_numpy(rng.permutation(train)).split(BATCH_SPECTRA // 2) for _ in real_and_fake
            ]
            for i, j in zip(*order):
                logits = model(torch.cat([real_and_fake[0][i], real_and_fake[1][j]]))
                label = torch.cat([torch.zeros(len(i)), torch.ones(len(j))])
                optimiser.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(logits, label).backward()
                optimiser.step()
                schedule.step()
            accuracy = _correct(model, real_and_fake, validation).mean()
            if accuracy > best:
                best, chosen = accuracy, {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(chosen)
        correct = _correct(model, real_and_fake, test).mean(0)

    accuracy = correct.mean()
    _, number = np.unique(groups[test], return_inverse=True)
    by_galaxy = np.bincount(number, correct - accuracy)
    return float(accuracy), float(np.sqrt((by_galaxy**2).sum()) / len(test))


class PowerSpectrum(NamedTuple):
    """Power of spectra on small scales; arrays (K,), for K bins of wavenumber."""

    wavenumber: np.ndarray  # cycles per pixel, centres of the bins
    real: np.ndarray  # geometric mean over objects; 1 for the noise alone that ivar states
    fake: np.ndarray
    log_ratio: np.ndarray  # mean over objects of ln(fake / real)
    log_ratio_error: np.ndarray  # its standard error
    noise_ratio: float  # fake / real between 0.25 and 0.5 cycles per pixel: well below 1, noise is missing
    noise_ratio_error: float


def _residuals(real, fake, ivar) -> list[np.ndarray]:
    """Both sets (N, L) less their continuum, in units of typical noise; 0 where pixels are missing.

    The continuum is a running median, which passes narrow lines and spikes untouched and knows of no
    line list. Each spectrum is divided by its own flux scale, and each pixel by one number for all
    spectra, the median of the real ones' relative noise: so that real and fake are treated alike, and in
    red and blue alike. Dividing by each object's own noise would favour the real ones, whose it is.
    """
    real, fake, ivar = (np.asarray(a) for a in (real, fake, ivar))
    if not real.shape == fake.shape == ivar.shape or real.ndim != 2:
        what = f"real {real.shape}, fake {fake.shape} and ivar {ivar.shape} are not pairs of spectra"
        raise InputError("spectra", what)
    good = (ivar > 0) & np.isfinite(real) & np.isfinite(fake)
    keep = good.any(1)
    if keep.sum() < 2:
        raise InputError("spectra", "fewer than two pairs have a valid pixel")
    real, fake, ivar, good = real[keep], fake[keep], ivar[keep], good[keep]
    filled = [fill_missing(flux, good) for flux in (real, fake)]
    noise = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1)), np.nan) / _scale(filled[0])
    typical = np.nanmedian(np.where(good.any(0), noise, 1), axis=0)
    residuals = []
    for flux in filled:
        continuum = np.stack([median_filter(row, CONTINUUM_PIXELS) for row in flux])
        residuals.append(np.where(good, (flux - continuum) / _scale(flux) / typical, 0))
    return [*residuals, good]


def _log_ratio(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over objects (N, ...) of ln(fake / real), and its standard error."""
    ratio = np.log(fake / real)
    return ratio.mean(0), ratio.std(0, ddof=1) / np.sqrt(len(ratio))


def power_spectrum(real: np.ndarray, fake: np.ndarray, ivar: np.ndarray) -> PowerSpectrum:
    """Power on small scales of generated spectra beside the observed ones of the same objects.

    Of spectra less their continuum, the squared Fourier transform after a Hann window, averaged in bins of
    wavenumber. Noise rules the high wavenumbers and lines add to the low ones. Means are geometric, so that
    galaxies with strong lines and noisy ones count like all others; errors come from the scatter of
    differences between the two spectra of an object.

    Parameters
    ----------
    real, fake : array (N, L)
        Observed spectra, and one generated spectrum of each of the objects with noise like the observed.
        Each is divided by its own median: zero must mean no light.
    ivar : array (N, L)
        Of the observed. Pixels where it is 0 count in neither.

    Raises
    ------
    InputError
        If the shapes differ, or fewer than two pairs have a valid pixel.
    """
    *residuals, good = _residuals(real, fake, ivar)
    size = good.shape[1]
    window = hann(size, sym=False)
    weight = (good * window**2).sum(1, keepdims=True)
    power = [np.abs(rfft(x * window, axis=1)) ** 2 / weight + MIN_POWER for x in residuals]
    wavenumber = rfftfreq(size)
    number = np.digitize(wavenumber, np.geomspace(1 / CONTINUUM_PIXELS, 0.5, WAVENUMBER_BINS + 1)[:-1])
    bins = [number == k for k in range(1, WAVENUMBER_BINS + 1) if (number == k).any()]
    centres = np.array([wavenumber[b].mean() for b in bins])
    real, fake = (np.stack([p[:, b].mean(1) for b in bins], 1) for p in power)
    log_ratio, error = _log_ratio(real, fake)
    noise, noise_error = _log_ratio(*(p[:, wavenumber >= 0.25].mean(1) for p in power))
    return PowerSpectrum(
        centres,
        np.exp(np.log(real).mean(0)),
        np.exp(np.log(fake).mean(0)),
        log_ratio,
        error,
        float(np.exp(noise)),
        float(np.exp(noise) * noise_error),
    )


class Autocorrelation(NamedTuple):
    """Correlation of pixels that lie `lag` apart; arrays (K,), means over objects."""

    lag: np.ndarray  # pixels
    real: np.ndarray
    fake: np.ndarray
    difference: np.ndarray  # fake - real
    error: np.ndarray  # standard error of the difference


def autocorrelation(real: np.ndarray, fake: np.ndarray, ivar: np.ndarray, lags: int = 20) -> Autocorrelation:
    """Autocorrelation of spectra less their continuum: shows noise that resampling or a network has smoothed.

    Each spectrum is compared with its own variance, so that the amount of noise does not matter.

    Parameters
    ----------
    real, fake, ivar : array (N, L)
        As for `power_spectrum`, with the same errors.
    lags : int
        Largest lag in pixels.
    """
    *residuals, good = _residuals(real, fake, ivar)
    values = []
    for x in residuals:
        variance = np.maximum((x**2).sum(1) / good.sum(1), MIN_POWER)
        lagged = [_mean_product(x, good, lag) / variance for lag in range(1, lags + 1)]
        values.append(np.stack(lagged, 1))
    real, fake = values
    difference = fake - real
    error = difference.std(0, ddof=1) / np.sqrt(len(difference))
    return Autocorrelation(np.arange(1, lags + 1), real.mean(0), fake.mean(0), difference.mean(0), error)


def _mean_product(x: np.ndarray, good: np.ndarray, lag: int) -> np.ndarray:
    """Mean over valid pairs of pixels `lag` apart of their product, (N,)."""
    count = (good[:, lag:] & good[:, :-lag]).sum(1)
    return np.einsum("ij,ij->i", x[:, lag:], x[:, :-lag]) / np.maximum(count, 1)
