"""Tables of magnitudes or fluxes as galaxies: one for each row, converted in pieces."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from pix2spec.core.extinction import coefficients
from pix2spec.core.filters import Filter, typical_error
from pix2spec.data.measurements import ERROR_ASSUMED, Measurements
from pix2spec.data.readers.column_choices import Choices, read_choices
from pix2spec.data.readers.column_values import (
    declinations,
    flux_of_magnitude,
    has_decimal_commas,
    id_texts,
    is_missing,
    is_sexagesimal,
    magnitudes,
    numbers,
    redshifts,
    right_ascensions,
)
from pix2spec.data.readers.columns import Band, Columns, class_of, read_columns
from pix2spec.data.readers.guards import spec_id
from pix2spec.data.readers.table_formats import read_table
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = ["MISFIT", "CatalogueRows", "read_catalogue"]

PIECE = 4096  # rows that are converted together
MISFIT = "photometry-misfit"
SIGNIFICANT = 5.0  # standard deviations below zero of a flux that no galaxy has
MAX_FLUX = 1e9  # nanomaggies
NORTH_DEC = 32.375  # degrees; BASS and MzLS observed north of it (www.legacysurvey.org/dr9/description)
POLE = np.radians((192.85948, 27.12825))  # of the Galaxy's north, ra and dec
NORTHERN = {"legacy-g": "BASS-g", "legacy-r": "BASS-r", "legacy-z": "MzLS-z"}


def read_catalogue(
    path: str | Path,
    columns: str | Mapping[str, str] | None = None,
    kind: str | None = None,
    filters: str | Path | Mapping[str, Filter] | None = None,
) -> "CatalogueRows":
    """Read a table of magnitudes or fluxes.

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
    >>> _ = path.write_text("objid,modelMag_r,modelMagErr_r,z\\n7,17.298,0.006,0.08\\n")
    >>> rows = read_catalogue(path)
    >>> print("\\n".join(rows.lines()))
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
    """

    def __init__(self, table, choices: Choices | None = None, where: str = "table"):
        self.choices = choices or Choices()
        self.table, self.where = _with_scalars(table), where
        self.columns: Columns = read_columns(self.table, where, self.choices)
        if not self.columns.bands:
            name = f"name a column of magnitudes as `columns`, as in r=COLUMN; it has {', '.join(table.colnames[:30])}"
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

    def lines(self) -> list[str]:
        """How the table was read: a line a column, and sentences about what was found in the values."""
        notes = self.notes  # they decide which column holds the ids
        return [*self.columns.lines(), *notes]

    @cached_property
    def ids(self) -> list[str]:
        """A unique id of each row."""
        return self._ids[0]

    @cached_property
    def _ids(self) -> tuple[list[str], list[str]]:
        return _unique_ids(self.table, self.columns, Path(self.where).stem)

    @cached_property
    def notes(self) -> list[str]:
        """What was found in the values: missing ones, unknown errors, odd ids and positions."""
        counts: Counter = Counter()
        for start in range(0, len(self), PIECE):
            self._piece(slice(start, start + PIECE)).count(counts)
        notes = [*self._ids[1], *self._format_notes()]
        for key, text in _NOTES:
            if key in counts:
                notes.append(text.format(counts[key]))
        for band in self.columns.bands:
            gone, assumed = counts["missing", band.column], counts["assumed", band.column]
            if gone:
                notes.append(f"{band.column}: {gone} of {len(self)} values are missing")
            if assumed:
                notes.append(f"{band.error}: {assumed} of {len(self)} errors are missing or not positive; the "
                             f"flux stays, with the filter's typical error ({ERROR_ASSUMED})")  # fmt: skip
        negative = [self.ids[i] for i in sorted(counts.get("negative", ()) or ())]
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
            yield from self._piece(slice(start, start + PIECE)).galaxies(
                self.ids[start : start + PIECE], self.curves
            )

    def _piece(self, rows: slice) -> "_Piece":
        return _Piece(self.table[rows], self.columns, self.curves)


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


class _Piece:
    """Values of some rows: arrays (row, band) in nanomaggies and magnitudes."""

    def __init__(self, table, columns: Columns, curves: Mapping[str, Filter]):
        self.table, self.columns = table, columns
        self._positions()
        self._redshifts()
        cls = columns.first("class")
        self.classes = (
            [class_of(v) for v in np.ma.filled(np.ma.asarray(table[cls])).tolist()]
            if cls
            else [""] * len(table)
        )
        self.filters = self._filter_names()
        read = [self._band(k, band) for k, band in enumerate(columns.bands)]
        self.flux, self.error, self.assumed = (np.stack(some, axis=1) for some in zip(*read))
        self.dust = self._dust(curves)

    def _positions(self) -> None:
        ra, dec = self.columns.first("ra"), self.columns.first("dec")
        nowhere = np.full(len(self.table), np.nan)
        self.ra, self.dec = nowhere, nowhere
        self.below_zero = 0
        if ra and dec:
            units = [str(getattr(self.table[name], "unit", "") or "") for name in (ra, dec)]
            self.ra, self.dec = (
                right_ascensions(self.table[ra], units[0]),
                declinations(self.table[dec], units[1]),
            )
            known = np.isfinite(self.ra) & np.isfinite(self.dec)
            self.ra, self.dec = np.where(known, self.ra, np.nan), np.where(known, self.dec, np.nan)
            if not is_sexagesimal(self.table[ra]):
                self.below_zero = int((known & (numbers(self.table[ra]) < 0)).sum())

    def _redshifts(self) -> None:
        name, error, zwarn = (self.columns.first(role) for role in ("redshift", "redshift.error", "zwarn"))
        self.z = redshifts(numbers(self.table[name])) if name else np.full(len(self.table), np.nan)
        self.warned = np.zeros(len(self.table), bool)
        if zwarn and name:
            self.warned = np.isfinite(self.z) & (np.nan_to_num(numbers(self.table[zwarn])) != 0)
            self.z = np.where(self.warned, np.nan, self.z)
        sigma = numbers(self.table[error]) if error else np.full(len(self.table), np.nan)
        self.z_err = np.where(~is_missing(sigma) & (sigma > 0), sigma, np.nan)

    def _filter_names(self) -> np.ndarray:
        """Names of the filters (row, band)."""
        names = np.array([[b.filter for b in self.columns.bands]] * len(self.table), dtype=object)
        names = names.reshape(len(self.table), len(self.columns.bands))
        self.north = np.zeros(len(self.table), bool)
        legacy = [k for k, b in enumerate(self.columns.bands) if b.filter.startswith("legacy-")]
        if legacy:
            photsys = self.columns.first("photsys")
            if photsys:
                self.north = np.array(
                    [str(v).strip().strip("b'\"").upper() == "N" for v in self.table[photsys]], bool
                )
            else:
                ra, dec = np.radians(self.ra), np.radians(self.dec)
                height = np.sin(dec) * np.sin(POLE[1]) + np.cos(dec) * np.cos(POLE[1]) * np.cos(ra - POLE[0])
                self.north = (self.dec > NORTH_DEC) & (height > 0)
        for k in legacy:
            south = f"decam2014-{names[0, k][-1]}"
            names[:, k] = np.where(self.north, NORTHERN.get(names[0, k], south), south)
        return names

    def _band(self, k: int, band: Band) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flux, error, and where the error is assumed."""
        with np.errstate(all="ignore"):
            return self._read_band(k, band)

    def _read_band(self, k: int, band: Band):
        values = numbers(self.table[band.column])
        if band.form == "flux":
            flux = np.where(is_missing(values, (-9999.0, -999.0)), np.nan, values * band.scale)
        else:
            letter = band.letter.lower()
            flux = flux_of_magnitude(magnitudes(values) + band.zero, letter, band.form == "asinh")
        sigma = np.full(len(values), np.nan)
        if band.error:
            stated = numbers(self.table[band.error])
            stated = np.where(is_missing(stated) | (stated <= 0), np.nan, stated)
            if band.error_form == "ivar":
                sigma = 1 / np.sqrt(stated * band.error_scale)
                flux = np.where((flux == 0) & np.isnan(sigma), np.nan, flux)  # not observed
            elif band.error_form == "flux":
                sigma = stated * band.error_scale
            else:
                sigma = 0.4 * np.log(10) * np.abs(flux) * np.where(stated < 10, stated, np.nan)
        flux = np.where(np.abs(flux) < MAX_FLUX, flux, np.nan)
        typical = np.array([typical_error(name) for name in self.filters[:, k]])
        assumed = np.isnan(sigma) & (flux > 0)
        sigma = np.where(assumed, typical * flux, sigma)
        flux = np.where(np.isfinite(sigma) & (sigma > 0), flux, np.nan)
        return flux, sigma, assumed

    def _dust(self, curves) -> np.ndarray:
        """Extinction (row, band) in magnitudes: 0 where it is removed already, NaN where unknown."""
        dust = np.full(self.flux.shape, np.nan)
        name = self.columns.first("ebv")
        ebv = numbers(self.table[name]) if name else np.full(len(self.table), np.nan)
        self.ebv = np.where(~is_missing(ebv) & (ebv >= 0) & (ebv < 100), ebv, np.nan)
        for k, band in enumerate(self.columns.bands):
            if band.meaning.dereddened:
                dust[:, k] = 0
                continue
            if name:
                unique = {f: coefficients([f], curves)[0] for f in set(self.filters[:, k])}
                dust[:, k] = self.ebv * np.array([unique[f] for f in self.filters[:, k]])
            if band.extinction:
                values = numbers(self.table[band.extinction])
                with np.errstate(all="ignore"):
                    if band.extinction_form == "transmission":
                        values = np.where((values > 0) & (values <= 1.001), -2.5 * np.log10(values), np.nan)
                    values = np.where(is_missing(values) | (values < -0.01) | (values > 50), np.nan, values)
                dust[:, k] = np.where(np.isfinite(values), values, dust[:, k])
        return dust

    def count(self, counts: Counter) -> None:
        """Add the numbers of missing values and of oddities."""
        good = np.isfinite(self.flux)
        start = counts["rows"]
        counts["rows"] += len(self.table)
        for k, band in enumerate(self.columns.bands):
            counts["missing", band.column] += int((~good[:, k]).sum())
            if band.error:
                counts["assumed", band.column] += int((good & self.assumed)[:, k].sum())
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero((self.flux < -SIGNIFICANT * self.error).any(1))
        if len(bad):
            counts["negative"] = (counts["negative"] or []) + (bad + start).tolist()
        numbers_of = {
            "ra below 0": self.below_zero,
            "no position": int(np.isnan(self.ra).sum()) if self.columns.first("ra") else 0,
            "warned": int(self.warned.sum()),
            "no redshift": int((np.isnan(self.z) & ~self.warned).sum())
            if self.columns.first("redshift")
            else 0,
            "STAR": self.classes.count("STAR"),
            "QSO": self.classes.count("QSO"),
            "no flux": int((~good.any(1)).sum()),
            "north": int(self.north.sum()),
        }
        for key, number in numbers_of.items():
            if number:
                counts[key] += number

    def galaxies(self, ids: list[str], curves) -> Iterator[Galaxy | tuple[str, str]]:
        """The rows as galaxies."""
        bands = self.columns.bands
        kinds = tuple(b.kind for b in bands)
        shared: dict = {}
        all_dereddened = all(b.meaning.dereddened for b in bands)
        only_ebv = bool(self.columns.first("ebv")) and not any(
            b.extinction or b.meaning.dereddened for b in bands
        )
        good = np.isfinite(self.flux)
        with np.errstate(invalid="ignore"):
            misfit = (self.flux < -SIGNIFICANT * self.error).any(1)
        for i, object_id in enumerate(ids):
            chosen = np.flatnonzero(good[i])
            if not len(chosen):
                yield object_id, "no usable flux or magnitude"
                continue
            key = (good[i].tobytes(), bool(self.north[i]))
            if key not in shared:
                shared[key] = tuple(self.filters[i, chosen]), tuple(kinds[k] for k in chosen)
            dust = self.dust[i, chosen]
            if all_dereddened:
                state: object = "dereddened"
            elif not np.isfinite(dust).any():
                state = "observed"
            else:
                state = float(self.ebv[i]) if only_ebv else tuple(dust.tolist())
            flags = (ERROR_ASSUMED,) if self.assumed[i, chosen].any() else ()
            flags += (MISFIT,) if misfit[i] else ()
            flags += (f"class-{self.classes[i].lower()}",) if self.classes[i] in ("STAR", "QSO") else ()
            measured = Measurements(
                shared[key][0],
                self.flux[i, chosen],
                self.error[i, chosen],
                shared[key][1],
                flags,
                state,
                curves,
            )
            yield Galaxy(
                object_id, ra=float(self.ra[i]), dec=float(self.dec[i]), z=float(self.z[i]),
                z_err=float(self.z_err[i]), spec_class=self.classes[i], photometry=measured,
            )  # fmt: skip


