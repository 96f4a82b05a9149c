"""What neighbours, and other statements of the errors, would change in the released redshifts.

    python benchmarks/redshift_remedies.py --data DIR

The tables are those of which a target is missed (benchmarks/real_sky.py). Each galaxy is answered by the
networks that never saw its fold. Neighbours are galaxies of the same table, of the other folds, with the most
similar colours and brightness. The table is printed as Markdown.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from pix2spec.models.storage import find_model, load_model
from pix2spec.training.real_sky import MAGNITUDE_TO_FRACTION, RealTable, load_real
from pix2spec.training.redshift.sources import as_measurements
from sky import rows
from sky.context import Sky, with_floor
from sky.scores import redshift_scores

K, DRAWS = 25, 100  # neighbours; draws of the networks
SAMPLE = 4000  # galaxies of large tables
FLOOR = 0.02  # magnitudes
BRIGHTNESS = 0.3  # magnitudes, which count as much as a typical error of a colour


def features(table: RealTable) -> np.ndarray:
    """Colours relative to their typical errors, and a magnitude: (N, K). What is missing counts as zero."""
    mag = table.magnitude
    error = np.nanmedian(np.hypot(table.error / np.abs(table.flux) / MAGNITUDE_TO_FRACTION, 0.02), 0)
    colours = (mag[:, :-1] - mag[:, 1:]) / np.hypot(error[:-1], error[1:])
    return np.nan_to_num(np.c_[colours, (mag[:, mag.shape[1] // 2] - 20) / BRIGHTNESS])


def neighbours(table: RealTable) -> np.ndarray:
    """Redshifts (N, K) of the most similar galaxies of the other folds."""
    known, found = features(table), np.empty((len(table), K))
    for fold in np.unique(table.fold):
        others, own = np.flatnonzero(table.fold != fold), table.fold == fold
        found[own] = table.z[others][cKDTree(known[others]).query(known[own], K)[1]]
    return found


def tables(sky: Sky) -> dict[str, RealTable]:
    """The tables, as the benchmark scores them."""
    deep, spectra = sky.tables["deep"], sky.tables["spectra"]
    found = {
        "SDSS": rows.measured(sky.tables["sdss"]),
        "main sample": rows.measured(sky.tables["mgs"]),
        "zCOSMOS": rows.measured(sky.tables["zcosmos"].bands("uBVgriz")),
        "VVDS, VIPERS": rows.measured(deep.rows(deep.source == "VVDS_V").bands("griz")),
        "fibre ugriz, 3 %": replace(spectra, error=0.03 * np.abs(spectra.flux)),
    }
    for label, survey in (("PS1 gri, 2 %", "panstarrs"), ("LSST gri, 2 %", "lsst2023")):
        filters = [f"{survey}-{band}" for band in "gri"]
        found[label] = rows.synthetic(sky, filters, stated=0.02, noise=0.0)
    return found


def answers(model, table: RealTable, near: np.ndarray) -> dict[str, np.ndarray]:
    """Redshifts (N, n) of each way to answer; those of the neighbours (N, K) are known."""

    def draws(some: RealTable, n: int = DRAWS) -> np.ndarray:
        return np.asarray(model.posterior(as_measurements(some), some.fold).sample(n, 1), float)

    return {
        "released": draws(table),
        f"{K} neighbours": near,
        "three parts released, one part neighbours": np.c_[draws(table, 3 * K), near],
        f"{FLOOR} mag added to the errors": draws(with_floor(table, FLOOR)),
        "extinction unknown": draws(replace(table, extinction="unknown")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real tables")
    parser.add_argument("--model", default="redshift", help="folder of a redshift model, or a name")
    args = parser.parse_args()
    sky = Sky(load_model(find_model(args.model))[0], load_real(args.data), args.data)
    lines: dict[str, list[str]] = {}
    chosen = tables(sky)
    for table in chosen.values():
        rng = np.random.default_rng(0)
        some = np.sort(rng.choice(len(table), min(SAMPLE, len(table)), replace=False))
        for name, draws in answers(sky.model, table.rows(some), neighbours(table)[some]).items():
            got = redshift_scores(draws, table.z[some])
            text = f"{got['sigma_nmad']:.4f}; {got['crps']:.4f}; {100 * got['inside']:.0f} %"
            lines.setdefault(name, []).append(text)
    print(f"| sigma_NMAD; CRPS; in 68 % | {' | '.join(chosen)} |\n|{'---|' * (1 + len(chosen))}")
    for name, cells in lines.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
