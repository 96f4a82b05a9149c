"""The variational autoencoder of galaxy spectra of Portillo et al. (2020, AJ 160:45)."""

from itertools import pairwise

import torch
from torch import nn

__all__ = ["InfoVAE", "infovae_loss", "mmd", "softened_weight"]


def softened_weight(ivar: torch.Tensor, softening: float) -> torch.Tensor:
    """Weight of each pixel: the inverse of (variance + ``softening**2``), and 0 where ivar is 0.

    Without the softening, the spectra with the least noise would dominate the loss.

    Parameters
    ----------
    ivar : tensor (B, L)
        Inverse variance of the scaled spectra.
    softening : float
        Least error of a pixel, in units of the scaled spectra.

    Returns
    -------
    tensor (B, L)
    """
    return ivar / (1 + softening**2 * ivar)


def mmd(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Maximum mean discrepancy of two samples, with a Gaussian kernel (Gretton et al. 2012, Eq. 5).

    Parameters
    ----------
    a : tensor (N, D)
    b : tensor (M, D)
        Samples. The kernel is ``exp(-d2)``, where ``d2`` is the squared distance averaged over the D
        dimensions.

    Returns
    -------
    tensor ()
        Zero for two equal samples, and at most two.
    """

    def kernel(x, y):
        return torch.exp(-(x[:, None] - y[None]).square().mean(-1)).mean()

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def infovae_loss(
    x: torch.Tensor,
    weight: torch.Tensor,
    reconstruction: torch.Tensor,
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    code: torch.Tensor,
    prior: torch.Tensor,
    alpha: float,
    lam: float,
) -> torch.Tensor:
    """Loss of an InfoVAE (Zhao et al. 2019, arXiv:1706.02262), with the weights of Portillo et al.

    ``chi2 / 2 + (1 - alpha) KL + (alpha + lam - 1) D MMD``, summed over pixels and the D latent
    dimensions, averaged over objects.

    Parameters
    ----------
    x, weight, reconstruction : tensor (B, L)
        Spectra, weights of their pixels (see `softened_weight`) and decoded spectra.
    mean, log_variance : tensor (B, D)
        Parameters of the Gaussian posterior of the latent codes.
    code : tensor (N, D)
        Draws from the posterior, whose decoded spectra are `reconstruction`. With several processes, they
        include the draws of all processes.
    prior : tensor (M, D)
        Draws from the standard normal prior.
    alpha, lam : float
        Weights of the InfoVAE: ``alpha = 0, lam = 1`` is the ordinary variational autoencoder.

    Returns
    -------
    tensor ()
    """
    half_chi2 = 0.5 * (weight * (x - reconstruction).square()).sum(-1).mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
    discrepancy = mean.shape[1] * mmd(prior, code)
    return half_chi2 + (1 - alpha) * kl + (alpha + lam - 1) * discrepancy


class InfoVAE(nn.Module):
    """Encoder and decoder with two hidden layers each and leaky ReLU. The decoder mirrors the encoder.

    Parameters
    ----------
    size : int
        Pixels of a spectrum.
    hidden : (int, int)
        Widths of the encoder's two hidden layers.
    latent : int
        Length of the latent code.
    """

    def __init__(self, size: int, hidden: tuple[int, int], latent: int):
        super().__init__()
        wide, narrow = hidden
        self.encoder = _perceptron(size, wide, narrow, 2 * latent)
        self.decoder = _perceptron(latent, narrow, wide, size)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance (B, latent) of the codes of scaled spectra (B, L)."""
        return self.encoder(x).chunk(2, dim=-1)

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """Scaled spectra (B, L) of latent codes (B, latent)."""
        return self.decoder(code)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encode and decode scaled spectra.

        Parameters
        ----------
        x : tensor (B, L)
            Scaled spectra.
        noise : tensor (B, latent)
            Standard normal noise, with which the code is drawn from its posterior.

        Returns
        -------
        reconstruction : tensor (B, L)
        mean, log_variance, code : tensor (B, latent)
        """
        mean, log_variance = self.encode(x)
        code = mean + (0.5 * log_variance).exp() * noise
        return self.decode(code), mean, log_variance, code


def _perceptron(*widths: int) -> nn.Sequential:
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1])  # the last layer is linear
