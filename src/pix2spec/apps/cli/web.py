"""The command `pix2spec app`."""

from typing import Annotated

import typer

from pix2spec.apps.cli.options import Model
from pix2spec.apps.cli.output import print_text

__all__ = ["app_command"]


def app_command(
    model: Model = "default",
    host: Annotated[
        str, typer.Option(help="Address to listen on. 0.0.0.0 shows the page to your whole network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    workers: Annotated[
        int, typer.Option(min=1, max=16, help="Number of visitors served at a time; others wait.")
    ] = 1,
    max_upload: Annotated[int, typer.Option(min=1, max=1024, help="Largest upload in MiB.")] = 20,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = False,
) -> dict:
    """Serve a web page that shows spectra for a cutout that you drop or magnitudes that you type.

    For example

    `pix2spec app --open`

    Needs an extra: `pip install 'pix2spec[app]'`. Your data stay on this machine. Stop it with Ctrl-C.
    """
    from pix2spec.apps.web.serve import serve

    print_text(f"Loading the model; then the page is at http://{host}:{port}. Stop it with Ctrl-C.")
    serve(model, host, port, workers, max_upload, open_browser)
    return {"page": f"http://{host}:{port}"}
