"""Put a trained model into the package; its card says its training data, its scores and its limits.

    python scripts/release_model.py default RUN SCORES.json [SIMULATED.json]
    python scripts/release_model.py redshift RUN SCORES.json
    python scripts/release_model.py shape RUN

RUN is the folder of ``benchmarks/real_sky.py --train-folds``, and SCORES.json the real_sky.json of
``benchmarks/real_sky.py --out``. SIMULATED.json is the file of ``benchmarks/default_model.py --out``.
"""

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from pix2spec.models.storage import load_model, save_model

WEIGHTS = Path(__file__).parents[1] / "src" / "pix2spec" / "weights"
LIMITS = {
    "default": [
        "redshifts below 0.7; real spectra that it learnt from are at z < 0.07, and 250 at z < 0.7",
        "of the light in a fibre it knows what 1,055 real galaxies and the simulated survey show",
        "bands outside of 2,290 to 10,800 Angstrom in the rest frame are known to its networks alone",
        "0.4 % of the simulated galaxies are Seyfert 1; other quasars, and stars, are unknown and flagged",
        "it learnt from simulated pictures alone; of colour pictures, only the fluxes count",
    ],
    "shape": [
        "it knows early and late types, and which emission lines real ones have at z < 0.3",
        "it learnt from pictures of bright galaxies of SDSS, which fill a fifth of the frame or more",
        "early types with star formation, and late ones without, get too few such candidates",
        "chosen by it, candidates of 38 real galaxies are no better: the default does not use it",
        "pictures of other surveys, and linear ones, are not looked at",
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
    "shape": "training: pictures of real galaxies that it never saw",
    "default": "benchmarks/real_sky.py: real galaxies by networks that never saw them, 64 draws each",
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


def scores(measured: dict) -> dict:
    """Numbers for the card from a benchmark's table."""
    if "rows" in measured:
        return _sky_scores(measured["rows"])
    parts = {k: measured[k] for k in ("pixels", "science", "realism") if k in measured}
    return {part: {k: _text(v) for k, v in values.items()} for part, values in parts.items()}


def _sky_scores(rows: list[dict]) -> dict:
    """The values of each row of the benchmark on the real sky, in a line."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        name = f"{row['section']}, {row['row']}".replace("_", " ")
        lines.setdefault(name, []).append(f"{row['measure']} {row['value']:.4g}")
    return {name: ", ".join(values) for name, values in lines.items()}


def _text(value) -> str:
    return " +- ".join(f"{v:.4g}" for v in (value if isinstance(value, list) else [value]))


LEARNT = ".flow.", ".galaxy.", ".encoder."
LEARNT_WHOLE = "pictures.", "judge.", "layers.", "head.", "early."


def halved(path: Path) -> None:
    """Store the weights of networks in half precision; what is fitted, such as bases, keeps its own."""
    weights = load_file(path)
    for name, tensor in weights.items():
        if name.startswith(LEARNT_WHOLE) or any(part in name for part in LEARNT):
            weights[name] = tensor.half()
    save_file(weights, path)


def main(name: str, run: str, measured: list[str]) -> None:
    model, config = load_model(run)
    parts: dict = {}
    for file in measured:
        parts |= scores(json.loads(Path(file).read_text()))
    record = tidy(config["record"]) | {
        "evaluated_by": EVALUATED[name],
        "scores": parts or config["record"]["scores"],
        "limits": LIMITS[name],
    }
    save_model(WEIGHTS / name, model, record)
    halved(WEIGHTS / name / "model.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=list(LIMITS))
    parser.add_argument("run", help="folder of `pix2spec train`")
    parser.add_argument("scores", nargs="*", help="JSON files of benchmarks")
    arguments = parser.parse_args()
    main(arguments.name, arguments.run, arguments.scores)
