"""Condition encoder tau_theta: image to tokens, a timm ResNet; or band fluxes to one token."""

import torch
from torch import nn

from pix2spec.errors import InputError
from pix2spec.models.shared.hub import fetch_pinned

__all__ = ["ConditionEncoder", "PhotometryEncoder", "image_network"]


def image_network(
    arch: str,
    channels: tuple[int, ...] | None,
    bands: int,
    pretrained: bool,
    revision: str | None = None,
    **kwargs,
):
    """A timm network for images with `bands` channels.

    `channels` narrows the four stages of a ResNet (the ``-small`` presets); None keeps timm's own.
    `pretrained` fetches ImageNet weights of the commit `revision` from the hub, which needs a network
    connection.
    """
    import timm

    narrow: dict = {"channels": tuple(channels)} if channels else {}
    if pretrained:
        narrow["pretrained_cfg_overlay"] = {"file": _pretrained_file(arch, revision)}
    return timm.create_model(arch, pretrained=pretrained, in_chans=bands, **narrow, **kwargs)


def _pretrained_file(arch: str, revision: str | None) -> str:
    import timm

    if revision is None:
        hint = f"set it to a full commit of {timm.get_pretrained_cfg(arch).hf_hub_id} on the hub"
        raise InputError("encoder.revision", "pretrained weights need one, so that they stay the same", hint)
    found = fetch_pinned(arch, revision)
    if found is None:
        raise InputError(arch, f"its weights of revision {revision[:12]} are neither here nor on the hub")
    return str(found[0])


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
        revision: str | None = None,
    ):
        super().__init__()
        self.network = image_network(
            arch, channels, bands, pretrained, revision, num_classes=0, global_pool=""
        )
        self.width = self.network.num_features

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, C) of images (B, band, y, x)."""
        return self.network(image).flatten(2).transpose(1, 2)


class PhotometryEncoder(nn.Module):
    """Features (B, C_in) of band fluxes to one token (B, 1, C): does the paper's model need the image?

    Parameters
    ----------
    features : int
        Length of `pix2spec.models.shared.inputs.photometry_token`'s columns.
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
