"""Base class of the networks of all families: the methods that training and storage call."""

from typing import Any

from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey

__all__ = ["Network"]


class Network(nn.Module):
    """A network with its preset, wavelength grid and survey.

    A network that `pix2spec train` can train has two more methods. ``prepare(batch, image_kind, rng, train)``
    makes the inputs of `forward`, and `forward` returns the loss; see
    `pix2spec.models.pixel.model.PixelDiffusion`.

    `load_model` first builds a network on torch's device ``meta``, whose tensors have no values, to compare
    shapes with the file. `__init__` must therefore not depend on the values of its tensors.

    Parameters
    ----------
    preset : Preset
        The settings.
    grid : SpectralGrid
        Wavelengths of the spectra.
    survey : Survey
        Bands and pixel scale of the photometry.
    """

    columns: tuple[str, ...] = ()  # columns of a dataset that `prepare` needs

    def __init__(self, preset: Any, grid: SpectralGrid, survey: Survey):
        super().__init__()
        self.preset, self.grid, self.survey = preset, grid, survey

    def parts(self) -> dict[str, tuple[nn.Module, tuple]]:
        """Parts by name, each with inputs for one object. `pix2spec info` counts their operations."""
        return {}

    def make_room(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Resize arrays whose shapes depend on the training set to `shapes`. Most networks have none."""
