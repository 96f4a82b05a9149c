"""What any generator has to beat: the mean spectrum, and the spectra of look-alikes."""

import numpy as np

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.evaluate.metrics import to_minmax
from pix2spec.normalise import fill_missing, robust
from pix2spec.photometry import aperture_weights

__all__ = ["MeanSpectrum", "NearestNeighbours", "feature_source", "image_features", "photometry_features"]

CHUNK = 256
RADII = (1.5, 3.0, 5.0, 8.0)  # arcsec; the first is SDSS's fibre
SOFTENING = {"linear": 0.3, "composite": 30.0}  # near the noise of an aperture sum, for the asinh


def photometry_features(photometry: np.ndarray, ivar: np.ndarray, middle: int = 2) -> np.ndarray:
    """Colours of neighbouring bands and one magnitude, (N, bands); NaN where a band is missing.

    Magnitudes are asinh magnitudes (Lupton et al. 1999, AJ 118:1406), so that fluxes may be negative.

    Parameters
    ----------
    photometry, ivar : array (N, bands)
        Fluxes in nanomaggies and their inverse variances.
    middle : int
        The band whose magnitude is kept: r of ugriz.
    """
    magnitude = np.arcsinh(np.where(ivar > 0, photometry, np.nan) / (2 * SOFTENING["linear"]))
    return np.hstack([np.diff(magnitude, axis=1), magnitude[:, middle : middle + 1]])


