"""Put a trained model and its selector into the package, with measured scores in its card.

Run it as ``python scripts/release_model.py NAME RUN SELECTOR_RUN METRICS_JSON``.

METRICS_JSON is what `pix2spec evaluate` wrote for the model's predictions of galaxies that it never saw.
"""

import json
import sys
from pathlib import Path

from pix2spec.models.storage import load_model, save_model

WEIGHTS = Path(__file__).parents[1] / "src" / "pix2spec" / "weights"
SCORES = ("minmax_mse", "affine_matched_mse", "crps_median", "coverage_68_median", "coverage_90_median")


def tidy(record: dict) -> dict:
    """Leave the folders of this machine out of a training record."""
    words = (Path(word).name if word.startswith("/") else word for word in record["command"].split())
    return record | {"command": " ".join(words)}


def scores(result: dict) -> dict:
    return {
        method: {
            name: f"{value['mean']:.4f} +- {value['error']:.4f}"
            for name, value in values.items()
            if name in SCORES
        }
        for method, values in result["methods"].items()
    }


def main(name: str, run: str, selector: str, metrics: str) -> None:
    model, config = load_model(run)
    measured = json.loads(Path(metrics).read_text())
    counts = measured["counts"]
    record = tidy(config["record"]) | {
        "evaluated_on": f"{counts['scored']} {measured['data']} galaxies of {Path(measured['truth']).name}",
        "scores": scores(measured),
    }
    save_model(WEIGHTS / name, model, record)
    ranker, config = load_model(selector)
    save_model(WEIGHTS / name / "selector", ranker, tidy(config["record"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
