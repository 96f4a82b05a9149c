"""What each part of the redshift model's recipe is worth: short trainings with a part changed.

    python benchmarks/redshift_trials.py --data DIR [--steps 3000] [--out runs/redshift-trials] [VARIANT ...]

Each variant trains one network without the fold 0 of the tables in DIR, and is scored on that fold: SDSS, the
main sample, GAMA in griz, zCOSMOS, and J-PAS's narrow bands of real spectra with 5 % noise. Trainings this
short are not what ships; the differences count. "recalibrated" and "two networks" use the networks of
"released" and "another seed".
"""

import argparse
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pix2spec.models.redshift.network import RedshiftNetwork
from pix2spec.models.redshift.posterior import RedshiftPosterior
from pix2spec.models.redshift.preset import RedshiftPreset
from pix2spec.models.shared import measurements
from pix2spec.training.real_sky import RealTable, jpas_filters, load_real, spectrum_fluxes
from pix2spec.training.redshift import recipe
from pix2spec.training.redshift.bank import build_bank
from pix2spec.training.redshift.filters import training_filters
from pix2spec.training.redshift.samples import Sample, Samples
from pix2spec.training.redshift.sources import as_measurements, read_samples
from sky.scores import redshift_scores

FOLD, DRAWS = 0, 256
NARROW_NOISE = 0.05
COSMOS = [f"cosmos-{band}" for band in "uBVgriz"]


