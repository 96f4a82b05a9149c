"""Tiny datasets and models that train in seconds."""

import numpy as np

from pix2spec.config import load_preset
from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo, Pair
from pix2spec.grid import SpectralGrid

GRID = SpectralGrid(3.59, 1.8e-3, 200)

TINY = (
    "encoder.channels=[8,8,8,8]",
    "train.batch_size=8",
    "train.validation_size=16",
    "train.validate_every=4",
    "train.checkpoint_every=3",
)


def tiny_preset(name="paper-concat-small", *overrides):
    size = ("denoiser.width=8", "denoiser.multipliers=[1,1,1,2]", "diffusion.timesteps=20")
    if "contrastive" in name:
        size = ("contrastive.spectrum_channels=[8,8,8,8]", "contrastive.kernel=5", "contrastive.latent=8")
    return load_preset(name, (*TINY, *size, "train.steps=6", *overrides))


def tiny_pair(i: int, grid=GRID, with_photometry=True) -> Pair:
    """A blob whose brightness ratio sets the slope of a noisy spectrum."""
    rng = np.random.default_rng(i)
    slope = rng.uniform(-1, 1)
    y, x = np.mgrid[-32:32, -32:32]
    blob = np.exp(-(x**2 + y**2) / 50)
    image = np.stack([blob * np.exp(slope * k) for k in (-0.5, 0, 0.5)]) + 0.02 * rng.normal(size=(3, 64, 64))
    flux = 10 * (grid.wave / 6000) ** (2 * slope) + rng.normal(size=grid.size)
    photometry = np.array([5, 10, 15, 20, 25.0]) if with_photometry else None
    return Pair(
        f"tiny-{i}",
        z=0.1,
        image=image.astype(np.float32),
        flux=flux.astype(np.float32),
        ivar=np.ones(grid.size, np.float32),
        photometry=photometry,
        photometry_ivar=None if photometry is None else np.full(5, 4.0),
    )


def write_tiny_dataset(path, n=200, grid=GRID, **kwargs):
    write_dataset(path, (tiny_pair(i, grid, **kwargs) for i in range(n)), DatasetInfo(grid=grid))
    return path
