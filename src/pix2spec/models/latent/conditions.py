"""The condition of the default model: a cutout, band fluxes with errors, a redshift, in any combination.

Each of the three inputs is a token. A learned vector replaces a missing token. Training drops tokens at
random: one network then serves all combinations. It also learns the unconditional distribution, which
classifier-free guidance needs (Ho & Salimans 2022, arXiv:2207.12598).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pix2spec.core.photometry import aperture_weights
from pix2spec.core.scaling import from_lupton_rgb, lupton_rgb
from pix2spec.core.survey import Survey
from pix2spec.models.shared.inputs import SOFTENING, TOKENS
from pix2spec.runtime.random import BatchRng

__all__ = [
    "ConditionNetwork",
    "centre",
    "drop_tokens",
    "image_token",
    "redshift_token",
]

RADII = (0.8, 1.5, 2.4, 4.0, 6.5, 10.0)  # of apertures in arcsec; the second is the radius of the SDSS fibre


def centre(image: np.ndarray, size: int) -> np.ndarray:
    """Cut the central `size` x `size` pixels of images (..., y, x). Smaller images are padded with zeros."""
    out = np.zeros((*image.shape[:-2], size, size), np.float32)
    spans = []
    for length in image.shape[-2:]:
        margin = (length - size) // 2
        low, high = max(margin, 0), min(margin + size, length)
        spans.append((slice(low, high), slice(low - margin, high - margin)))
    (from_y, to_y), (from_x, to_x) = spans
    out[..., to_y, to_x] = image[..., from_y, from_x]
    return out


def image_token(image: np.ndarray, kind: str) -> dict[str, torch.Tensor]:
    """Make the image token of cutouts.

    The function inverts the stretch of composites. Flux that their clipping and rounding removed stays lost.

    Parameters
    ----------
    image : array (B, band, y, x)
        Nanomaggies per pixel, or composites from 0 to 255. A missing image is all NaN or all zero.
    kind : {"linear", "composite"}
        Kind of the images.

    Returns
    -------
    dict of tensor
        ``image`` (B, band, y, x): linear fluxes. ``lossy`` (B,): 1 for composites. ``has_image`` (B,): 1 if
        there is an image.
    """
    present = np.isfinite(image).all((1, 2, 3)) & (image != 0).any((1, 2, 3))
    linear = np.where(present[:, None, None, None], image, 0).astype(np.float32)
    if kind == "composite":
        linear = from_lupton_rgb(linear)
    lossy = np.full(len(image), float(kind == "composite"), np.float32)
    return {
        "image": torch.from_numpy(linear),
        "lossy": torch.from_numpy(lossy),
        "has_image": torch.from_numpy(present.astype(np.float32)),
    }


def redshift_token(z: np.ndarray, z_err: np.ndarray) -> dict[str, torch.Tensor]:
    """Make the redshift token.

    Parameters
    ----------
    z, z_err : array (B,)
        Redshifts, NaN where unknown, and their errors; 0 stands for a spectroscopic redshift.

    Returns
    -------
    dict of tensor
        ``redshift`` (B, 2): scaled redshift, and logarithm of the error. ``has_redshift`` (B,): 1 if known.
    """
    known = np.isfinite(z)
    error = np.clip(np.nan_to_num(z_err, nan=0.0), 1e-4, 0.3)
    columns = np.stack([np.where(known, z, 0) * 10, np.log10(error) + 2], axis=1).astype(np.float32)
    return {
        "redshift": torch.from_numpy(columns),
        "has_redshift": torch.from_numpy(known.astype(np.float32)),
    }


def drop_tokens(tokens: dict, rates: dict[str, float], rng: BatchRng) -> dict:
    """Drop tokens at random.

    Parameters
    ----------
    tokens : dict of tensor
        Of `image_token`, `photometry_token` and `redshift_token`.
    rates : dict of float
        Probability to drop each token of an object, and, under ``all``, to drop all of its tokens.
    rng : BatchRng
        Random numbers.
    """
    n = len(tokens["has_image"])
    nothing = rng.uniform(n) < rates["all"]
    dropped = dict(tokens)
    for name in TOKENS:
        keep = rng.uniform(n) >= rates[name]
        dropped[f"has_{name}"] = tokens[f"has_{name}"] * keep * ~nothing
    return dropped


def augment(tokens: dict, composites: float, rng: BatchRng) -> dict:
    """Rotate and mirror cutouts at random; give a fraction of them the losses of composites."""
    image, n = tokens["image"], len(tokens["image"])
    for axes in ((2,), (3,)):
        chosen = (rng.uniform(n) < 0.5)[:, None, None, None]
        image = torch.where(chosen, image.flip(axes), image)
    chosen = (rng.uniform(n) < 0.5)[:, None, None, None]
    image = torch.where(chosen, image.transpose(2, 3), image)
    lossy = (rng.uniform(n) < composites) & (tokens["lossy"] == 0)
    if lossy.any():
        image = image.clone()
        image[lossy] = torch.from_numpy(from_lupton_rgb(np.rint(lupton_rgb(image[lossy].numpy()))))
    return tokens | {"image": image, "lossy": torch.maximum(tokens["lossy"], lossy.float())}


class ResidualBlock2D(nn.Module):
    """A 3 x 3 convolution and a linear map of each pixel, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mix(F.silu(self.conv(self.norm(x))))


