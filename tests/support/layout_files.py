"""Writers of small tables of two galaxies, for `support.layouts`. Astropy makes fluxes from magnitudes."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table

MAGNITUDES = {  # AB
    "u": (19.655, 20.126), "g": (18.149, 18.769), "r": (17.298, 17.903), "i": (16.878, 17.460),
    "z": (16.563, 17.169), "y": (16.402, 17.011), "w1": (17.512, 18.204), "vis": (17.105, 17.702),
    "j": (16.201, 16.803), "h": (16.007, 16.595),
}  # fmt: skip
ERRORS = {band: (0.011 + 0.004 * k, 0.013 + 0.005 * k) for k, band in enumerate(MAGNITUDES)}
DUST = dict(zip("ugrizy", (0.212, 0.165, 0.114, 0.085, 0.063, 0.05)))
REDSHIFTS, SIGMAS_Z = (0.0831, 0.1375), (0.0002, 0.0003)
IDS = ("1237648720142401537", "1237648720142401612")
RA, DEC = (150.1, 210.5), (2.2, -1.25)
ZERO = u.zero_point_flux(3631 * u.Jy)


def flux(band: str, unit) -> np.ndarray:
    return (np.array(MAGNITUDES[band]) * u.ABmag).to(unit, ZERO).value


def flux_error(band: str, unit) -> np.ndarray:
    return 0.4 * np.log(10) * np.array(ERRORS[band]) * flux(band, unit)


def columns(bands: str, value: str, error: str = "", upper: bool = False) -> dict:
    """Columns of magnitudes and their errors, all values and then all errors."""
    found = {value.format(b.upper() if upper else b): MAGNITUDES[b] for b in bands.split()}
    more = {error.format(b.upper() if upper else b): ERRORS[b] for b in bands.split()} if error else {}
    return found | more


def fluxes(bands: str, value: str, error: str, unit, upper: bool = False, ivar: bool = False) -> dict:
    found = {}
    for b in bands.split():
        name, sigma = b.upper() if upper else b, flux_error(b, unit)
        found[value.format(name)] = flux(b, unit)
        found[error.format(name)] = sigma**-2 if ivar else sigma
    return found


def extinctions(bands: str, name: str) -> dict:
    return {name.format(b): (DUST[b],) * 2 for b in bands.split()}


def text(name: str, cells: dict, sep: str = ",", before: str = "", head: str = "", after: str = "",
         number: str = "{}", drop: int = 0) -> Callable[[Path], Path]:  # fmt: skip
    """A writer of a text: lines before, names with a sign before them, lines after them, and the rows.

    The last `drop` names are left out.
    """

    def write(folder: Path) -> Path:
        lines = [head + sep.join(list(cells)[: len(cells) - drop])]
        for row in zip(*cells.values()):
            lines.append(sep.join(v if isinstance(v, str) else number.format(v) for v in row))
        path = folder / name
        path.write_text(
            before + lines[0] + "\n" * (drop < len(cells)) + after + "\n".join(lines[1:]) + "\n",
            encoding="utf8",
        )
        return path

    return write


def table(name: str, cells: dict, units: dict | None = None, **options) -> Callable[[Path], Path]:
    """A writer of astropy's."""

    def write(folder: Path) -> Path:
        made = Table({n: np.array(v) for n, v in cells.items()})
        for column, unit in (units or {}).items():
            made[column].unit = unit
        made.write(folder / name, **options)
        return folder / name

    return write


def comma(writer: Callable[[Path], Path], old: str = ".", new: str = ",") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = writer(folder)
        path.write_text(path.read_text().replace(old, new))
        return path

    return write


def packed(writer: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """The same file packed by gzip, without a name that tells it."""

    def write(folder: Path) -> Path:
        path = writer(folder)
        path.with_name("packed").write_bytes(gzip.compress(path.read_bytes()))
        return path.with_name("packed")

    return write


def encoded(writer: Callable[[Path], Path], encoding: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = writer(folder)
        path.write_bytes(path.read_text(encoding="utf8").encode(encoding))
        return path

    return write


def sextractor(cells: dict) -> Callable[[Path], Path]:
    comments = (f"#{k:4d} {name.upper():15} a column" for k, name in enumerate(cells, start=1))
    return text("a.cat", cells, " ", before="\n".join(comments) + "\n", drop=len(cells))


def hdus(tables: dict) -> Callable[[Path], Path]:
    """A writer of FITS with several tables."""

    def write(folder: Path) -> Path:
        made = [
            fits.BinTableHDU(Table({n: np.array(v) for n, v in t.items()}), name=k) for k, t in tables.items()
        ]
        fits.HDUList([fits.PrimaryHDU(), *made]).writeto(folder / "a.fits")
        return folder / "a.fits"

    return write


def vaex(cells: dict) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        import h5py

        with h5py.File(folder / "a.hdf5", "w") as file:
            for name, values in cells.items():
                column = [v.encode() if isinstance(v, str) else v for v in values]
                file.create_group(f"table/columns/{name}")["data"] = np.array(column)
        return folder / "a.hdf5"

    return write


def psql(cells: dict) -> Callable[[Path], Path]:
    write_rows = text("a.txt", cells, " | ", after="-----+" * (len(cells) - 1) + "-----\n")

    def write(folder: Path) -> Path:
        path = write_rows(folder)
        path.write_text(path.read_text() + "(2 rows)\n")
        return path

    return write


def vectors(value: str, ivar: str) -> Callable[[Path], Path]:
    cells = {"RA": RA, "DEC": DEC, "CLASS": ("GALAXY",) * 2, "Z": REDSHIFTS, "Z_ERR": SIGMAS_Z,
             "ZWARNING": (0, 0), "SN_MEDIAN": np.ones((2, 5)),
             value: np.array([flux(b, u.nmgy) for b in "ugriz"]).T,
             ivar: np.array([flux_error(b, u.nmgy) ** -2 for b in "ugriz"]).T}  # fmt: skip
    return table("a.fits", cells)


def rail_hdf5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "a.hdf5", "w") as file:
        group = file.create_group("photometry")
        for name, values in (
            columns("u g r i z y", "mag_{}_lsst", "mag_err_{}_lsst") | {"redshift": REDSHIFTS}
        ).items():
            group[name] = np.array(values)
    return folder / "a.hdf5"


def quantities(folder: Path) -> Path:
    from astropy.coordinates import SkyCoord

    made = QTable({"name": ["a", "b"], "where": SkyCoord(np.array(RA), np.array(DEC), unit="deg")})
    for b in "ugriz":
        made[b] = np.array(MAGNITUDES[b]) * u.ABmag
        made[f"{b}_err"] = np.array(ERRORS[b]) * u.mag
    made.write(folder / "a.ecsv")
    return folder / "a.ecsv"
