"""Ensembles in SDSS's own formats, for programs that read those: spec files and spPlate files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LIGHT_SPEED_KM_S, SDSS_LINE_SPREAD_KM_S
from pix2spec.errors import InputError
from pix2spec.products.units import PHYSICAL, ascii_text
from pix2spec.runtime.atomic import safe_name, write_atomically

if TYPE_CHECKING:
    from pix2spec.products.ensemble import Ensemble

__all__ = ["spec_name", "write_plate", "write_spec"]

NO_DATA_BIT = 1 << 24  # bit of SDSS's SPPIXMASK
MAX_FIBRES = 9999  # redrock makes target ids of plate, MJD and four digits of fibre
SPEC_ID = re.compile(r"(\d{4,5})-(\d{5})-(\d{4})")


def spec_name(object_id: str) -> str:
    """File name: ``spec-PLATE-MJD-FIBER.fits`` for ids of SDSS, else the id in safe characters."""
    return f"spec-{object_id}.fits" if SPEC_ID.fullmatch(object_id) else f"{safe_name(object_id)}.fits"


def write_spec(ensemble: Ensemble, path: str | Path) -> None:
    """Write the chosen spectrum of an ensemble in the layout of SDSS's spec-lite files.

    ``COADD`` has flux, loglam, ivar, and_mask, or_mask, wdisp, sky and model; ``SPECOBJ`` has one row with
    position and redshift. ``ivar`` is of the candidates' spread (see `Ensemble.uncertainty`), 0 if there is
    but one; ``model`` is the median of the candidates; ``wdisp`` that of the SDSS spectrographs, 64 km/s, in
    pixels; ``sky`` is 0. ``Z`` is the median of the candidates' redshifts where the model knows them, else
    the object's own.

    Parameters
    ----------
    ensemble : Ensemble
        In physical flux, 1e-17 erg/s/cm2/Angstrom; a relative one is written with the unit adu.
    path : path
        File to write or to replace; a partial file never has this name.
    """
    from astropy.io import fits

    columns = _columns(ensemble)
    kinds = {"loglam": "D", "and_mask": "J", "or_mask": "J"}
    coadd = [fits.Column(name, kinds.get(name, "E"), array=values) for name, values in columns.items()]
    row = _specobj_row(ensemble)
    formats = {"PLATE": "J", "MJD": "J", "FIBERID": "J", "ZWARNING": "J", "CLASS": "6A"}
    specobj = [fits.Column(name, formats.get(name, "D"), array=[value]) for name, value in row.items()]
    header = _header(ensemble.grid, ensemble.unit)
    header["OBJECT"] = ascii_text(ensemble.object_id)
    header["PLATEID"], header["MJD"], header["FIBERID"] = row["PLATE"], row["MJD"], row["FIBERID"]
    header["FLAGS"] = ascii_text(",".join(ensemble.flags))
    header["MODEL"] = ascii_text(str(ensemble.provenance.get("model", "")))
    units = [fits.PrimaryHDU(header=header)]
    units.append(fits.BinTableHDU.from_columns(coadd, name="COADD"))
    units.append(fits.BinTableHDU.from_columns(specobj, name="SPECOBJ"))
    write_atomically(Path(path), lambda temporary: fits.HDUList(units).writeto(temporary, overwrite=True))


def write_plate(ensembles: Iterable[Ensemble], path: str | Path, plate: int = 0, mjd: int = 0) -> list[str]:
    """Write the chosen spectra of many ensembles as one spPlate file, which redrock's ``rrboss`` reads.

    Parameters
    ----------
    ensembles : iterable of Ensemble
        On one grid, all in physical flux; 9,999 at most.
    path : path
        For example ``spPlate-0000-00000.fits``.
    plate, mjd : int
        Of the header. redrock's target ids are plate × 1e9 + mjd × 1e4 + fibre.

    Returns
    -------
    list of str
        Object ids in the order of the fibres, which count from 1.

    Raises
    ------
    InputError
        If there is no ensemble, too many, or they differ in grid or have no physical flux.
    """
    from astropy.io import fits

    ids: list[str] = []
    rows: list[dict] = []
    planes: dict[str, list] = {name: [] for name in ("flux", "ivar", "and_mask", "or_mask", "wdisp", "sky")}
    grid: SpectralGrid | None = None
    for ensemble in ensembles:
        grid = grid or ensemble.grid
        if ensemble.grid != grid:
            raise InputError(ensemble.object_id, "its wavelength grid is not that of the first spectrum")
        if ensemble.unit != PHYSICAL:
            raise InputError(ensemble.object_id, "its flux is relative", "give photometry with the cutouts")
        columns = _columns(ensemble)
        for name, values in planes.items():
            values.append(columns[name])
        ids.append(ensemble.object_id)
        rows.append(_specobj_row(ensemble))
        if len(ids) > MAX_FIBRES:
            raise InputError(path, f"more than {MAX_FIBRES} spectra", "write several plates")
    if grid is None:
        raise InputError(path, "there is no spectrum to write")
    header = _header(grid, PHYSICAL)
    header["PLATEID"], header["MJD"] = plate, mjd
    units = [fits.PrimaryHDU(np.stack(planes["flux"]), header)]
    names = {"ivar": "IVAR", "and_mask": "ANDMASK", "or_mask": "ORMASK", "wdisp": "WAVEDISP"}
    units += [fits.ImageHDU(np.stack(planes[name]), name=title) for name, title in names.items()]
    units.append(fits.BinTableHDU.from_columns(_plugmap(ids, rows), name="PLUGMAP"))
    units.append(fits.ImageHDU(np.stack(planes["sky"]), name="SKY"))
    write_atomically(Path(path), lambda temporary: fits.HDUList(units).writeto(temporary, overwrite=True))
    return ids


def _columns(ensemble: Ensemble) -> dict[str, np.ndarray]:
    """One value a pixel, under the names of SDSS's COADD table and in its order."""
    flux, sigma, grid = ensemble.flux, ensemble.uncertainty, ensemble.grid
    with np.errstate(divide="ignore", invalid="ignore"):
        ivar = np.where(np.isfinite(flux) & (sigma > 0), 1 / np.square(sigma.astype(float)), 0)
    mask = np.where(np.isfinite(flux), 0, NO_DATA_BIT).astype(np.int32)
    pixel = LIGHT_SPEED_KM_S * np.log(10) * grid.step  # km/s
    flat = np.zeros(grid.size, np.float32)
    return {
        "flux": np.nan_to_num(flux, nan=0.0, posinf=0.0, neginf=0.0),
        "loglam": grid.loglam,
        "ivar": ivar.astype(np.float32),
        "and_mask": mask,
        "or_mask": mask,
        "wdisp": flat + np.float32(SDSS_LINE_SPREAD_KM_S / pixel),
        "sky": flat,
        "model": np.nan_to_num(ensemble.quantiles((0.5,))[0]),
    }


