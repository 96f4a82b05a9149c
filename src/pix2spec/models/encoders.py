"""Condition encoder tau_theta: image to tokens, a timm ResNet; or band fluxes to one token."""

import timm
import torch
from torch import nn

__all__ = ["ConditionEncoder", "PhotometryEncoder", "image_network"]


def image_network(arch: str, channels: tuple[int, ...] | None, bands: int, pretrained: bool, **kwargs):
    """A timm network for images with `bands` channels.

    `channels` narrows the four stages of a ResNet (the ``-small`` presets); None keeps timm's own.
    `pretrained` fetches ImageNet weights from the hub, which needs a network connection.
    """
    narrow = {"channels": tuple(channels)} if channels else {}
    return timm.create_model(arch, pretrained=pretrained, in_chans=bands, **narrow, **kwargs)


class ConditionEncoder(nn.Module):
    """Image (B, band, y, x) to tokens (B, T, C): the last feature map, one token a position.

    A 64 x 64 image through ResNet-18 gives the paper's 2 x 2 x 512 map, hence four tokens.
    """

    def __init__(
        self,
        arch: str = "resnet18",
        channels: tuple[int, ...] | None = None,
        bands: int = 3,
        pretrained: bool = False,
    ):
        super().__init__()
        self.network = image_network(arch, channels, bands, pretrained, num_classes=0, global_pool="")
        self.width = self.network.num_features

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, C) of images (B, band, y, x)."""
        return self.network(image).flatten(2).transpose(1, 2)


class PhotometryEncoder(nn.Module):
    """Features (B, C_in) of band fluxes to one token (B, 1, C): does the paper's model need the image?

    Parameters
    ----------
    features : int
        Length of `pix2spec.models.conditions.photometry_token`'s columns.
    channels : tuple of int
        Widths of the layers; the last is the token's.
    """

    def __init__(self, features: int, channels: tuple[int, ...] | None = None):
        super().__init__()
        layers = []
        for width in channels or (512, 512):
            layers += [nn.Linear(features, width), nn.SiLU()]
            features = width
        self.layers = nn.Sequential(*layers[:-1])
        self.width = features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 1, C) of features (B, C_in)."""
        return self.layers(features)[:, None]
