"""Read spectra from spPlate files, which hold all fibres of a plate.

Layout (data.sdss.org/datamodel, BOSS_SPECTRO_REDUX/RUN2D/PLATE4/spPlate.html): HDU 0 flux, 1 ivar, 2 andmask,
3 ormask, 4 dispersion and 6 sky are images with one row per fibre. HDU 5 is the table PLUGMAP. log10 of the
wavelength is COEFF0 + COEFF1 * column. The redshifts come from the selection, because the files have none.
"""

from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.archives.sdss.select_sql import SpecRow
from pix2spec.data.readers.guards import column_names, fits_hdus, spec_id
from pix2spec.data.readers.spectra import place_spectrum
from pix2spec.data.readers.spectrum_headers import trusted_redshift
from pix2spec.data.readers.tables import assumed_ivar
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = ["read_plate"]

FLUX, IVAR, ANDMASK, PLUGMAP = 0, 1, 2, 5
MAX_FIBRES, MAX_PIXELS = 1000, 20_000


def read_plate(path: str | Path, rows: list[SpecRow], grid: SpectralGrid) -> list[Galaxy | InputError]:
    """Read the spectra of some fibres of a plate. The results are those of the fibres' spec files.

    Parameters
    ----------
    path : path
        A file ``spPlate-PLATE-MJD.fits``.
    rows : list of SpecRow
        The rows of the selection for these fibres.
    grid : SpectralGrid
        Wavelength grid of the galaxies.

    Returns
    -------
    list of Galaxy or InputError
        For each row a galaxy, or an error if its spectrum cannot be used.

    Raises
    ------
    InputError
        If the file cannot be used for any fibre.
    """
    with fits_hdus(path) as hdus:
        loglam = _loglam(path, hdus, rows[0])
        names = column_names(hdus[PLUGMAP])
        if not {"fiberid", "ra", "dec"} <= set(names):
            raise InputError(path, "its plug map lacks FIBERID, RA or DEC: not a spPlate file")
        plugs = {int(fiber): i for i, fiber in enumerate(hdus[PLUGMAP].data[names["fiberid"]])}
        found: list[Galaxy | InputError] = []
        for row in rows:
            try:
                found.append(_galaxy(path, hdus, names, plugs, loglam, row, grid))
            except InputError as error:
                found.append(error)
        return found


def _loglam(path, hdus, row: SpecRow) -> np.ndarray:
    """log10 of the wavelengths of the columns, after checks of the plate number and the images' shapes."""
    if len(hdus) <= PLUGMAP:
        raise InputError(path, f"it has {len(hdus)} HDUs: not a spPlate file")
    shapes = {hdus[i].shape for i in (FLUX, IVAR, ANDMASK)}
    shape = min(shapes)
    if len(shapes) > 1 or len(shape) != 2 or shape[0] > MAX_FIBRES or shape[1] > MAX_PIXELS:
        raise InputError(path, f"its images have the shapes {sorted(shapes)}: not a spPlate file")
    header = hdus[FLUX].header
    if (header.get("PLATEID"), header.get("MJD")) != (row.plate, row.mjd):
        what = f"it is of plate {header.get('PLATEID')}, MJD {header.get('MJD')}"
        raise InputError(path, f"{what}, not of {row.plate}, {row.mjd}")
    try:
        first, step = float(header["COEFF0"]), float(header["COEFF1"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, "its header lacks the wavelengths, COEFF0 and COEFF1") from error
    # float32, as in the spec files
    return (first + step * np.arange(shape[1])).astype(np.float32)


def _galaxy(path, hdus, names: dict, plugs: dict, loglam: np.ndarray, row: SpecRow, grid) -> Galaxy:
    object_id = spec_id(row.plate, row.mjd, row.fiber)
    where = f"{path}, fibre {row.fiber}"
    place = row.fiber - 1
    if plugs.get(row.fiber) != place or place >= hdus[FLUX].shape[0]:
        raise InputError(where, "the plate has no such fibre")
    flux, ivar, mask = (np.asarray(hdus[i].section[place]) for i in (FLUX, IVAR, ANDMASK))
    # Spec files leave out the pixels before the first and after the last one with data. The same cut here
    # makes sure that a spectrum from either file covers the grid, or from neither.
    valid = np.flatnonzero(ivar > 0)
    if not len(valid):
        raise InputError(where, "ivar: no valid pixel", "leave this spectrum out")
    cut = slice(valid[0], valid[-1] + 1)
    plug = hdus[PLUGMAP].data[place]
    # The selection writes the pipeline's float32 numbers as decimals.
    z, z_err, _ = trusted_redshift(np.float32(row.z), np.float32(row.z_err), row.zwarning)
    galaxy = Galaxy(
        object_id=object_id,
        ra=float(plug[names["ra"]]),
        dec=float(plug[names["dec"]]),
        z=z,
        z_err=z_err,
        spec_class=row.spec_class,
    )
    if "calibflux" in names:
        flux_of_bands = np.asarray(plug[names["calibflux"]], np.float32).ravel()
        error = names.get("calibflux_ivar")
        measured = np.asarray(plug[error], float).ravel() if error else np.zeros(len(flux_of_bands))
        galaxy.photometry, galaxy.photometry_ivar = flux_of_bands, assumed_ivar(flux_of_bands, measured)
    place_spectrum(
        galaxy, where, grid, loglam[cut], flux[cut].astype(float), ivar[cut].astype(float), mask[cut]
    )
    return galaxy
