"""Start the web page, and stop it without leaving files."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Event

from pix2spec.apps.web.examples import simulated_examples
from pix2spec.errors import InputError

__all__ = ["launch", "serve"]

HERE = Path(__file__).parent
STATE_SESSIONS = 200  # sessions whose last result is kept; the longest idle is dropped first
# Gradio reads these at import: it sends no statistics, and browsers keep no history of runs.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def serve(model: str, host: str, port: int, workers: int, max_upload: int, open_browser: bool) -> None:
    """Serve the page until interrupted.

    Parameters
    ----------
    model : str
        Run folder, or the name of a shipped model.
    host : str
        Address to listen on.
    port : int
    workers : int
        Number of visitors served at a time.
    max_upload : int
        Largest size of an upload in MiB.
    open_browser : bool
        Whether to open the page in a browser.

    Raises
    ------
    InputError
        If the extra is not installed, the model cannot be loaded or the port is taken.
    """
    from pix2spec.generate.load import load

    _check_installed()
    generator = load(model)
    with tempfile.TemporaryDirectory(prefix="pix2spec-app-") as folder:
        limits = {"workers": workers, "max_bytes": max_upload * 2**20}
        page = launch(generator, Path(folder), host, port, open_browser=open_browser, model=model, **limits)
        try:
            with suppress(KeyboardInterrupt):  # the way to stop it
                Event().wait()
        finally:
            page.close(verbose=False)


def launch(
    generator, root: Path, host="127.0.0.1", port=0, workers=1, max_bytes=20 * 2**20, open_browser=False,
    model="default",
):  # fmt: skip
    """Start the page in the background; returns gradio's Blocks, whose ``local_url`` is its address.

    All its files, uploads included, are under `root`, which the caller removes.
    """
    os.environ.update(QUIET, GRADIO_TEMP_DIR=str(root))
    import gradio as gr

    from pix2spec.apps.web.page import Page

    name = Path(model).name  # of a run, without its folder
    page = Page(generator, simulated_examples(generator.grid), root, max_bytes, workers, name).build()
    try:
        page.launch(
            server_name=host,
            server_port=port or None,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            max_file_size=max_bytes,
            state_session_capacity=STATE_SESSIONS,
            ssr_mode=False,
            footer_links=[],
            # system fonts: the page loads nothing from elsewhere
            theme=gr.themes.Default(
                primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
            ),
            css_paths=HERE / "page.css",
            head=f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        )
    except OSError as error:
        raise InputError(f"{host}:{port}", "it cannot listen there", "choose another `port`") from error
    return page


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("gradio", "plotly") if find_spec(name) is None]
    if missing:
        raise InputError("app", f"{' and '.join(missing)} missing", "pip install 'pix2spec[app]'")
