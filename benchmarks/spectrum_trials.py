"""What each part of the default model's recipe is worth: short trainings with a part changed.

    python benchmarks/spectrum_trials.py --data DIR --run RUN [--steps 1200] [--out OUT] [VARIANT ...]

RUN is the folder of a training by ``benchmarks/real_sky.py --train-folds``, whose bases and galaxies
are used. Each variant trains one network without the fold 0 of the real galaxies, and is scored on that fold:
fibre ugriz (3 % stated), fibre gri, and J-PAS's narrow bands of real spectra with 5 % noise. Trainings this
short are not what ships; the differences count.
"""

import argparse
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from pix2spec.models.spectrum.model import SpectrumModel
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.models.spectrum.preset import SpectrumPreset
from pix2spec.models.storage import save_model
from pix2spec.training.real_sky import jpas_filters, load_real, real_spectra
from pix2spec.training.spectrum import recipe
from pix2spec.training.spectrum import train as training
from sky.context import Sky
from sky.ensembles import Judge, Task, Truth
from sky.rows import covered, synthetic

FOLD = 0
REAL = ("spectra", "spectra_sdss", "spectra_mgs")


def shares(**changes: int) -> dict[str, int]:
    return {name: n for name, n in (recipe.SHARES | changes).items() if n}


def without_linear_answer(self, mean, sd):
    """The linear answer is the mean of all galaxies, with the spread of all."""
    nothing = torch.zeros(len(mean), self.dimension)
    return nothing, nothing + 1


VARIANTS: dict[str, tuple[dict[str, int], dict[str, Callable]]] = {  # shares of samples, methods to change
    "released": (recipe.SHARES, {}),
    "simulated galaxies alone": (
        {"simulated": 200, "simulated_total": 64},
        {},
    ),
    "no real spectra at other redshifts, no atlas, no FORS2": (shares(moved=0, atlas=0, fors2=0), {}),
    "twice the real spectra": (shares(spectra=96, simulated=64), {}),
    "without the linear answer": (recipe.SHARES, {"_scores": without_linear_answer}),
}


@contextmanager
def changed(methods: dict[str, Callable]):
    """`SpectrumNetwork` with other methods for a while."""
    before = {name: getattr(SpectrumNetwork, name) for name in methods}
    for name, method in methods.items():
        setattr(SpectrumNetwork, name, method)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(SpectrumNetwork, name, method)


def trained(name: str, data: Path, run: Path, out: Path, steps: int) -> Path:
    """Folder of a model with the one network of a variant."""
    folder, preset = out / name.replace(" ", "-").replace(",", ""), SpectrumPreset.released()
    if (folder / "config.json").exists():
        return folder
    network = training.foundation(data, run, preset, FOLD).requires_grad_(False)
    filters, samples, vectors = training.samples_of(data, run, preset, network, FOLD)
    network.normal.load_state_dict(load_file(run / f"network-{FOLD}" / "scale.safetensors"))
    network.galaxy.requires_grad_(True)
    network.flow.requires_grad_(True)
    pictures = training.pictured(run, samples, vectors)
    drawn = network, network.tables(filters.curves), samples, vectors, pictures
    recipe.train_network(*drawn, folder, steps, 0, shares=VARIANTS[name][0])
    network.requires_grad_(False)
    torch.nn.ModuleList([network.galaxy, network.flow]).load_state_dict(training.averaged(folder))
    model = SpectrumModel(preset.model_copy(update={"without": ((FOLD,),)}), network.grid)
    model.networks[0] = network
    save_model(folder, model, {"trained_on": f"a trial: {name}"})
    return folder


def score(folder: Path, data: Path) -> str:
    """CRPS and pixels in 68 % of the galaxies of the fold."""
    judge, tables = Judge(str(folder), processes=0), load_real(data)
    spectra, real = tables["spectra"], real_spectra(data)
    rows = np.flatnonzero(spectra.fold == FOLD)
    truth = Truth(real.flux, real.ivar, real.z).rows(rows)
    fibre = replace(spectra, error=0.03 * np.abs(spectra.flux))
    narrow = covered(synthetic(Sky(None, tables, data), jpas_filters(data), 0.05, 0.05))
    cells = []
    for table in (fibre, fibre.bands("gri"), narrow):
        found = judge(table.rows(rows), truth, Task())
        cells.append(f"{found['crps_median'].mean():.4f}; {100 * found['pixels_68'].mean():.0f} %")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "variants", nargs="*", metavar="VARIANT", help=f"of {'; '.join(VARIANTS)}; default: all"
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/spectrum-trials"))
    parser.add_argument("--steps", type=int, default=1200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| variant | fibre ugriz | fibre gri | narrow bands, 5 % |\n|---|---|---|---|", flush=True)
    for name in args.variants or VARIANTS:
        with changed(VARIANTS[name][1]):
            folder = trained(name, args.data, args.run, args.out, args.steps)
            print(f"| {name} | {score(folder, args.data)} |", flush=True)


if __name__ == "__main__":
    main()
