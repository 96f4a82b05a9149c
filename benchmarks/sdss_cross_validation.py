"""Cross-validate the default model on real SDSS galaxies: ugriz fluxes to spectra, against 25 neighbours.

    python benchmarks/sdss_cross_validation.py REAL --out FOLDER

REAL is a dataset of real spectra with photometry (``pix2spec data import REAL sdss_galaxies.npz``). There
are five folds over objects, and all spectra of one object are in one fold. The model of a fold starts from
the default model and trains on the other four folds.

With ``--redshift-error 0.004`` the models know redshifts with errors of that size. The difference is the
loss through an unknown redshift. A Gaussian process measures how much the fluxes say of the redshift.
"""

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.evaluation.baselines import nearest_neighbours
from pix2spec.evaluation.metrics import scoring
from pix2spec.generate.load import load
from pix2spec.models.baselines.features import photometry_features
from pix2spec.models.generator import Settings
from pix2spec.models.latent.prepare import floor_errors
from pix2spec.models.presets import load_preset
from pix2spec.runtime.progress import progress_bar
from pix2spec.training.loop import train

FOLDS = 5
METHODS = ("model", "25 neighbours", "all but z known")
LINES = ("H_beta", "[O_III]", "[N_II]", "H_alpha", "[S_II] 6716", "[S_II] 6730")
REACH = 6.0  # Angstrom about a line that its residual is looked for in


def fold_of(group: str) -> int:
    return int.from_bytes(hashlib.blake2b(group.encode(), digest_size=4).digest(), "little") % FOLDS


def usable(galaxy) -> bool:
    fluxes = galaxy.photometry is not None and (np.nan_to_num(galaxy.photometry_ivar) > 0).all()
    return fluxes and galaxy.flux is not None and 0.0005 < galaxy.z < 0.14


def basis_misfit(model, galaxies) -> dict:
    """chi2 per pixel of held-out spectra at the basis's best fit, and the stacked residual at lines."""
    basis = model.basis
    flux, raw = np.stack([p.flux for p in galaxies]), np.stack([p.ivar for p in galaxies])
    ivar, z = floor_errors(flux, raw, 0.005), np.array([p.z for p in galaxies])
    residual, weight, chi2 = basis.residual(np.where(ivar > 0, flux, 0), ivar, z, basis.grid)
    return {"chi2": chi2, "residual": (residual * weight).sum(0), "weight": weight.sum(0)}


def with_redshift(galaxy, error: float):
    """The pair with a redshift that is off by a draw of that error."""
    seed = int.from_bytes(hashlib.blake2b(galaxy.object_id.encode(), digest_size=4).digest(), "little")
    told = galaxy.z + error * np.random.default_rng(seed).standard_normal()
    return replace(galaxy, z=max(told, 0.0), z_err=error)


