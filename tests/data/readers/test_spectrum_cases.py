"""One real galaxy's spectrum in nine common layouts, against values that astropy reads from the files."""

import numpy as np
import pytest
from astropy.io import fits

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.dataset import Dataset
from pix2spec.data.import_files import import_data
from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
from pix2spec.evaluation.predictions.open import open_predictions
from support.paths import SHARED

CASES = SHARED.parent / "cases" / "spectra"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the spectra are not here ({CASES})")
GRID = SpectralGrid()
LINEAR = 3891.4514499428046 + np.arange(5014)
Z = 0.01807604357600212


def rows(name):
    return fits.getdata(CASES / name).astype(float)


def table(name, *columns):
    data = fits.getdata(CASES / name, 1)
    return [np.asarray(data[column], float) for column in columns]


def expected(name):
    """Wavelength, flux and error in 1e-17 erg/s/cm2/Angstrom; the error is None if the file has none."""
    if name.startswith("lamost"):
        flux, ivar, wave = rows(name)[:3]
        return wave, flux, 1 / np.sqrt(ivar)
    if name.startswith("spSpec"):
        flux, _, error = rows(name)[:3]
        return GRID.wave, flux, error
    if name.startswith("gama"):
        flux, error, _ = rows(name)
        return LINEAR, flux, error
    if name.startswith("spec-"):
        loglam, flux, ivar = table(name, "LOGLAM", "FLUX", "IVAR")
        return 10**loglam, flux, 1 / np.sqrt(ivar)
    if name.startswith("wcs1d"):
        return LINEAR, rows(name), None
    if name.startswith("three"):
        return np.loadtxt(CASES / name).T
    if name.startswith("unit"):
        return *table(name, "WAVELENGTH", "FLUX"), None
    names = ("WAVE", "FLUX", "ERR_FLUX") if name.startswith("wave") else ("wavelength", "flux", "uncertainty")
    wave, flux, error = table(name, *names)
    return wave, 1e17 * flux, 1e17 * error


FILES = {  # id, redshift
    "spec-15001-59187-27021597911984196.fits": ("15001-59187-27021597911984196", Z),
    "spSpec-51602-0266-013.fit": ("0266-51602-0013", Z),
    "lamost-rows.fits": ("lamost-rows", np.nan),
    "gama-rows.fits": ("gama-rows", Z),
    "wave-flux-err.fits": ("wave-flux-err", np.nan),
    "specutils-tabular.fits": ("specutils-tabular", np.nan),
    "wcs1d-linear.fits": ("wcs1d-linear", np.nan),
    "three-columns.txt": ("three-columns", np.nan),
    "unit-Angstroms.fits": ("unit-Angstroms", np.nan),
}


@pytest.mark.parametrize("name", FILES)
def test_each_layout_gives_its_pixels(name):
    seen = read_observed_spectrum(CASES / name)
    wave, flux, error = expected(name)
    unit = "1e-17 erg / (s cm2 Angstrom)"
    values = [x if x is None or seen.is_relative else x.to_value(unit) for x in (seen.flux, seen.error)]
    np.testing.assert_allclose(seen.wave, wave, rtol=1e-7)
    np.testing.assert_allclose(values[0], flux, rtol=1e-6)
    if error is None:
        assert values[1] is None
    else:
        np.testing.assert_allclose(values[1], np.where(error > 0, error, np.inf), rtol=1e-6)
    galaxy = seen.galaxy
    assert galaxy.object_id == FILES[name][0]
    np.testing.assert_equal(galaxy.z, FILES[name][1])
    if name.startswith("sp") and not name.startswith("specutils"):
        assert (galaxy.ra, galaxy.dec, galaxy.spec_class) == (150, 2, "GALAXY")


def test_all_are_imported_onto_one_grid(tmp_path):
    report = import_data(tmp_path / "data", [CASES / name for name in FILES], progress=False)
    assert (report.n_written, report.failures) == (9, [])
    dataset = Dataset(tmp_path / "data")
    galaxies = {galaxy.object_id: galaxy for galaxy in dataset}
    truth = galaxies["0266-51602-0013"].flux
    for name, (object_id, _) in FILES.items():
        if name.startswith("unit"):
            continue  # another galaxy
        flux, alike = galaxies[object_id].flux, 3e-3 if "rows" in name or "wcs" in name else 1e-6
        if name.startswith(("gama", "wcs1d")):
            continue_ratio = np.median(flux[1:-1] / truth[1:-1])
            assert continue_ratio == pytest.approx(1, abs=alike)
        else:
            np.testing.assert_allclose(flux, truth, rtol=1e-5, atol=1e-5)
    said = {where.rpartition("/")[2] for where, _ in report.notes}
    assert said == {"lamost-rows.fits", "three-columns.txt", "wcs1d-linear.fits", "unit-Angstroms.fits"}


def test_no_row_but_the_flux_is_a_prediction(tmp_path):
    for name in FILES:
        if name.endswith((".fits", ".fit")):
            (tmp_path / name).symlink_to(CASES / name)
    opened = open_predictions(tmp_path, GRID)
    counts = {ensemble.object_id: len(ensemble.candidates) for ensemble in opened}
    assert opened.failures == {} and set(counts.values()) == {1} and len(counts) == 8
