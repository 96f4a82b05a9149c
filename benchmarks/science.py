"""Compare our measurements on real spectra with those of SDSS's own pipeline, and time them.

    python benchmarks/science.py SDSS_GALAXIES.npz

The file holds 1,055 spectra with SDSS's redshifts, line fluxes, equivalent widths and velocity dispersions.
SDSS subtracts a fit of the stars before it measures lines. It divides by that fit at the line, where the
fit is lower than the local continuum because the stars absorb. Its equivalent widths are positive in
emission, as ours. Scatters are 1.4826 times the median deviation.
"""

import argparse
import time

import numpy as np
import torch

from pix2spec.core.grid import SpectralGrid
from pix2spec.measure.emission_lines import BPT_CLASSES, fit_lines
from pix2spec.measure.quantities import QUANTITIES, measure, measure_at
from pix2spec.measure.redshift import RedshiftFitter

GRID = SpectralGrid()
OURS = {  # line of SDSS's table, where alone or as a sum
    "H_alpha": ["H_alpha"],
    "H_beta": ["H_beta"],
    "[O_III] 5007": ["[O_III] 5007"],
    "[N_II] 6583": ["[N_II] 6583"],
    "[S_II]": ["[S_II] 6716", "[S_II] 6730"],
}
RANGES = ((-5.0, 2.0), (2.0, 15.0), (15.0, 1000.0))  # of SDSS's equivalent width


def middle(x: np.ndarray) -> tuple[float, float]:
    """Median and scatter."""
    x = x[np.isfinite(x)]
    return np.median(x), 1.4826 * np.median(np.abs(x - np.median(x)))


def lines(data: dict, ivar: np.ndarray) -> None:
    names = list(data["line_names"])
    fits = fit_lines(data["flux"], data["z"], GRID, ivar, OURS)
    print(f"{'line':14}{'SDSS EW [A]':>12}{'n':>6}{'EW - theirs [A]':>20}{'our error':>11}", end="")
    print(f"{'flux / theirs':>18}{'(flux - theirs) / error':>26}")
    for line, theirs in OURS.items():
        columns = [names.index(name) for name in theirs]
        flux, ew = (data[name][:, columns].sum(1) for name in ("line_flux", "line_ew"))
        error = np.sqrt((data["line_flux_err"][:, columns] ** 2).sum(1))
        good = (data["line_flux_err"][:, columns] > 0).all(1) & np.isfinite(fits[line].ew)
        for low, high in RANGES:
            rows = good & (ew > low) & (ew <= high)
            fit, formal = fits[line], np.hypot(fits[line].flux_error, error)
            parts = [
                middle((fit.ew - ew)[rows]),
                middle((fit.flux / np.where(flux == 0, np.nan, flux))[rows]),
            ]
            parts.append(middle(((fit.flux - flux) / formal)[rows]))
            shown = ["{:9.2f} +- {:5.2f}".format(*part) for part in parts]
            print(f"{line:14}{f'{low:g} to {high:g}':>12}{rows.sum():6}{shown[0]:>20}", end="")
            print(f"{np.median(fit.ew_error[rows]):11.2f}{shown[1]:>18}{shown[2]:>26}")


def bpt(data: dict, codes: np.ndarray) -> None:
    """Ours against classes by the ratios of SDSS's fluxes, of 3 sigma each."""
    names = list(data["line_names"])
    columns = [names.index(name) for name in ("H_alpha", "H_beta", "[O_III] 5007", "[N_II] 6583")]
    ha, hb, o3, n2 = data["line_flux"][:, columns].T
    clear = (data["line_flux"] > 3 * data["line_flux_err"])[:, columns].all(1)
    clear &= (data["line_flux_err"][:, columns] > 0).all(1)
    with np.errstate(all="ignore"):
        x, y = np.log10(n2 / ha), np.log10(o3 / hb)
        stars = (y < 0.61 / (x - 0.05) + 1.3) & (x < 0.05)
        agn = (y > 0.61 / (x - 0.47) + 1.19) | (x >= 0.47)
    theirs = np.where(clear, np.where(stars, 1, np.where(agn, 3, 2)), 0)
    print(
        "\nBPT: rows by SDSS's fluxes, columns ours\n" + " " * 14 + "".join(f"{n:>14}" for n in BPT_CLASSES)
    )
    for k, name in enumerate(BPT_CLASSES):
        counts = np.bincount(codes[theirs == k], minlength=len(BPT_CLASSES))
        print(f"{name:14}" + "".join(f"{count:14}" for count in counts))


