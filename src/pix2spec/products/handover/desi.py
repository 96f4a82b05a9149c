"""Input for DESI's simulators, and truth tables like those of DESI's mock targets.

``quickspectra`` of desisim reads an image FLUX (target, wavelength) and its WAVELENGTH at equal steps;
specsim reads a table of a source. The columns of a truth table are those that desitarget makes
(``desitarget.mock.mockmaker.empty_truth_table``).
"""

from pathlib import Path

import numpy as np

from pix2spec.core.photometry import magnitude
from pix2spec.errors import InputError
from pix2spec.products.catalogue import Catalogue
from pix2spec.products.handover.templates import Template, extend, synthetic_fluxes, templates
from pix2spec.products.units import ascii_text
from pix2spec.runtime.atomic import safe_name, write_atomically

__all__ = ["write_desi_truth", "write_specsim"]

WAVE = np.arange(3500.0, 9950.0, 0.8)  # Angstrom: DESI's cameras see 3600 to 9800
BANDS = {"FLUX_G": "decam2014-g", "FLUX_R": "decam2014-r", "FLUX_Z": "decam2014-z"}
INFRARED = ("FLUX_W1", "FLUX_W2", "FLUX_W3", "FLUX_W4")


def write_specsim(catalogue: Catalogue, out: str | Path) -> list[Path]:
    """Write ``spectra.fits`` for quickspectra, and a table of each source for specsim.

    Parameters
    ----------
    catalogue : Catalogue
        Noise-free spectra with physical fluxes.
    out : path
        New folder.

    Raises
    ------
    InputError
        If the folder is not empty.
    """
    from astropy.io import fits

    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise InputError(out, "the folder is not empty", "choose another one")
    (out / "sources").mkdir(parents=True, exist_ok=True)
    found, fluxes, files = [], [], []
    for template in templates(catalogue):
        flux = extend(template.wave, template.flux, WAVE)
        path = out / "sources" / f"{safe_name(template.name)}.ecsv"
        _write_source(template, flux, path)
        found.append(template)
        fluxes.append(flux.astype(np.float32))
        files.append(path)
    if not found:
        raise InputError(catalogue.path, "no object in it has spectra")
    units = [fits.PrimaryHDU(), fits.ImageHDU(WAVE, name="WAVELENGTH")]
    units[1].header["BUNIT"] = ("Angstrom", "vacuum, observed frame")
    units.append(fits.ImageHDU(np.stack(fluxes), name="FLUX"))
    units[2].header["BUNIT"] = "1e-17 erg/(s cm2 Angstrom)"
    units[2].header["KNOWNMIN"] = (found[0].wave[0], "below, the spectra are continued")
    units[2].header["KNOWNMAX"] = (found[0].wave[-1], "above, the spectra are continued")
    units.append(fits.table_to_hdu(_truth(found)))
    units[3].name = "TRUTH"
    spectra = out / "spectra.fits"
    write_atomically(spectra, lambda path: fits.HDUList(units).writeto(path, overwrite=True))
    return [spectra, *files]


def write_desi_truth(catalogue: Catalogue, out: str | Path) -> list[Path]:
    """Write a truth table with one typical candidate of each object.

    Parameters
    ----------
    catalogue : Catalogue
        Noise-free spectra with physical fluxes.
    out : path
        FITS file to write or to replace.
    """
    from astropy.io import fits

    found = list(templates(catalogue))
    if not found:
        raise InputError(catalogue.path, "no object in it has spectra")
    table = fits.table_to_hdu(_truth(found))
    table.name = "TRUTH"
    units = [fits.PrimaryHDU(), table]
    write_atomically(Path(out), lambda path: fits.HDUList(units).writeto(path, overwrite=True))
    return [Path(out)]


def _write_source(template: Template, flux: np.ndarray, path: Path) -> None:
    from astropy import units as u
    from astropy.table import Table

    unit = u.erg / u.s / u.cm**2 / u.AA
    table = Table({"wavelength": WAVE * u.AA, "flux": 1e-17 * flux * unit})
    table.meta = {"object_id": template.name, "z": template.z, "medium": "vacuum"}
    table.meta["known"] = [float(template.wave[0]), float(template.wave[-1])]
    write_atomically(path, lambda temporary: table.write(temporary, format="ascii.ecsv", overwrite=True))


def _truth(found: list[Template]):
    """DESI's columns of a truth table; the target's own id is OBJECT_ID."""
    from astropy.table import Table

    count = len(found)
    table = Table()
    table["TARGETID"] = _target_ids(found)
    table["MOCKID"] = np.arange(count, dtype=np.int64)
    table["TRUEZ"] = np.array([template.z for template in found], np.float32)
    for name, text in (("TRUESPECTYPE", "GALAXY"), ("TEMPLATETYPE", "BGS"), ("TEMPLATESUBTYPE", "")):
        table[name] = np.full(count, text, "S10")
    table["TEMPLATEID"] = np.full(count, -1, np.int32)
    table["SEED"] = np.array([_seed(template) for template in found])
    fluxes = np.stack([synthetic_fluxes(template, tuple(BANDS.values())) for template in found])
    table["MAG"] = magnitude(fluxes[:, 1]).astype(np.float32)
    table["MAG"].unit = "mag"
    table["MAGFILTER"] = np.full(count, BANDS["FLUX_R"], "S15")
    for name, column in [*zip(BANDS, fluxes.T), *((name, np.full(count, np.nan)) for name in INFRARED)]:
        table[name] = column.astype(np.float32)
        table[name].description = "nanomaggies; NaN beyond the spectra"
    table["RA"], table["DEC"] = ([getattr(t.ensemble, n) for t in found] for n in ("ra", "dec"))
    table["OBJECT_ID"] = np.array([ascii_text(template.name).encode() for template in found])
    return table


def _target_ids(found: list[Template]) -> np.ndarray:
    """The objects' ids where all are whole numbers, else their positions."""
    try:
        return np.array([int(template.name) for template in found], np.int64)
    except (ValueError, OverflowError):
        return np.arange(len(found), dtype=np.int64)


def _seed(template: Template) -> int:
    seed = template.ensemble.provenance.get("seed", -1)
    return int(seed) if isinstance(seed, int) else -1
