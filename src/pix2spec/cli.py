"""The command line: thin, no science in it. Heavy imports wait inside the commands."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pix2spec.cli_reproduce import reproduce_app

app = typer.Typer(
    name="pix2spec",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="Generate a galaxy's optical spectrum from its survey photometry, with calibrated uncertainty.\n\n"
    "Start with `pix2spec demo`. Each command explains itself: `pix2spec generate --help`.",
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Make and check datasets.")
app.add_typer(data_app, name="data")
app.add_typer(reproduce_app, name="reproduce")


def _print(text: str = "") -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def main() -> None:
    """Run the command line; input at fault ends in one sentence instead of a traceback."""
    from pix2spec.errors import InputError

    try:
        app(standalone_mode=True)
    except InputError as error:
        print(f"pix2spec: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"pix2spec: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("pix2spec: interrupted", file=sys.stderr)
        sys.exit(130)


def _report_failures(failures, total: int) -> None:
    for where, why in failures[:10]:
        text = why if str(why).startswith(str(where)) else f"{where}: {why}"
        print(f"  failed: {text}", file=sys.stderr)
    if total > 10:
        print(f"  ... and {total - 10} more, all listed in the output", file=sys.stderr)


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
) -> None:
    """Six simulated galaxies that the shipped model never saw, to 25 candidate spectra each.

    Writes a figure, `catalog.parquet` and one FITS file an object; takes under a minute on two cores.
    """
    from pix2spec.produce import demo as run

    summary = run(out, seed=seed)
    galaxies = out / "galaxies"
    _print(f"Made 25 candidate spectra for each of {summary.n_ok} galaxies.")
    _print(f"  figure     {out / 'spectra.png'}")
    _print(f"  catalogue  {summary.catalogue}")
    _print(f"  FITS       {out / 'spectra'}/*.fits")
    _print("These galaxies are simulated. Scores and limits of the model: `pix2spec info default`. Try next:")
    _print(f"  pix2spec evaluate {out} --truth {galaxies}")
    _print(f"  pix2spec generate {galaxies} --out noise-free --noise none --figures 6")
    _print(f"  pix2spec generate {galaxies} --out with-redshift --use image,photometry,redshift --figures 6")
    _print("  pix2spec generate YOUR-CUTOUT.fits --out mine --figures 1")


# ------------------------------------------------------------------------------------- data


@data_app.command("simulate")
def data_simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of galaxies.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed, another sky.")] = 0,
    composite: Annotated[
        bool, typer.Option("--composite", help="Store 8-bit colour composites instead of linear fluxes.")
    ] = False,
) -> None:
    """Simulate an SDSS-like survey: cutouts, fibre photometry and spectra whose truth is known.

    Example: `pix2spec data simulate train -n 20000 --seed 1`
    """
    from pix2spec.data.simulate import simulate_dataset

    simulate_dataset(out, n, seed=seed, composite=composite)
    _print(f"Wrote {n} simulated pairs to {out}. Look at them with `pix2spec data check {out}`.")


@data_app.command("import")
def data_import(
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    spectra: Annotated[
        list[Path] | None,
        typer.Argument(
            help="SDSS spec files, folders of them, or npz bundles. None: images or tables alone."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of cutouts named by object id (0266-51602-0013.jpg, ...-g.fits), or npz."),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="CSV, FITS, VOTable or Parquet with ugriz photometry. Repeatable."),
    ] = None,
    any_pixel_scale: Annotated[
        bool, typer.Option("--any-pixel-scale", help="Accept cutouts of another pixel scale.")
    ] = False,
    any_bands: Annotated[
        bool, typer.Option("--any-bands", help="Accept pictures of other bands than g, r, i.")
    ] = False,
) -> None:
    """Turn real files into a dataset; what cannot be read is listed in OUT/import-report.csv.

    Example: `pix2spec data import real spectra/ --images cutouts/ --table photometry.csv`
    """
    from pix2spec.data.importer import import_data

    report = import_data(
        out, list(spectra or []), images=images, tables=list(table or []),
        any_pixel_scale=any_pixel_scale, any_bands=any_bands,
    )  # fmt: skip
    _report_failures(report.failures, len(report.failures))
    _print(f"{report.summary}; report in {report.path}")
    if report.failures:
        raise typer.Exit(3)


@data_app.command("check")
def data_check(path: Annotated[Path, typer.Argument(help="Dataset folder.")]) -> None:
    """Verify a dataset and show what is in it; exit code 1 if something is wrong."""
    from pix2spec.data.check import check_dataset

    report = check_dataset(path)
    report.print()
    if not report.ok:
        raise typer.Exit(1)


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
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override the preset, as in train.lr=2e-4. Repeatable."
        ),
    ] = None,
) -> None:
    """Train the default model, a model of the paper, or the contrastive network that ranks its candidates;
    or fit a simple method, such as ULISSE.

    For example

    `pix2spec train default --simulate 300000 --out runs/default`

    `pix2spec train paper-concat-small data/ --out runs/concat`

    Stop it with Ctrl-C and go on with `--resume`; a resumed run gives the same losses as an
    uninterrupted one. Losses: `tensorboard --logdir runs`.
    """
    from pix2spec.config import load_preset
    from pix2spec.errors import InputError
    from pix2spec.prepare import Simulation
    from pix2spec.train import train as run

    if (data is None) == (simulate is None):
        raise InputError("train", "it needs a dataset or --simulate N, one of the two")
    source = data if simulate is None else Simulation(simulate, data_seed)
    run(load_preset(preset, set_ or []), source, out, resume=resume, init=init)
    _print(f"Trained model in {out}. Try `pix2spec generate DATA --model {out} --out predictions`.")


# -------------------------------------------------------------------------------- generation


@app.command()
def generate(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Dataset, cutout (FITS, JPEG, PNG) or folder of cutouts.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for catalog.parquet.")],
    model: Annotated[str, typer.Option(help="Run folder, or the name of a shipped model.")] = "default",
    selector: Annotated[
        Path | None,
        typer.Option(help="Run folder of a contrastive network for a model over pixels."),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="ugriz photometry of the cutouts. Repeatable."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Candidates an object.")] = 25,
    select: Annotated[
        str | None,
        typer.Option(help="single | best | mean:M | all. Default: all; best for models over pixels."),
    ] = None,
    noise: Annotated[
        str, typer.Option(help="observed: as the survey would record them | none: noise-free.")
    ] = "observed",
    use: Annotated[
        str, typer.Option(help="What the model may know: any of image,photometry,redshift.")
    ] = "image,photometry",
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance scale; 1 is none.")] = 1.0,
    sampler: Annotated[
        str, typer.Option(help="dpm++ | euler | heun; for models over pixels dpm++ | ddim | ddpm.")
    ] = "dpm++",
    steps: Annotated[
        int | None,
        typer.Option(help="Network evaluations a candidate. Default: 16; over pixels 25, all for ddpm."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Objects a pass: more for throughput, 1 for latency.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Candidate k of an object depends on (seed, object, k) alone.")
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many objects.")] = None,
    fits: Annotated[bool, typer.Option("--fits", help="Also write one FITS file an object.")] = False,
    figures: Annotated[int, typer.Option(min=0, help="Draw the first so many objects in one figure.")] = 0,
    candidates: Annotated[
        bool, typer.Option(help="Store all candidates (14 kB each); `evaluate` needs them.")
    ] = True,
    any_pixel_scale: Annotated[
        bool, typer.Option("--any-pixel-scale", help="Accept cutouts of another pixel scale.")
    ] = False,
) -> None:
    """Generate spectra for every object of INPUT; exit code 3 if some failed (they are listed).

    For example

    `pix2spec generate cutouts/ --table photometry.csv --out predictions --figures 6`

    `pix2spec generate data/ --model runs/concat --selector runs/contrastive --out predictions`
    """
    from dataclasses import replace

    from pix2spec.generate import Settings, load
    from pix2spec.produce import generate_catalogue, open_source

    # What the user typed is checked before anything slow happens.
    tokens = tuple(word.strip() for word in use.split(","))
    settings = Settings(
        n=n, select=select or "all", sampler=sampler, steps=steps, seed=seed, noise=noise, use=tokens,
        guidance=guidance,
    )  # fmt: skip
    generator = load(model, selector)
    settings = replace(settings, select=select or generator.default_select)
    dataset, failures = open_source(source, out / "input", table or (), any_pixel_scale)
    summary = generate_catalogue(
        generator,
        dataset,
        out,
        settings,
        failures,
        limit,
        candidates,
        fits=fits,
        figures=figures,
        batch=batch,
    )
    _report_failures(summary.failures, summary.n_failed)
    _print(f"{summary.n_ok} ensembles of {summary.n_candidates} candidates in {summary.catalogue}")
    for path in summary.files[:1]:
        _print(
            f"  also {path}" + (f" and {len(summary.files) - 1} more files" if len(summary.files) > 1 else "")
        )
    if summary.n_failed:
        raise typer.Exit(3)


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that `generate` wrote.")],
    truth: Annotated[Path, typer.Option(help="Dataset with the observed spectra of the same objects.")],
    train: Annotated[
        Path | None,
        typer.Option(help="Training dataset: adds the mean spectrum and 25 nearest neighbours."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder for metrics.json, metrics.parquet and the figure. Default: OUT/evaluation."
        ),
    ] = None,
) -> None:
    """Score generated spectra against observed ones: the paper's MSE, CRPS, coverage.

    Example: `pix2spec evaluate predictions --truth data --train train`
    """
    from pix2spec.evaluate import evaluate as run

    folder = report or (predictions if predictions.is_dir() else predictions.parent) / "evaluation"
    run(predictions, truth, train, folder)
    _print(f"Metrics and figure in {folder}")


@app.command()
def info(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|PRESET", help="Run folder, shipped model, preset, or nothing for a list."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Show what a model or a preset is made of: parts, parameters, cost, data contract, training.

    Example: `pix2spec info paper-xattn`
    """
    if name is None:
        from pix2spec.config import load_preset, preset_names
        from pix2spec.models.storage import shipped_models

        listed = {name: load_preset(name).about for name in preset_names()}
        listed |= {name: f"{listed.get(name, '')} Trained." for name in shipped_models()}
        _print(
            json.dumps(listed, indent=2) if as_json else "\n".join(f"{k:26}{v}" for k, v in listed.items())
        )
        return
    from pix2spec.describe import describe
    from pix2spec.models.storage import as_bullets

    facts = describe(name)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    _print(f"{facts['name']} ({facts['kind']}): {facts['about']}")
    for part, count in facts["parameters"].items():
        cost = facts["forward_gflop"].get(part)
        _print(
            f"  {part:20}{count:>12,} parameters"
            + (f"{cost:>10.3f} GFLOP a pass" if cost is not None else "")
        )
    grid = facts["grid"]
    last = grid["start"] + grid["step"] * (grid["size"] - 1)
    _print(f"  grid: {grid['size']} pixels, log10 lambda {grid['start']} to {last:.4f} (vacuum, Angstrom)")
    kind = facts["preset"].get("data", {}).get("image", "linear or composite")
    _print(f'  images: {kind}, bands {" ".join(facts["bands"])}, {facts["pixel_scale"]}"/pixel')
    for line in as_bullets(facts.get("record", {}), "  "):
        _print(line)
    if "selector" in facts:
        _print(
            f"  selector: {facts['selector']['name']}, "
            f"{facts['selector']['parameters']['total']:,} parameters"
        )


if __name__ == "__main__":
    main()