class ImageEncoder(nn.Module):
    """From cutouts (B, band, y, x) in nanomaggies to vectors (B, width).

    The input of the last layer is a small convolutional network's output and sums over apertures. The first
    layer maps patches of 4 x 4 pixels, and there is no batch normalisation: on CPUs, the network reaches
    twice the FLOP rate of a ResNet of the same cost.
    """

    def __init__(self, survey: Survey, size: int, channels: tuple[int, ...], blocks: int, width: int):
        super().__init__()
        bands = len(survey.image_bands)
        apertures = [aperture_weights((size, size), survey.pixel_scale, 2 * r) for r in RADII]
        self.register_buffer("apertures", torch.from_numpy(np.stack(apertures)), persistent=False)
        layers, previous = [], bands
        for i, c in enumerate(channels):
            patch = 4 if i == 0 else 2
            layers += [nn.Conv2d(previous, c, patch, patch), *(ResidualBlock2D(c) for _ in range(blocks))]
            previous = c
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(2 * previous + bands * len(RADII) + 1, width))

    def forward(self, image: torch.Tensor, lossy: torch.Tensor) -> torch.Tensor:
        x = self.layers(torch.asinh(image / 0.05) / 3)
        light = torch.asinh(torch.einsum("nbyx,ayx->nba", image, self.apertures) / (2 * SOFTENING))
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3)), light.flatten(1), lossy[:, None]], dim=1)
        return self.head(pooled)


class ConditionNetwork(nn.Module):
    """From tokens to one condition vector (B, width) per galaxy.

    Parameters
    ----------
    survey : Survey
        Bands and pixel scale.
    image_size : int
        Size of the cutouts in pixels.
    channels : tuple of int
        Channels of the stages of the image network.
    blocks : int
        Residual blocks per stage.
    width : int
        Length of the condition vector.
    """

    def __init__(
        self,
        survey: Survey,
        image_size: int = 64,
        channels: tuple[int, ...] = (32, 64, 128),
        blocks: int = 2,
        width: int = 256,
    ):
        super().__init__()
        self.width = width
        self.image = ImageEncoder(survey, image_size, channels, blocks, width)
        bands = len(survey.photometry_bands)
        self.photometry = nn.Sequential(nn.Linear(3 * bands, width), nn.SiLU(), nn.Linear(width, width))
        self.redshift = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.absent = nn.Parameter(0.02 * torch.randn(len(TOKENS), width, device="cpu"))
        self.mix = nn.Sequential(
            nn.SiLU(), nn.Linear(len(TOKENS) * width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
        """Conditions (B, width) from the tokens of `image_token`, `photometry_token`, `redshift_token`."""
        return self.join(self.vectors(tokens), tokens)

    def vectors(self, tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A vector (B, width) for each token."""
        if tokens["has_image"].any():
            image = self.image(tokens["image"], tokens["lossy"])
        else:  # skip the image network, which takes most of the time
            image = self.absent[:1].expand(len(tokens["lossy"]), -1)
        return {
            "image": image,
            "photometry": self.photometry(tokens["photometry"]),
            "redshift": self.redshift(tokens["redshift"]),
        }

    def join(self, vectors: dict[str, torch.Tensor], tokens: dict[str, torch.Tensor]) -> torch.Tensor:
        """Conditions (B, width) from the vectors of the tokens that are there."""
        seen = [
            torch.where(tokens[f"has_{name}"][:, None] > 0, vectors[name], self.absent[i])
            for i, name in enumerate(TOKENS)
        ]
        return self.mix(torch.cat(seen, dim=1))

    def at_redshifts(self, tokens: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
        """Conditions (B * n, width) of galaxies whose redshift is known to be each of `z` (B, n)."""
        n = z.shape[1]
        vectors = {name: v.repeat_interleave(n, dim=0) for name, v in self.vectors(tokens).items()}
        known = redshift_token(z.flatten().cpu().numpy(), np.zeros(z.numel()))
        known = {name: value.to(z.device) for name, value in known.items()}
        there = {f"has_{name}": tokens[f"has_{name}"].repeat_interleave(n, dim=0) for name in TOKENS}
        vectors["redshift"] = self.redshift(known["redshift"])
        return self.join(vectors, there | {"has_redshift": known["has_redshift"]})

    def nothing(self, n: int) -> torch.Tensor:
        """The condition (n, width) of n galaxies without any token."""
        return self.mix(self.absent.flatten().expand(n, -1))
