"""Tiny datasets and models that train in seconds."""

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.models.presets import load_preset

GRID = SpectralGrid(3.59, 1.8e-3, 200)

TINY = (
    "encoder.channels=[8,8,8,8]",
    "train.batch_size=8",
    "train.validation_size=16",
    "train.validate_every=4",
    "train.checkpoint_every=3",
)

TINY_PIXELS = ("denoiser.width=8", "denoiser.multipliers=[1,1,1,2]", "diffusion.timesteps=20")
TINY_SELECTOR = ("contrastive.spectrum_channels=[8,8,8,8]", "contrastive.kernel=5", "contrastive.latent=8")
TINY_FACTORISED = (
    "basis.components=6",
    "basis.iterations=5",
    "basis.spectra=256",
    "condition.channels=[8,8,8]",
    "condition.blocks=1",
    "condition.width=32",
    "flow.width=32",
    "flow.depth=2",
    "flow.draws=2",
    "ranker.channels=[4,4,4,8]",
    "ranker.latent=8",
    "ranker.batch=16",
    "train.steps=6",
    "train.batch_size=16",
    "train.validation_size=16",
    "train.validate_every=4",
    "train.checkpoint_every=3",
)

TINY_WUPEEK = (
    "autoencoder.hidden=[16,8]",
    "autoencoder.latent=3",
    "network.stem=[4,4,4]",
    "network.channels=[8,8,8,8]",
    "network.groups=2",
    "train.steps=6",
    "train.batch_size=8",
    "train.validation_size=16",
    "train.validate_every=4",
    "train.checkpoint_every=3",
)


def tiny_factorised_preset(*overrides):
    return load_preset("factorised", (*TINY_FACTORISED, *overrides))


def tiny_preset(name="paper-concat-small", *overrides):
    size = TINY_SELECTOR if "contrastive" in name else TINY_PIXELS
    return load_preset(name, (*TINY, *size, "train.steps=6", *overrides))


def tiny_galaxy(i: int, grid=GRID, with_photometry=True) -> Galaxy:
    """A blob whose brightness ratio sets the slope of a noisy spectrum."""
    rng = np.random.default_rng(i)
    slope = rng.uniform(-1, 1)
    y, x = np.mgrid[-32:32, -32:32]
    blob = np.exp(-(x**2 + y**2) / 50)
    image = np.stack([blob * np.exp(slope * k) for k in (-0.5, 0, 0.5)]) + 0.02 * rng.normal(size=(3, 64, 64))
    flux = 10 * (grid.wave / 6000) ** (2 * slope) + rng.normal(size=grid.size)
    photometry = np.array([5, 10, 15, 20, 25.0]) if with_photometry else None
    return Galaxy(
        f"tiny-{i}",
        z=0.1,
        image=image.astype(np.float32),
        flux=flux.astype(np.float32),
        ivar=np.ones(grid.size, np.float32),
        photometry=photometry,
        photometry_ivar=None if photometry is None else np.full(5, 4.0),
    )


def write_tiny_dataset(path, n=200, grid=GRID, **kwargs):
    write_dataset(path, (tiny_galaxy(i, grid, **kwargs) for i in range(n)), DatasetInfo(grid=grid))
    return path


def write_tiny_survey(path, n=320, seed=5, grid=None, truth=True, change=lambda galaxy: galaxy):
    """Simulated galaxies, with or without noise-free spectra; `change` may spoil some."""
    survey = SimulatedSurvey(seed, *([grid] if grid else []))

    def galaxies():
        for galaxy in survey.galaxies(n):
            galaxy.truth = {"true_flux": galaxy.truth["true_flux"]} if truth else {}
            yield change(galaxy)

    columns = {"true_flux": survey.grid.size} if truth else {}
    write_dataset(path, galaxies(), DatasetInfo(grid=survey.grid, truth=columns))
    return path


def tiny_spectrum_model(networks: int = 2, flows: float = 0.0):
    """A small model of the default's family: bases of simulated spectra, and flows that add nothing.

    With a scale `flows` of their last weights, flows add something random.
    """
    import torch

    from pix2spec.models.spectrum.model import SpectrumModel
    from pix2spec.models.spectrum.preset import SpectrumPreset

    torch.manual_seed(0)
    preset = SpectrumPreset(
        task="spectrum", name="tiny", about="", without=tuple((k,) for k in range(networks)),
        basis={"components": 4, "z_max": 0.45, "red": 9500.0},
        image={"channels": (8, 8, 8), "blocks": 1, "width": 16},
        flow={"width": 32, "depth": 2}, ranker={"channels": (4, 4, 4, 8), "latent": 8},
    )  # fmt: skip
    model = SpectrumModel(preset, SpectralGrid()).requires_grad_(False).eval()
    batch = SimulatedSurvey(5).sample(96)
    for network in model.networks:
        network.basis.fit(batch["true_flux"], None, batch["z"], model.grid, 4, progress=False)
        fits = network.basis.encode(batch["true_flux"], None, batch["z"], model.grid)
        vectors, _ = network.vector(batch["z"], fits)
        vectors = torch.from_numpy(vectors[:, 0])
        vectors[:, 0] = 0.05 * torch.randn(len(vectors))
        network.normal.fit(vectors)
        for layer in (network.flow.modulation, network.flow.outlet) if flows else ():
            torch.nn.init.normal_(layer.weight, std=flows)
    return model
