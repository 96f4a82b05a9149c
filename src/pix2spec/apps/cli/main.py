"""The command line's entry point: the commands by name, and how errors end a process."""

import signal
import sys
from typing import Annotated

import typer

from pix2spec.apps.cli.archives import data_sdss
from pix2spec.apps.cli.data import data_app
from pix2spec.apps.cli.evaluate import evaluate
from pix2spec.apps.cli.generate import columns_command, demo, generate
from pix2spec.apps.cli.models import export, info
from pix2spec.apps.cli.output import App, UsageError, fail
from pix2spec.apps.cli.paper import reproduce_app
from pix2spec.apps.cli.rank import rank
from pix2spec.apps.cli.train import train
from pix2spec.apps.cli.web import app_command
from pix2spec.errors import InputError

__all__ = ["app", "main"]

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
    "`pix2spec generate mytable.csv --out predictions`\n\n"
    "`pix2spec generate cutouts/ --table photometry.csv --out predictions --figures 6`\n\n"
    "`pix2spec evaluate predictions --truth test`\n\n"
    "For scripts, every command has `--json`: one JSON object on stdout, everything else on stderr. Exit "
    "codes: 0 success; 1 failure; 2 wrong input; 3 done, but some objects failed and are listed with the "
    "reason.",
)
for command in (demo, generate, evaluate, rank, train, info, export):
    app.command()(command)
app.command("columns")(columns_command)
app.command("app")(app_command)
data_app.command("sdss")(data_sdss)
app.add_typer(data_app, name="data")
app.add_typer(reproduce_app, name="reproduce")

# Packages that only some commands need, and the extra that brings them.
EXTRAS = dict.fromkeys(("astroquery", "httpx", "tenacity", "reproject"), "sdss")
EXTRAS |= {"qp": "qp", "tables_io": "qp", "rail": "rail", "ceci": "rail"}
EXTRAS |= {"h5py": "universe", "sfdmap2": "dust", "gradio": "app", "plotly": "app", "ray": "cluster"}


def main() -> None:
    """Run the command line; wrong input ends in one sentence instead of a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        sys.exit(_wrong_usage(error))
    except InputError as error:
        parts = {"where": error.where, "what": error.what, "hint": error.hint}
        sys.exit(fail(str(error), 2, **parts))
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
    """Print one sentence that names the command's help; for a group without a command, the help itself."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    what = error.format_message().strip().rstrip(".")
    command = error.ctx.command_path if error.ctx else "pix2spec"
    return fail(f"{' '.join(what.split())} (see `{command} --help`)", 2)


def _interrupt(number: int, _) -> None:
    """End a command at a batch system's SIGTERM as at Ctrl-C: remove temporary files, finish checkpoints."""
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
