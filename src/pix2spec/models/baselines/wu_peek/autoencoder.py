"""The variational autoencoder of galaxy spectra of Portillo et al. (2020, AJ 160:45)."""

from itertools import pairwise

import torch
from torch import nn

__all__ = ["InfoVAE", "infovae_loss", "mmd", "softened_weight"]


def softened_weight(ivar: torch.Tensor, softening: float) -> torch.Tensor:
    """Weight of each pixel: the inverse of its variance plus ``softening**2``; 0 where ivar is 0.

    The softening keeps the brightest spectra from being all that counts.
    """
    return ivar / (1 + softening**2 * ivar)


def mmd(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Maximum mean discrepancy of two samples, with a Gaussian kernel (Gretton et al. 2012, Eq. 5).

    Parameters
    ----------
    a : tensor (N, D)
    b : tensor (M, D)
        The kernel is ``exp(-d2)``, where ``d2`` is the squared distance averaged over the D dimensions.

    Returns
    -------
    tensor ()
        Zero for the same sample, at most two.
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
        Of the Gaussian posterior of the latent codes.
    code : tensor (N, D)
        Drawn from it, as `reconstruction` was made from; of this batch, or of those of all processes.
    prior : tensor (M, D)
        Drawn from the standard normal prior.
    alpha, lam : float
        Of the InfoVAE: ``alpha = 0, lam = 1`` is the ordinary variational autoencoder.

    Returns
    -------
    tensor ()
    """
    half_chi2 = 0.5 * (weight * (x - reconstruction).square()).sum(-1).mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
    discrepancy = mean.shape[1] * mmd(prior, code)
    return half_chi2 + (1 - alpha) * kl + (alpha + lam - 1) * discrepancy


class InfoVAE(nn.Module):
    """Encoder and decoder: two hidden layers each, mirrored, leaky ReLU.

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
        """Reconstruction (B, L), mean, log variance and code (B, latent); `noise` is standard normal."""
        mean, log_variance = self.encode(x)
        code = mean + (0.5 * log_variance).exp() * noise
        return self.decode(code), mean, log_variance, code


def _perceptron(*widths: int) -> nn.Sequential:
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1])  # the last layer is linear
