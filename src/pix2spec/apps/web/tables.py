"""A visitor's table: how it is read, its first rows as a catalogue, and one of them as a result."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pix2spec.apps.web import results
from pix2spec.apps.web.inputs import checked_file
from pix2spec.data.readers.catalogue_rows import CatalogueRows, read_catalogue
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.generate.foreground import Dust, choose_foreground
from pix2spec.generate.sources import open_source
from pix2spec.measure.emission_lines import GALAXY_CLASSES
from pix2spec.models.generator import Generator, Settings
from pix2spec.products.catalogue import open_catalogue
from pix2spec.products.columns import CLASSES
from pix2spec.products.tables import write_table

__all__ = [
    "MAX_ROWS",
    "RowSummary",
    "TableResult",
    "UserTable",
    "command",
    "first_rows",
    "read_user_table",
    "row_result",
]

MAX_ROWS = 100
CLASS_NAMES = dict(zip(CLASSES, GALAXY_CLASSES[1:]))


@dataclass(frozen=True)
class UserTable:
    """The first rows of a table, and how all of it was read."""

    path: Path
    rows: CatalogueRows  # the first ones
    n_rows: int  # of the whole table
    lines: tuple[str, ...]  # as `pix2spec columns` prints them
    choices: dict[str, str]  # what the visitor said about the columns, by option


@dataclass(frozen=True)
class Choices:
    """How the visitor wants the rows of a table to be generated."""

    n: int = 25
    seed: int = 0
    noise: bool = False
    use_redshifts: bool = False


@dataclass(frozen=True)
class RowSummary:
    """One row of the table of results; NaN and "" where unknown."""

    object_id: str
    error: str  # why there is no spectrum
    z: float = np.nan
    z_low: float = np.nan
    z_high: float = np.nan
    z_given: float = np.nan
    likely: str = ""  # class
    share: float = np.nan  # of the candidates in that class
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableResult:
    """The catalogue of the first rows, which the session keeps."""

    table: UserTable
    choices: Choices
    rows: list[RowSummary]
    files: list[Path]  # the catalogue as Parquet and as FITS

    @property
    def first(self) -> int | None:
        """The number of the first row with a spectrum."""
        return next((i for i, row in enumerate(self.rows) if not row.error), None)


def read_user_table(
    path: str | Path | None,
    columns: str,
    kind: str,
    filters: str,
    curves: str | Path | None,
    max_bytes: int,
) -> UserTable:
    """Read an uploaded table.

    Parameters
    ----------
    path : path, optional
        The upload.
    columns, kind, filters : str
        As for `pix2spec.data.readers.catalogue_rows.read_catalogue`; "" where the visitor says nothing.
    curves : path, optional
        Uploaded transmission curves, in the place of `filters`.
    max_bytes : int

    Raises
    ------
    InputError
        If the table cannot be read or understood.
    """
    path = checked_file(path, None, "a table of magnitudes or fluxes", max_bytes)
    if filters and curves is not None:
        raise InputError("`filters`", "choose a survey or give curves, not both")
    choices = {"columns": columns.strip(), "kind": kind, "filters": filters}
    if curves is not None:
        curves = checked_file(curves, None, "transmission curves as a table", max_bytes)
        choices["filters"] = curves.name
    rows = read_catalogue(path, choices["columns"] or None, kind or None, curves or filters or None)
    said = {option: value for option, value in choices.items() if value}
    return UserTable(path, rows.head(MAX_ROWS), len(rows), tuple(rows.lines()), said)


def command(table: UserTable, choices: Choices, generator: Generator, model: str) -> str:
    """The command that does for all rows what the page does for the first ones."""
    words = ["pix2spec", "generate", table.path.name]
    words += ["--model", model] if model != "default" else []
    for option, value in table.choices.items():
        words += [f"--{option}", value]
    words += ["-n", str(choices.n)] if choices.n != Settings().n else []
    words += ["--seed", str(choices.seed)] if choices.seed else []
    words += ["--noise", "none"] if _settings(generator, choices).noise == "none" else []
    words += ["--use", "image,photometry,redshift"] if choices.use_redshifts else []
    return shlex.join([*words, "--out", "predictions"])


def _settings(generator: Generator, choices: Choices) -> Settings:
    noise = "observed" if choices.noise or not results.can_be_noise_free(generator) else "none"
    use = ("image", "photometry") + ("redshift",) * choices.use_redshifts
    select = generator.default_select
    return Settings(n=choices.n, seed=choices.seed, select=select, noise=noise, use=use)


def first_rows(generator: Generator, table: UserTable, choices: Choices, out: Path) -> TableResult:
    """Generate candidates for the first rows, as `pix2spec generate` does, and write their catalogue.

    Raises
    ------
    InputError
        If no row can be used. A bad row alone has the reason in its summary.
    """
    settings = _settings(generator, choices)
    opened = open_source(table.path, out, generator, settings, rows=table.rows)
    foreground = choose_foreground(generator.survey, own=table.rows.stated_extinction)
    made = generate_catalogue(
        generator, opened.dataset, out, settings, opened.failures, progress=False, foreground=foreground
    )
    catalogue = open_catalogue(made.catalogue)
    files = [made.catalogue, write_table(catalogue, out, "fits")]
    by_id = {row.object_id: row for row in map(_summary, _cells(catalogue))}
    lost = "the catalogue lacks it"
    rows = [by_id.get(name, RowSummary(name, lost)) for name in table.rows.ids]  # in the table's order
    return TableResult(table, choices, rows, files)


def _cells(catalogue) -> list[dict]:
    names = ["object_id", "status", "error", "z", "z_q16", "z_q84", "z_given", "flags"]
    return catalogue.read([*names, *(f"p_{name}" for name in CLASSES)]).to_pylist()


def _summary(cells: dict) -> RowSummary:
    if cells["status"] != "ok":
        return RowSummary(cells["object_id"], cells["error"] or "failed", z_given=cells["z_given"])
    shares = {CLASS_NAMES[name]: cells[f"p_{name}"] for name in CLASSES}
    likely = max(shares, key=lambda name: np.nan_to_num(shares[name]))
    known = np.isfinite(shares[likely])
    return RowSummary(
        cells["object_id"], "", cells["z"], cells["z_q16"], cells["z_q84"], cells["z_given"],
        likely if known else "", shares[likely] if known else np.nan, tuple(cells["flags"]),
    )  # fmt: skip


def row_result(
    generator: Generator, made: TableResult, i: int, report: Callable[[float, str], object]
) -> results.Result:
    """Candidates of row number `i`, the same as in the catalogue, and the quantities measured on them.

    Raises
    ------
    InputError
        If the row has none, with the reason.
    """
    if not 0 <= i < len(made.rows):
        raise InputError("galaxy", "there is no such row", "choose one of the list")
    row, choices = made.rows[i], made.choices
    if row.error:
        raise InputError(row.object_id, row.error.removeprefix(f"{row.object_id}: "))
    galaxy = next(
        g for g in made.table.rows.galaxies() if isinstance(g, Galaxy) and g.object_id == row.object_id
    )
    seen = generator.inputs(_settings(generator, choices))
    foreground = choose_foreground(generator.survey, own=made.table.rows.stated_extinction)
    dust = Dust(foreground, None, seen)
    galaxy = dust.before(galaxy)
    if not choices.use_redshifts:
        galaxy = replace(galaxy, z=np.nan, z_err=np.nan)
    result = results.generate(generator, galaxy, "linear", choices.n, choices.seed, choices.noise, report)
    dust.after(result.ensemble)
    return result
