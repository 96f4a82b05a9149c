"""One observed spectrum from files of many kinds."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance
from astropy.table import QTable, Table

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.coarse_spectra import coarse_spectrum
from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
from pix2spec.errors import InputError
from pix2spec.products.ensemble import Ensemble
from support.fake_sdss import write_spec
from support.paths import SHARED

WAVE = np.arange(4000.0, 7000, 10)
FLUX = 20 + 5 * np.sin(WAVE / 200)
ERROR = np.full(len(WAVE), 0.5)
UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")


def table(path):
    units = {"wavelength": WAVE * u.AA, "flux": FLUX * UNIT, "error": ERROR * UNIT}
    QTable(units).write(path)


def image(path):
    """IRAF's form, with the unit that many pipelines write."""
    header = fits.Header(
        {"CRVAL1": 4000.0, "CDELT1": 10.0, "CRPIX1": 1.0, "CTYPE1": "WAVE", "CUNIT1": "Angstrom"}
    )
    header["BUNIT"] = "erg/cm2/s/A"
    fits.PrimaryHDU(FLUX * 1e-17, header).writeto(path)


def ivar_reversed(path):
    ivar = np.where(WAVE > 6900, 0, 1 / ERROR**2)
    columns = {"WAVE": WAVE[::-1] / 10 * u.nm, "FLUX": FLUX[::-1] * UNIT, "IVAR": ivar[::-1] / UNIT**2}
    QTable(columns).write(path)


def specutils_file(path):
    import specutils

    ivar = InverseVariance(1 / ERROR**2 / UNIT**2)
    kind = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    kind(flux=FLUX * UNIT, spectral_axis=WAVE * u.AA, uncertainty=ivar).write(path, format="tabular-fits")


FORMS = {
    "a.ecsv": table,
    "a.fits": table,
    "image.fits": image,
    "reversed.fits": ivar_reversed,
    "specutils.fits": specutils_file,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_spectrum(name, tmp_path):
    FORMS[name](tmp_path / name)
    seen = read_observed_spectrum(tmp_path / name)
    np.testing.assert_allclose(u.Quantity(seen.wave, u.AA).value, WAVE)
    np.testing.assert_allclose(seen.flux.to_value(UNIT), FLUX, rtol=1e-6)
    if name == "image.fits":
        assert seen.error is None
    else:
        known = np.isfinite(seen.error.value)
        np.testing.assert_allclose(seen.error[known].to_value(UNIT), 0.5, rtol=1e-6)
        assert known.sum() == (291 if name.startswith("reversed") else 300)
    assert len(coarse_spectrum(seen.wave, seen.flux, seen.error).filters) >= 28


def test_numbers_without_a_unit_are_of_unknown_scale(tmp_path):
    Table({"wavelength": WAVE, "flux": FLUX, "flux_err": ERROR}).write(tmp_path / "a.csv")
    seen = read_observed_spectrum(tmp_path / "a.csv")
    assert not hasattr(seen.flux, "unit") and not hasattr(seen.wave, "unit")
    np.testing.assert_allclose(seen.error, ERROR)


def test_spectra_of_sdss_and_of_the_package_are_read(tmp_path):
    write_spec(tmp_path / "spec.fits", seed=1)
    seen = read_observed_spectrum(tmp_path / "spec.fits")
    assert seen.flux.unit == UNIT and seen.wave[0] < 3900 and len(seen.error) == len(seen.flux)
    grid = SpectralGrid(3.6, 1e-3, 200)
    candidates = 10 + np.random.default_rng(0).normal(size=(5, 200))
    ensemble = Ensemble("a", grid, candidates, [0, 1, 2, 3, 4])
    ensemble.write_fits(tmp_path / "own.fits")
    own = read_observed_spectrum(tmp_path / "own.fits")
    np.testing.assert_allclose(own.flux.to_value(UNIT), ensemble.flux, rtol=1e-6)
    np.testing.assert_allclose(own.error.to_value(UNIT), ensemble.uncertainty, rtol=1e-6)


WRONG = {
    "a.csv": ("lambda,brightness\n1,2\n", "no columns wavelength and flux, only lambda, brightness"),
    "b.csv": ("wave,flux\n4000,a\n4010,b\n", "'flux' does not hold one number for each pixel"),
    "c.csv": ("", "the file is empty"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_files_are_refused(name, tmp_path):
    content, sentence = WRONG[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_observed_spectrum(tmp_path / name)


def test_a_fits_file_without_a_spectrum_is_refused(tmp_path):
    fits.PrimaryHDU(np.ones((3, 4, 5))).writeto(tmp_path / "cube.fits")
    with pytest.raises(InputError, match=r"its image has 3 axes"):
        read_observed_spectrum(tmp_path / "cube.fits")


@pytest.mark.skipif(not (SHARED / "spec").exists(), reason=f"real spectra are not here ({SHARED})")
def test_boxes_of_real_spectra_agree_with_their_r_band():
    """The r-band flux of a spectrum is that of the boxes inside r."""
    from pix2spec.core.photometry import synthetic_photometry

    for path in sorted((SHARED / "spec").glob("spec-0*.fits"))[:5]:
        seen = read_observed_spectrum(path)
        boxes = coarse_spectrum(seen.wave, seen.flux, seen.error)
        r = synthetic_photometry(np.nan_to_num(seen.flux.value), seen.wave, ["sdss2010-r"])[0]
        centres = np.array([boxes.curves[name].centre for name in boxes.filters])
        inside = boxes.flux[(centres > 5700) & (centres < 6700)].mean()
        assert inside == pytest.approx(r, rel=0.1)