def dispersions(data: dict, sigma: np.ndarray, error: np.ndarray) -> None:
    print(f"\n{'vdisp [km/s]':>14}{'S/N':>10}{'n':>6}{'sigma_v - vdisp':>20}{'our error':>11}", end="")
    print(f"{'not measured':>14}")
    for low, high in ((30, 70), (70, 110), (110, 160), (160, 210), (210, 260), (260, 400)):
        for least, most in ((0, 25), (25, 100)):
            rows = (data["vdisp"] > low) & (data["vdisp"] <= high)
            rows &= (data["sn_r"] > least) & (data["sn_r"] <= most)
            if rows.sum() < 8:
                continue
            shown = "{:8.1f} +- {:5.1f}".format(*middle((sigma - data["vdisp"])[rows]))
            print(f"{f'{low} to {high}':>14}{f'{least} to {most}':>10}{rows.sum():6}{shown:>20}", end="")
            print(f"{np.nanmedian(error[rows]):11.1f}{np.isnan(sigma[rows]).sum():14}")


def indices(data: dict, ivar: np.ndarray, measured) -> None:
    """On the spectra against on SDSS's fit to them (which smooths: it is no truth), and their range."""
    smooth = measure_at(data["model"], ivar, data["z"], GRID)
    print(f"\n{'quantity':10}{'n':>6}{'data - model':>18}{'in errors':>16}{'16, 50, 84 % of the data':>30}")
    for name in ("dn4000", "hdelta_a", "mgb", "fe", "g_r", "r_i"):
        difference = measured.values[name] - smooth.values[name]
        off, pull = middle(difference), middle(difference / measured.errors[name])
        spread = "".join(f"{q:8.2f}" for q in np.nanpercentile(measured.values[name], [16, 50, 84]))
        shown = ["{:6.3f} +- {:5.3f}".format(*off), "{:5.2f} +- {:4.2f}".format(*pull)]
        print(f"{name:10}{np.isfinite(difference).sum():6}{shown[0]:>18}{shown[1]:>16}{spread:>30}")


def main(path: str) -> None:
    torch.set_num_threads(1)
    with np.load(path, allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}
    ivar = np.where(data["and_mask"] == 0, data["ivar"], 0)
    fitter = RedshiftFitter()
    measure(data["flux"][:2], ivar[:2], GRID, fitter)  # builds the templates
    start = time.process_time()
    own = measure(data["flux"], ivar, GRID, fitter)
    whole = time.process_time() - start
    start = time.process_time()
    measured = measure_at(data["flux"], ivar, data["z"], GRID)
    rest, n = time.process_time() - start, len(data["z"])
    print(f"cost: {1e3 * whole / n:.2f} ms a spectrum, {1e3 * rest / n:.2f} ms without the redshift")
    known = data["zwarning"] == 0
    near = np.abs(own.values["z"] - data["z"]) < 1e-3 * (1 + data["z"])
    print(f"redshift within 1e-3 of SDSS's: {100 * near[known].mean():.2f} % of {known.sum()}", end="; ")
    print(f"{100 * (own.zwarning == 0).mean():.2f} % without a warning")
    shares = (f"{name} {np.isfinite(own.values[name]).mean():.2f}" for name in QUANTITIES)
    print(f"measured: {', '.join(shares)}\n")
    lines(data, ivar)
    bpt(data, measured.bpt)
    dispersions(data, measured.values["sigma_v"], measured.errors["sigma_v"])
    indices(data, ivar, measured)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", help="sdss_galaxies.npz")
    main(parser.parse_args().path)
