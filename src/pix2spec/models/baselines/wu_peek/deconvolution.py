"""Network deconvolution: a convolution of decorrelated patches (Ye et al. 2020, arXiv:1905.11926)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from pix2spec.runtime.distributed import mean_over_processes

__all__ = ["Deconvolution2d", "inverse_square_root"]


def inverse_square_root(matrix: torch.Tensor, iterations: int) -> torch.Tensor:
    """Inverse square root of a matrix by coupled Newton-Schulz iteration.

    Parameters
    ----------
    matrix : tensor (..., n, n)
        Symmetric and positive definite.
    iterations : int
        Number of iterations. Small eigenvalues converge last: five iterations are enough for eigenvalues of
        a few per cent of the norm.

    Returns
    -------
    tensor (..., n, n)
    """
    # The iteration converges for eigenvalues in (0, 1], where those of matrix / norm lie.
    norm = torch.linalg.matrix_norm(matrix, keepdim=True)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    y, z = matrix / norm, identity
    for _ in range(iterations):
        t = 1.5 * identity - 0.5 * z @ y
        y, z = y @ t, t @ z
    return z / norm.sqrt()


class Deconvolution2d(nn.Conv2d):
    """A convolution that first whitens its input patches. It takes the place of batch normalisation.

    In training, the mean and covariance of the batch's patches give the whitening matrix D = Cov^(-1/2).
    Then ``y = W D (patch - mean) + bias`` is one ordinary convolution with the weights W D. In evaluation,
    running means of D and of the patches' mean replace those of the batch.

    Parameters
    ----------
    channels_in, channels, kernel, stride
        Sizes of the convolution. Its padding keeps the size of the image at stride 1.
    block : int
        Number of channels to whiten together, with all pixels of the kernel. If it does not divide
        `channels_in`, the greatest common divisor of the two replaces it.
    sampling : int
        In training, statistics use every `sampling`-th patch along y and x.
    iterations : int
        Iterations of `inverse_square_root`.
    eps : float
        Number to add to the diagonal of the covariance.
    momentum : float or None
        Weight of a new batch in the running means. None means a plain mean over batches.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        block: int = 64,
        sampling: int = 3,
        iterations: int = 5,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
    ):
        super().__init__(channels_in, channels, kernel, stride, padding=kernel // 2)
        self.block = channels_in if channels_in <= block else math.gcd(channels_in, block)
        self.sampling, self.iterations, self.eps, self.momentum = sampling, iterations, eps, momentum
        groups, size = channels_in // self.block, self.block * kernel**2
        self.register_buffer("running_mean", torch.zeros(groups, size))
        self.register_buffer("running_whitening", torch.eye(size).repeat(groups, 1, 1))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def reset_running_stats(self) -> None:
        """Reset the running means, like the method of batch normalisation with this name."""
        self.running_mean.zero_()
        self.running_whitening.copy_(torch.eye(self.running_mean.shape[1]).expand_as(self.running_whitening))
        self.num_batches_tracked.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (B, channels, y, x) of feature maps (B, channels_in, y, x)."""
        if self.training:
            mean, whitening = self.statistics(x)
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = self.momentum or 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, share)
                self.running_whitening.lerp_(whitening, share)
        else:
            mean, whitening = self.running_mean, self.running_whitening
        blocks = self.weight.reshape(-1, *mean.shape)  # channels, groups, size
        folded = torch.einsum("ogs,gst->ogt", blocks, whitening)
        bias = self.bias - torch.einsum("ogt,gt->o", folded, mean)
        return F.conv2d(x, folded.reshape_as(self.weight), bias, self.stride, self.padding)

    def statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Statistics of the patches of a batch.

        A patch has the pixels of the kernel in a block of channels: ``size = block * kernel**2`` numbers.
        Patches at the edge include zero padding.

        Parameters
        ----------
        x : tensor (B, channels_in, y, x)
            Feature maps.

        Returns
        -------
        mean : tensor (groups, size)
        whitening : tensor (groups, size, size)
        """
        with torch.autocast(x.device.type, enabled=False):  # in half precision, it would not converge
            stride = [s * self.sampling for s in self.stride]
            columns = F.unfold(x.float(), self.kernel_size, padding=self.padding, stride=stride)
            patches = columns.unflatten(1, self.running_mean.shape).permute(1, 2, 0, 3).flatten(2)
            mean = mean_over_processes(patches.mean(-1, keepdim=True))
            centred = patches - mean
            covariance = mean_over_processes(centred @ centred.mT / centred.shape[-1])
            ridge = self.eps * torch.eye(len(covariance[0]), device=x.device)
            return mean[..., 0], inverse_square_root(covariance + ridge, self.iterations)
