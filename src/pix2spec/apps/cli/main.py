"""The command line: thin, no science in it. Heavy imports wait inside the commands."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pix2spec.apps.cli.archives import data_sdss
from pix2spec.apps.cli.data import data_app
from pix2spec.apps.cli.generate import generate
from pix2spec.apps.cli.models import export
from pix2spec.apps.cli.output import App, UsageError, fail, print_text
from pix2spec.apps.cli.paper import reproduce_app
from pix2spec.apps.cli.rank import rank
from pix2spec.apps.cli.universe import data_universe
from pix2spec.apps.cli.web import app_command
from pix2spec.errors import InputError

app = App(
    name="pix2spec",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="Generate a galaxy's optical spectrum from its survey photometry, with calibrated uncertainty.\n\n"
    "Start with `pix2spec demo`. Each command explains itself: `pix2spec generate --help`.\n\n"
    "For example\n\n"
    "`pix2spec generate cutouts/ --table photometry.csv --out predictions --figures 6`\n\n"
    "`pix2spec evaluate predictions --truth test`\n\n"
    "Scripts give any command `--json`: one JSON object on stdout, everything else on stderr. Exit codes: 0 "
    "all done, 1 failed, 2 wrong input, 3 done but for objects that are listed with their reason.",
)
data_app.command("sdss")(data_sdss)
data_app.command("universe")(data_universe)
app.add_typer(data_app, name="data")
app.add_typer(reproduce_app, name="reproduce")
app.command("app")(app_command)


# Packages that only some commands need, and the extra that brings them.
EXTRAS = dict.fromkeys(("astroquery", "httpx", "tenacity", "reproject"), "sdss")
EXTRAS |= {"h5py": "universe", "sfdmap2": "dust", "gradio": "app", "plotly": "app", "ray": "cluster"}


def main() -> None:
    """Run the command line; input at fault ends in one sentence instead of a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        sys.exit(_wrong_usage(error))
    except InputError as error:
        facts = {"where": error.where, "what": error.what, "hint": error.hint}
        sys.exit(fail(str(error), 2, **facts))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        hint = f"pip install 'pix2spec[{EXTRAS[package]}]'"
        sys.exit(fail(f"this command needs the package {package} ({hint})", 2))
    except OSError as error:
        sys.exit(fail(str(error), 1))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(fail("interrupted", 130))


def _wrong_usage(error: UsageError) -> int:
    """One sentence that names the command's help; of a command without arguments, the help itself."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    what = error.format_message().strip().rstrip(".")
    command = error.ctx.command_path if error.ctx else "pix2spec"
    return fail(f"{' '.join(what.split())} (see `{command} --help`)", 2)


def _interrupt(number: int, _) -> None:
    """A batch system's SIGTERM ends a command as Ctrl-C does: temporary files go, checkpoints are whole."""
    raise KeyboardInterrupt(number)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        import pix2spec

        print(f"pix2spec {pix2spec.__version__}")
        raise typer.Exit


# ------------------------------------------------------------------------------------- demo


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Another seed draws other candidates.")] = 0,
) -> dict:
    """Six simulated galaxies that the shipped model never saw, to 25 candidate spectra each.

    Writes a figure, `catalog.parquet` and one FITS file an object; takes under a minute on two cores.

    Example: `pix2spec demo --out demo-output`
    """
    from pix2spec.generate.demo import demo as run

    summary = run(out, seed=seed)
    galaxies = out / "galaxies"
    print_text(f"Made 25 candidate spectra for each of {summary.n_ok} galaxies.")
    print_text(f"  figure     {out / 'spectra.png'}")
    print_text(f"  catalogue  {summary.catalogue}")
    print_text(f"  FITS       {out / 'spectra'}/*.fits")
    print_text(
        "These galaxies are simulated. Scores and limits of the model: `pix2spec info default`. Try next:"
    )
    print_text(f"  pix2spec evaluate {out} --truth {galaxies}")
    print_text(f"  pix2spec generate {galaxies} --out noise-free --noise none --figures 6")
    print_text(
        f"  pix2spec generate {galaxies} --out with-redshift --use image,photometry,redshift --figures 6"
    )
    print_text("  pix2spec generate YOUR-CUTOUT.fits --out mine --figures 1")
    return {
        "figure": out / "spectra.png",
        "catalogue": summary.catalogue,
        "files": summary.files,
        "galaxies": galaxies,
        "objects": summary.n_ok,
    }


# ---------------------------------------------------------------------------------- training


