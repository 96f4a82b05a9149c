"""Networks with their data: what `pix2spec.train` trains and `pix2spec.generate` runs."""

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.models.baselines.mean import MeanModel
from pix2spec.models.baselines.neighbours import NeighboursModel
from pix2spec.models.baselines.regressor import RegressorModel
from pix2spec.models.baselines.wu_peek.model import WuPeekModel
from pix2spec.models.latent.model import FactorisedModel
from pix2spec.models.pixel.model import PixelDiffusion
from pix2spec.models.pixel.ranker import ContrastiveModel
from pix2spec.models.presets import Preset

__all__ = [
    "build_model",
]

KINDS = {
    "diffusion": PixelDiffusion,
    "contrastive": ContrastiveModel,
    "factorised": FactorisedModel,
    "wu-peek": WuPeekModel,
    "mean": MeanModel,
    "neighbours": NeighboursModel,
    "regressor": RegressorModel,
}
FITTED = ("mean", "neighbours", "regressor")  # tasks of their presets


def build_model(preset: Preset, grid: SpectralGrid, survey: Survey):
    """The network that a preset describes, with random weights."""
    return KINDS[preset.task](preset, grid, survey)
