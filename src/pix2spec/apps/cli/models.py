"""The commands `pix2spec info` and `pix2spec export`."""

from pathlib import Path
from typing import Annotated

import typer

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
    if facts["task"] == "redshift":
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
    model: Annotated[str, typer.Argument(help="Run folder, or the name of a shipped model.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="New folder for a copy of the model.")
    ] = None,
    hub: Annotated[
        str | None, typer.Option(metavar="USER/MODEL", help="Name on the Hugging Face hub to publish under.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, if it is new.")
    ] = False,
) -> dict:
    """Publish a model, to a folder or to the Hugging Face hub: only its config, weights and card.

    For example

    `pix2spec export runs/concat --out concat-1.0`

    `pix2spec export runs/concat --hub me/concat`

    The hub needs a token: run `hf auth login`, or set HF_TOKEN. Load a published model with
    `pix2spec.load("me/concat@COMMIT")`, or with `--model me/concat@COMMIT` in other commands.
    """
    from pix2spec.models.publish import export_model, publish_model

    if (out is None) == (hub is None):
        raise InputError("export", "it needs --out FOLDER or --hub USER/MODEL, one of the two")
    if out is not None:
        files = export_model(model, out)
        print_text(f"Wrote {len(files)} files to {out}. Load it with `pix2spec.load({str(out)!r})`.")
        return {"model": out, "files": files}
    name = publish_model(model, str(hub), private=private)
    print_text(f"Published. Load it with `pix2spec.load({name!r})`.")
    return {"model": name}
