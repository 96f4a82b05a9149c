"""Nearest neighbours: spectra of the training galaxies with the most similar features.

With the features of a network pretrained on ImageNet, this is ULISSE (Doorenbos et al. 2022, A&A 666:A171).
With aperture colours and sizes, or fluxes, it is a simple baseline, which any network should beat.
"""

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.models.baselines.features import ApertureFeatures
from pix2spec.models.baselines.preset import NeighboursPreset
from pix2spec.models.baselines.search import nearest
from pix2spec.models.baselines.training_spectra import as_float16, training_spectra
from pix2spec.models.shared.network import Network

__all__ = ["NeighboursModel"]

ARRAYS = ("index", "spectra", "groups", "centre", "axes")  # their sizes depend on the training set
SAMPLE = 32_768  # maximum number of galaxies for the fit of principal components


class NeighboursModel(Network):
    """Features and spectra of the training galaxies, and the search for neighbours.

    For N galaxies, the model stores the index (N, D) of features in float32, the median-scaled spectra (N, L)
    in float16, and hashes (N,) of the objects' names. With the hashes, it excludes a galaxy's own spectra.
    """

    is_point = False

    def __init__(self, preset: NeighboursPreset, grid: SpectralGrid, survey: Survey):
        super().__init__(preset, grid, survey)
        self.features: Any
        self.sees = ("image",) if preset.features == "network" else (preset.features,)
        if preset.features == "network":
            from pix2spec.models.baselines.pretrained import PretrainedFeatures  # imports timm

            self.features = PretrainedFeatures(preset.network)
        else:
            self.features = ApertureFeatures(self.sees, preset.image, survey)
        self.columns = ("group_id", *self.features.columns)
        self.register_buffer("index", torch.zeros(0, 0))
        self.known_squares: torch.Tensor | None = None
        self.register_buffer("spectra", torch.zeros(0, grid.size, dtype=torch.float16))
        self.register_buffer("groups", torch.zeros(0, dtype=torch.int64))
        # the largest number of spectra of one object
        self.register_buffer("repeats", torch.zeros((), dtype=torch.int64))
        if preset.components:
            self.register_buffer("centre", torch.zeros(0))
            self.register_buffer("axes", torch.zeros(0, preset.components))

    def make_room(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Resize the arrays to `shapes`.

        Raises
        ------
        InputError
            If the shapes do not agree with each other or with the grid.
        """
        own = [name for name in ARRAYS if name in self._buffers and name in shapes]
        rows = {shapes[name][:1] for name in own[:3]}
        if len(rows) > 1 or ("spectra" in own and shapes["spectra"][1:] != (self.grid.size,)):
            raise InputError("model.safetensors", "its arrays are of different sizes", "fit the method again")
        for name in own:
            setattr(self, name, self.get_buffer(name).new_empty(shapes[name]))

    def fit(self, dataset: Dataset, progress: bool = False) -> int:
        """Store features and spectra of the galaxies in `dataset`; return their number.

        Raises
        ------
        InputError
            If the dataset has no spectra, or lacks the images or fluxes for the features.
        """
        if "image" in self.columns and dataset.info.image_kind is None:
            raise InputError(dataset.path, "the dataset has no images, but this method compares images")
        spectra = np.empty((min(len(dataset), self.preset.limit), self.grid.size), np.float16)
        measured: Any = None
        groups: Any = []
        count = 0
        for batch, x in training_spectra(dataset, self.columns, self.preset.limit, progress):
            features, rows = (
                self.features.measure(batch, dataset.info.image_kind),
                slice(count, count + len(x)),
            )
            if measured is None:
                measured = np.empty((len(spectra), features.shape[1]), np.float32)
            measured[rows], spectra[rows] = features, as_float16(x)
            groups.append(_hashes(batch["group_id"]))
            count += len(x)
        if not count:
            raise InputError(dataset.path, "no galaxy in the dataset has a spectrum")
        measured, groups = measured[:count], np.concatenate(groups)
        if len(np.unique(groups)) < 2:
            raise InputError(dataset.path, "the dataset holds a single object, which has no neighbours")
        self.features.fit(measured)
        if self.preset.components:
            self._fit_axes(self._scaled(measured[:: -(-count // SAMPLE)]))
        self.known_squares = None
        self.index = torch.cat([self.embed(measured[i : i + SAMPLE]) for i in range(0, count, SAMPLE)])
        self.spectra = torch.from_numpy(spectra[:count]).to(self.index.device)
        self.groups = torch.from_numpy(groups).to(self.index.device)
        self.repeats.fill_(int(np.unique(groups, return_counts=True)[1].max()))
        return count

    def _fit_axes(self, x: torch.Tensor) -> None:
        components = self.preset.components or 0
        if components > min(x.shape):
            what = (
                f"{components} components are too many for {x.shape[0]} galaxies with {x.shape[1]} features"
            )
            raise InputError("components", what, f"use {min(x.shape)} at most, or null for all features")
        self.centre = x.mean(0)
        _, vectors = torch.linalg.eigh(torch.cov(x.T))  # in order of increasing variance
        self.axes = vectors[:, -components:].flip(1).contiguous()

    def _scaled(self, measured: np.ndarray) -> torch.Tensor:
        x = self.features(measured).to(self.index.device)
        # On the unit sphere, the Euclidean distance d gives the cosine similarity: cos = 1 - d^2 / 2.
        return F.normalize(x) if self.preset.metric == "cosine" else x

    def embed(self, measured: np.ndarray) -> torch.Tensor:
        """Map features (N, F) to points (N, D). The search compares their Euclidean distances."""
        x = self._scaled(measured)
        return (x - self.centre) @ self.axes if self.preset.components else x

    @torch.inference_mode()
    def neighbours(
        self, batch: dict, image_kind: str | None = None, n: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest training galaxies.

        Parameters
        ----------
        batch : dict of array
            The model's `columns` of N galaxies.
        image_kind : {"linear", "composite"}
            Kind of the images.
        n : int, optional
            Number of neighbours, by default the preset's k.

        Returns
        -------
        found : array (N, m)
            Positions in the training set, nearest first; m is the smallest of `n`, k and the size of the
            training set.
        distance : array (N, m)
            Distances. Spectra of the galaxy itself are at infinite distance, and so come last. They appear
            only if the training set has too few other galaxies.
        """
        m = min(n or self.preset.k, self.preset.k, len(self.spectra))
        reach = min(m + int(self.repeats), len(self.spectra))
        found, distance = nearest(
            self.index, self.embed(self.features.measure(batch, image_kind)), reach, self._squares()
        )
        own = torch.from_numpy(_hashes(batch["group_id"])).to(found.device)
        distance = distance.masked_fill(self.groups[found] == own[:, None], torch.inf)
        distance, order = distance.sort(stable=True, dim=1)
        return found.gather(1, order)[:, :m].cpu().numpy(), distance[:, :m].cpu().numpy()

    def _squares(self) -> torch.Tensor:
        """Squared lengths (N,) of the points in the index. The first search computes them."""
        known = self.known_squares
        if known is None or known.shape != self.index.shape[:1] or known.device != self.index.device:
            self.known_squares = (self.index**2).sum(1)
        return self.known_squares

    def predict(self, batch: dict, image_kind: str | None = None, n: int | None = None):
        """Spectra and similarities of the neighbours. The parameters are those of `neighbours`.

        Returns
        -------
        spectra : array (N, m, L), float32
            Median-scaled, nearest first.
        scores : array (N, m)
            Cosine similarities, or negative distances; minus infinity for the galaxy itself.
        """
        found, distance = self.neighbours(batch, image_kind, n)
        scores = 1 - distance**2 / 2 if self.preset.metric == "cosine" else -distance
        return self.spectra[torch.from_numpy(found)].float().cpu().numpy(), scores

    def parts(self) -> dict:
        """The pretrained network, if the features come from one."""
        return self.features.parts() if self.preset.features == "network" else {}


def _hashes(groups) -> np.ndarray:
    """Hash names to int64 (N,), because safetensors stores no strings."""
    digests = [hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in groups]
    return np.frombuffer(b"".join(digests), "<i8").astype(np.int64)
