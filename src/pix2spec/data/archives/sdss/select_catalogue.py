"""Select galaxies from a downloaded catalogue, ``specObj-drNN.fits``, as `select_sql` does from SkyServer.

``specObj`` has one row per spectrum and no photometry. ``photoPosPlate-drNN.fits`` has the photometry: "The
large FITS files are all line-by-line matched, so that the Nth entry in any file refers to the same object"
(www.sdss4.org/dr17/spectro/spectro_access).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.data.archives.sdss.select_sql import (
    FIRST_WAVE,
    LAST_WAVE,
    SpecRow,
    clean_photometry,
    decode_objid,
    plate_rank,
    unusable,
)
from pix2spec.data.readers.guards import reading
from pix2spec.errors import InputError

__all__ = ["select_from_specobj"]

CHUNK = 20_000  # rows; a row has about 1 kB in specObj, 3 kB in photoPosPlate
# Names in specObj-dr16 and -dr17. The second name is that of older releases or of spAll.
COLUMNS = {
    "plate": ("PLATE",),
    "mjd": ("MJD",),
    "fiber": ("FIBERID",),
    "run2d": ("RUN2D",),
    "class": ("CLASS",),
    "zwarning": ("ZWARNING",),
    "primary": ("SPECPRIMARY", "SCIENCEPRIMARY"),
    "wavemin": ("WAVEMIN",),
    "wavemax": ("WAVEMAX",),
    "bestobjid": ("BESTOBJID", "OBJID"),
    "ra": ("PLUG_RA", "RA"),
    "dec": ("PLUG_DEC", "DEC"),
    "z": ("Z",),
    "z_err": ("Z_ERR",),
}
CATALOGUE_HINT = "give specObj-dr16.fits or specObj-dr17.fits"
PHOTOMETRY = {"flux": ("FIBERFLUX",), "ivar": ("FIBERFLUX_IVAR",), "extinction": ("EXTINCTION",)}


def select_from_specobj(
    path: str | Path,
    n: int | None = None,
    photometry: str | Path | None = None,
    rejected: Callable[[str, str], object] | None = None,
    after: tuple[int, int] | None = None,
) -> Iterator[SpecRow]:
    """Select galaxies of a catalogue by the cut and in the order of `select_by_sql`.

    The function needs 24 bytes of memory per galaxy, and a fixed amount for the parts of the catalogue that
    it reads.

    Parameters
    ----------
    path : path
        ``specObj-dr16.fits`` or ``-dr17.fits``, or BOSS's ``spAll``.
    n : int, optional
        Largest number of galaxies. The default is all.
    photometry : path, optional
        ``photoPosPlate`` of the same release. Without it, galaxies have photometry only if `path` has fibre
        fluxes.
    rejected : callable, optional
        Called with (object id, reason) for each invalid row. Invalid rows are left out.
    after : (plate, mjd), optional
        Continue after this plate, the last complete one of an earlier call. `n` counts from there.

    Yields
    ------
    SpecRow

    Raises
    ------
    InputError
        If a file is not such a catalogue or is truncated, or the two files differ in their number of rows.
    """
    catalogue = _Table(path)
    fluxes = catalogue if photometry is None else _Table(photometry)
    if len(fluxes) != len(catalogue):
        what = f"it has {len(fluxes)} rows, {path} has {len(catalogue)}"
        raise InputError(photometry, what, "use the two files of the same release")
    catalogue.require(COLUMNS)
    if photometry is not None or fluxes.has(PHOTOMETRY):
        fluxes.require(PHOTOMETRY)
    left = len(catalogue) if n is None else n
    for rows in _plates(catalogue, after):
        for row in _spec_rows(catalogue, fluxes, rows):
            if left <= 0:
                return
            reason = unusable(row)
            if not reason:
                yield row
                left -= 1
            elif rejected:
                rejected(row.object_id, reason)


def _plates(catalogue: "_Table", after: tuple[int, int] | None) -> Iterator[np.ndarray]:
    """Yield the row numbers of the galaxies of each plate, by fibre, with the plates ordered by rank."""
    rows: Any = []
    keys: Any = []
    fibers: Any = []
    for start in range(0, len(catalogue), CHUNK):
        read = catalogue.read(
            slice(start, start + CHUNK), ("class", "zwarning", "primary", "wavemin", "wavemax")
        )
        good = (read["class"] == "GALAXY") & (read["zwarning"] == 0) & (read["primary"] == 1)
        good &= (read["wavemin"] < FIRST_WAVE) & (read["wavemax"] > LAST_WAVE)
        which = np.flatnonzero(good) + start
        found = catalogue.read(which, ("plate", "mjd", "fiber"))
        rows.append(which)
        keys.append(found["plate"].astype(np.int64) << 32 | found["mjd"].astype(np.int64))
        fibers.append(found["fiber"].astype(np.int64))
    if not rows:
        return
    rows, keys, fibers = (np.concatenate(parts) for parts in (rows, keys, fibers))
    order = np.lexsort((fibers, keys))
    rows = rows[order]
    plates, starts = np.unique(keys[order], return_index=True)
    stops = np.append(starts[1:], len(rows))
    ranked = sorted(
        (plate_rank(key >> 32, key & 0xFFFFFFFF), start, stop)
        for key, start, stop in zip(plates.tolist(), starts.tolist(), stops.tolist())
    )
    for rank, start, stop in ranked:
        if after is None or rank > plate_rank(*after):
            yield rows[start:stop]


def _spec_rows(catalogue: "_Table", fluxes: "_Table", rows: np.ndarray) -> Iterator[SpecRow]:
    names = ("plate", "mjd", "fiber", "run2d", "ra", "dec", "z", "z_err", "class", "zwarning", "bestobjid")
    read = catalogue.read(rows, names)
    read["bestobjid"] = _ids(catalogue.path, read["bestobjid"])
    columns = [read[name].tolist() for name in names]
    photometry = fluxes.read(rows, tuple(PHOTOMETRY)) if fluxes.has(PHOTOMETRY) else None
    for i, values in enumerate(zip(*columns)):
        rerun, run, camcol, field = decode_objid(values[-1])
        measured = (
            (None, None, None)
            if photometry is None
            else clean_photometry(*(photometry[name][i] for name in PHOTOMETRY))
        )
        fields: tuple = (*values, run, camcol, field, rerun, *measured)
        yield SpecRow(*fields)


def _ids(path: Path, ids: np.ndarray) -> np.ndarray:
    """Object ids (n,) as int64; 0 where unknown. They are texts in some releases and numbers in others."""
    if ids.dtype.kind in "iu":
        return ids.astype(np.int64)
    with reading(path, "a catalogue with object ids"):
        return np.where(ids == "", "0", ids).astype(np.int64)


class _Table:
    """Columns of the first table of a FITS file. They are read from the disk when they are needed."""

    def __init__(self, path: str | Path):
        from astropy.io import fits

        self.path = Path(path)
        with reading(path, "a FITS table"), fits.open(path, memmap=True, lazy_load_hdus=True) as hdus:
            table = hdus[1]
            if not isinstance(table, fits.BinTableHDU):
                raise InputError(path, "its first extension is not a table", CATALOGUE_HINT)
            columns, self._offset = table.columns, table.fileinfo()["datLoc"]
            self.dtype = columns.dtype.newbyteorder(">")
            self._rows, width = int(table.header["NAXIS2"]), int(table.header["NAXIS1"])
            scaled = {
                c.name.upper()
                for c in columns
                if c.bscale not in (None, "", 1) or c.bzero not in (None, "", 0)
            }
        if width != self.dtype.itemsize or self._offset + self._rows * width > self.path.stat().st_size:
            what = "it is shorter than its header says, or compressed"
            raise InputError(path, what, "download it again, and unpack it")
        self._names = {name.upper(): name for name in self.dtype.names if name.upper() not in scaled}

    def __len__(self) -> int:
        return self._rows

    def has(self, wanted: dict) -> bool:
        """Whether the table has every column of `wanted` under one of its names."""
        return all(any(name in self._names for name in names) for names in wanted.values())

    def require(self, wanted: dict) -> None:
        """Raise `InputError` if a column of `wanted` is missing or has the wrong type."""
        for key, names in wanted.items():
            name = next((name for name in names if name in self._names), None)
            if name is None:
                raise InputError(self.path, f"it has no column {names[0]}", CATALOGUE_HINT)
            column = self.dtype[self._names[name]]
            kinds = {"run2d": "S", "class": "S", "bestobjid": "Siu"}.get(key, "iuf")
            if column.base.kind not in kinds or column.shape != ((5,) if key in PHOTOMETRY else ()):
                raise InputError(self.path, f"its column {name} is of the type {column}", CATALOGUE_HINT)

    def read(self, rows, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Columns of some rows in native byte order. Texts are str without padding."""
        # A new memory map for each call releases the pages of earlier calls.
        data = np.memmap(self.path, self.dtype, "r", self._offset, (self._rows,))
        read = {}
        for name in names:
            known = (COLUMNS | PHOTOMETRY)[name]
            column = data[next(self._names[one] for one in known if one in self._names)][rows]
            if column.dtype.kind == "S":
                read[name] = np.char.strip(np.char.decode(column, "ascii", "replace"), " \0")
            else:
                read[name] = column.astype(column.dtype.newbyteorder("="))
        return read
