"""Compare the FLOP rate of training with that of a large float32 matrix product, on one thread.

    python benchmarks/recipe_rate.py spectrum redshift --data DIR --run RUN [--steps 12]

DIR holds the real tables, RUN is the folder of a training of the default model (`benchmarks/real_sky.py
--half spectra --train-folds`), whose bank and bases are used. The steps are those of the recipes, with the
drawing of galaxies, the optimizer and the averaging of weights; torch counts the FLOPs of networks in one
step of each kind, forward and backward.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from pix2spec.models.redshift.preset import RedshiftPreset
from pix2spec.models.spectrum.preset import SpectrumPreset
from pix2spec.training.redshift.bank import build_bank
from pix2spec.training.redshift.filters import training_filters
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.redshift.sources import read_samples
from pix2spec.training.redshift.train import train_network as train_redshift
from pix2spec.training.spectrum.recipe import train_network as train_spectrum
from pix2spec.training.spectrum.train import foundation, pictured, samples_of
from training_rate import matmul_rate

KINDS = 12  # after so many steps, each recipe repeats its kinds of steps


def spectrum(data: Path, run: Path):
    """A function that trains a spectrum network for some steps, in a folder."""
    preset = SpectrumPreset.released()
    network = foundation(data, run, preset, 0).requires_grad_(False)
    filters, samples, vectors = samples_of(data, run, preset, network, 0)
    tables = network.tables(filters.curves)
    network.normal.load_state_dict(load_file(run / "network-0" / "scale.safetensors"))
    network.galaxy.requires_grad_(True)
    network.flow.requires_grad_(True)
    drawn = network, tables, samples, vectors, pictured(run, samples, vectors)
    return lambda out, steps: train_spectrum(*drawn, out, steps, 0)


def redshift(data: Path, run: Path):
    """A function that trains a redshift network for some steps, in a folder."""
    preset, filters = RedshiftPreset.released(), training_filters(data)
    samples = read_samples(data, build_bank(filters, run / "redshift-bank.npz"), filters, 0)
    kept = Samples(filters, samples, preset.without[0], 0)
    return lambda out, steps: train_redshift(preset, kept, out, (steps,), 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", choices=["spectrum", "redshift"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=KINDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| recipe | seconds a step | GFLOP a step | GFLOP/s | matrix product | ratio |")
    print("|---|---|---|---|---|---|")
    for name in arguments.recipes:
        train = {"spectrum": spectrum, "redshift": redshift}[name](arguments.data, arguments.run)
        with tempfile.TemporaryDirectory() as folder:
            with FlopCounterMode(display=False) as counter:
                train(Path(folder) / "counted", KINDS)
            flops = counter.get_total_flops() / KINDS
            begin = time.process_time()
            train(Path(folder) / "timed", arguments.steps)
            seconds = (time.process_time() - begin) / arguments.steps
        rate, reference = flops / seconds / 1e9, matmul_rate(2048, time.process_time)
        print(
            f"| {name} | {seconds:.3f} | {flops / 1e9:.1f} | {rate:.0f} | {reference:.0f} | "
            f"{rate / reference:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
