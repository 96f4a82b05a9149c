"""The command `pix2spec app`."""

from typing import Annotated

import typer

from pix2spec.apps.cli.output import print_text

__all__ = ["app_command"]


def app_command(
    model: Annotated[str, typer.Option(help="Run folder, or the name of a shipped model.")] = "default",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens the page to your network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    workers: Annotated[
        int, typer.Option(min=1, max=16, help="Visitors served at a time; the others queue.")
    ] = 1,
    max_upload: Annotated[int, typer.Option(min=1, max=1024, help="Largest upload in MiB.")] = 20,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page.")] = False,
) -> dict:
    """Serve a web page: drop a cutout or type magnitudes, and see the spectra that they allow.

    For example

    `pix2spec app --open`

    Needs the extra: `pip install 'pix2spec[app]'`. Nothing is sent anywhere; stop it with Ctrl-C.
    """
    from pix2spec.apps.web.serve import serve

    print_text(f"The model is being loaded; then the page is at http://{host}:{port}. Stop it with Ctrl-C.")
    serve(model, host, port, workers, max_upload, open_browser)
    return {"page": f"http://{host}:{port}"}
