"""Score the default model on simulated galaxies that it never saw, in one table.

    python benchmarks/default_model.py [--model default] [--n 2048] [--train SIM_TRAIN]

The galaxies have a seed that training never used. `--train` names a folder of simulated galaxies; then the
nearest neighbours, the mean spectrum and an MLP to principal components are scored on the same galaxies.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np

from pix2spec.core.scaling import fill_missing
from pix2spec.data.schema import Galaxy
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.evaluation.baselines import MAX_TRAINING_GALAXIES, mean_spectrum, nearest_neighbours
from pix2spec.evaluation.metrics import scoring
from pix2spec.evaluation.metrics.calibration import interval_coverage, pit, pit_test, tarp
from pix2spec.evaluation.metrics.realism import two_sample_accuracy
from pix2spec.generate.load import load
from pix2spec.measure.emission_lines import equivalent_width
from pix2spec.measure.indices import dn4000
from pix2spec.models.generator import Settings
from pix2spec.runtime.progress import progress_bar

TEST_SEED, REALISM_SEED = 2, 3
BATCH = 32
QUANTITIES = ("z", "dn4000", "ew_halpha", "ew_oiii")


def galaxies_of(batch: dict) -> list[Galaxy]:
    names = ("object_id", "z", "z_err", "image", "photometry", "photometry_ivar", "flux", "ivar")
    return [Galaxy(**{k: batch[k][i] for k in names}, kind="fibre") for i in range(len(batch["z"]))]


def measure(flux, z, grid) -> np.ndarray:
    """Redshift, Dn4000, Halpha and [O III] equivalent widths: (..., 4)."""
    lines = [equivalent_width(flux, z, grid, line)[0] for line in ("H_alpha", "[O_III] 5007")]
    return np.stack([z, dn4000(flux, z, grid), *lines], -1)


def score(
    generator, survey, n: int, settings: dict, first: int = 0, until: float = math.inf
) -> tuple[dict, np.ndarray, np.ndarray]:
    """Pixel scores by object, and the derived quantities of candidates (n, m, 4) and truths (n, 4).

    The galaxies are `first` to `first` + n - 1, or fewer: no batch begins after ``time.time()`` is `until`.
    """
    rows, candidates, truths = [], [], []
    for start in progress_bar(range(0, n, BATCH), "scoring", True, -(-n // BATCH)):
        if time.time() > until:
            break
        batch = survey.sample(min(BATCH, n - start), first + start)
        pairs = galaxies_of(batch)
        made = generator.generate_batch(pairs, "linear", Settings(select="best", **settings))
        for i, ensemble in enumerate(made):
            observed, clean, z = ensemble.candidates, ensemble.noise_free, ensemble.redshifts
            chosen = {"single": np.array([0]), "mean": np.arange(len(observed)), "best": ensemble.selected}
            values = scoring.score_ensemble(
                observed, batch["flux"][i], batch["ivar"][i], chosen, "mean", True, physical=True
            )
            truth = batch["true_flux"][i]
            error = (clean.mean(0) - truth) / np.median(truth)
            moved = at_redshifts(truth, batch["z"][i], z, generator.grid)
            smeared = (moved.mean(0) - truth) / np.median(truth)
            values |= {"clean_mse": (error**2).mean(), "clean_mse, all but z known": (smeared**2).mean()}
            rows.append(values)
            candidates.append(measure(clean, z, generator.grid))
        truths.append(measure(batch["true_flux"], batch["z"], generator.grid))
    if not rows:
        return {}, np.empty((0, 0, len(QUANTITIES))), np.empty((0, len(QUANTITIES)))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return columns, np.stack(candidates), np.concatenate(truths)


def at_redshifts(truth: np.ndarray, z: float, redshifts: np.ndarray, grid) -> np.ndarray:
    """The true spectrum as it would be at each candidate's redshift: (m, L).

    Its mean is the best that a model can say of which only the redshift is uncertain.
    """
    pixels = np.arange(grid.size)
    shifts = np.log10((1 + redshifts) / (1 + z)) / grid.step
    return np.stack([np.interp(pixels - shift, pixels, truth) for shift in shifts])


def scatter(dz: np.ndarray) -> float:
    """sigma_NMAD, the scatter of a normal distribution with the same median deviation."""
    return 1.4826 * np.median(np.abs(dz - np.median(dz)))


def science(candidates: np.ndarray, truths: np.ndarray) -> dict:
    """Redshift scatter, calibration and rank correlations of derived quantities."""
    from scipy.stats import spearmanr

    dz = (np.median(candidates[..., 0], 1) - truths[:, 0]) / (1 + truths[:, 0])
    rng = np.random.default_rng(0)
    repeated = [scatter(dz[rng.integers(0, len(dz), len(dz))]) for _ in range(200)]  # bootstrap
    result = {
        "z sigma_NMAD": (scatter(dz), np.std(repeated)),
        "z outliers > 0.05, %": 100 * np.mean(np.abs(dz) > 0.05),
        "z bias": np.median(dz),
    }
    for k, name in enumerate(QUANTITIES):
        known = np.isfinite(truths[:, k]) & np.isfinite(candidates[..., k]).all(1)
        samples, truth = candidates[known, :, k], truths[known, k]
        for level in (0.68, 0.9):
            value, error = interval_coverage(samples, truth, level)
            result[f"{name} coverage {100 * level:.0f} %"] = (100 * value, 100 * error)
        result[f"{name} bias p"] = pit_test(pit(samples, truth)).bias_p
        result[f"{name} Spearman"] = spearmanr(np.median(samples, 1), truth).statistic
        if name.startswith("ew"):
            strong = (truth > 1) & (np.median(samples, 1) > 0)
            ratio = np.log10(np.median(samples, 1)[strong] / truth[strong])
            result[f"{name} log scatter, dex"] = 1.4826 * np.median(np.abs(ratio - np.median(ratio)))
    known = np.isfinite(candidates).all((1, 2)) & np.isfinite(truths).all(1)
    test = tarp(candidates[known], truths[known])
    result |= {"TARP width p": test.ks_p, "TARP bias p": test.bias_p}
    return result


def realism(generator, n: int, settings: dict) -> tuple[float, float]:
    """Classifier two-sample test: one observed candidate a galaxy against its observed spectrum."""
    survey, real, fake = SimulatedSurvey(REALISM_SEED), [], []
    for start in progress_bar(range(0, n, 64), "realism", True, -(-n // 64)):
        batch = survey.sample(min(64, n - start), start)
        made = generator.generate_batch(galaxies_of(batch), "linear", Settings(n=1, **settings))
        made = np.stack([e.candidates[0] for e in made])
        real.append(fill_missing(batch["flux"], batch["ivar"]))
        fake.append(fill_missing(made, batch["ivar"]))
    return two_sample_accuracy(np.concatenate(real), np.concatenate(fake), seed=0, groups=None)


def floors(train: Path, survey, n: int) -> dict:
    """Scores of look-alikes, of the mean spectrum and of an MLP, on the same galaxies."""
    from scipy.stats import spearmanr

    from pix2spec.data.dataset import Dataset
    from pix2spec.models.presets import load_preset
    from pix2spec.training.fit import fit_model

    data = Dataset(train)
    neighbours, mean = nearest_neighbours(data, "photometry"), mean_spectrum(data).spectrum.numpy()
    mlp, _ = fit_model(load_preset("pca-mlp"), data)
    rows: dict[str, list] = {"25 neighbours": [], "mean spectrum": [], "MLP": []}
    guesses, truths = [], []
    for start in progress_bar(range(0, n, 64), "floors", True, -(-n // 64)):
        batch = survey.sample(min(64, n - start), start)
        found, _ = neighbours.predict(batch)
        predicted, _ = mlp.predict(batch, "linear")
        for i in range(len(batch["z"])):
            flux, ivar = batch["flux"][i], batch["ivar"][i]
            rows["25 neighbours"].append(
                scoring.score_ensemble(found[i], flux, ivar, {"mean": np.arange(25)}, "mean")
            )
            for name, spectrum in (("mean spectrum", mean), ("MLP", predicted[i, 0])):
                rows[name].append(
                    scoring.score_ensemble(spectrum[None], flux, ivar, {"mean": np.array([0])}, "mean")
                )
        guesses.append(np.nanmedian(neighbour_widths(neighbours, data, batch), 1))
        truths.append(measure(batch["true_flux"], batch["z"], survey.grid)[:, 2:])
    scores = {k: {m: summary(np.array([r[m] for r in v])) for m in v[0]} for k, v in rows.items()}
    guesses, truths = np.concatenate(guesses), np.concatenate(truths)
    for k, name in enumerate(QUANTITIES[2:]):
        ranks = spearmanr(guesses[:, k], truths[:, k], nan_policy="omit")
        scores["25 neighbours"][f"{name} Spearman"] = ranks.statistic
    return scores


def neighbour_widths(neighbours, data, batch) -> np.ndarray:
    """Halpha and [O III] equivalent widths (n, 25, 2) of the neighbours' noise-free spectra."""
    if not hasattr(neighbours, "widths"):
        index, grid = np.arange(len(data)), data.info.grid
        if len(index) > MAX_TRAINING_GALAXIES:  # as the neighbours were chosen
            index = np.sort(np.random.default_rng(0).choice(index, MAX_TRAINING_GALAXIES, replace=False))
        parts = []
        for rows in np.array_split(index, max(1, len(index) // 1024)):
            some = data.batch(rows, ["true_flux", "z"])
            parts.append(measure(some["true_flux"], some["z"], grid)[:, 2:])
        neighbours.widths = np.concatenate(parts)
    return neighbours.widths[neighbours.neighbours(batch)[0]]


def summary(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def show(title: str, values: dict) -> None:
    print(f"\n{title}")
    for name, value in values.items():
        text = f"{value[0]:.4g} ± {value[1]:.2g}" if isinstance(value, tuple) else f"{value:.4g}"
        print(f"  {name:34}{text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--n", type=int, default=2048, help="test galaxies")
    parser.add_argument("--samples", type=int, default=64, help="candidates a galaxy")
    parser.add_argument("--realism", type=int, default=6144, help="galaxies of the two-sample test; 0: none")
    parser.add_argument("--use", default="image,photometry")
    parser.add_argument("--sampler", default="dpm++")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--train", type=Path, help="simulated pairs for the floors")
    parser.add_argument("--floors-only", action="store_true", help="score the floors alone")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    args = parser.parse_args()
    generator = load(args.model)
    settings = {"use": tuple(args.use.split(",")), "sampler": args.sampler, "steps": args.steps}
    survey, results = SimulatedSurvey(TEST_SEED), {}
    print(f"{args.n} simulated galaxies of seed {TEST_SEED}, {args.samples} samples, using {args.use}")

    def keep(**parts):
        results.update(parts)
        for title, values in parts.items():
            show(title, values)
        if args.out:
            args.out.write_text(json.dumps(results, indent=1, default=float))

    if not args.floors_only:
        columns, candidates, truths = score(generator, survey, args.n, {"n": args.samples, **settings})
        pixels = {name: summary(values) for name, values in columns.items()}
        pixels["min-max MSE, single / mean"] = pixels["single.minmax_mse"][0] / pixels["mean.minmax_mse"][0]
        keep(pixels=pixels, science=science(candidates, truths))
        if args.realism:
            keep(realism={"two-sample accuracy": realism(generator, args.realism, settings)})
    if args.train:
        keep(**floors(args.train, survey, args.n))


if __name__ == "__main__":
    main()