def photometric_redshifts(galaxies) -> np.ndarray:
    """Errors dz / (1 + z) of a Gaussian process from colours and magnitude, over the same folds."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    fluxes, ivar = (np.stack([getattr(p, k) for p in galaxies]) for k in ("photometry", "photometry_ivar"))
    inputs, z = photometry_features(fluxes, ivar), np.array([p.z for p in galaxies])
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    fold, guess = np.array([fold_of(p.group_id) for p in galaxies]), np.empty(len(z))
    for k in range(FOLDS):
        kernel = ConstantKernel(1.0) * RBF([1.0] * inputs.shape[1]) + WhiteKernel(0.1)
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        guess[fold == k] = process.fit(inputs[fold != k], z[fold != k]).predict(inputs[fold == k])
    return (guess - z) / (1 + z)


def all_but_redshift(model, galaxies, ensembles) -> list[np.ndarray]:
    """What a model would give that knows each spectrum, but has the redshifts of the ensembles.

    The spectrum is the basis's fit to the observed one, the noise has the observed errors.
    """
    raw = np.stack([p.ivar for p in galaxies])
    flux, z = np.where(raw > 0, np.stack([p.flux for p in galaxies]), 0), np.array([p.z for p in galaxies])
    fits = model.basis.encode(flux, floor_errors(flux, raw), z, model.grid, 16)
    latents = torch.from_numpy(model.vector(z, fits))
    results = []
    for galaxy, ensemble, known in zip(galaxies, ensembles, latents):
        n = len(ensemble)
        redshifts = torch.from_numpy(ensemble.redshifts)
        spectra = model.spectra(known.repeat(-(-n // len(known)), 1)[:n], redshifts)[0].numpy()
        sigma = np.where(galaxy.ivar > 0, 1 / np.sqrt(np.where(galaxy.ivar > 0, galaxy.ivar, 1)), 0)
        results.append(spectra + sigma * np.random.default_rng(0).standard_normal(spectra.shape))
    return results


def scatter(dz: np.ndarray) -> float:
    return 1.4826 * np.median(np.abs(dz - np.median(dz)))


def run_fold(
    fold: int, galaxies, init: str, folder: Path, overrides, error: float | None = None
) -> tuple[dict, list[dict]]:
    learn = [p for p in galaxies if fold_of(p.group_id) != fold]
    held_out = [p for p in galaxies if fold_of(p.group_id) == fold]
    data = folder / f"fold-{fold}"
    if not data.exists():
        write_dataset(data, learn, DatasetInfo(image_kind=None))
    preset = load_preset("default-sdss", overrides)
    run = train(preset, data, folder / f"run-{fold}", resume=True, init=init)
    generator, neighbours = load(run), nearest_neighbours(Dataset(data), "photometry")
    rows = []
    for start in progress_bar(range(0, len(held_out), 32), f"fold {fold}", True, -(-len(held_out) // 32)):
        some = held_out[start : start + 32]
        batch = {
            "photometry": np.stack([p.photometry for p in some]),
            "photometry_ivar": np.stack([p.photometry_ivar for p in some]),
            "group_id": np.array([p.group_id for p in some], object),
        }
        told = some if error is None else [with_redshift(p, error) for p in some]
        use = ("photometry",) if error is None else ("photometry", "redshift")
        ensembles = generator.generate_batch(told, "linear", Settings(n=64, use=use))
        found, bound = neighbours.predict(batch)[0], all_but_redshift(generator.model, some, ensembles)
        for galaxy, ensemble, *others in zip(some, ensembles, found, bound):
            row = {"object_id": galaxy.object_id, "fold": fold}
            for name, members in zip(METHODS, (ensemble.candidates, *others)):
                values = scoring.score_ensemble(
                    members, galaxy.flux, galaxy.ivar, {"mean": np.arange(len(members))}, "mean",
                    physical=name == METHODS[0],
                )  # fmt: skip
                row |= {f"{name} {k}": v for k, v in values.items()}
            dz = (np.median(ensemble.redshifts) - galaxy.z) / (1 + galaxy.z)
            rows.append(row | {"dz": float(dz)})
    return basis_misfit(generator.model, held_out), rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", default="default")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--redshift-error", type=float, help="tell the models redshifts with this error")
    args = parser.parse_args()
    galaxies = [p for p in Dataset(args.data) if usable(p)]
    args.out.mkdir(parents=True, exist_ok=True)
    fits, rows = [], []
    for fold in range(FOLDS):
        fit, scored = run_fold(fold, galaxies, args.init, args.out, args.overrides, args.redshift_error)
        fits.append(fit)
        rows += scored
    suffix = "" if args.redshift_error is None else f"-redshift-{args.redshift_error:g}"
    (args.out / f"scores{suffix}.json").write_text(json.dumps(rows))
    print(f"{len(rows)} real galaxies, {FOLDS} folds")
    for name in rows[0]:
        values = np.array([r[name] for r in rows if not isinstance(r[name], str)], float)
        if len(values) and name != "fold":
            values = values[np.isfinite(values)]
            print(f"  {name:40}{values.mean():.4f} ± {values.std() / np.sqrt(len(values)):.4f}")
    crps = {k: np.nanmean([r[f"{k} mean.crps_median"] for r in rows]) for k in METHODS}
    for name in ("model", "all but z known"):
        print(
            f"  CRPS of {name} below 25 neighbours by {100 * (1 - crps[name] / crps['25 neighbours']):.1f} %"
        )
    print(f"  redshift sigma_NMAD {scatter(np.array([r['dz'] for r in rows])):.4f}")
    print(f"  redshift sigma_NMAD of a Gaussian process {scatter(photometric_redshifts(galaxies)):.4f}")
    print(f"  basis, held out: chi2/pixel {np.median(np.concatenate([f['chi2'] for f in fits])):.3f}")
    show_lines(load(args.init).model.basis, fits)


def show_lines(basis, fits) -> None:
    """Largest stacked residual of held-out spectra near lines, in standard deviations."""
    from pix2spec.core.lines import LINE_GROUPS

    weight = sum(f["weight"] for f in fits)
    sigma = sum(f["residual"] for f in fits) / np.sqrt(np.maximum(weight, 1e-9))
    wave = 10 ** basis.loglam.numpy()
    for name in LINES:
        near = np.abs(wave - LINE_GROUPS[name][0][0]) < REACH
        print(f"  stacked residual at {name:14}{np.abs(sigma[near]).max():.1f} sigma")


if __name__ == "__main__":
    main()
