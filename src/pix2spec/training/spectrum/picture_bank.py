"""Pictures of the simulated galaxies of a `SpectrumBank`, by a steady and by an unruly camera."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from pix2spec.core.stretches import STRETCHES
from pix2spec.data.simulate.camera import UNRULY, composite
from pix2spec.data.simulate.galaxies import draw_galaxies
from pix2spec.data.simulate.images import SIZE, draw_images
from pix2spec.data.simulate.noise import add_image_noise
from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.models.latent.prepare import Simulation
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.training.spectrum.bank import BLOCK, SEED, is_placed

__all__ = ["VIEWS", "PictureBank", "build_picture_bank", "picture_vectors"]

VIEWS = ("steady", "steady", "unruly", "composite")  # pictures of each galaxy, with other noise each
ARRAYS = {"clean": np.float16, "unruly": np.float16, "shown": np.uint8}
ENCODED = 512  # pictures that are encoded together


@dataclass
class PictureBank:
    """Pictures of P galaxies, float16 in nanomaggies per pixel, or uint8 where they are colour pictures."""

    rows: np.ndarray  # (P,) of the galaxies in the `SpectrumBank`
    clean: np.ndarray  # (P, 3, SIZE, SIZE): of the steady camera, without noise
    unruly: np.ndarray  # the same, of the unruly camera, with noise
    shown: np.ndarray  # colour pictures of the unruly camera

    def draw(self, view: str, which: np.ndarray, rng) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (n, 3, SIZE, SIZE), turned and mirrored at random, and which are `lossy` (n,).

        Parameters
        ----------
        view : str
            One of `VIEWS`.
        which : array (n,)
            Numbers of the pictures.
        rng : numpy.random.Generator
        """
        if view == "steady":
            images = add_image_noise(rng, self.clean[which].astype(np.float32))
        elif view == "unruly":
            images = self.unruly[which].astype(np.float32)
        else:
            images = STRETCHES["sdss"].linear(self.shown[which].astype(np.float32))
        lossy = torch.full((len(which),), float(view == "composite"))
        return turned(torch.from_numpy(images), rng), lossy


def turned(images: torch.Tensor, rng) -> torch.Tensor:
    """Pictures (n, band, y, x), each in one of the eight positions of a square."""
    upright, mirrored, upside = (torch.from_numpy(rng.random((3, len(images), 1, 1, 1)) < 0.5)).unbind(0)
    images = torch.where(upright, images, images.transpose(2, 3))
    images = torch.where(mirrored, images.flip(3), images)
    return torch.where(upside, images.flip(2), images)


@cache  # once in each process
def _survey() -> SimulatedSurvey:
    return SimulatedSurvey(SEED, Simulation.grid)


def _block(number: int) -> dict[str, np.ndarray]:
    """Pictures of the galaxies of one block of `build_spectrum_bank`."""
    torch.set_num_threads(1)
    rng, model = np.random.default_rng([SEED, number]), _survey().model
    galaxies = draw_galaxies(rng, BLOCK)
    parts = model.components(galaxies)
    clean, *_ = draw_images(rng, galaxies, parts)
    own = np.random.default_rng([SEED, number, 1])
    unruly, _ = UNRULY.pictures(own, galaxies, parts)
    shown = np.stack([composite(own, image) for image in unruly])
    return {"clean": clean, "unruly": unruly, "shown": shown}


def build_picture_bank(out: Path, blocks: int, processes: int = 2) -> PictureBank:
    """The bank in the folder `out`, which is computed if it is not complete.

    Parameters
    ----------
    out : Path
        A folder: 4.5 GB for the released model.
    blocks : int
        Number of blocks of the `SpectrumBank`.
    processes : int
    """
    numbers = [number for number in range(blocks) if not is_placed(number)]
    rows = np.concatenate([np.arange(BLOCK) + BLOCK * number for number in numbers])
    if not (out / "complete").exists():
        out.mkdir(parents=True, exist_ok=True)
        shape = len(rows), 3, SIZE, SIZE
        arrays = {name: open_memmap(out / f"{name}.npy", "w+", kind, shape) for name, kind in ARRAYS.items()}
        with ProcessPoolExecutor(processes) as pool:
            parts = progress_bar(pool.map(_block, numbers), "taking pictures", True, len(numbers))
            for k, part in enumerate(parts):
                for name, values in part.items():
                    arrays[name][BLOCK * k : BLOCK * (k + 1)] = values
        for array in arrays.values():
            array.flush()
        write_atomically(out / "complete", lambda path: Path(path).write_text(f"{blocks} blocks\n"))
    return PictureBank(rows, *(np.load(out / f"{name}.npy", mmap_mode="r") for name in ARRAYS))


@torch.no_grad()
def picture_vectors(bank: PictureBank, encoder, galaxies: int, seed: int = 0) -> torch.Tensor:
    """Vectors (views, galaxies, width), float16, of the galaxies of a `SpectrumBank`; 0 without a picture.

    Parameters
    ----------
    bank : PictureBank
    encoder : ImageEncoder
    galaxies : int
        In the `SpectrumBank`.
    seed : int
        Of the noise.
    """
    width = encoder.head[-1].out_features
    vectors = torch.zeros(len(VIEWS), galaxies, width, dtype=torch.float16)
    starts = range(0, len(bank.rows), ENCODED)
    for start in progress_bar(starts, "encoding pictures", True, len(starts)):
        which = np.arange(start, min(start + ENCODED, len(bank.rows)))
        for k, view in enumerate(VIEWS):
            images = bank.draw(view, which, np.random.default_rng([seed, start, k]))
            vectors[k, torch.from_numpy(bank.rows[which])] = encoder(*images).half()
    return vectors
