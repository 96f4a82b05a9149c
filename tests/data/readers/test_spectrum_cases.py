"""One real galaxy's spectrum in nine common layouts, against values that astropy reads from the files."""

import numpy as np
import pytest

from pix2spec.data.dataset import Dataset
from pix2spec.data.import_files import import_data
from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
from pix2spec.evaluation.predictions.open import open_predictions
from support.spectrum_cases import CASES, FILES, GRID, expected

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the spectra are not here ({CASES})")


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
