"""eazy-py with the five templates of kcorrect and speclite's curves (``fit_eazy.py IN OUT none|training``).

The package brings no templates, filters, prior or template error function; its authors' repository has them.
Here the templates are those that Blanton and Roweis fitted to SDSS and other galaxies, the template error
is 2 % at all wavelengths, and the prior is either none or N(z | r) of the training galaxies.
"""

import os
import sys
import tempfile
from pathlib import Path

import eazy
import eazy.photoz
import numpy as np
from astropy.table import Table

from common import run
from templates import ab_fluxes, kcorrect_templates, sdss_curves

Z_MIN, Z_MAX, Z_STEP = 0.002, 0.6, 0.002
TEMPLATE_ERROR = 0.02
R_BINS = np.arange(14.0, 18.5, 0.5)
Z_BINS = np.linspace(0, Z_MAX, 61)
PARAMETERS = {
    "TEMPLATES_FILE": "kcorrect.param", "FILTERS_RES": "FILTER.RES", "TEMP_ERR_FILE": "error.def",
    "TEMP_ERR_A2": TEMPLATE_ERROR, "Z_MIN": Z_MIN, "Z_MAX": Z_MAX, "Z_STEP": Z_STEP, "MW_EBV": 0.0,
    "PRIOR_FILE": "prior.dat", "PRIOR_FILTER": 3, "PRIOR_ABZP": 22.5, "VERBOSITY": 0,
}  # fmt: skip


def write_inputs() -> None:
    """Write templates, filters and the error function as eazy reads them."""
    wave, fluxes = kcorrect_templates()
    names = []
    for number, flux in enumerate(fluxes, 1):
        np.savetxt(f"template{number}.dat", np.column_stack([wave, flux / flux.max()]), "%.6e")
        names.append(f"{number} template{number}.dat 1.0")
    Path("kcorrect.param").write_text("\n".join(names) + "\n")
    lines = []
    for name, (wave, response) in sdss_curves().items():
        lines.append(f"{len(wave)} {name} lambda_c= {np.average(wave, weights=response):.1f}")
        lines += [f"{k} {w:.3f} {t:.6f}" for k, (w, t) in enumerate(zip(wave, response), 1)]
    Path("FILTER.RES").write_text("\n".join(lines) + "\n")
    np.savetxt("error.def", [[100, 1.0], [1e4, 1.0], [1e6, 1.0]])
    Path("none.translate").write_text("")


def write_prior(mag, z) -> None:
    """Write N(z | r) of the training galaxies, smoothed over neighbouring bins."""
    counts, _, _ = np.histogram2d(mag[:, 2], z, [R_BINS, Z_BINS])
    kernel = np.array([0.25, 0.5, 0.25])
    counts = np.apply_along_axis(np.convolve, 1, counts, kernel, "same") + 0.1
    middle = (Z_BINS[1:] + Z_BINS[:-1]) / 2
    header = "z " + " ".join(f"{m:.2f}" for m in (R_BINS[1:] + R_BINS[:-1]) / 2)
    np.savetxt("prior.dat", np.column_stack([middle, counts.T]), header=header)


def program(mag, error, grid=None) -> eazy.photoz.PhotoZ:
    """Make eazy with a catalogue; it computes the fluxes of templates, unless they are given."""
    flux, sigma = ab_fluxes(mag, error)
    table = Table({"id": np.arange(len(mag)), "z_spec": np.full(len(mag), -1.0)})
    table["ra"] = table["dec"] = np.zeros(len(mag))
    for k in range(5):
        table[f"F{k + 1}"], table[f"E{k + 1}"] = flux[:, k], sigma[:, k]
    params = PARAMETERS | {"CATALOG_FILE": table}
    prior = Path("prior.dat").exists()
    return eazy.photoz.PhotoZ(
        translate_file="none.translate", params=params, load_prior=prior, random_draws=1, n_proc=-1,
        tempfilt=grid,
    )  # fmt: skip


def prepare():
    """Fluxes of the templates on the grid of redshifts."""
    write_inputs()
    return program(np.full((2, 5), 17.0), np.full((2, 5), 0.02)).tempfilt


def prepare_with_prior(mag, error, z):
    write_prior(mag, z)
    return prepare()


def answer(grid, mag, error, fold):
    found = program(mag, error, grid)
    found.fit_catalog(n_proc=0, prior=Path("prior.dat").exists(), verbose=False, get_best_fit=False)
    return {"grid": found.zgrid, "density": np.exp(found.lnp - found.lnp.max(1, keepdims=True))}


if __name__ == "__main__":
    sys.argv[1:3] = map(os.path.abspath, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        eazy.set_data_path(folder)
        learns = sys.argv[3] == "training"
        run(prepare_with_prior if learns else prepare, answer, trained=learns)
        os.chdir("/")
