"""Spectra in pixels of their own: kept by `data import`, and measured by `evaluate`."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.import_files import import_data
from pix2spec.data.native import NativeSpectrum
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.measure import parallel
from pix2spec.measure.parallel import _measure_native

HALPHA, Z = 6564.61, 0.02
LINE = HALPHA * (1 + Z)
WIDTH = 5.0  # Angstrom in the rest frame


def flux_at(wave, sigma):
    """A flat continuum of 2 with a line of Halpha, in 1e-17 erg/s/cm2/Angstrom."""
    profile = np.exp(-0.5 * ((wave - LINE) / sigma) ** 2) / sigma / np.sqrt(2 * np.pi)
    return 2 * (1 + WIDTH * (1 + Z) * profile)


@pytest.fixture
def dataset(tmp_path):
    wave = np.arange(3800.0, 9200.0, 0.7)
    table = QTable({"wavelength": wave * u.AA, "flux": flux_at(wave, 3.0) * 1e-17 * u.Unit("erg/(s cm2 AA)")})
    table["error"] = 0.01 * table["flux"]
    table.meta["z"] = Z
    table.write(tmp_path / "fine.ecsv")
    report = import_data(tmp_path / "data", [tmp_path / "fine.ecsv"], progress=False)
    assert (report.n_written, report.failures) == (1, [])
    return Dataset(tmp_path / "data")


def test_an_import_keeps_the_pixels_of_the_file(dataset):
    galaxy = dataset[0]
    assert dataset.info.native and galaxy.flux.shape == (SpectralGrid().size,)
    assert galaxy.native.grid.size == len(np.arange(3800.0, 9200.0, 0.7))
    assert galaxy.native.grid.wave[[0, -1]] == pytest.approx([3800, 9199.2], abs=0.8)
    (native,) = dataset.natives([0])
    np.testing.assert_array_equal(native.flux, galaxy.native.flux)
    away = np.abs(native.grid.wave - LINE) > 60
    np.testing.assert_allclose(native.flux[away][5:-5], 2, rtol=1e-5)


def test_the_line_is_measured_on_these_pixels(dataset):
    native = dataset[0].native
    found = _measure_native(native, np.array([Z]), SDSS)
    assert found["ew_halpha"][0] == pytest.approx(WIDTH, rel=0.02)
    assert "z" not in found and "dn4000" in found
    stronger = NativeSpectrum(native.grid, 2 + 3 * (native.flux - 2), native.ivar)
    assert _measure_native(stronger, np.array([Z]), SDSS)["ew_halpha"][0] == pytest.approx(
        3 * WIDTH, rel=0.02
    )


def test_galaxies_without_them_are_none(tmp_path):
    grid = SpectralGrid(3.6, 1e-3, 5)
    own = SpectralGrid(3.6, 5e-4, 9)
    native = NativeSpectrum(own, np.arange(9, dtype=np.float32), np.ones(9, np.float32))
    one = np.ones(5, np.float32)
    galaxies = [Galaxy("a", flux=one, ivar=one, native=native), Galaxy("b", flux=one, ivar=one)]
    write_dataset(tmp_path, galaxies, DatasetInfo(grid, image_kind=None, native=True))
    first, second = Dataset(tmp_path)
    assert first.native.grid == own and second.native is None
    np.testing.assert_array_equal(first.native.flux, native.flux)
    with pytest.raises(InputError, match="differ in length"):
        NativeSpectrum.from_row(native.as_row() | {"native_flux": [1.0]}, "a")


def test_pixels_of_sdss_are_not_kept_twice(tmp_path):
    write_dataset(tmp_path, [Galaxy("a")], DatasetInfo(image_kind=None))
    dataset = Dataset(tmp_path)
    assert not dataset.info.native and dataset.natives([0]) == [None] and dataset[0].native is None


def test_an_evaluation_measures_the_truth_on_them(dataset, monkeypatch):
    galaxy = dataset[0]
    grid, ivar = dataset.info.grid, np.ones(galaxy.flux.shape, np.float32)

    def fit(flux, _):
        return SimpleNamespace(
            z=np.full(len(flux), Z), z_err=np.zeros(len(flux)), zwarning=np.zeros(len(flux))
        )

    monkeypatch.setattr(parallel, "_fitter", lambda _: SimpleNamespace(grid=grid, fit=fit))
    native = galaxy.native
    stronger = NativeSpectrum(native.grid, 2 + 3 * (native.flux - 2), native.ivar)
    with parallel.Measuring(grid, SDSS, True, 1) as measuring:
        measuring.add(galaxy.flux, galaxy.flux[None], ivar, stronger)
        measuring.add(galaxy.flux, galaxy.flux[None], ivar)
        measuring.send()
    widths = [(own["ew_halpha"][0], made["ew_halpha"][0]) for own, made in measuring.results]
    np.testing.assert_allclose(widths, [(3 * WIDTH, WIDTH), (WIDTH, WIDTH)], rtol=0.03)
