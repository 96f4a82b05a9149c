"""Put a trained model and its selector into the package, with measured scores in its card.

Run it as ``python scripts/release_model.py NAME RUN SELECTOR_RUN METRICS_JSON``.

METRICS_JSON is what `pix2spec evaluate` wrote for the model's predictions of galaxies that it never saw.
"""

import json
import sys
from pathlib import Path

from pix2spec.models.storage import load_model, save_model

WEIGHTS = Path(__file__).parents[1] / "src" / "pix2spec" / "weights"
SCORES = ("minmax_mse", "affine_matched_mse", "crps_scaled", "coverage_68", "coverage_90")


def scores(metrics: Path) -> dict:
    result = json.loads(metrics.read_text())
    return {
        method: {
            name: f"{value['mean']:.4f} +- {value['error']:.4f}"
            for name, value in values.items()
            if isinstance(value, dict) and "mean" in value
        }
        for method, values in result["methods"].items()
    }


def main(name: str, run: str, selector: str, metrics: str) -> None:
    model, config = load_model(run)
    measured = json.loads(Path(metrics).read_text())
    record = config["record"] | {
        "evaluated_on": measured.get("truth", metrics),
        "scores": scores(Path(metrics)),
    }
    save_model(WEIGHTS / name, model, record)
    ranker, config = load_model(selector)
    save_model(WEIGHTS / name / "selector", ranker, config["record"])


if __name__ == "__main__":
    main(*sys.argv[1:])
