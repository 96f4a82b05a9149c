"""Noise of spectra: that of real spectra where these are bright, else that of the simulated survey."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pix2spec.models.latent.noise import NoiseModel, sampled_brightness
from pix2spec.runtime.random import normal_rows

__all__ = ["SurveyNoise"]

ALWAYS = -1e6  # logarithm of a median flux: all spectra are brighter


class SurveyNoise(nn.Module):
    """Two noise models, of which one is drawn for each spectrum.

    The real spectra that the model learnt from are bright; of fainter ones, only the simulated survey tells
    the noise. In between, either may be drawn.

    Parameters
    ----------
    size : int
        Number L of pixels of a spectrum.

    Attributes
    ----------
    bright, faint : NoiseModel
        Learnt from real and from simulated spectra.
    change : Tensor (2,)
        Logarithm of the median flux (1e-17 erg/s/cm2/A) at which both are as likely, and its scale.
    """

    def __init__(self, size: int):
        super().__init__()
        self.bright, self.faint = NoiseModel(size), NoiseModel(size)
        self.register_buffer("change", torch.tensor([ALWAYS, 1.0]))

    @classmethod
    def of(
        cls, bright: NoiseModel, faint: NoiseModel | None = None, change: float = 0.0, scale: float = 1.0
    ) -> "SurveyNoise":
        """Two models, which are as likely at a median flux of `change`; or one for all spectra."""
        made = cls(bright.law.shape[1])
        made.bright = bright
        if faint is not None:
            made.faint = faint
            made.change.copy_(torch.tensor([math.log(change), scale]))
        return made

    def sample(self, clean: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw noise (B, L) for noise-free spectra (B, L); `generators` as in `NoiseModel.sample`."""
        count = self.bright.numbers
        numbers = normal_rows(len(clean), count + 1, generators)
        bright = sampled_brightness(clean)
        share = torch.sigmoid((bright - self.change[0]) / self.change[1]).cpu()
        is_bright = torch.special.ndtr(numbers[:, count]) < share
        if is_bright.all():
            return self.bright.made(clean, bright, numbers)[0]
        noise = torch.empty_like(clean)
        for model, rows in ((self.bright, is_bright), (self.faint, ~is_bright)):
            which = torch.nonzero(rows)[:, 0]
            noise[which] = model.made(clean[which], bright[which], numbers[which])[0]
        return noise
