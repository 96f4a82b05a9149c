"""Select the galaxies of a data release on which a model can be trained, through SkyServer.

The cut is class GALAXY, zWarning 0, sciencePrimary 1, and a spectrum that covers the paper's grid (log10 of
the wavelength from 3.59 to 3.95). Plates come in a fixed pseudo-random order, and each plate is complete. The
first `n` objects are therefore spread over the sky and the years of the survey, but lie on few plates.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.archives.skyserver import query, safe_where
from pix2spec.data.archives.urls import LEGACY_RUN2D, Services
from pix2spec.data.readers.guards import spec_id
from pix2spec.errors import InputError

__all__ = [
    "PhotoRow",
    "SpecRow",
    "decode_objid",
    "photometry_near",
    "plate_rank",
    "select_by_sql",
    "unusable",
]

BANDS = "ugriz"
PLATES = 40  # per query: an address has to hold the list of their numbers
# Half a pixel of tolerance, because catalogues round. The reader of the spectrum checks its range exactly.
FIRST_WAVE = float(SpectralGrid().wave[0] * 10**0.5e-4)
LAST_WAVE = float(SpectralGrid().wave[-1] / 10**0.5e-4)
RUN2D = re.compile(r"26|103|104|v5_\d{1,3}_\d{1,3}", re.ASCII)


@dataclass(frozen=True)
class PhotoRow:
    """An object of the imaging survey.

    Attributes
    ----------
    objid : int
        Photometric id.
    ra, dec : float
        Position in degrees.
    rerun, run, camcol, field : int
        The frames that show the object.
    photometry, photometry_ivar : tuple of 5 floats
        Fluxes in a fibre of 3 arcsec for ugriz, in nanomaggies, and their inverse variances.
    extinction : tuple of 5 floats
        Galactic extinction in magnitudes (Schlegel, Finkbeiner & Davis 1998).
    """

    objid: int
    ra: float
    dec: float
    rerun: int
    run: int
    camcol: int
    field: int
    photometry: tuple[float, ...]
    photometry_ivar: tuple[float, ...]
    extinction: tuple[float, ...]


@dataclass(frozen=True)
class SpecRow:
    """A spectrum and its photometric object.

    The photometry is as in :class:`PhotoRow`, or None if unknown. `run`, `camcol`, `field` and `rerun` are 0
    if there is no imaging.
    """

    plate: int
    mjd: int
    fiber: int
    run2d: str
    ra: float
    dec: float
    z: float
    z_err: float
    spec_class: str
    zwarning: int
    bestobjid: int
    run: int
    camcol: int
    field: int
    rerun: int
    photometry: tuple[float, ...] | None = None
    photometry_ivar: tuple[float, ...] | None = None
    extinction: tuple[float, ...] | None = None

    @property
    def object_id(self) -> str:
        """The id ``plate-mjd-fiber``."""
        return spec_id(self.plate, self.mjd, self.fiber)


def decode_objid(objid):
    """(rerun, run, camcol, field) of a photometric id since DR8: an int or an integer array.

    "48-58 rerun, 32-47 run, 29-31 camcol, 28 firstField, 16-27 field, 0-15 object"
    (pydl.readthedocs.io, ``pydl.pydlutils.sdss.sdss_objid``).
    """
    return (objid >> 48) & 0x7FF, (objid >> 32) & 0xFFFF, (objid >> 29) & 0x7, (objid >> 16) & 0xFFF


def plate_rank(plate: int, mjd: int) -> bytes:
    """Sort key that gives plates a fixed pseudo-random order."""
    return hashlib.sha256(f"{int(plate)}-{int(mjd)}".encode()).digest()


SPEC_COLUMNS = {
    "s.plate": "int64",
    "s.mjd": "int64",
    "s.fiberID": "int64",
    "s.run2d": "str",
    "s.ra": "float64",
    "s.dec": "float64",
    "s.z": "float64",
    "s.zErr": "float64",
    "s.class": "str",
    "s.zWarning": "int64",
}
# "fiberFlux_u: U nanomaggies, flux in 3 arcsec diameter fiber radius" (SkyServer, PhotoObjAll)
PHOTO_COLUMNS = {
    "p.objID": "int64",
    "p.rerun": "int64",
    "p.run": "int64",
    "p.camcol": "int64",
    "p.field": "int64",
    **{
        f"p.{name}_{band}": "float64"
        for name in ("fiberFlux", "fiberFluxIvar", "extinction")
        for band in BANDS
    },
}
# "SpecObj: a view of SpecObjAll [...] WHERE sciencePrimary = 1"; bestObjID: "photoObj match (position-based)"
TABLES = "FROM SpecObj AS s JOIN PhotoObjAll AS p ON p.objID = s.bestObjID"
GALAXIES = (
    "s.class = 'GALAXY' AND s.zWarning = 0 AND s.sciencePrimary = 1 "
    f"AND s.waveMin < {FIRST_WAVE:.3f} AND s.waveMax > {LAST_WAVE:.3f} "
    f"AND (s.run2d IN ({', '.join(map(repr, LEGACY_RUN2D))}) OR s.run2d LIKE 'v5%')"
)


def select_by_sql(
    services: Services,
    release: str,
    n: int | None = None,
    where: str | None = None,
    page: int = 50_000,
    rejected: Callable[[str, str], object] | None = None,
    timeout: float = 600.0,
    after: tuple[int, int] | None = None,
) -> Iterator[SpecRow]:
    """Select galaxies with their imaging from SkyServer, plate by plate.

    Parameters
    ----------
    services : Services
        Addresses.
    release : str
        ``dr16``, ``dr17`` or ``dr18``.
    n : int, optional
        Largest number of galaxies. The first n galaxies of a larger selection are the same.
    where : str, optional
        A further condition in SQL, on ``s`` (SpecObj) and ``p`` (PhotoObjAll): ``s.z < 0.1 AND p.type = 3``.
    page : int
        Rows per query; the last plate may exceed it. SkyServer allows 500,000.
    rejected : callable, optional
        Called with (object id, reason) for each invalid row. Invalid rows are left out.
    timeout : float
        Seconds for the server to answer a query.
    after : (plate, mjd), optional
        Continue after this plate, the last complete one of an earlier call. `n` counts from there.

    Yields
    ------
    SpecRow

    Raises
    ------
    InputError
        If `where` is refused or SkyServer does not answer.
    """
    condition = GALAXIES + (f" AND {safe_where(where)}" if where is not None else "")
    sql = f"SELECT s.plate, s.mjd, COUNT(*) AS n {TABLES} WHERE {condition} GROUP BY s.plate, s.mjd"
    found = query(services, release, sql, {"plate": "int64", "mjd": "int64", "n": "int64"}, timeout)
    sizes = {(int(p), int(m)): int(k) for p, m, k in zip(found["plate"], found["mjd"], found["n"])}
    left = math.inf if n is None else n
    columns = SPEC_COLUMNS | PHOTO_COLUMNS
    waiting = sorted(sizes, key=lambda plate: plate_rank(*plate), reverse=True)
    if after is not None:
        waiting = [plate for plate in waiting if plate_rank(*plate) > plate_rank(*after)]
    while waiting and left > 0:
        plates = _next_plates(waiting, sizes, min(page, left))
        numbers = ", ".join(str(plate) for plate in sorted({plate for plate, _ in plates}))
        sql = f"SELECT {', '.join(columns)} {TABLES} WHERE {condition} AND s.plate IN ({numbers})"
        names = {name[2:]: kind for name, kind in columns.items()}
        rows = _spec_rows(query(services, release, sql, names, timeout), rejected)
        by_plate: dict[tuple[int, int], list[SpecRow]] = {}
        for row in rows:
            by_plate.setdefault((row.plate, row.mjd), []).append(row)
        for plate in plates:
            for row in sorted(by_plate.get(plate, ()), key=lambda row: row.fiber):
                if left <= 0:
                    return
                yield row
                left -= 1


def _next_plates(waiting: list, sizes: dict, rows: float) -> list:
    """Take plates with about `rows` rows, but at most `PLATES` plates, from the end of `waiting`."""
    plates: list = []
    while waiting and len(plates) < PLATES and (not plates or sum(sizes[plate] for plate in plates) < rows):
        plates.append(waiting.pop())
    return plates


def _spec_rows(found: dict, rejected: Callable[[str, str], object] | None) -> Iterator[SpecRow]:
    names: tuple[str, ...]
    names = ("plate", "mjd", "fiberID", "run2d", "ra", "dec", "z", "zErr", "class", "zWarning", "objID")
    names += ("run", "camcol", "field", "rerun")
    for i in range(len(found["plate"])):
        row = SpecRow(
            *(found[name][i].item() if name not in ("run2d", "class") else found[name][i] for name in names),
            *_photometry(found, i),
        )
        reason = unusable(row)
        if not reason:
            yield row
        elif rejected:
            rejected(row.object_id, reason)


def unusable(row: SpecRow) -> str:
    """The reason for which a row of a catalogue is invalid; an empty text if it is valid."""
    numbers = {
        "plate": (1, 99_999),
        "mjd": (40_000, 99_999),
        "fiber": (1, 1_000),
        "ra": (0, 360),
        "dec": (-90, 90),
    }
    if row.bestobjid:
        numbers |= {"run": (1, 65_535), "camcol": (1, 6), "field": (1, 4_095), "rerun": (1, 2_047)}
    for name, (least, most) in numbers.items():
        if not least <= getattr(row, name) <= most:
            return f"{name} {getattr(row, name)!r} is not from {least} to {most}"
    if not RUN2D.fullmatch(row.run2d):
        return f"run2d {row.run2d[:20]!r} is not a reduction of SDSS-I to IV"
    if not (math.isfinite(row.z) and -0.1 < row.z < 10 and math.isfinite(row.z_err)):
        return f"z = {row.z} +- {row.z_err} is not a valid redshift"
    return ""


def _photometry(found: dict, i: int) -> tuple[tuple[float, ...], ...]:
    """Fibre fluxes, inverse variances and extinctions of row `i`, as `clean_photometry` gives them."""
    flux, ivar, extinction = (
        np.array([found[f"{name}_{band}"][i] for band in BANDS])
        for name in ("fiberFlux", "fiberFluxIvar", "extinction")
    )
    return clean_photometry(flux, ivar, extinction)


def clean_photometry(flux, ivar, extinction) -> tuple[tuple[float, ...], ...]:
    """Fluxes, inverse variances and extinctions as tuples of 5 floats.

    A missing band (NaN or -9999) has flux 0 and ivar 0.
    """
    flux, ivar, extinction = (np.asarray(one, float) for one in (flux, ivar, extinction))
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0) & (np.abs(flux) < 1e6) & (flux > -9000)
    flux, ivar = np.where(good, flux, 0.0), np.where(good, ivar, 0.0)
    extinction = np.where(np.isfinite(extinction) & (extinction >= 0), extinction, 0.0)
    return tuple(flux.tolist()), tuple(ivar.tolist()), tuple(extinction.tolist())


def photometry_near(
    services: Services, release: str, ra: float, dec: float, radius: float = 3.0, timeout: float = 600.0
) -> PhotoRow | None:
    """Find the primary object of the imaging survey that is nearest to a position.

    Parameters
    ----------
    services : Services
        Addresses.
    release : str
        ``dr16``, ``dr17`` or ``dr18``.
    ra, dec : float
        Position in degrees.
    radius : float
        Largest distance in arcsec.
    timeout : float
        Seconds for the server to answer.

    Returns
    -------
    PhotoRow or None
        None if there is no object.

    Raises
    ------
    InputError
        If the position is not on the sky or SkyServer does not answer.
    """
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 3600):
        hint = "give degrees, ra from 0 to 360 and dec from -90 to 90"
        raise InputError(f"position {ra}, {dec}", "it is not on the sky", hint)
    columns = {"p.ra": "float64", "p.dec": "float64"} | PHOTO_COLUMNS
    sql = (
        f"SELECT TOP 1 {', '.join(columns)} "
        f"FROM dbo.fGetNearbyObjEq({ra:.7f}, {dec:.7f}, {radius / 60:.5f}) AS n "
        "JOIN PhotoPrimary AS p ON p.objID = n.objID ORDER BY n.distance"
    )
    found = query(services, release, sql, {name[2:]: kind for name, kind in columns.items()}, timeout)
    if not len(found["objID"]):
        return None
    names = ("objID", "ra", "dec", "rerun", "run", "camcol", "field")
    return PhotoRow(*(found[name][0].item() for name in names), *_photometry(found, 0))
