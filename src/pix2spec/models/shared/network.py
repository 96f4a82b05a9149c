"""Base class of every family's network: what training, storage and the command line ask of one."""

from typing import Any

from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey

__all__ = ["Network"]


class Network(nn.Module):
    """A network with its preset, wavelength grid and survey.

    A network that `pix2spec train` can train also has ``prepare(batch, image_kind, rng, train)``, which gives
    the inputs of `forward`, and `forward` gives the loss; see `pix2spec.models.pixel.model.PixelDiffusion`.
    Loading first makes a network on torch's device ``meta``, to compare shapes with the file: `__init__` must
    not look at the numbers in its tensors.
    """

    columns: tuple[str, ...] = ()  # of a dataset that `prepare` needs

    def __init__(self, preset: Any, grid: SpectralGrid, survey: Survey):
        super().__init__()
        self.preset, self.grid, self.survey = preset, grid, survey

    def parts(self) -> dict[str, tuple[nn.Module, tuple]]:
        """Networks by name, each with inputs for one object; `pix2spec info` counts their operations."""
        return {}

    def make_room(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Take on the shapes of stored arrays that follow the training set; most networks have none."""
