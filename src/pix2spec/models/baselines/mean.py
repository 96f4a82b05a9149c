"""The mean training spectrum: a baseline that ignores the galaxy's photometry."""

import numpy as np
import torch

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.scaling import minmax
from pix2spec.core.survey import Survey
from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.models.baselines.preset import MeanPreset
from pix2spec.models.baselines.training_spectra import training_spectra
from pix2spec.models.shared.network import Network

__all__ = ["MeanModel"]


class MeanModel(Network):
    """The mean training spectrum, for every galaxy."""

    is_point, sees, columns = True, (), ()

    def __init__(self, preset: MeanPreset, grid: SpectralGrid, survey: Survey):
        super().__init__(preset, grid, survey)
        self.register_buffer("spectrum", torch.zeros(grid.size))
        self.register_buffer("minmax_spectrum", torch.zeros(grid.size))

    def fit(self, dataset: Dataset, progress: bool = False) -> int:
        """Average the spectra of `dataset`, median-scaled and scaled to [-1, 1]; return their number."""
        count, scaled, minmaxed = 0, 0.0, 0.0
        for _, x in training_spectra(dataset, (), self.preset.limit, progress):
            count += len(x)
            scaled = scaled + x.sum(0, dtype=float)
            minmaxed = minmaxed + minmax(x)[0].sum(0, dtype=float)
        if not count:
            raise InputError(dataset.path, "no galaxy in the dataset has a spectrum")
        self.spectrum.copy_(torch.from_numpy(scaled / count))
        self.minmax_spectrum.copy_(torch.from_numpy(minmaxed / count))
        return count

    def predict(self, batch: dict, image_kind: str | None = None, n: int = 1):
        """Repeat the mean for each galaxy: median-scaled spectra (N, 1, L), and None for the scores."""
        mean = self.spectrum.cpu().numpy()
        return np.broadcast_to(mean, (len(batch["group_id"]), 1, len(mean))), None