def _with_scalars(table):
    """The table whose columns of vectors of five or seven fluxes are a column a band.

    SDSS's vectors have u, g, r, i, z; those of the NASA-Sloan Atlas have FUV and NUV before them.
    """
    from pix2spec.data.readers.column_names import meaning_of

    found = {}
    for name in table.colnames:
        shape = getattr(table[name], "shape", ())
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


def _unique_ids(table, columns: Columns, stem: str) -> tuple[list[str], list[str]]:
    """Ids of the rows, and notes about them."""
    notes: list[str] = []
    rows = [f"{stem}-{i + 1}" for i in range(len(table))]
    candidates = list(_candidate_ids(table, columns, notes))
    if not candidates:
        columns.roles["id"] = []
        return rows, [*notes, f"rows have no ids: they are {rows[0]} ..."]
    best = next((c for c in candidates if all(c[1]) and len(set(c[1])) == len(c[1])), candidates[0])
    columns.roles["id"] = [best[0]]
    ids = [text or row for text, row in zip(best[1], rows)]
    seen: Counter = Counter()
    doubles = 0
    for i, name in enumerate(ids):
        seen[name] += 1
        if seen[name] > 1:
            doubles += 1
            ids[i] = f"{name}-{seen[name]}"
            while ids[i] in seen:
                ids[i] += "x"
            seen[ids[i]] += 1
    if doubles:
        notes.append(f"{doubles} rows repeat an id of {best[0]}: it is followed by -2, -3 ...")
    missing = best[1].count("")
    if missing:
        notes.append(
            f"{missing} rows have no id in {best[0]}: they are numbered, as in {stem}-{best[1].index('') + 1}"
        )
    return ids, notes


