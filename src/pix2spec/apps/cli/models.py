"""The commands `pix2spec info` and `pix2spec export`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.handover import export_catalogue
from pix2spec.apps.cli.output import print_text
from pix2spec.errors import InputError

__all__ = ["export", "info"]


def info(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|PRESET", help="Shipped model, run folder or preset. Without it, all are listed."
        ),
    ] = None,
) -> dict:
    """Describe a model or a preset: its parts, parameters, cost, inputs and training.

    Example: `pix2spec info paper-xattn`
    """
    if name is None:
        return {"models": _list_models()}
    from pix2spec.apps.cli.describe import describe

    facts = describe(name)
    _print_description(facts)
    return facts


def _list_models() -> dict[str, str]:
    """Print the presets and the shipped models, a line each."""
    from pix2spec.models.presets import load_preset, preset_names
    from pix2spec.models.storage import shipped_models

    listed = {name: load_preset(name).about for name in preset_names()}
    listed |= {name: f"{listed.get(name, '')} Trained." for name in shipped_models()}
    print_text("\n".join(f"{name:26}{about}" for name, about in listed.items()))
    return listed


def _print_description(facts: dict) -> None:
    from pix2spec.models.storage import as_bullets

    print_text(f"{facts['name']} ({facts['kind']}): {facts['about']}")
    for part, count in facts["parameters"].items():
        cost = facts["forward_gflop"].get(part)
        passes = f"{cost:>10.3f} GFLOP per pass" if cost is not None else ""
        print_text(f"  {part:20}{count:>12,} parameters{passes}")
    if facts["task"] == "shape":
        print_text("  colour pictures of SDSS: early or late type, and the lines of such galaxies")
    elif facts["task"] == "redshift":
        print_text("  measurements in any filters, from 0.1 to 5.5 um; redshifts from 0 to 0.75")
    else:
        _print_data(facts)
    for line in as_bullets(facts.get("record", {}), "  "):
        print_text(line)
    if "selector" in facts:
        name, total = facts["selector"]["name"], facts["selector"]["parameters"]["total"]
        print_text(f"  selector: {name}, {total:,} parameters")


def _print_data(facts: dict) -> None:
    """Print the grid of the spectra, and what images and photometry are."""
    grid, survey = facts["grid"], facts["survey"]
    last = grid["start"] + grid["step"] * (grid["size"] - 1)
    print_text(
        f"  grid: {grid['size']} pixels, log10 lambda {grid['start']} to {last:.4f} (vacuum, Angstrom)"
    )
    kind = facts["preset"].get("data", {}).get("image", "linear or composite")
    print_text(f'  images: {kind}, bands {" ".join(facts["bands"])}, {facts["pixel_scale"]}"/pixel')
    print_text(
        f"  survey: {survey['name']}, photometry {' '.join(survey['photometry_bands'])} within "
        f'{survey["fibre_diameter"]:g}"' + (" (by default)" if facts["kind"] == "preset" else "")
    )


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|CATALOGUE",
            help="Run folder, or the name of a shipped model. With --format, a catalogue of `generate`.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="New folder for a copy of the model. With --format, a file or a new folder.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Write a catalogue for others: qp | 4most | specsim | desi-truth."),
    ] = None,
    radius: Annotated[
        float | None, typer.Option(help="4most: half-light radius of the targets in arcsec.")
    ] = None,
    sersic: Annotated[float | None, typer.Option(help="4most: Sersic index. Default: 1.")] = None,
    ruleset: Annotated[
        str | None, typer.Option(help="4most: ruleset of the targets. Default: pix2spec.")
    ] = None,
    z_max: Annotated[float | None, typer.Option(help="qp: largest redshift. Default: 1.")] = None,
    hub: Annotated[
        str | None, typer.Option(metavar="USER/MODEL", help="Name on the Hugging Face hub to publish under.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, if it is new.")
    ] = False,
) -> dict:
    """Publish a model, to a folder or to the Hugging Face hub; or write a catalogue for another program.

    For example

    `pix2spec export runs/concat --out concat-1.0`

    `pix2spec export runs/concat --hub me/concat`

    `pix2spec export predictions --format qp --out pz.hdf5`

    `pix2spec export predictions --format 4most --radius 1.2 --out etc`

    Of a model, its config, weights and card are published. The hub needs a token: run `hf auth login`, or
    set HF_TOKEN. Load a published model with `pix2spec.load("me/concat@COMMIT")`, or with
    `--model me/concat@COMMIT` in other commands.
    """
    from pix2spec.models.publish import export_model, publish_model

    options = {"radius": radius, "sersic": sersic, "ruleset": ruleset, "z_max": z_max}
    if form is not None:
        if hub is not None or private:
            raise InputError("--hub", "it publishes a model, not a catalogue", "give --out")
        return export_catalogue(model, form, out, **options)
    if given := [name for name, value in options.items() if value is not None]:
        name = given[0].replace("_", "-")
        raise InputError(f"--{name}", "it belongs to a catalogue", "give --format too")
    if (out is None) == (hub is None):
        raise InputError("export", "it needs --out FOLDER or --hub USER/MODEL, one of the two")
    if out is not None:
        files = export_model(model, out)
        print_text(f"Wrote {len(files)} files to {out}. Load it with `pix2spec.load({str(out)!r})`.")
        return {"model": out, "files": files}
    name = publish_model(model, str(hub), private=private)
    print_text(f"Published. Load it with `pix2spec.load({name!r})`.")
    return {"model": name}
