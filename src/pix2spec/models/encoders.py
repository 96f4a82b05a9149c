"""Condition encoder tau_theta: image to tokens, a timm ResNet."""

import timm
import torch
from torch import nn

__all__ = ["ConditionEncoder", "image_network"]


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
