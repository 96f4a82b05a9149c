"""Condition encoders, tau_theta of the paper: from an image to several tokens, or from band fluxes to one."""

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
    """Make a timm network for images.

    Parameters
    ----------
    arch : str
        timm's name of the architecture.
    channels : tuple of int, optional
        Channels of the four stages of a ResNet, which the ``-small`` presets reduce; by default timm's own.
    bands : int
        Bands of the images.
    pretrained : bool
        Load ImageNet weights, from the cache or from the Hugging Face hub.
    revision : str, optional
        Commit of the pretrained weights on the hub, 40 hex digits.
    **kwargs
        Further arguments of `timm.create_model`.

    Raises
    ------
    InputError
        If pretrained weights are wanted without a revision, or cannot be downloaded.
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
        raise InputError("encoder.revision", "pretrained weights need a fixed revision", hint)
    found = fetch_pinned(arch, revision)
    if found is None:
        what = f"weights of revision {revision[:12]} are not in the cache, and the hub does not provide them"
        raise InputError(arch, what)
    return str(found[0])


class ConditionEncoder(nn.Module):
    """From images (B, band, y, x) to tokens (B, T, C), one per position of the network's last feature map.

    For an image of 64 x 64 pixels, ResNet-18 gives the paper's map of 2 x 2 x 512, and so four tokens.

    Parameters
    ----------
    arch, channels, bands, pretrained, revision
        As for `image_network`.
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
    """From features (B, C_in) of band fluxes to one token (B, 1, C).

    A model with this encoder tests whether the paper's model needs the image.

    Parameters
    ----------
    features : int
        Number C_in of columns of `pix2spec.models.shared.inputs.photometry_token`.
    channels : tuple of int, optional
        Widths of the layers, by default (512, 512). The last one is the width C of the token.
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
