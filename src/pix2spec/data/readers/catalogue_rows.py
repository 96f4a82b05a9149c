"""Tables of magnitudes or fluxes as galaxies: one for each row, converted in pieces."""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from functools import cached_property
from pathlib import Path

import numpy as np

from pix2spec.core.filters import Filter
from pix2spec.data.measurements import ERROR_ASSUMED
from pix2spec.data.readers.catalogue_ids import file_names, unique_ids
from pix2spec.data.readers.catalogue_pieces import MISFIT, SIGNIFICANT, Piece
from pix2spec.data.readers.column_choices import Choices, read_choices
from pix2spec.data.readers.column_names import meaning_of
from pix2spec.data.readers.column_values import has_decimal_commas, is_sexagesimal
from pix2spec.data.readers.columns import Columns, read_columns
from pix2spec.data.readers.table_formats import read_table
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = ["CatalogueRows", "read_catalogue"]

PIECE = 4096  # rows that are converted together


def read_catalogue(
    path: str | Path,
    columns: str | Mapping[str, str] | None = None,
    kind: str | None = None,
    filters: str | Path | Mapping[str, Filter] | None = None,
) -> "CatalogueRows":
    r"""Read a table of magnitudes or fluxes.

    Parameters
    ----------
    path : str or Path
        A table in any format of `pix2spec.data.readers.table_formats.read_table`.
    columns, kind, filters
        What the table does not say; see `pix2spec.data.readers.column_choices.read_choices`.

    Returns
    -------
    CatalogueRows

    Raises
    ------
    InputError
        If the table cannot be read, no column is a magnitude or flux, or something cannot be known that would
        change the numbers.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from pix2spec.data.readers.catalogue_rows import read_catalogue
    >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = path.write_text("objid,modelMag_r,modelMagErr_r,z\n7,17.298,0.006,0.08\n")
    >>> rows = read_catalogue(path)
    >>> print("\n".join(rows.lines()))
    modelMag_r → r, SDSS model magnitude (sdss2010-r), error modelMagErr_r
    objid → object id
    z → redshift
    >>> next(rows.galaxies()).photometry.round(1)
    array([120.4], dtype=float32)
    """
    choices = read_choices(columns, kind, filters)
    return CatalogueRows(read_table(path), choices, str(path))


