"""Noise of spectra: that of real spectra where these are bright, else that of the simulated survey."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pix2spec.models.latent.noise import NoiseModel, sampled_brightness
from pix2spec.models.latent.noise_stack import NoiseStack
from pix2spec.runtime.random import normal_rows

__all__ = ["EnsembleNoise", "SurveyNoise"]

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
        every = EnsembleNoise([self])
        numbers = normal_rows(len(clean), every.numbers, generators)
        which = torch.zeros(len(clean), dtype=torch.long, device=clean.device)
        return every.observed(clean, numbers, which).sub_(clean)


class EnsembleNoise:
    """Noise of an ensemble of networks.

    Parameters
    ----------
    noises : sequence of SurveyNoise
        Of each network. Models that are equal in several of them are kept once.
    """

    def __init__(self, noises: Sequence[SurveyNoise]):
        distinct: list[NoiseModel] = []
        places = []
        for noise in noises:
            for model in (noise.bright, noise.bright if noise.change[0] <= ALWAYS else noise.faint):
                alike = [k for k, other in enumerate(distinct) if _equal(model, other)]
                places.append(alike[0] if alike else len(distinct))
                distinct += [] if alike else [model]
        self.change = torch.stack([noise.change for noise in noises])
        self.place = torch.tensor(places, device=self.change.device).view(-1, 2)
        self.stack = NoiseStack(distinct)

    @property
    def numbers(self) -> int:
        """Normal numbers of which the noise of one spectrum is a function."""
        return self.stack.numbers + 1

    def observed(self, clean: Tensor, numbers: Tensor, which: Tensor, out: Tensor | None = None) -> Tensor:
        """Spectra (B, L) with noise.

        Parameters
        ----------
        clean : Tensor (B, L)
            Noise-free spectra.
        numbers : Tensor (B, `numbers` or more)
            Standard normal numbers.
        which : Tensor (B,), int64
            The network of each spectrum.
        out : Tensor (B, L), optional
            Receives the spectra.
        """
        bright, change = sampled_brightness(clean), self.change[which]
        share = torch.sigmoid((bright - change[:, 0]) / change[:, 1])
        is_faint = torch.special.ndtr(numbers[:, self.stack.numbers].to(clean.device)) >= share
        return self.stack.made(clean, bright, numbers, self.place[which, is_faint.long()], out)[0]


def _equal(one: NoiseModel, other: NoiseModel) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers()))