@contextmanager
def changed(thing, **values):
    """Attributes of `thing` with other values for a while."""
    before = {name: getattr(thing, name) for name in values}
    for name, value in values.items():
        setattr(thing, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(thing, name, value)


def own_filters(samples: dict[str, Sample]) -> dict[str, Sample]:
    """Real galaxies in the filters in which they were measured, and in no other."""
    return {
        name: s if s.is_simulated else replace(s, mag=np.where(s.measured, s.mag, np.nan).astype(np.float32))
        for name, s in samples.items()
    }


def without_simulated(samples: dict[str, Sample]) -> dict[str, Sample]:
    """Without the fluxes of simulated galaxies in the fibre."""
    return {name: s for name, s in samples.items() if name != "simulated"}


def no_smooth_curve(self, x, brightness):
    """Zeros in the place of the smooth curve."""
    return torch.zeros(len(x), 2 * len(measurements.LATTICE))


VARIANTS: dict[str, tuple[Callable, object, dict]] = {  # samples, and what to change for the training
    "released": (dict, recipe, {}),
    "another seed": (dict, recipe, {}),
    "AdamW instead of Muon": (dict, recipe, {"MuonAdam": torch.optim.AdamW}),
    "no smooth curve": (dict, measurements.Smooth, {"forward": no_smooth_curve}),
    "own filters alone": (own_filters, recipe, {}),
    "no simulated galaxies": (without_simulated, recipe, {}),
}


def trained(name: str, data: Path, out: Path, steps: int) -> Path:
    """Folder of the network of a variant, which is trained if need be."""
    choose, thing, values = VARIANTS[name]
    folder = out / name.replace(" ", "-")
    filters = training_filters(data)
    samples = choose(read_samples(data, build_bank(filters, out / "bank.npz"), filters))
    seed = 1 if name == "another seed" else 0
    with changed(thing, **values):
        recipe.train_network(
            RedshiftPreset.released(),
            Samples(filters, samples, (FOLD,), 0),
            folder,
            (steps, steps // 4),
            seed,
        )
    return folder


def load(folder: Path) -> RedshiftNetwork:
    network = RedshiftNetwork(RedshiftPreset.released()).eval()
    network.load_state_dict(recipe.averaged_weights(folder))
    return network


def tables(data: Path) -> dict[str, RealTable]:
    """The galaxies of the fold, in the filters in which they are scored."""
    every = {name: table.rows(table.fold == FOLD) for name, table in load_real(data).items()}
    spectra, filters = load_real(data)["spectra"], jpas_filters(data)
    flux, error = spectrum_fluxes(data, filters)
    covered = np.flatnonzero(np.isfinite(flux).mean(0) > 0.98)
    flux, error = flux[:, covered], error[:, covered]
    flux = flux * (1 + NARROW_NOISE * np.random.default_rng(3).standard_normal(flux.shape))
    narrow = replace(
        spectra, flux=flux, error=np.hypot(error, NARROW_NOISE * np.abs(flux)),
        filters=tuple(filters[k] for k in covered), kind=("fibre",) * len(covered),
    )  # fmt: skip
    return {
        "SDSS": every["sdss"],
        "main sample": every["mgs"],
        "GAMA griz": every["gama"].bands("griz"),
        "zCOSMOS": every["zcosmos"].bands(COSMOS),
        "narrow bands": narrow.rows(narrow.fold == FOLD),
    }


@torch.inference_mode()
def posterior(networks: list[RedshiftNetwork], table: RealTable) -> RedshiftPosterior:
    """The mean of the answers of networks."""
    tokens = as_measurements(table).tokens()
    made = [[values.double().numpy() for values in network(tokens)[:3]] for network in networks]
    weight = np.concatenate([np.exp(m[0]) / len(networks) for m in made], 1)
    return RedshiftPosterior(
        weight, *(np.concatenate([f(m[i]) for m in made], 1) for i, f in ((1, _same), (2, np.exp)))
    )


def alone(table: RealTable, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws for the fold from a small network that knows nothing but this table, in its own bands; and z."""
    from pix2spec.models.redshift.posterior import to_y

    table = table.rows(np.isfinite(table.flux).all(1) & (table.flux > 0).all(1) & (table.z > 0))
    mag = table.magnitude
    middle = mag[:, [2]]
    inputs = np.c_[(middle - 17) / 1.5, 2 * (mag - middle), np.log(table.error / table.flux) / 2]
    x, z = (torch.from_numpy(a).float() for a in (inputs, table.z))
    torch.manual_seed(0)
    layers = [torch.nn.Linear(x.shape[1], 256), torch.nn.SiLU(), torch.nn.Linear(256, 256), torch.nn.SiLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Dropout(0.1), torch.nn.Linear(256, 36))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    known, held = (
        torch.from_numpy(np.flatnonzero((table.fold == FOLD) == is_held)) for is_held in (False, True)
    )

    def mixture(rows):
        weight, mean, log_sd = network(x[rows]).chunk(3, 1)
        return weight.log_softmax(1), mean, log_sd.clamp(-6, 2)

    for _ in range(steps):
        rows = known[torch.randint(len(known), (512,))]
        weight, mean, log_sd = mixture(rows)
        deviation = (to_y(z[rows])[:, None] - mean) * torch.exp(-log_sd)
        loss = -torch.logsumexp(weight - log_sd - 0.5 * deviation**2, 1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        weight, mean, log_sd = (part.double().numpy() for part in mixture(held))
    found = RedshiftPosterior(np.exp(weight), mean, np.exp(log_sd))
    return found.sample(DRAWS, 1), table.z[held.numpy()]


def _same(values):
    return values


def recalibrated(found: RedshiftPosterior, z: np.ndarray) -> np.ndarray:
    """Draws at quantiles that are mapped so that truths are uniform among them, learnt on the other half."""
    pit = found.cdf(z)
    half = np.arange(len(z)) % 2 == 0
    uniform = np.random.default_rng(0).random((len(z), DRAWS))
    draws = np.empty_like(uniform)
    for learn, apply in ((half, ~half), (~half, half)):
        known = np.sort(pit[learn])
        level = np.quantile(known, uniform[apply])
        some = found[apply]
        draws[apply] = np.stack([some.quantile(np.clip(column, 1e-4, 1 - 1e-4)) for column in level.T], 1)
    return draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "variants", nargs="*", metavar="VARIANT", help=f"of {', '.join(VARIANTS)}; default: all"
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/redshift-trials"))
    parser.add_argument("--steps", type=int, default=3000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    networks = {
        name: load(trained(name, args.data, args.out, args.steps)) for name in args.variants or VARIANTS
    }
    sets = {name: [network] for name, network in networks.items()}
    if {"released", "another seed"} <= set(networks):
        sets["two networks"] = [networks["released"], networks["another seed"]]
    scored = tables(args.data)
    print("| variant | " + " | ".join(scored) + " |\n|" + "---|" * (len(scored) + 1))
    cells = [""] * len(scored)
    for k, (name, bands) in enumerate(
        (("sdss", "ugriz"), ("mgs", "ugriz"), ("gama", "griz"), ("zcosmos", COSMOS))
    ):
        cells[k] = _cell(*alone(load_real(args.data)[name].bands(list(bands)), 5000))
    print("| a network for the table alone | " + " | ".join(cells) + " |", flush=True)
    for name, some in sets.items():
        with changed(VARIANTS[name][1], **VARIANTS[name][2]) if name in VARIANTS else changed(recipe):
            found = {label: posterior(some, table) for label, table in scored.items()}
        _print(name, [found[label].sample(DRAWS, 1) for label in scored], scored)
        if name == "released":
            _print("recalibrated", [recalibrated(found[k], scored[k].z) for k in scored], scored)


def _cell(draws: np.ndarray, z: np.ndarray) -> str:
    scores = redshift_scores(draws, z)
    return f"{scores['sigma_nmad']:.4f}; {scores['crps']:.4f}; {100 * scores['inside']:.0f} %"


def _print(name: str, draws: list[np.ndarray], scored: dict[str, RealTable]) -> None:
    cells = [_cell(some, table.z) for some, table in zip(draws, scored.values())]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
