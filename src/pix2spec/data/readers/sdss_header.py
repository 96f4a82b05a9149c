"""The galaxy of an SDSS spectrum file: id, position, redshift and fibre fluxes."""

import numpy as np

from pix2spec.data.readers.guards import GET_COMPLETE_FILE, column_names, spec_id
from pix2spec.data.readers.spectrum_headers import trusted_redshift
from pix2spec.data.readers.tables import assumed_ivar
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = ["describe_sdss", "is_sdss"]

DESI_HDUS = {"FIBERMAP", "EXP_FIBERMAP", "REDSHIFTS", "B_FLUX", "B_WAVELENGTH"}


def is_sdss(path, hdus) -> bool:
    """Whether a FITS file has the table of an SDSS spectrum (full or lite, of any phase) or was meant to.

    Raises
    ------
    InputError
        If it is a file of DESI that holds no coadd.
    """
    if DESI_HDUS & {hdu.name for hdu in hdus}:
        what = "it is a DESI file other than a coadd"
        raise InputError(path, what, "give coadd-*.fits, or spec-PLATE-MJD-FIBER.fits of the SDSS")
    header = hdus[0].header
    named = {"PLATEID", "FIBERID"} & set(header) or {"SPECOBJ", "SPALL", "ZALL"} & {hdu.name for hdu in hdus}
    return bool(named) and len(hdus) > 1 and bool({"flux", "loglam"} & set(column_names(hdus[1])))


def describe_sdss(path, hdus) -> tuple[Galaxy, list[str]]:
    """The galaxy without its spectrum, from the SPECOBJ (SDSS) or SPALL (BOSS, SDSS-V) row; and notes."""
    table = next((hdu for hdu in hdus[2:] if {"z", "class"} <= set(column_names(hdu))), None)
    _check_pixels(path, hdus[1])
    if table is None or len(table.data) == 0:
        raise InputError(
            path, "it has no SPECOBJ or SPALL row (redshift, class, position)", GET_COMPLETE_FILE
        )
    names, row, header = column_names(table), table.data[0], hdus[0].header

    def value(*keys):
        """The value of the first of `keys` that the row or the primary header has."""
        for key in keys:
            if key.lower() in names:
                return row[names[key.lower()]]
            if key in header:
                return header[key]
        raise InputError(path, f"its field {' or '.join(keys)} is missing", GET_COMPLETE_FILE)

    ra, dec = float(value("RACAT", "PLUG_RA")), float(value("DECCAT", "PLUG_DEC"))
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise InputError(path, f"its PLUG_RA, PLUG_DEC = {ra}, {dec} are not a position on the sky")
    z, z_err, note = trusted_redshift(value("Z"), value("Z_ERR"), zwarning=int(value("ZWARNING")))
    fiber = ("CATALOGID", "FIBERID") if "catalogid" in names else ("FIBERID",)
    galaxy = Galaxy(
        object_id=spec_id(value("PLATE", "PLATEID", "FIELD"), value("MJD"), value(*fiber)),
        group_id=next((i for i in (_object_id(row, names, n) for n in ("bestobjid", "objid")) if i), ""),
        ra=ra,
        dec=dec,
        z=z,
        z_err=z_err,
        spec_class=str(value("CLASS")).strip(),
    )
    if "calibflux" in names:
        flux = np.asarray(row[names["calibflux"]], np.float32).ravel()
        measured = row[names["calibflux_ivar"]] if "calibflux_ivar" in names else np.zeros_like(flux)
        galaxy.photometry, galaxy.photometry_ivar = flux, assumed_ivar(flux, np.asarray(measured, float))
    return galaxy, [note] if note else []


def _check_pixels(path, hdu) -> None:
    names = column_names(hdu)
    for name in ("loglam", "flux", "ivar"):
        if name not in names:
            raise InputError(path, f"its column {name!r} is missing", f"the table has {', '.join(names)}")
        values = hdu.data[names[name]]
        if values.dtype.kind not in "iuf" or values.ndim != 1:
            raise InputError(path, f"its column {name!r} does not hold one number per pixel")


def _object_id(row, names: dict, key: str) -> str:
    """Id of the photometric object, a text or an integer; "" for SPECOBJ's OBJID, which is five integers."""
    if key not in names or np.ndim(row[names[key]]) != 0:
        return ""
    return str(row[names[key]]).strip().lstrip("0")
