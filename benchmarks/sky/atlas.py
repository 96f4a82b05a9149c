"""Rows about Brown et al.'s atlas: fluxes of the best candidate given griz and z, in other bands.

The basis of the spectra covers 2,290 to 10,800 Angstrom in the rest frame, so that a candidate has a flux in
u. Beyond, the templates of simulated galaxies extend it: the one most similar in ugriz lends its other bands.
Networks have seen the atlas's spectra in training, at other redshifts.
"""

from collections.abc import Iterator

import numpy as np
import torch

from pix2spec import Galaxy
from pix2spec.core.photometry import magnitude
from pix2spec.models.generator import Settings
from sky.context import Sky
from sky.ensembles import BATCH, Drawn, N
from sky.scores import Row
from templates import BANDS, UGRIZ, read_galaxies, residuals, simulate

SECTION = "Brown et al.'s atlas"
FILE = "brown2014.npz"
U, GRIZ = 2, [3, 4, 5, 6]
ERROR = 0.02  # of the fluxes in griz that are given, as a fraction
TEMPLATES = 4096
SHOWN = {"rms_u": U, "rms_nuv": 1, "rms_j": 7, "rms_ks": 9, "rms_w1": 10}


def atlas(sky: Sky) -> Iterator[Row]:
    """The templates alone, chosen by griz, and after them the best candidates."""
    if not (sky.folder / FILE).exists():
        print(f"atlas: left out, because the folder has no {FILE}")
        return
    real, z = read_galaxies(sky.folder / FILE)
    whole = np.isfinite(real[:, UGRIZ]).all(1)
    real, z, templates = real[whole], z[whole], simulate(TEMPLATES)
    alone = residuals(real, z, templates, GRIZ)
    similar = np.isfinite(alone[:, GRIZ]).all(1)  # the others have no similar template
    real, z, alone = real[similar], z[similar], alone[similar]
    yield _row("templates alone, given griz and z", alone - alone[:, GRIZ].mean(1, keepdims=True))
    own = best(sky.judge.generator, real, z)
    guess = np.array(real)
    guess[:, UGRIZ] = own
    extended = residuals(guess, z, templates, UGRIZ)
    extended[:, U] = real[:, U] - own[:, 0]
    yield _row("best candidate given griz and z, beyond u by templates like it", extended)


def _row(name: str, off: np.ndarray) -> Row:
    """Rms of magnitudes (N, bands) that are off, over the galaxies that have them."""
    values = {measure: float(np.sqrt(np.nanmean(off[:, k] ** 2))) for measure, k in SHOWN.items()}
    return Row(SECTION, name, int(np.isfinite(off[:, U]).sum()), values)


def best(generator, real: np.ndarray, z: np.ndarray, n: int = N) -> np.ndarray:
    """Magnitudes in ugriz (N, 5) of the candidate that is most like each galaxy in griz, and as bright."""
    settings, parts = Settings(n=n, use=("photometry", "redshift")), []
    for start in range(0, len(real), BATCH):
        given, redshifts = real[start : start + BATCH, GRIZ], z[start : start + BATCH]
        galaxies = [_galaxy(start + i, *values) for i, values in enumerate(zip(given, redshifts))]
        drawn, found = Drawn(generator, galaxies, settings, more=(BANDS[U],)), []
        for network, vectors, known, tables in drawn.vectors():
            index = torch.arange(len(GRIZ) + 1).expand(vectors.shape[1], -1)
            light = (tables.at(index, known.zeta)[0] * network.linear_parts(vectors)[..., None, :]).sum(-1)
            found.append(magnitude(light.numpy().reshape(len(given), -1, len(GRIZ) + 1)))
        candidates = np.concatenate(found, 1)  # griz, u
        level = (given[:, None] - candidates[..., :4]).mean(2, keepdims=True)
        candidates = candidates + level
        misfit = np.square(given[:, None] - candidates[..., :4]).sum(2)
        chosen = candidates[np.arange(len(given)), np.nanargmin(misfit, 1)]
        parts.append(chosen[:, [4, 0, 1, 2, 3]])
    return np.concatenate(parts)


def _galaxy(number: int, mag: np.ndarray, z: float) -> Galaxy:
    flux = 10 ** (-0.4 * (mag - 22.5))
    return Galaxy(
        f"atlas {number}", z=float(z), z_err=0.0, photometry=flux, photometry_ivar=1 / (ERROR * flux) ** 2,
        filters=tuple(BANDS[k] for k in GRIZ), kind="total", extinction="dereddened",
    )  # fmt: skip
