"""The shape model: the type of a galaxy from its picture, and the type from emission lines.

Photometry leaves open how strong emission lines are; a picture that shows a spiral or an elliptical galaxy
says more. By Bayes' theorem, with the type M and a picture that depends on M alone,

    p(spectrum | photometry, picture) ~ p(spectrum | photometry) sum_M p(picture | M) p(M | spectrum)

so that candidates of the photometric model need a weight each. Both factors are learnt from real galaxies:
the first from pictures with types, the second from spectra with types.
"""

import numpy as np
import torch
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.models.latent.conditions import ResidualBlock2D
from pix2spec.models.latent.line_profiles import EmissionLines
from pix2spec.models.shape.preset import ShapePreset
from pix2spec.models.shape.view import NUMBERS, SIDE, ShapeView, shape_view
from pix2spec.models.shared.device import to_device
from pix2spec.models.shared.network import Network

__all__ = ["ShapeModel"]

LIMIT = 4.0  # of numbers, in standard deviations
SURE = 4.0  # largest logit of a type that is believed: pictures mislead in 2 % of cases at least


class ShapeModel(Network):
    """A small convolutional network over views of pictures, and a logistic regression over emission lines.

    Parameters
    ----------
    preset : ShapePreset
        The settings.
    grid : SpectralGrid
        Its step is that of the lines' profiles.
    survey : Survey
        Bands of the pictures.
    """

    def __init__(self, preset: ShapePreset, grid: SpectralGrid, survey: Survey = SDSS):
        super().__init__(preset, grid, survey)
        layers, previous = [], 3
        for k, c in enumerate(preset.channels):
            patch = 4 if k == 0 else 2
            layers += [nn.Conv2d(previous, c, patch, patch), ResidualBlock2D(c)]
            previous = c
        width = preset.width
        self.layers = nn.Sequential(*layers)
        inlet = nn.Linear(2 * previous + NUMBERS, 2 * width)
        self.head = nn.Sequential(nn.SiLU(), inlet, nn.SiLU(), nn.Linear(2 * width, width))
        self.early = nn.Sequential(nn.SiLU(), nn.Linear(width, 1))
        lines = 1 + len(EmissionLines(grid.step))  # with their width
        for name, length in (("number", NUMBERS), ("line", lines)):
            self.register_buffer(f"{name}_mean", torch.zeros(length))
            self.register_buffer(f"{name}_sd", torch.ones(length))
        self.register_buffer("line_weight", torch.zeros(preset.folds, lines))
        self.register_buffer("line_bias", torch.zeros(preset.folds))

    def parts(self) -> dict:
        """The network over views."""
        view = ShapeView(torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, NUMBERS))
        return {"shape network": (self, (view,))}

    def embed(self, view: ShapeView) -> torch.Tensor:
        """Vectors (N, width) that describe views."""
        x = self.layers(view.image)
        numbers = ((view.numbers - self.number_mean) / self.number_sd).clamp(-LIMIT, LIMIT)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3)), numbers], 1))

    def forward(self, view: ShapeView) -> torch.Tensor:
        """Logits (N,) of early types, where both types are as frequent."""
        return self.early(self.embed(view))[:, 0]

    @torch.no_grad()
    def of_pictures(self, images: np.ndarray, scale: np.ndarray) -> torch.Tensor:
        """Logits (N,) of early types, of linear pictures (N, 3, y, x) with arcsec per pixel `scale` (N,)."""
        device = self.number_mean.device
        scales = to_device(scale.astype(np.float32), device)
        return self(shape_view(to_device(images, device), scales))

    def of_lines(self, lines: torch.Tensor, fold: int = -1) -> torch.Tensor:
        """Logits (...,) of early types, of lines.

        Parameters
        ----------
        lines : tensor (..., L)
            asinh line fluxes and log10 of their width: the last places of a coefficient vector.
        fold : int
            Of the real spectra, which the regression must not have seen; -1: the mean of all regressions.
        """
        chosen = slice(None) if fold < 0 else slice(fold, fold + 1)
        x = ((lines - self.line_mean) / self.line_sd).clamp(-LIMIT, LIMIT)
        return x @ self.line_weight[chosen].mean(0) + self.line_bias[chosen].mean()

    @torch.no_grad()
    def log_weights(self, pictured: torch.Tensor, lines: torch.Tensor, fold: int = -1) -> torch.Tensor:
        """Log weights (N, n) of candidates, at most 0.

        Parameters
        ----------
        pictured : tensor (N,)
            From `of_pictures`; NaN where there is no picture.
        lines : tensor (N, n, L), and fold
            As for `of_lines`.
        """
        early = self.of_lines(lines, fold)
        logit = pictured.clamp(-SURE, SURE)[:, None]
        log = nn.functional.logsigmoid
        weights = torch.logaddexp(log(early) + log(logit), log(-early) + log(-logit))
        return torch.nan_to_num(weights, nan=0.0)