class CatalogueRows:
    """The rows of a table as galaxies.

    Parameters
    ----------
    table : astropy.table.Table
    choices : Choices
        What the user says about its columns.
    where : str
        Name of the table for errors.
    has_spectra : bool
        The rows stand beside spectra: they may have a redshift, a position or the name of a file alone.
        Group ids of the galaxies are the ids of the spectra whose files the rows name.

    Raises
    ------
    InputError
        If no column is a magnitude or flux, and `has_spectra` is False or there is nothing else to know; or
        if something cannot be known that would change the numbers.
    """

    def __init__(
        self, table, choices: Choices | None = None, where: str = "table", has_spectra: bool = False
    ):
        self.choices, self.has_spectra = choices or Choices(), has_spectra
        self.table, self.where = _with_scalars(table), where
        self.columns: Columns = read_columns(self.table, where, self.choices)
        is_known = has_spectra and any(map(self.columns.first, ("redshift", "ra", "file")))
        if not self.columns.bands and not is_known:
            has = ", ".join(table.colnames[:30])
            name = f"name a column of magnitudes as `columns`, as in r=COLUMN; it has {has}"
            if self.columns.notes:
                raise InputError(where, f"no column can be used: {self.columns.notes[0]}", name)
            if self.columns.first("ra"):
                what = "it is a table of positions without magnitudes, and nothing is fetched unasked"
                raise InputError(where, what, f"give `survey` sdss or legacy to fetch cutouts; {name}")
            raise InputError(where, "no column is known as a magnitude or flux", name)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def curves(self) -> Mapping[str, Filter]:
        """The user's own transmission curves."""
        return self.choices.curves

    @property
    def is_dereddened(self) -> bool:
        """Whether all fluxes are without extinction already."""
        return all(b.meaning.dereddened for b in self.columns.bands)

    @property
    def has_extinction(self) -> bool:
        """Whether columns tell the extinction of some of the fluxes."""
        return bool(self.columns.first("ebv")) or any(b.extinction for b in self.columns.bands)

    @property
    def stated_extinction(self) -> str:
        """What the table says about Galactic extinction: ``"dereddened"``, ``"columns"`` or ``""``."""
        return "dereddened" if self.is_dereddened else "columns" if self.has_extinction else ""

    def head(self, count: int | None) -> "CatalogueRows":
        """The first `count` rows, with the ids and sentences of the whole table; all with None."""
        if count is None or count >= len(self):
            return self
        first = copy(self)
        first._ids, first.notes = (self.ids[:count], self._ids[1]), self.notes
        first.table = self.table[:count].copy()
        return first

    def lines(self) -> list[str]:
        """How the table was read: a line a column, and sentences about what was found in the values."""
        notes = self.notes  # they decide which column holds the ids
        return [*self.columns.lines(), *notes]

    @property
    def ids(self) -> list[str]:
        """A unique id of each row."""
        return self._ids[0]

    @cached_property
    def _ids(self) -> tuple[list[str], list[str]]:
        return unique_ids(self.table, self.columns, Path(self.where).stem)

    @cached_property
    def notes(self) -> list[str]:
        """What was found in the values: missing ones, unknown errors, odd ids and positions."""
        counts: Counter = Counter()
        misfits: list[int] = []
        for start in range(0, len(self), PIECE):
            piece = self._piece(slice(start, start + PIECE))
            piece.count(counts)
            misfits += (np.flatnonzero(piece.misfit) + start).tolist()
        notes = [*self._ids[1], *self._format_notes()]
        for key, text in _NOTES:
            if key in counts:
                notes.append(text.format(counts[key]))
        for band in self.columns.bands:
            gone, assumed = counts["missing", band.column], counts["assumed", band.column]
            if gone:
                notes.append(f"{band.column}: {gone} of {len(self)} values are missing")
            if assumed:
                what = f"{band.error}: {assumed} of {len(self)} errors are missing or not positive"
                typical = f"the flux stays, with the filter's typical error ({ERROR_ASSUMED})"
                notes.append(f"{what}; {typical}")
        negative = [self.ids[i] for i in misfits]
        if negative:
            more = f" and {len(negative) - 5} more" if len(negative) > 5 else ""
            notes.append(f"fluxes below -{SIGNIFICANT:.0f} sigma ({MISFIT}): {', '.join(negative[:5])}{more}")
        return notes

    def _format_notes(self) -> list[str]:
        used = [b.column for b in self.columns.bands] + [self.columns.first("ra")]
        notes = []
        if any(name and has_decimal_commas(self.table[name]) for name in used):
            notes.append("numbers have decimal commas")
        if self.columns.first("ra") and is_sexagesimal(self.table[self.columns.first("ra")]):
            notes.append("positions are sexagesimal: hours for right ascensions up to 24, else degrees")
        if self.table.meta.get("bad_rows"):
            notes.append(
                f"{self.table.meta['bad_rows']} rows have too many or too few cells, and are left out"
            )
        if any(b.filter.startswith("legacy-") for b in self.columns.bands) and not self.columns.first("ra"):
            if not self.columns.first("photsys"):
                notes.append("without positions, the filters are those of DECam")
        return notes

    def galaxies(self) -> Iterator[Galaxy | tuple[str, str]]:
        """Each row as a galaxy, or as its id and the reason why it cannot be used."""
        for start in range(0, len(self), PIECE):
            piece, ids = self._piece(slice(start, start + PIECE)), self.ids[start : start + PIECE]
            rows = piece.galaxies(ids, self.curves)
            yield from self._beside_spectra(piece, rows) if self.has_spectra else rows

    def _beside_spectra(self, piece: Piece, rows) -> Iterator[Galaxy | tuple[str, str]]:
        """The rows with the names of their files; those without a flux too, if they tell anything else."""
        files = file_names(piece.table, self.columns)
        for i, (row, file) in enumerate(zip(rows, files)):
            if not isinstance(row, Galaxy):
                if not (file or np.isfinite(piece.z[i]) or np.isfinite(piece.ra[i])):
                    yield row if self.columns.bands else (row[0], "no redshift, position or name of a file")
                    continue
                row = piece.without_flux(i, row[0])
            row.group_id = file or row.group_id
            yield row

    def _piece(self, rows: slice) -> Piece:
        return Piece(self.table[rows], self.columns, self.curves)


_NOTES = (
    ("ra below 0", "{} right ascensions are negative: 360 degrees were added"),
    ("no position", "{} rows have no position"),
    ("no redshift", "{} redshifts are missing"),
    ("warned", "{} redshifts have a warning and are taken as missing"),
    ("STAR", "{} rows are stars (class-star): the model knows galaxies"),
    ("QSO", "{} rows are quasars (class-qso): the model knows galaxies"),
    ("no flux", "{} rows have no usable flux or magnitude"),
    ("north", "{} rows have the filters of BASS and MzLS"),
)


def _with_scalars(table):
    """The table whose columns of vectors of five or seven fluxes are a column a band.

    SDSS's vectors have u, g, r, i, z; those of the NASA-Sloan Atlas have FUV and NUV before them.
    """
    found: dict = {}
    for name in table.colnames:
        shape: tuple[int, ...] = getattr(table[name], "shape", ())
        if len(shape) == 2 and shape[1] in (5, 7) and np.ma.asarray(table[name]).dtype.kind in "fiu":
            stem = name.removesuffix("_ugriz")
            if meaning_of(f"{stem}_r"):
                bands = ("fuv", "nuv")[: shape[1] - 5] + tuple("ugriz")
                found |= {f"{stem}_{band}": table[name][:, k] for k, band in enumerate(bands)}
    if not found:
        return table
    table = table.copy(copy_data=False)
    for name, column in found.items():
        if name not in table.colnames:
            table[name] = column
    return table
