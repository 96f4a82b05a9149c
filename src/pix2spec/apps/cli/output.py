"""How commands print and end: lines to read, or one JSON object; errors that name options."""

import inspect
import json
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from pix2spec.apps.cli.options import Json
from pix2spec.errors import InputError

try:  # typer brings a click of its own since 0.26
    from typer._click.exceptions import UsageError
    from typer._click.globals import get_current_context
except ImportError:
    from click import UsageError, get_current_context  # type: ignore[no-redef,assignment]

__all__ = ["App", "UsageError", "fail", "in_options", "print_failures", "print_text"]

ARGUMENT = re.compile(r"`(\w+)(?:=([^`]*))?`")  # as `InputError` names it


class App(typer.Typer):
    """A typer application. Each of its commands returns a summary and has the option ``--json``.

    A command returns a dict of plain values and paths, or None. The item ``exit_code``, 0 by default, becomes
    the exit code of the process; it is 3 if some objects failed.
    """

    def command(self, *args: Any, **kwargs: Any) -> Callable:
        """Register a function as `typer.Typer.command` does, and add the option ``--json``."""
        register = super().command(*args, **kwargs)

        def add(function: Callable) -> Callable:
            register(_with_json(function))
            return function

        return add


def _with_json(function: Callable) -> Callable:
    @wraps(function)
    def command(*args: Any, as_json: bool = False, **kwargs: Any) -> None:
        try:
            with redirect_stdout(sys.stderr if as_json else sys.stdout):
                summary = function(*args, **kwargs) or {}
        except KeyboardInterrupt:
            raise typer.Exit(fail("interrupted", 130)) from None
        except InputError as error:
            where, what, hint = map(in_options, (error.where, error.what, error.hint))
            raise InputError(where, what, hint, error.place) from error
        code = summary.get("exit_code", 0)
        if as_json:
            _print_json({**summary, "exit_code": code})
        if code:
            raise typer.Exit(code)

    # typer reads options from the signature, or from the annotations.
    own = inspect.signature(function)
    option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    command.__signature__ = own.replace(parameters=[*own.parameters.values(), option])  # type: ignore[attr-defined]
    command.__annotations__ = {**function.__annotations__, "as_json": Json}
    return command


def in_options(text: str) -> str:
    """Write the arguments that a text of the library names as options of the running command.

    An argument that the command does not have loses its backticks.
    """
    context = get_current_context(silent=True)
    parameters = {parameter.name: parameter for parameter in context.command.params} if context else {}

    def option(match: re.Match) -> str:
        name, value = match.groups()
        if name not in parameters:
            return match[0].strip("`")
        return _option(parameters[name], value)

    return ARGUMENT.sub(option, text)


def _option(parameter: Any, value: str | None) -> str:
    """A parameter of a command as it is typed, as in ``--use image`` and ``--no-candidates``."""
    if parameter.param_type_name == "argument":
        return (parameter.metavar or parameter.name.upper()).strip(".")
    if value is None or value == "True":
        return parameter.opts[-1]
    if value == "False" and parameter.secondary_opts:
        return parameter.secondary_opts[-1]
    return f"{parameter.opts[-1]} " + value.strip("'\"")


def fail(sentence: str, code: int, **facts: str) -> int:
    """Print on stderr why a command ends, and with ``--json`` an object on stdout; returns the exit code."""
    print(f"pix2spec: {sentence}", file=sys.stderr)
    if "--json" in sys.argv[1:]:
        _print_json({"error": sentence, **facts, "exit_code": code})
    return code


def _print_json(summary: dict) -> None:
    print(json.dumps(_plain(summary), allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    """A value without paths, arrays and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value) if isinstance(value, Path) else _plain(value.tolist())


def print_text(text: str = "") -> None:
    """Print a line unchanged: brackets in paths are not taken for markup."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def print_failures(failures, total: int) -> None:
    """Print the first ten pairs (object, reason) on stderr, and the number of the others."""
    for where, why in failures[:10]:
        why = in_options(str(why))
        text = why if why.startswith(str(where)) else f"{where}: {why}"
        print(f"  failed: {text}", file=sys.stderr)
    if total > 10:
        print(f"  ... and {total - 10} more, all listed in the output", file=sys.stderr)
