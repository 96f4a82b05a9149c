"""LePHARE with kcorrect's templates and speclite's curves (``fit_lephare.py IN OUT``).

The package brings no templates, filters or tables; its authors have them elsewhere. LePHARE fits one template
at a time, so that pairs of kcorrect's five are mixed in three ratios: 35 in all, without a prior. Tables that
do not matter here are flat: the spectra of Vega and the Sun (magnitudes are AB), and the opacity between
galaxies (no band sees the Lyman forest below z = 1.4).
"""

import os
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np

from common import run
from templates import ab_fluxes, kcorrect_templates, sdss_curves

Z_MAX, Z_STEP = 0.6, 0.002
SHARES = (0.25, 0.5, 0.75)  # of the light at 5,000 Angstrom
MAGNITUDE_ERROR = 0.05  # added to every band: galaxies lie between templates
NANOMAGGY = 3.631e-29  # erg/s/cm2/Hz
STARS = ("vega/VegaLCB.sed", "vega/BD+17o4708.sed", "vega/SunLCB.sed")
FLAT_FILES = (*STARS, "opa/flat.out", "ext/MW_seaton.dat")


def write_tables(home: Path) -> None:
    """Write what LePHARE reads from its folder of data."""
    for name in ("vega", "opa", "ext", "filt", "sed", "lib_bin", "lib_mag"):
        (home / name).mkdir(exist_ok=True)
    for name in FLAT_FILES:
        np.savetxt(home / name, np.column_stack([np.linspace(50, 1.6e5, 1600), np.ones(1600)]), "%.6e")
    (home / "opa" / "OPACITY.dat").write_text("\n".join(f"{z / 10:.1f} flat.out" for z in range(81)) + "\n")
    for name, (wave, response) in sdss_curves().items():
        np.savetxt(home / "filt" / f"{name}.dat", np.column_stack([wave, response]), "%.6e")
    wave, fluxes = kcorrect_templates()
    fluxes = fluxes / fluxes[:, [np.searchsorted(wave, 5000)]]
    mixed = [*fluxes]
    for first, second in combinations(fluxes, 2):
        mixed += [share * first + (1 - share) * second for share in SHARES]
    for number, flux in enumerate(mixed):
        np.savetxt(home / "sed" / f"{number}.sed", np.column_stack([wave, flux]), "%.6e")
    names = "\n".join(str(home / "sed" / f"{number}.sed") for number in range(len(mixed)))
    (home / "templates.list").write_text(names + "\n")
    (home / "output.para").write_text("IDENT\nZ_BEST\n")
    dust = home / "sed" / "GAL" / "BETHERMIN12"  # read in any case, and not used
    dust.mkdir(parents=True)
    np.savetxt(dust / "flat.sed", np.column_stack([np.linspace(1e4, 1e7, 100), np.ones(100)]), "%.6e")
    (dust / "BETHERMIN12_MOD.list").write_text("BETHERMIN12/flat.sed 1 0.0\n")


def prepare():
    """The configuration, after the library of magnitudes was made."""
    home = Path(os.environ["LEPHAREDIR"])
    write_tables(home)
    import lephare

    config = lephare.default_cosmos_config | {
        "FILTER_LIST": ",".join(f"{name}.dat" for name in sdss_curves()), "FILTER_CALIB": "0",
        "FILTER_REP": str(home / "filt"), "FILTER_FILE": "filters", "TRANS_TYPE": "1",
        "GAL_SED": str(home / "templates.list"), "GAL_LIB": "LIB", "GAL_LIB_IN": "LIB", "GAL_LIB_OUT": "MAG",
        "ZPHOTLIB": "MAG", "MOD_EXTINC": "0,0", "EXTINC_LAW": "MW_seaton.dat", "EB_V": "0.",
        "EM_LINES": "NO", "ADD_EMLINES": "0,0", "Z_STEP": f"{Z_STEP},0.,{Z_MAX}", "Z_INTERP": "NO",
        "ERR_SCALE": ",".join([str(MAGNITUDE_ERROR)] * 5), "ERR_FACTOR": "1", "INP_TYPE": "F",
        "PARA_OUT": str(home / "output.para"), "MABS_CONTEXT": "31", "MABS_REF": "3", "MABS_FILT": "3",
        "MABS_ZBIN": "0,1", "RF_COLORS": "-1,-1,-1,-1", "MAG_REF": "3", "ADAPT_BAND": "3", "PDZ_OUT": "NONE",
        "CAT_TYPE": "LONG", "SPEC_OUT": "NO", "PDZ_TYPE": "BAY_ZG", "RM_DISCREPANT_BD": "1e9",
    }  # fmt: skip
    lephare.prepare(config, star_config=None, qso_config=None)
    return config


def answer(config, mag, error, fold):
    import lephare

    program = lephare.PhotoZ(lephare.all_types_to_keymap(config))
    flux, sigma = (values * NANOMAGGY for values in ab_fluxes(mag, error))
    sources = []
    for row in range(len(mag)):
        source = lephare.onesource(row, program.gridz)
        source.readsource(str(row), flux[row], sigma[row], 31, -99.0, " ")
        program.prep_data(source)
        sources.append(source)
    program.run_photoz(sources, program.compute_offsets([]))
    found = [source.pdfmap[lephare.PhotoZ.pdfdict["BAY_ZG"]] for source in sources]
    return {"grid": found[0].xaxis, "density": np.array([pdf.vPDF for pdf in found])}


if __name__ == "__main__":
    sys.argv[1:3] = map(os.path.abspath, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["LEPHAREDIR"] = os.environ["LEPHAREWORK"] = folder
        run(prepare, answer, trained=False)
        os.chdir("/")
