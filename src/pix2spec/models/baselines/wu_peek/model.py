"""The method of Wu & Peek (2020, arXiv:2009.12318): predict the latent code of a spectrum from an image."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.scaling import fill_missing, minmax, robust
from pix2spec.core.survey import Survey
from pix2spec.models.baselines.wu_peek.autoencoder import InfoVAE, infovae_loss, softened_weight
from pix2spec.models.baselines.wu_peek.deconvolution import Deconvolution2d
from pix2spec.models.baselines.wu_peek.preset import WuPeekPreset
from pix2spec.models.shared.inputs import scale_image, view
from pix2spec.models.shared.network import Network
from pix2spec.runtime.distributed import gather
from pix2spec.runtime.random import BatchRng

__all__ = ["HybridNetwork", "WuPeekModel"]

PRIOR_DRAWS = 200  # draws from the prior, to compare the codes of a batch with (as in Portillo et al.)


class SqueezeExcitation(nn.Module):
    """Weight channels by their means over the image (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        narrow = 8 * math.ceil(channels / reduction / 8)
        self.squeeze = nn.Conv2d(channels, narrow, 1)
        self.excite = nn.Conv2d(narrow, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.mish(self.squeeze(pooled))))


class SimpleSelfAttention(nn.Module):
    """Mix channels by their correlation over the image. At the start of training, it is the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        correlation = flat @ flat.mT / flat.shape[-1]
        return x + self.gain * (correlation @ self.mix(flat)).view_as(x)


class ResidualBlock(nn.Module):
    """The basic block of an xresnet: grouped first convolution, squeeze and excitation, pooled shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, groups: int, reduction: int):
        super().__init__()
        groups = math.gcd(groups, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, groups=groups, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm2.weight)  # at the start, a block is its shortcut (He et al. 2019)
        self.excitation = SqueezeExcitation(channels, reduction)
        self.skip = nn.Sequential()
        if stride != 1:
            self.skip.append(nn.AvgPool2d(stride, ceil_mode=True))
        if channels_in != channels:
            self.skip.append(nn.Conv2d(channels_in, channels, 1, bias=False))
            self.skip.append(nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.mish(self.norm1(self.conv1(x)))
        return F.mish(self.excitation(self.norm2(self.conv2(h))) + self.skip(x))


class HybridNetwork(nn.Module):
    """An xresnet18 with network deconvolution in its stem and batch normalisation in its other layers.

    Parameters
    ----------
    bands : int
        Bands of the images.
    outputs : int
        Numbers to predict for each image.
    stem : tuple of int
        Channels of the deconvolution layers. The first layer halves the image.
    channels : tuple of int
        Channels of the stages, which have two residual blocks each. All stages but the first halve the image.
    groups : int
        Groups of the first convolution in a residual block.
    reduction : int
        Reduction of channels in squeeze and excitation.
    """

    def __init__(
        self,
        bands: int,
        outputs: int,
        stem: tuple[int, ...] = (32, 32, 64),
        channels: tuple[int, ...] = (64, 128, 256, 512),
        groups: int = 64,
        reduction: int = 8,
    ):
        super().__init__()
        layers, previous = [], bands
        for i, c in enumerate(stem):
            layers += [Deconvolution2d(previous, c, 3, stride=2 if i == 0 else 1), nn.Mish()]
            previous = c
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        for i, c in enumerate(channels):
            layers.append(ResidualBlock(previous, c, 1 if i == 0 else 2, groups, reduction))
            layers.append(ResidualBlock(c, c, 1, groups, reduction))
            if i == 0:
                layers.append(SimpleSelfAttention(c))
            previous = c
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(previous, outputs)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Predictions (B, outputs) of images (B, band, y, x)."""
        return self.head(self.features(image).mean((2, 3)))


class WuPeekModel(Network):
    """An autoencoder of spectra, and a network that predicts the latent code from the image.

    Wu & Peek train the image network on the codes of a trained autoencoder. Here one run trains both. The
    image network learns the codes of the current step. Its error sends no gradient to the autoencoder, which
    therefore learns as if it were alone. As in their work, the image network predicts standardised codes;
    `standard` holds running means and variances of the codes.
    """

    columns = ("image", "flux", "ivar")

    def __init__(self, preset: WuPeekPreset, grid: SpectralGrid, survey: Survey):
        super().__init__(preset, grid, survey)
        autoencoder = preset.autoencoder
        self.autoencoder = InfoVAE(grid.size, autoencoder.hidden, autoencoder.latent)
        bands = len(survey.image_bands)
        self.network = HybridNetwork(bands, autoencoder.latent, **preset.network.model_dump())
        self.standard = nn.BatchNorm1d(autoencoder.latent, affine=False)

    def prepare(self, batch: dict, image_kind: str, rng: BatchRng, train: bool) -> dict:
        """Make the inputs of `forward` from a batch. All random numbers come from `rng`."""
        data, latent = self.preset.data, self.preset.autoencoder.latent
        filled = fill_missing(batch["flux"], batch["ivar"])
        x, _, scale = minmax(filled) if data.spectrum == "minmax" else robust(filled, batch["ivar"])
        good = (batch["ivar"] > 0) & np.isfinite(batch["flux"])
        ivar = np.where(good, batch["ivar"] * scale**2, 0)  # inverse variance of x
        image = scale_image(batch["image"], image_kind, data.image)
        return {
            "image": view(image, data.resize, data.crop, rng if train else None),
            "x": torch.from_numpy(x.astype(np.float32)),
            "weight": softened_weight(
                torch.from_numpy(ivar.astype(np.float32)), self.preset.autoencoder.softening
            ),
            "noise": rng.normal(len(x), latent),
            "prior": torch.randn((PRIOR_DRAWS, latent), generator=rng.generator),
        }

    def forward(self, image, x, weight, noise, prior) -> torch.Tensor:
        """Training loss: the autoencoder's loss per pixel, plus the squared error of the predicted code."""
        settings = self.preset.autoencoder
        reconstruction, mean, log_variance, code = self.autoencoder(x, noise)
        if self.training:  # the MMD compares the codes of all processes with the prior
            code = gather(code)
        loss = infovae_loss(
            x, weight, reconstruction, mean, log_variance, code, prior, settings.alpha, settings.lam
        )
        wanted = self.standard(mean.detach())
        # The two networks share no weights: the relative scale of the terms affects only the reported loss.
        return loss / x.shape[1] + F.mse_loss(self.network(image), wanted)

    def predict(self, image: torch.Tensor) -> torch.Tensor:
        """Scaled spectra (B, L) of images (B, band, y, x). The model must be in evaluation mode."""
        code = self.network(image)
        norm = self.standard
        return self.autoencoder.decode(norm.running_mean + (norm.running_var + norm.eps).sqrt() * code)

    def parts(self) -> dict:
        """Autoencoder and image network."""
        crop = self.preset.data.crop
        spectrum, noise = torch.zeros(1, self.grid.size), torch.zeros(1, self.preset.autoencoder.latent)
        image = torch.zeros(1, len(self.survey.image_bands), crop, crop)
        return {
            "autoencoder": (self.autoencoder, (spectrum, noise)),
            "image network": (self.network, (image,)),
        }
