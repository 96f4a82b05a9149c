"""What do the colours of real colour pictures cost? Scores of their spectra under other statements.

    python benchmarks/picture_errors.py --data DIR

DIR holds `sdss_pairs.npz` and `sdss_galaxies.npz`, as for `pictures.py`. The same galaxies are scored with
true fluxes, and with those of their pictures measured in other apertures, by other stretches or with other
errors. Only networks answer that saw neither a galaxy's spectrum nor its picture.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from pictures import Pairs, colours, fibre, read_pairs, robust
from pix2spec import Galaxy
from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import SDSS
from pix2spec.data.measurements import Measurements
from pix2spec.data.readers.picture_photometry import measure_picture
from pix2spec.generate.load import load
from pix2spec.training.real_sky import load_real, real_spectra
from sky import pictures as gain
from sky.ensembles import Truth, measured_quantities

SKYSERVER = STRETCHES["sdss"]
PUBLISHED = replace(SKYSERVER, scales=(7.8, 5.7, 4.9), softening=2.25, factor=2.25)  # of `djs_rgb_make`
PARTS = 6  # of the galaxies, whose offsets of colours are those of the others


def measured(pairs: Pairs, stretch=SKYSERVER, diameter: float | None = None) -> list[Measurements]:
    """Fluxes of the pictures, of a stretch, within a circle of a diameter in arcsec."""
    with patch.dict(STRETCHES, sdss=stretch):
        return [measure_picture(p, "composite", fibre=diameter).measurements for p in pairs.pictures]


def given(flux: np.ndarray, error, brightness_error: float = 0.0) -> list[Measurements]:
    """Fluxes (N, 3) of g, r, i in the fibre, with relative errors."""
    return [
        Measurements(SDSS.filters[1:4], f, np.asarray(error) * f, ("fibre",) * 3, extinction="observed",
                     brightness_error=brightness_error)
        for f in flux
    ]  # fmt: skip


def statements(pairs: Pairs) -> dict[str, Callable[[], list[Measurements]]]:
    """What the model is told of the galaxies, by name."""
    true = 10 ** (0.4 * (22.5 - pairs.magnitudes))
    plain = measured(pairs)
    shown = np.array([m.flux for m in plain])

    def moved(band: int, change: float):
        """Pictures whose flux in a band is fainter."""
        return lambda: given(shown * 10 ** (-0.4 * change * (np.arange(3) == band)), 0.042, 0.35)

    told: dict[str, Callable] = {
        f"true fluxes, errors of {e} %": lambda e=e: given(true, e / 100) for e in (1, 3, 5)
    }
    told |= {
        "true colours, brightness unknown": lambda: given(true, 0.03, 1.0),
        "true colours, brightness of pictures": lambda: given(true * (shown / true)[:, 1:2], 0.03, 0.35),
        "pictures": lambda: plain,
        "pictures, true brightness": lambda: given(shown * (true / shown)[:, 1:2], 0.042),
        "pictures, brightness unknown": lambda: given(shown, 0.042, 1.0),
    }
    told |= {f"pictures, errors of {e} %": lambda e=e: given(shown, e / 100, 0.35) for e in (2, 3, 4, 5, 6)}
    told |= {
        "pictures, errors of 5, 2, 2 %": lambda: given(shown, (0.05, 0.02, 0.02), 0.35),
        "pictures, errors of 6, 3, 3 %": lambda: given(shown, (0.06, 0.03, 0.03), 0.35),
    }
    told |= {f"pictures, g fainter by {d:+.2f}": moved(0, d) for d in (-0.03, 0.03)}
    told |= {f"pictures, i fainter by {d:+.2f}": moved(2, d) for d in (-0.03, 0.03)}
    told |= {f'pictures, {d}" wide': lambda d=d: measured(pairs, diameter=d) for d in (2.0, 4.0, 6.0)}
    told["pictures, scales as published"] = lambda: measured(pairs, PUBLISHED)
    return told


def of_colours(pairs: Pairs) -> None:
    """Print errors of colours whose offsets are those of other galaxies, and their medians by brightness."""
    found = [measure_picture(p, "composite") for p in pairs.pictures]
    wrong = colours(np.array([fibre(f) for f in found])) + np.diff(pairs.magnitudes, axis=1)
    part = np.arange(len(wrong)) % PARTS
    left = np.concatenate([wrong[part == k] - np.median(wrong[part != k], 0) for k in range(PARTS)])
    for name, values in zip(("g-r", "r-i"), left.T):
        print(f"  {name}: scatter {robust(values)[1]:.3f}, sd {values.std():.3f}")
    r = np.concatenate([pairs.magnitudes[part == k, 1] for k in range(PARTS)])
    for name, values in (("faint", left[r > np.median(r)]), ("bright", left[r <= np.median(r)])):
        print(f"  the {name} half: medians {np.round(np.median(values, 0), 3)}")


def run(data: Path) -> None:
    """Print the tables."""
    table, real = load_real(data)["spectra"], real_spectra(data)
    fold = np.full(table.row.max() + 1, -1)
    fold[table.row] = table.fold
    pairs = read_pairs(data, fold)
    place = {int(r): i for i, r in enumerate(table.row)}
    rows = np.array([place[int(r)] for r in pairs.row])
    every, generator = Truth(real.flux, real.ivar, real.z), load("default")
    widths = measured_quantities(real.flux, real.z, generator.grid, real.ivar)["ew_halpha"]
    without = {k: generator.without(k) for k in range(4)}
    own = [without[int(k)] for k in table.fold[rows]]
    print(f"Colours of {len(rows)} pictures against those in the fibre")
    of_colours(pairs)
    reference = gain.neighbours(table, every, widths, rows)
    gain.show("25 neighbours in true g, r, i", reference)
    for name, told in statements(pairs).items():
        galaxies = [Galaxy(f"pair {r}", kind="fibre", photometry=m) for r, m in zip(pairs.row, told())]
        scores = gain.generated(own, galaxies, "linear", every.rows(rows), widths[rows], use=("photometry",))
        gain.show(name, scores, reference)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the real galaxies")
    run(parser.parse_args().data)