def _candidate_ids(table, columns: Columns, notes: list[str]) -> Iterator[tuple[str, list[str]]]:
    plate, mjd, fiber = (columns.first(role) for role in ("plate", "mjd", "fiber"))
    if plate and mjd and fiber:
        parts = np.stack([numbers(table[name]) for name in (plate, mjd, fiber)], axis=1)
        good = np.isfinite(parts).all(1) & (parts >= 0).all(1) & (parts[:, 0] > 0)
        ids = [spec_id(*row) if ok else "" for row, ok in zip(parts, good)]
        if any(ids):
            yield f"{plate}-{mjd}-{fiber}", ids
    release, brick = columns.first("release"), columns.first("brick")
    for name in columns.roles.get("id", []):
        ids, lost = id_texts(table[name])
        if lost:
            notes.append(f"{name}: the ids lost their last digits in a spreadsheet or as floating-point numbers; "
                         "rows are numbered")  # fmt: skip
        if brick and name.lower() == "objid":  # unique within its brick only
            parts_of = [id_texts(table[c])[0] for c in (*[release] * bool(release), brick)]
            yield (
                "-".join([*[release] * bool(release), brick, name]),
                ["-".join(p) for p in zip(*parts_of, ids)],
            )
        elif any(ids):
            yield name, ids
    for name in table.meta.get("index", ()):
        if name in table.colnames:
            ids, _ = id_texts(table[name])
            if any(ids) and ids != [str(i) for i in range(len(ids))]:
                yield name, ids