@app.command()
def train(
    preset: Annotated[str, typer.Argument(help="Name (see `pix2spec info`) or YAML file of a preset.")],
    data: Annotated[
        Path | None, typer.Argument(help="Dataset folder with images and spectra; or use --simulate.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Run folder: checkpoints, losses and the trained model.")],
    simulate: Annotated[
        int | None,
        typer.Option(min=1000, help="Train the default model on so many simulated galaxies instead."),
    ] = None,
    data_seed: Annotated[int, typer.Option(help="Of the simulated galaxies.")] = 101,
    init: Annotated[
        str | None, typer.Option(help="Start from this model (run folder or shipped name) to fine-tune it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override the preset, as in train.lr=2e-4. Repeatable."
        ),
    ] = None,
) -> dict:
    """Train the default model, a model of the paper, or the contrastive network that ranks its candidates;
    or fit a simple method, such as ULISSE.

    For example

    `pix2spec train default --simulate 300000 --out runs/default`

    `pix2spec train paper-concat-small data/ --out runs/concat`

    Stop it with Ctrl-C and go on with `--resume`; a resumed run gives the same losses as an
    uninterrupted one. Losses: `tensorboard --logdir runs`.
    """
    from pix2spec.models.latent.prepare import Simulation
    from pix2spec.models.presets import load_preset
    from pix2spec.training.loop import train as run

    if (data is None) == (simulate is None):
        raise InputError("train", "it needs a dataset or --simulate N, one of the two")
    source: Any = data if simulate is None else Simulation(simulate, data_seed)
    try:
        run(load_preset(preset, overrides or []), source, out, resume=resume, init=init)
    except KeyboardInterrupt as stop:  # 130 after Ctrl-C, 143 after SIGTERM, as shells count
        print_text("Go on with --resume.")
        number = int(stop.args[0] if stop.args else signal.SIGINT)
        return {"run": out, "error": "stopped; go on with --resume", "exit_code": 128 + number}
    if os.environ.get("RANK", "0") == "0":  # of the processes that a launcher started
        print_text(f"Trained model in {out}. Try `pix2spec generate DATA --model {out} --out predictions`.")
    return {"run": out}


# -------------------------------------------------------------------------------- generation


app.command()(generate)
app.command()(rank)
app.command()(export)


@app.command()
def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="PREDICTIONS...",
            help="Folder that `generate` wrote, folder of FITS spectra, Parquet or npz file.",
        ),
    ],
    truth: Annotated[Path, typer.Option(help="Dataset with the observed spectra of the same objects.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report. Default: PREDICTIONS/evaluation.")
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(help="Training dataset: adds simple baselines, and the search for copied spectra."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Several PREDICTIONS, side by side in one report.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Scores by pixel alone: seconds, not minutes.")
    ] = False,
    features: Annotated[
        Path | None,
        typer.Option(help="Contrastive run whose codes are compared. Default: the shipped model's."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that measure spectra. Default: one a core.")
    ] = None,
) -> dict:
    """Judge generated spectra against observed ones: pixels, redshifts, lines, realism, calibration.

    For example

    `pix2spec evaluate predictions --truth test --train train --out report`

    `pix2spec evaluate --compare mine theirs.parquet --truth test --out report`

    Open `report.html`: what was found stands first, in words. Predictions need not be ours: a folder of FITS
    spectra named by object id, or a table with columns object_id and flux, will do.
    """
    from pix2spec.evaluation.compare import compare as run

    if len(predictions) > 1 and not compare:
        raise InputError(
            "PREDICTIONS", f"{len(predictions)} sets of predictions", "--compare sets them side by side"
        )
    first = predictions[0]
    if out is None:
        out = (first if first.is_dir() else first.parent) / "evaluation"
    run(predictions, truth, train, out, quick=quick, features=features, workers=workers)
    print_text(f"Report: {out}/report.html; numbers: {out}/metrics.json and metrics.parquet")
    report = {"report": out / "report.html", "metrics": out / "metrics.json"}
    return report | {"metrics_parquet": out / "metrics.parquet"}


@app.command()
def info(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|PRESET", help="Run folder, shipped model, preset, or nothing for a list."
        ),
    ] = None,
) -> dict:
    """Show what a model or a preset is made of: parts, parameters, cost, data contract, training.

    Example: `pix2spec info paper-xattn`
    """
    if name is None:
        from pix2spec.models.presets import load_preset, preset_names
        from pix2spec.models.storage import shipped_models

        listed = {name: load_preset(name).about for name in preset_names()}
        listed |= {name: f"{listed.get(name, '')} Trained." for name in shipped_models()}
        print_text("\n".join(f"{k:26}{v}" for k, v in listed.items()))
        return {"models": listed}
    from pix2spec.apps.cli.describe import describe
    from pix2spec.models.storage import as_bullets

    facts = describe(name)
    print_text(f"{facts['name']} ({facts['kind']}): {facts['about']}")
    for part, count in facts["parameters"].items():
        cost = facts["forward_gflop"].get(part)
        print_text(
            f"  {part:20}{count:>12,} parameters"
            + (f"{cost:>10.3f} GFLOP a pass" if cost is not None else "")
        )
    grid = facts["grid"]
    last = grid["start"] + grid["step"] * (grid["size"] - 1)
    print_text(
        f"  grid: {grid['size']} pixels, log10 lambda {grid['start']} to {last:.4f} (vacuum, Angstrom)"
    )
    kind = facts["preset"].get("data", {}).get("image", "linear or composite")
    print_text(f'  images: {kind}, bands {" ".join(facts["bands"])}, {facts["pixel_scale"]}"/pixel')
    survey = facts["survey"]
    print_text(
        f"  survey: {survey['name']}, photometry {' '.join(survey['photometry_bands'])} within "
        f'{survey["fibre_diameter"]:g}"' + (" (by default)" if facts["kind"] == "preset" else "")
    )
    for line in as_bullets(facts.get("record", {}), "  "):
        print_text(line)
    if "selector" in facts:
        print_text(
            f"  selector: {facts['selector']['name']}, "
            f"{facts['selector']['parameters']['total']:,} parameters"
        )
    return facts
