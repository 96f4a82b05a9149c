"""Read DESI coadds: ``coadd-*.fits`` files and the ``redrock-*.fits`` files beside them."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.resample import resample_mask, resample_with_ivar
from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.readers.guards import GET_COMPLETE_FILE, column_names, fits_hdus, reading
from pix2spec.data.readers.spectrum_headers import trusted_redshift
from pix2spec.data.readers.tables import assumed_ivar
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = [
    "DesiCoadd",
    "flux_columns",
    "is_coadd",
    "set_photometry",
    "set_spectrum",
]

PHOTSYS = {"legacy": "S", "legacy-north": "N"}  # survey name to DESI's letter for it
ARMS = ("B", "R", "Z")
TEXTS = ("OBJTYPE", "PHOTSYS", "SPECTYPE")
INTEGERS = ("TARGETID", "COADD_FIBERSTATUS", "ZWARN")


def is_coadd(path: str | Path) -> bool:
    """Whether a FITS file is a DESI coadd, judged by its name or its first extension. Never raises."""
    from astropy.io import fits

    name = Path(path).name
    if name.startswith(("coadd-", "spec-")):
        return name.startswith("coadd-")
    try:
        # astropy would not close a damaged file.
        with reading(path, "FITS"), open(path, "rb") as stream:
            return fits.getval(stream, "EXTNAME", 1) == "FIBERMAP"
    except InputError:  # The reader of the file will describe the fault.
        return False


def flux_columns(survey: Survey) -> list[str]:
    """Names of the DESI columns that `set_photometry` uses; none if `survey` is not a Legacy Survey."""
    bands = survey.photometry_bands if survey.name in PHOTSYS else ()
    return [f"{name}_{band.upper()}" for name in ("FIBERFLUX", "FLUX", "FLUX_IVAR") for band in bands]


def set_photometry(galaxy: Galaxy, values: dict, survey: Survey) -> None:
    """Set the photometry of `galaxy` to its fluxes in a DESI fibre (diameter 1.5 arcsec).

    DESI predicts these fluxes from Legacy Surveys images. They are not corrected for Galactic extinction. The
    relative error of the total flux, and the 5 % and 0.05 nanomaggies of `assumed_ivar`, are added in
    quadrature. The Legacy Surveys use other filters north of declination +32.375 degrees (PHOTSYS N): the
    galaxy keeps its photometry if it lies in the other part than `survey`.

    Parameters
    ----------
    galaxy : Galaxy
        Changed in place. Its declination is used where PHOTSYS is unknown.
    values : dict
        ``FIBERFLUX_G``, ``FLUX_G``, ``FLUX_IVAR_G`` ... in nanomaggies, and PHOTSYS. All may be missing.
    survey : Survey
        The survey whose bands are needed.
    """
    photsys = str(values.get("PHOTSYS", "")).strip() or ("N" if galaxy.dec > 32.375 else "S")
    if PHOTSYS.get(survey.name) != photsys:
        return
    columns = [float(values.get(name, np.nan)) for name in flux_columns(survey)]
    flux, total, ivar = np.array(columns).reshape(3, -1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ivar = assumed_ivar(flux, np.where((flux > 0) & (total > 0), ivar * (total / flux) ** 2, 0))
    if (ivar > 0).any():
        galaxy.photometry = np.where(ivar > 0, flux, np.nan).astype(np.float32)
        galaxy.photometry_ivar = ivar


class DesiCoadd:
    """Targets of one ``coadd-*.fits`` file, without the sky fibres.

    Redshifts come from the ``redrock-*.fits`` file of the same name in the same folder. They are NaN if that
    file does not exist. The metadata stay in memory; `galaxy` reads the spectra, and those of the file that
    was read last stay in memory too.

    Parameters
    ----------
    path : str or Path
        The coadd file.
    grid : SpectralGrid, optional
        The wavelength grid of the galaxies. The default is ``SpectralGrid()``.
    survey : Survey
        The survey whose fibre fluxes are needed. The file has those of the Legacy Surveys only.

    Raises
    ------
    InputError
        If the file lacks an extension or a column.
    """

    def __init__(self, path: str | Path, grid: SpectralGrid | None = None, survey: Survey = SDSS):
        self.path, self.grid, self.survey = Path(path), grid or SpectralGrid(), survey
        wanted = ("TARGETID", "TARGET_RA", "TARGET_DEC", "OBJTYPE", "COADD_FIBERSTATUS")
        self.table = _columns(self.path, "FIBERMAP", wanted, ("PHOTSYS", *flux_columns(survey)))
        self.rows = np.flatnonzero(np.char.strip(self.table["OBJTYPE"].astype(str)) == "TGT")
        self.redshifts = _redshifts(self.path)

    def only(self) -> "DesiCoadd":
        """The coadd itself if it has one target; else an `InputError`."""
        if len(self) != 1:
            what = f"this DESI coadd holds {len(self)} targets, not one"
            raise InputError(self.path, what, "import it as a dataset instead")
        return self

    def notes(self, i: int) -> list[str]:
        """Sentences about what is not used of target `i`."""
        note = self.redshifts.get(str(self.table["TARGETID"][self.rows[i]]), ("",))[-1]
        return [note] if note else []

    def __len__(self) -> int:
        return len(self.rows)

    def label(self, i: int) -> str:
        """Name of spectrum `i` for messages."""
        return f"{self.path}[TARGETID {self.table['TARGETID'][self.rows[i]]}]"

    def header(self, i: int) -> Galaxy:
        """Galaxy `i` without flux, ivar and mask.

        Raises
        ------
        InputError
            If its fibre is flagged as bad or its position is not on the sky.
        """
        row, label = self.rows[i], self.label(i)
        values = {name: column[row] for name, column in self.table.items()}
        status = int(values["COADD_FIBERSTATUS"])
        if status:
            raise InputError(label, f"its fibre is flagged as bad (COADD_FIBERSTATUS {status})")
        ra, dec = float(values["TARGET_RA"]), float(values["TARGET_DEC"])
        if not (0 <= ra <= 360 and -90 <= dec <= 90):
            raise InputError(label, f"its TARGET_RA, TARGET_DEC = {ra}, {dec} are not a position on the sky")
        target = str(values["TARGETID"])
        z, z_err, spec_class, _ = self.redshifts.get(target, (np.nan, np.nan, "", ""))
        galaxy = Galaxy(object_id=target, ra=ra, dec=dec, z=z, z_err=z_err, spec_class=spec_class)
        set_photometry(galaxy, values, self.survey)
        return galaxy

    def galaxy(self, i: int) -> Galaxy:
        """Galaxy `i` with its spectrum: the ivar-weighted mean of the arms, in 1e-17 erg/s/cm2/Angstrom."""
        galaxy, row = self.header(i), self.rows[i]
        arms = _arms(self.path)
        if any(len(flux) <= row for _, flux, *_ in arms):
            raise InputError(self.label(i), "the file has fewer spectra than rows in its FIBERMAP")
        set_spectrum(
            galaxy, self.label(i), self.grid, [(a[0], *(column[row] for column in a[1:])) for a in arms]
        )
        return galaxy


def _redshifts(path: Path) -> dict[str, tuple[float, float, str, str]]:
    """TARGETID to (z, its error, class, note) from the redrock file. z is NaN where ZWARN is set."""
    redrock = path.with_name(path.name.replace("coadd-", "redrock-", 1))
    if redrock == path or not redrock.exists():
        return {}
    table = _columns(redrock, "REDSHIFTS", ("TARGETID", "Z", "ZERR", "ZWARN", "SPECTYPE"))
    found = {}
    for row in zip(*(table[name].tolist() for name in ("TARGETID", "Z", "ZERR", "ZWARN", "SPECTYPE"))):
        z, z_err, note = trusted_redshift(row[1], row[2], zwarn=row[3])
        found[str(row[0])] = (z, z_err, str(row[4]).strip(), note)
    return found


def _columns(path: Path, extension: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict:
    """Columns of a table extension by name, each with one value per row."""
    with fits_hdus(path) as hdus:
        if extension not in hdus:
            raise InputError(path, f"it has no extension {extension}: not a DESI file", GET_COMPLETE_FILE)
        hdu, columns = hdus[extension], {}
        names = column_names(hdu)
        for name in (*required, *optional):
            if name.lower() in names:
                columns[name] = np.array(hdu.data[names[name.lower()]])
            elif name in required:
                raise InputError(path, f"{extension} has no column {name}", GET_COMPLETE_FILE)
        for name, column in columns.items():
            kinds = "US" if name in TEXTS else "iu" if name in INTEGERS else "iuf"
            if column.ndim != 1 or column.dtype.kind not in kinds:
                what = "text" if name in TEXTS else "number"
                raise InputError(path, f"column {name} of {extension} does not hold one {what} per row")
            if column.dtype.kind == "S":
                columns[name] = np.char.decode(column, "ascii", "replace")
    return columns


@lru_cache(maxsize=1)
def _arms(path: Path) -> list[tuple]:
    """(wave (M,), flux (n, M), ivar (n, M), mask (n, M)) of each arm. Masked pixels get ivar 0."""
    arms = []
    with fits_hdus(path) as hdus:
        for arm in ARMS:
            if f"{arm}_FLUX" not in hdus:
                continue
            wave, flux, ivar = (
                _image(path, hdus, f"{arm}_{name}") for name in ("WAVELENGTH", "FLUX", "IVAR")
            )
            mask = _image(path, hdus, f"{arm}_MASK") if f"{arm}_MASK" in hdus else np.zeros(flux.shape, int)
            if flux.ndim != 2 or not (
                flux.shape == ivar.shape == mask.shape and flux.shape[1:] == wave.shape
            ):
                raise InputError(path, f"the arrays of arm {arm} differ in shape", GET_COMPLETE_FILE)
            bits = mask.astype(np.int32)
            arms.append((wave.astype(float), flux.astype(float), np.where(bits == 0, ivar, 0.0), bits))
    if not arms:
        raise InputError(path, "it has no B_FLUX, R_FLUX or Z_FLUX: not a DESI coadd", GET_COMPLETE_FILE)
    return arms


def _image(path: Path, hdus, name: str) -> np.ndarray:
    if name not in hdus or not getattr(hdus[name], "is_image", False) or hdus[name].data is None:
        raise InputError(path, f"it has no array {name}", GET_COMPLETE_FILE)
    return np.asarray(hdus[name].data)


def set_spectrum(galaxy: Galaxy, where, grid: SpectralGrid, arms: list[tuple]) -> None:
    """Set the flux, ivar and mask of `galaxy` on `grid` from the arms of a spectrum.

    Pixels that coincide with those of the grid are copied without change. Others are resampled so that flux
    is conserved (see `pix2spec.core.resample`). Where arms overlap, the flux is their ivar-weighted mean and
    the mask has the bits of all.

    Parameters
    ----------
    galaxy : Galaxy
        Changed in place.
    where : str
        Name of the spectrum for error messages.
    grid : SpectralGrid
        The L pixels to fill.
    arms : list of (wave, flux, ivar, mask)
        Arrays (M,): vacuum wavelengths in Angstrom, flux in 1e-17 erg/s/cm2/Angstrom, its inverse variance
        (0 where missing), and the bits of the survey's mask.

    Raises
    ------
    InputError
        If the wavelengths are not finite and increasing, do not cover the grid, or no pixel is valid.
        Section 2 of the paper also leaves out spectra that do not cover the grid.
    """
    for wave, *columns in arms:
        if len(wave) < 2 or not np.isfinite(wave).all() or wave[0] <= 0 or not (np.diff(wave) > 0).all():
            raise InputError(where, "its wavelengths are missing, not finite or not increasing")
        if any(column.shape != wave.shape for column in columns):
            raise InputError(where, "its columns differ in length from its wavelengths")
    first, last = min(a[0][0] for a in arms), max(a[0][-1] for a in arms)
    if grid.pixel(first) > 0.5 or grid.pixel(last) < grid.size - 1.5:
        raise InputError(
            where,
            f"it covers {first:.1f} to {last:.1f} Angstrom, the grid needs {grid.wave[0]:.1f} to "
            f"{grid.wave[-1]:.1f}",
            "the wavelength range is too short; such spectra are left out, as in the paper",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [resample_with_ivar(flux[None], ivar[None], wave, grid) for wave, flux, ivar, _ in arms]
        flux, ivar = (np.concatenate(column) for column in zip(*parts))
        total = ivar.sum(0)
        if len(arms) > 1:
            flux = (flux * ivar).sum(0) / np.where(total > 0, total, 1)
        flux, ivar = flux.reshape(-1).astype(np.float32), total.astype(np.float32)
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    if not good.any():
        raise InputError(where, "ivar: no valid pixel on the grid", "leave this spectrum out")
    masks = np.concatenate([resample_mask(mask[None], wave, grid) for wave, _, _, mask in arms])
    galaxy.flux = np.where(np.isfinite(flux), flux, np.float32(0))
    galaxy.ivar = np.where(good, ivar, np.float32(0))
    galaxy.mask = np.bitwise_or.reduce(masks)
