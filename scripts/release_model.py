"""Put a trained model into the package; its card says its training data, its scores and its limits.

    python scripts/release_model.py default RUN SCORES.json
    python scripts/release_model.py default-sdss RUN SCORES.json
    python scripts/release_model.py redshift RUN SCORES.json

RUN is the folder of `pix2spec train`, or for ``redshift`` that of ``benchmarks/real_sky.py --train-folds``.
The scores of ``default`` are the file of ``benchmarks/default_model.py --out``, those of ``default-sdss`` the
scores.json of ``benchmarks/sdss_cross_validation.py``, those of ``redshift`` the real_sky.json of
``benchmarks/real_sky.py --out``.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from pix2spec.models.storage import load_model, save_model

WEIGHTS = Path(__file__).parents[1] / "src" / "pix2spec" / "weights"
LIMITS = {
    "default": [
        "it saw simulated galaxies only: their populations, not the sky's, are its prior",
        "redshifts below 0.45; beyond, it answers with a redshift below",
        "nearby early types (z < 0.05) are 0.1 mag too blue in u-g there",
        "0.4 % of the simulated galaxies are Seyfert 1; other quasars, and stars, are unknown",
        "pictures (JPEG) are taken to have the stretch of SDSS SkyServer",
    ],
    "default-sdss": [
        "it saw 1,000 real SDSS galaxies, bright and nearby: median z 0.027, 95 % below 0.047, r < 18",
        "fluxes were fine-tuned: of images there were 38 colour pictures, and no linear cutout",
        "AGN are a few per cent of the real spectra; quasars and stars are unknown",
        "for galaxies beyond z = 0.1 use the model 'default'",
    ],
    "redshift": [
        "galaxies at z < 0.7; those fainter than r = 20 were cut there, so that their p(z) is not the sky's",
        "faint galaxies of other selections than VVDS, VIPERS and zCOSMOS are unknown",
        "bands beyond the measured ones, GALEX's and WISE's above all, come from simulated galaxies",
        "fibre fluxes are those of simulated galaxies, and of 1,055 bright, nearby real ones",
        "active nuclei and galaxies behind E(B-V) above 0.3 are unknown",
        "the flag outside-training is learnt too: it misses some quasars, and stars in three bands or fewer",
    ],
}


EVALUATED = {
    "default": "benchmarks/default_model.py, 2,048 simulated galaxies of seed 2, 64 samples each",
    "default-sdss": "benchmarks/sdss_cross_validation.py, five folds, 64 samples each",
    "redshift": "benchmarks/real_sky.py: real galaxies by networks that never saw them, 256 draws each",
}


def tidy(value):
    """Leave the folders of this machine out of a training record."""
    if isinstance(value, dict):
        return {key: tidy(item) for key, item in value.items() if item not in ([], None)}
    if isinstance(value, list):
        return [tidy(item) for item in value]
    if isinstance(value, str):
        return " ".join(Path(word).name if word.startswith("/") else word for word in value.split(" "))
    return value


def scores(measured: dict | list) -> dict:
    """Numbers for the card: of a benchmark's table, or means over objects of cross-validation."""
    if isinstance(measured, dict) and "rows" in measured:
        return _sky_scores(measured["rows"])
    if isinstance(measured, dict):
        parts = {k: measured[k] for k in ("pixels", "science", "realism") if k in measured}
        return {part: {k: _text(v) for k, v in values.items()} for part, values in parts.items()}
    names = [k for k, v in measured[0].items() if isinstance(v, float) and k != "dz"]
    columns = {name: np.array([row[name] for row in measured], float) for name in names}
    return {"objects": len(measured)} | {k: f"{np.nanmean(v):.4f}" for k, v in columns.items()}


def _sky_scores(rows: list[dict]) -> dict:
    """The values of each row of the benchmark on the real sky, in a line."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        name = f"{row['section']}, {row['row']}".replace("_", " ")
        lines.setdefault(name, []).append(f"{row['measure']} {row['value']:.4g}")
    return {name: ", ".join(values) for name, values in lines.items()}


def _text(value) -> str:
    return " +- ".join(f"{v:.4g}" for v in (value if isinstance(value, list) else [value]))


def main(name: str, run: str, measured: str) -> None:
    model, config = load_model(run)
    record = tidy(config["record"]) | {
        "evaluated_by": EVALUATED[name],
        "scores": scores(json.loads(Path(measured).read_text())),
        "limits": LIMITS[name],
    }
    save_model(WEIGHTS / name, model, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=list(LIMITS))
    parser.add_argument("run", help="folder of `pix2spec train`")
    parser.add_argument("scores", help="JSON file of the benchmark")
    arguments = parser.parse_args()
    main(arguments.name, arguments.run, arguments.scores)