def _specobj_row(ensemble: Ensemble) -> dict:
    """The row of SPECOBJ."""
    known = SPEC_ID.fullmatch(ensemble.object_id)
    plate, mjd, fibre = map(int, known.groups()) if known else (0, 0, 0)
    z, z_err = ensemble.z, np.nan
    if ensemble.redshifts is not None:
        low, z, high = np.quantile(ensemble.redshifts.astype(float), (0.16, 0.5, 0.84))
        z_err = (high - low) / 2
    row = {"PLATE": plate, "MJD": mjd, "FIBERID": fibre, "PLUG_RA": ensemble.ra, "PLUG_DEC": ensemble.dec}
    return row | {"CLASS": "GALAXY", "Z": z, "Z_ERR": z_err, "ZWARNING": 0}


def _plugmap(ids: list[str], rows: list[dict]) -> list:
    from astropy.io import fits

    names = [ascii_text(name) for name in ids]
    width = max(map(len, names))
    return [
        fits.Column("FIBERID", "J", array=np.arange(1, len(ids) + 1)),
        fits.Column("RA", "D", array=[row["PLUG_RA"] for row in rows]),
        fits.Column("DEC", "D", array=[row["PLUG_DEC"] for row in rows]),
        fits.Column("OBJTYPE", "6A", array=["GALAXY"] * len(ids)),
        fits.Column("OBJECT", f"{width}A", array=names),
    ]


def _header(grid: SpectralGrid, unit: str):
    """Of the primary HDU; it does not claim to be of SDSS's telescope."""
    from astropy.io import fits

    header = fits.Header()
    header["ORIGIN"] = ("pix2spec", "generated from photometry, not observed")
    header["BUNIT"] = "1e-17 erg / (s cm2 Angstrom)" if unit == PHYSICAL else "adu"
    header["COEFF0"] = (grid.start, "log10 of the first pixel's centre in Angstrom")
    header["COEFF1"] = (grid.step, "log10 dispersion a pixel")
    header["VACUUM"] = (True, "wavelengths are in vacuum")
    header["DC-FLAG"] = (1, "log-linear")
    return header
