"""The command `pix2spec train`."""

import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from pix2spec.apps.cli.output import print_text
from pix2spec.errors import InputError

__all__ = ["train"]


def train(
    preset: Annotated[str, typer.Argument(help="Name (see `pix2spec info`) or YAML file of a preset.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="Dataset folder with images and spectra; leave it out with --simulate."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Run folder for checkpoints, losses and the trained model.")],
    simulate: Annotated[
        int | None,
        typer.Option(min=1000, help="Train the factorised model on this number of simulated galaxies."),
    ] = None,
    data_seed: Annotated[int, typer.Option(help="Seed of the simulated galaxies.")] = 101,
    init: Annotated[
        str | None,
        typer.Option(help="Fine-tune this model (run folder or shipped name), which starts the training."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint in OUT.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(help="End after this time, with the model as it is then; --resume goes on.", min=0),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the preset, as in train.lr=2e-4. May be repeated."
        ),
    ] = None,
) -> dict:
    """Adapt the default model to your data, or train a model of the paper or one that ranks candidates.

    The command also fits simple methods, such as ULISSE.

    For example

    `pix2spec train default mine/ --out runs/mine`

    `pix2spec train factorised --simulate 300000 --out runs/factorised`

    `pix2spec train paper-concat-small data/ --out runs/concat`

    Stop it with Ctrl-C and continue with `--resume`: the losses are the same as those of an uninterrupted
    run. To see them: `tensorboard --logdir runs`.
    """
    from pix2spec.models.latent.prepare import Simulation
    from pix2spec.models.presets import load_preset
    from pix2spec.training.loop import train as run

    if (data is None) == (simulate is None):
        raise InputError("train", "it needs a dataset or --simulate N, one of the two")
    source: Any = data if simulate is None else Simulation(simulate, data_seed)
    try:
        run(load_preset(preset, overrides or []), source, out, resume=resume, init=init, minutes=minutes)
    except KeyboardInterrupt as stop:  # 130 after Ctrl-C, 143 after SIGTERM, as shells count
        number = int(stop.args[0] if stop.args else signal.SIGINT)
        print_text("Continue with --resume.")
        return {"run": out, "error": "stopped; go on with --resume", "exit_code": 128 + number}
    if os.environ.get("RANK", "0") == "0":  # the first of the processes that a launcher started
        print_text(f"Trained model in {out}. Try `pix2spec generate DATA --model {out} --out predictions`.")
    return {"run": out}
