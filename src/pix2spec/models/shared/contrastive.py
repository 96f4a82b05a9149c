"""Contrastive networks: an image and a spectrum encoder that share a latent space (paper, Eq. 3)."""

import torch
import torch.nn.functional as F
from torch import nn

from pix2spec.models.shared.encoders import image_network
from pix2spec.runtime.distributed import gather

__all__ = ["ContrastivePair", "SpectrumEncoder", "nt_xent"]


def nt_xent(a: torch.Tensor, b: torch.Tensor, temperature: float) -> torch.Tensor:
    """Contrastive loss over the 2N views of N objects (paper, Eq. 3; Chen et al. 2020, arXiv:2002.05709).

    Parameters
    ----------
    a, b : tensor (N, D)
        Latent codes of the two views: row k of `a` belongs to row k of `b`.
    temperature : float
        tau of Eq. 3.

    Returns
    -------
    tensor ()
        Mean of l(i, j) over all 2N positive pairs, in both directions.
    """
    views = F.normalize(torch.cat([a, b]), dim=-1)
    similarity = views @ views.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(views), dtype=torch.bool, device=a.device), -torch.inf)
    partner = torch.arange(len(views), device=a.device).roll(len(a))
    return F.cross_entropy(similarity, partner)


class ResidualBlock1D(nn.Module):
    """ResNet-18's basic block with wide one-dimensional kernels."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int):
        super().__init__()
        # To keep the length, an even kernel needs one more pixel of padding on one side.
        self.pad = ((kernel - 1) // 2, kernel // 2)
        self.conv1 = nn.Conv1d(channels_in, channels, kernel, stride=stride, bias=False)
        self.norm1 = nn.BatchNorm1d(channels)
        self.conv2 = nn.Conv1d(channels, channels, kernel, bias=False)
        self.norm2 = nn.BatchNorm1d(channels)
        self.skip = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.skip = nn.Sequential(
                nn.Conv1d(channels_in, channels, 1, stride=stride, bias=False), nn.BatchNorm1d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm1(self.conv1(F.pad(x, self.pad))))
        return F.relu(self.norm2(self.conv2(F.pad(h, self.pad))) + self.skip(x))


class SpectrumEncoder(nn.Module):
    """A one-dimensional ResNet-18 from spectra (B, 1, L) to latent codes (B, latent).

    With kernels of 16 pixels (1,100 km/s on the default grid) it has 19.7 million parameters, like the
    authors' network.

    Parameters
    ----------
    channels : tuple of int
        Channels of each stage of two residual blocks.
    kernel : int
        Width of the convolutions in pixels.
    latent : int
        Length of the latent code.
    """

    def __init__(self, channels: tuple[int, ...] = (64, 128, 256, 512), kernel: int = 16, latent: int = 128):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(1, channels[0], kernel, stride=2, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(channels[0]),
            nn.ReLU(),
            nn.MaxPool1d(3, stride=2, padding=1),
        )
        blocks, previous = [], channels[0]
        for i, c in enumerate(channels):
            blocks += [
                ResidualBlock1D(previous, c, kernel, stride=1 if i == 0 else 2),
                ResidualBlock1D(c, c, kernel, stride=1),
            ]
            previous = c
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(previous, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Latent codes (B, latent) of scaled spectra (B, 1, L)."""
        return self.head(self.blocks(self.stem(x)).mean(dim=-1))


class ContrastivePair(nn.Module):
    """An image encoder and a spectrum encoder. Their score ranks the candidates of an image.

    Parameters
    ----------
    arch, channels, bands, pretrained, revision
        Settings of the image encoder; see `pix2spec.models.shared.encoders.image_network`.
    spectrum_channels, kernel
        Settings of the spectrum encoder; see `SpectrumEncoder`.
    latent : int
        Length of the shared latent code.
    temperature : float
        tau of the paper's Eq. 3.
    """

    def __init__(
        self,
        arch: str = "resnet50",
        channels: tuple[int, ...] | None = None,
        bands: int = 3,
        pretrained: bool = False,
        revision: str | None = None,
        spectrum_channels: tuple[int, ...] = (64, 128, 256, 512),
        kernel: int = 16,
        latent: int = 128,
        temperature: float = 0.05,
    ):
        super().__init__()
        self.image_encoder = image_network(arch, channels, bands, pretrained, revision, num_classes=latent)
        self.spectrum_encoder = SpectrumEncoder(spectrum_channels, kernel, latent)
        self.temperature = temperature

    def forward(self, image: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Training loss of a batch: images (B, band, y, x) and scaled spectra (B, 1, L)."""
        a, b = self.image_encoder(image), self.spectrum_encoder(x)
        if self.training:  # the negative pairs include the objects of all processes
            a, b = gather(a), gather(b)
        return nt_xent(a, b, self.temperature)

    def scores(self, image: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Cosine similarity (B, n) between images (B, ...) and their candidates (B, n, L)."""
        n = candidates.shape[1]
        a = self.image_encoder(image)[:, None]
        b = self.spectrum_encoder(candidates.flatten(0, 1)[:, None]).unflatten(0, (-1, n))
        return F.cosine_similarity(a, b, dim=-1)
