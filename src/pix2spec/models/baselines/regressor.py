"""Regression from colours, sizes and fluxes to principal components of spectra, linear or with an MLP."""

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.models.baselines.features import ApertureFeatures
from pix2spec.models.baselines.preset import RegressorPreset
from pix2spec.models.baselines.training_spectra import training_spectra
from pix2spec.models.shared.network import Network

__all__ = ["RegressorModel"]

MAX_EPOCHS = 60  # of the MLP. It stops earlier if a held-out tenth of the galaxies no longer improves.


class RegressorModel(Network):
    """One smooth spectrum per galaxy: an estimate of the mean spectrum of galaxies with its photometry."""

    is_point = True

    def __init__(self, preset: RegressorPreset, grid: SpectralGrid, survey: Survey):
        super().__init__(preset, grid, survey)
        self.sees = preset.features
        self.features = ApertureFeatures(preset.features, preset.image, survey)
        self.columns = self.features.columns
        size = self.features.size
        size += size * (size + 1) // 2 if preset.degree == 2 else 0
        widths = (size, *preset.hidden, preset.components)
        layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.network = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.zeros(grid.size))
        self.register_buffer("components", torch.zeros(preset.components, grid.size))
        # standard deviations of the coefficients
        self.register_buffer("deviation", torch.ones(preset.components))

    def fit(self, dataset: Dataset, progress: bool = False) -> int:
        """Fit principal components and regression to `dataset`; return the number of spectra used.

        Raises
        ------
        InputError
            If there are too few spectra, or if the dataset lacks the images or fluxes for the features.
        """
        try:
            from sklearn.decomposition import PCA
        except ImportError:
            raise InputError(
                self.preset.name, "fitting needs scikit-learn", 'pip install "pix2spec[floors]"'
            ) from None
        if "image" in self.columns and dataset.info.image_kind is None:
            raise InputError(dataset.path, "the dataset has no images, but this method measures images")
        measured: Any = []
        spectra: Any = []
        for batch, x in training_spectra(dataset, self.columns, self.preset.limit, progress):
            measured.append(self.features.measure(batch, dataset.info.image_kind))
            spectra.append(x)
        if not spectra:
            raise InputError(dataset.path, "no galaxy in the dataset has a spectrum")
        measured, spectra = np.concatenate(measured), np.concatenate(spectra)
        if len(spectra) < max(self.preset.components, 2):
            what = f"{len(spectra)} spectra are too few for {self.preset.components} components"
            raise InputError(dataset.path, what)
        self.features.fit(measured)
        pca = PCA(self.preset.components, random_state=self.preset.seed).fit(spectra)
        coefficients = pca.transform(spectra)
        deviation = coefficients.std(0)
        deviation[deviation <= 0] = 1
        x = self._polynomial(self.features(measured)).cpu().numpy().astype(float)
        self._regress(x, coefficients / deviation)
        for own, values in (
            (self.mean, pca.mean_), (self.components, pca.components_), (self.deviation, deviation),
        ):  # fmt: skip
            own.copy_(torch.from_numpy(values))
        return len(spectra)

    def _polynomial(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, F), with their products if the degree is 2."""
        if self.preset.degree == 1:
            return x
        first, second = torch.triu_indices(x.shape[1], x.shape[1])
        return torch.cat([x, x[:, first] * x[:, second]], 1)

    def _regress(self, x: np.ndarray, y: np.ndarray) -> None:
        """Fit the layers to map x (N, F) to y (N, components)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import Ridge
        from sklearn.neural_network import MLPRegressor

        if self.preset.hidden:
            model = MLPRegressor(
                hidden_layer_sizes=self.preset.hidden, alpha=self.preset.penalty, early_stopping=True,
                random_state=self.preset.seed, max_iter=MAX_EPOCHS,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # MAX_EPOCHS is enough
                model.fit(x, y if y.shape[1] > 1 else y[:, 0])
            fitted = list(zip((w.T for w in model.coefs_), model.intercepts_))
        else:
            model = Ridge(alpha=self.preset.penalty).fit(x, y)
            fitted = [(model.coef_, model.intercept_)]
        for layer, (weight, bias) in zip(self.network[::2], fitted):
            layer.weight.data.copy_(torch.from_numpy(weight))
            layer.bias.data.copy_(torch.from_numpy(np.asarray(bias)))

    @torch.inference_mode()
    def predict(self, batch: dict, image_kind: str | None = None, n: int = 1):
        """Median-scaled spectra (N, 1, L), one per galaxy, and None for the scores."""
        x = self._polynomial(self.features(self.features.measure(batch, image_kind)))
        spectra = self.mean + (self.network(x) * self.deviation) @ self.components
        return spectra[:, None].cpu().numpy(), None

    def parts(self) -> dict:
        """The regression network."""
        return {"regressor": (self.network, (torch.zeros(1, self.network[0].in_features),))}
