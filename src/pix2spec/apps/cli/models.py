"""The command `pix2spec export`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.output import print_text
from pix2spec.errors import InputError

__all__ = ["export"]


def export(
    model: Annotated[str, typer.Argument(help="Run folder, or the name of a shipped model.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="New folder for the model: to copy or to share.")
    ] = None,
    hub: Annotated[
        str | None, typer.Option(metavar="USER/MODEL", help="Publish it there on the Hugging Face hub.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository of the hub private.")
    ] = False,
) -> dict:
    """Publish a model, to a folder or to the Hugging Face hub: config, weights and card, nothing else.

    For example

    `pix2spec export runs/concat --out concat-1.0`

    `pix2spec export runs/concat --hub me/concat`

    The hub asks for a token: `hf auth login`, or HF_TOKEN. What is published comes back with
    `pix2spec.load("me/concat@COMMIT")`, and `--model me/concat@COMMIT` of other commands.
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