def image_features(image: np.ndarray, kind: str, pixel_scale: float) -> np.ndarray:
    """Colours in a 3" aperture, its brightness, and the growth of light with radius, (N, features).

    Parameters
    ----------
    image : array (N, bands, y, x)
        Nanomaggies per pixel, or 0 to 255.
    kind : str
        ``"linear"`` or ``"composite"``.
    pixel_scale : float
        Arcsec per pixel.
    """
    image = np.nan_to_num(np.asarray(image, np.float32))
    if kind == "composite":  # its sky is not zero
        border = np.concatenate([image[..., 0, :], image[..., -1, :], image[..., 0], image[..., -1]], -1)
        image = image - np.median(border, -1)[..., None, None]
    inside = np.stack([aperture_weights(image.shape[-2:], pixel_scale, 2 * r) for r in RADII])
    apertures = np.einsum("nbyx,ayx->nba", image, inside)
    brightness = np.arcsinh(apertures / (2 * SOFTENING[kind]))
    middle = brightness[:, image.shape[1] // 2]
    return np.hstack([np.diff(brightness[..., 0], axis=1), middle[:, :1], np.diff(middle, axis=1)])


def feature_source(*sets: Dataset) -> str:
    """``"photometry"`` if the first pairs of all `sets` have it, else ``"image"``."""
    first = [s.batch(np.arange(min(len(s), CHUNK)), ["photometry_ivar"])["photometry_ivar"] for s in sets]
    return "photometry" if all((ivar > 0).any(1).mean() > 0.5 for ivar in first) else "image"


def training_spectra(dataset: Dataset, columns: list[str], limit: int, seed: int = 0):
    """Batches of at most `limit` training pairs with a spectrum, spread over the whole `dataset`.

    Yields
    ------
    batch : dict
        The `columns`, and flux and ivar.
    x : array (n, L), float32
        Median-scaled flux; holes are interpolated.
    """
    index = np.arange(len(dataset))
    if len(index) > limit:
        index = np.sort(np.random.default_rng(seed).choice(index, limit, replace=False))
    for start in range(0, len(index), CHUNK):
        batch = dataset.batch(index[start : start + CHUNK], [*columns, "flux", "ivar"])
        keep = (batch["ivar"] > 0).any(1) & np.isfinite(np.where(batch["ivar"] > 0, batch["flux"], 0)).all(1)
        batch = {name: values[keep] for name, values in batch.items()}
        if keep.any():
            scale = robust(batch["flux"], batch["ivar"])[2]
            yield batch, (fill_missing(batch["flux"], batch["ivar"]) / scale).astype(np.float32)


class MeanSpectrum:
    """The mean training spectrum, whatever the object.

    Parameters
    ----------
    limit : int
        Training pairs to use at most.
    """

    def __init__(self, limit: int = 20000):
        self.limit = limit

    def fit(self, dataset: Dataset) -> "MeanSpectrum":
        """Average the spectra of `dataset`, both median-scaled and scaled to [-1, 1]."""
        count, scaled, minmaxed = 0, 0.0, 0.0
        for _, x in training_spectra(dataset, [], self.limit):
            count += len(x)
            scaled = scaled + x.sum(0, dtype=float)
            minmaxed = minmaxed + to_minmax(x, np.ones_like(x)).sum(0, dtype=float)
        if not count:
            raise InputError(dataset.path, "no pair of it has a spectrum")
        self.spectrum = (scaled / count).astype(np.float32)
        self.minmax_spectrum = (minmaxed / count).astype(np.float32)
        return self

    def predict(self, batch: dict, scale: str = "median") -> np.ndarray:
        """Repeat the mean spectrum for each object: (N, L).

        `scale` is ``"median"``, or ``"minmax"`` for the mean of the spectra scaled to [-1, 1].
        """
        n = len(next(iter(batch.values())))
        mean = self.spectrum if scale == "median" else self.minmax_spectrum
        return np.broadcast_to(mean, (n, len(mean)))


class NearestNeighbours:
    """The spectra of the training galaxies whose photometry is nearest.

    An empirical conditional distribution: colours and a magnitude if there is photometry, else aperture
    colours and sizes from the image, each in units of its scatter.

    Parameters
    ----------
    k : int
        Neighbours, each a candidate spectrum.
    limit : int
        Training pairs to use at most; they are held in memory (14 kB each).
    source : {"photometry", "image"}, optional
        What the features come from; by default, what the training set has.
    """

    def __init__(self, k: int = 25, limit: int = 20000, source: str | None = None):
        self.k, self.limit, self.source = k, limit, source

    @property
    def columns(self) -> list[str]:
        """Columns that `predict` needs."""
        return [
            "group_id",
            *(["photometry", "photometry_ivar"] if self.source == "photometry" else ["image"]),
        ]

    def fit(self, dataset: Dataset) -> "NearestNeighbours":
        """Remember features and median-scaled spectra of `dataset`."""
        from scipy.spatial import cKDTree

        self.source = self.source or feature_source(dataset)
        self.info = dataset.info
        spectra, features, groups = [], [], []
        for batch, x in training_spectra(dataset, self.columns, self.limit):
            spectra.append(x)
            features.append(self._features(batch))
            groups.append(batch["group_id"])
        if not spectra:
            raise InputError(dataset.path, "no pair of it has a spectrum")
        self.spectra, self.groups = np.concatenate(spectra), np.concatenate(groups)
        features = np.concatenate(features)
        known = np.isfinite(features)
        count = np.maximum(known.sum(0), 1)
        self.mean = np.where(known, features, 0).sum(0) / count
        variance = np.where(known, (features - self.mean) ** 2, 0).sum(0) / count
        self.deviation = np.sqrt(np.where(variance > 0, variance, 1))
        self.tree = cKDTree(self._standardise(features))
        return self

    def _features(self, batch: dict) -> np.ndarray:
        survey = self.info.survey
        if self.source == "photometry":
            middle = survey.photometry_bands.index("r") if "r" in survey.photometry_bands else 0
            return photometry_features(batch["photometry"], batch["photometry_ivar"], middle)
        if self.info.image_kind is None:
            raise InputError("nearest neighbours", "the data have neither photometry nor images")
        return image_features(batch["image"], self.info.image_kind, survey.pixel_scale)

    def _standardise(self, features: np.ndarray) -> np.ndarray:
        return np.nan_to_num((features - self.mean) / self.deviation)  # missing: as the average object

    def neighbours(self, batch: dict) -> np.ndarray:
        """Indices (N, k) of the nearest training galaxies, never the object itself or a repeat of it.

        A training set of fewer than k gives what it has.
        """
        k = min(self.k, len(self.spectra))
        near = min(k + 8, len(self.spectra))  # room for repeats
        found = self.tree.query(self._standardise(self._features(batch)), k=near)[1].reshape(-1, near)
        same = self.groups[found] == np.asarray(batch["group_id"], object)[:, None]
        return np.take_along_axis(found, np.argsort(same, axis=1, kind="stable"), 1)[:, :k]

    def predict(self, batch: dict) -> np.ndarray:
        """Median-scaled spectra of the neighbours, nearest first: (N, k, L)."""
        return self.spectra[self.neighbours(batch)]
