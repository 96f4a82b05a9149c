"""Real photometry: units, missing values, and folds that keep one galaxy together."""

import numpy as np
import pytest

from pix2spec.core.extinction import coefficients
from pix2spec.core.filters import Filter
from pix2spec.core.photometry import synthetic_photometry
from pix2spec.errors import InputError
from pix2spec.training.real_sky import FOLDS, digest, jpas_filters, load_real, spectrum_fluxes
from support.paths import SHARED


def write_sdss(folder, z, r=17.0, name="sdss_photometry", **more):
    mag = np.full((len(z), 5), 17.0, np.float32)
    mag[:, 2] = r
    np.savez(folder / f"{name}.npz", mag_ugriz=mag, z=np.asarray(z, float), **more)


def test_magnitudes_become_nanomaggies_with_typical_errors(tmp_path):
    write_sdss(tmp_path, [0.1, 0.2], [22.5, 20.0])
    table = load_real(tmp_path)["sdss"]
    assert np.allclose(table.flux[:, 2], [1, 10], rtol=1e-5)
    assert np.allclose(table.error / table.flux, [0.06, 0.012, 0.01, 0.01, 0.022])
    assert np.allclose(table.r, [22.5, 20.0], atol=1e-5)
    assert table.kind == ("model",) * 5 and table.extinction == "observed"


def test_errors_in_magnitudes_are_fractions_of_the_flux(tmp_path):
    write_sdss(tmp_path, [0.1], 20.0, "mgs_photometry", mag_err_ugriz=np.full((1, 5), 0.02))
    table = load_real(tmp_path)["mgs"]
    brighter = 10 ** (-0.4 * (20.0 - 1e-5 - 22.5)) - 10 ** (-0.4 * (20.0 - 22.5))
    assert np.allclose(table.error[0, 2], brighter / 1e-5 * 0.02, rtol=1e-4)


@pytest.mark.parametrize("filler", [-9999.0, 0.0, 99.0, np.nan])
def test_a_magnitude_that_marks_a_gap_is_not_measured(tmp_path, filler):
    write_sdss(tmp_path, [0.1, 0.2], [17.0, filler])
    table = load_real(tmp_path)["sdss"]
    assert np.isnan(table.flux[1, 2]) and np.isnan(table.error[1, 2])
    assert np.isfinite(table.flux).sum() == 9


def test_millijansky_become_nanomaggies(tmp_path):
    np.savez(
        tmp_path / "fors2.npz", z=[0.4], filters=["kids-r", "galex-nuv"],
        flux_mJy=[[3.631e-3, np.nan]], flux_err_mJy=[[3.631e-4, np.nan]],
    )  # fmt: skip
    curve = {"name": ["kids-r"], "wave": [[6000, 6500, 7000, np.nan]], "response": [[0, 0.5, -0.001, np.nan]]}
    np.savez(tmp_path / "filters_surveys.npz", **curve)
    table = load_real(tmp_path)["fors2"]
    assert np.allclose(table.flux[0, 0], 1) and np.allclose(table.error[0, 0], 0.1)
    assert np.isnan(table.flux[0, 1])
    assert table.names == ("kids-r", "galex-nuv") and table.filters[1] == "galex-nuv"
    assert list(table.filters[0].wave) == [6000, 6500, 7000]
    assert list(table.filters[0].response) == [0, 0.5, 0]


def test_one_galaxy_in_two_tables_is_in_one_fold(tmp_path):
    z = np.random.default_rng(0).uniform(0.01, 0.3, 200)
    write_sdss(tmp_path, z)
    write_sdss(tmp_path, z + 5e-7, 17.2, "mgs_photometry", mag_err_ugriz=np.full((200, 5), 0.01))
    tables = load_real(tmp_path)
    assert np.array_equal(tables["sdss"].group, tables["mgs"].group)
    assert np.array_equal(tables["sdss"].fold, tables["mgs"].fold)
    assert set(tables["sdss"].fold) == set(range(FOLDS))


def test_rows_that_differ_in_redshift_or_magnitude_are_other_galaxies(tmp_path):
    write_sdss(tmp_path, [0.1, 0.1, 0.1 + 3e-6, 0.1], [17.0, 17.4, 17.0, 17.2])
    group = load_real(tmp_path)["sdss"].group
    assert group[0] == group[1] == group[3] != group[2]  # the last row joins the first two
    write_sdss(tmp_path, [0.1, 0.1, 0.1 + 3e-6], [17.0, 17.4, 17.0])
    assert len(set(load_real(tmp_path)["sdss"].group)) == 3


def write_spectra(folder, z, fibre, group, flux=1.0):
    loglam, n = 3.59 + 1e-4 * np.arange(3598), len(z)
    np.savez(
        folder / "sdss_galaxies.npz", z=np.asarray(z), calibflux_ugriz=np.full((n, 5), fibre), loglam=loglam,
        object_group=np.asarray(group), flux=np.full((n, 3598), flux), model=np.full((n, 3598), flux),
        ivar=np.full((n, 3598), 4.0),
    )  # fmt: skip


def test_spectra_of_one_object_and_its_photometry_are_in_one_fold(tmp_path):
    write_sdss(tmp_path, [0.05, 0.07], 15.0)
    write_spectra(tmp_path, [0.05, 0.0502, 0.06], 10.0, [7, 7, 8])
    tables = load_real(tmp_path)
    assert tables["spectra"].group[0] == tables["spectra"].group[1] == tables["sdss"].group[0]
    assert len(set(tables["spectra"].group) | set(tables["sdss"].group)) == 3


def test_synthetic_fluxes_are_scaled_to_the_fibre_flux(tmp_path):
    write_spectra(tmp_path, [0.05], 10.0, [0], flux=3.0)
    wave = 10 ** (3.59 + 1e-4 * np.arange(3598))
    square = Filter("square", np.array([5000.0, 5001, 6000, 6001]), np.array([0.0, 1, 1, 0]))
    filters = ["sdss2010-r", "panstarrs-g", "sdss2010-u", square]
    flux, error = spectrum_fluxes(tmp_path, filters)
    expected = synthetic_photometry(np.full(3598, 3.0), wave, ("sdss2010-r", "panstarrs-g"))
    assert np.allclose(flux[0, 0], 10) and np.allclose(flux[0, :2], expected * 10 / expected[0])
    assert np.isnan(flux[0, 2]) and np.isnan(error[0, 2])  # u ends blueward of the spectra
    used = (wave > 5000.5) & (wave < 6000.5)
    mean = np.sum((wave * np.gradient(wave))[used] * 3)
    sigma = np.sqrt(np.sum((wave * np.gradient(wave))[used] ** 2)) * 0.5
    assert np.allclose(error[0, 3] / flux[0, 3], sigma / mean, rtol=1e-2)


def test_bands_and_rows(tmp_path):
    write_sdss(tmp_path, [0.1, 0.2, 0.3])
    table = load_real(tmp_path)["sdss"].bands(["r", "g"]).rows(np.array([False, True, False]))
    assert table.filters == ("sdss2010-r", "sdss2010-g") and table.flux.shape == (1, 2)
    assert table.row.tolist() == [1] and len(table) == 1


def test_the_digest_changes_with_the_data(tmp_path):
    write_sdss(tmp_path, [0.1, 0.2, 0.3])
    before = digest(load_real(tmp_path))
    assert digest(load_real(tmp_path)) == before
    write_sdss(tmp_path, [0.1, 0.2, 0.31])
    assert digest(load_real(tmp_path)) != before


def test_folders_and_archives_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(InputError, match="no table of real galaxies"):
        load_real(tmp_path)
    (tmp_path / "mgs_photometry.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_real(tmp_path)


@pytest.mark.skipif(not (SHARED / "mgs_photometry.npz").exists(), reason=f"no real photometry in {SHARED}")
def test_the_real_tables():
    tables = load_real(SHARED)
    assert len(tables) == 8 and len(tables["spectra"]) == 1055
    counts = np.bincount(np.concatenate([t.fold for t in tables.values()]))
    assert counts.min() > 0.95 * counts.mean()
    _, first = np.unique(tables["spectra"].object_group, return_index=True)
    for k in first[:50]:
        same = tables["spectra"].object_group == tables["spectra"].object_group[k]
        assert len(set(tables["spectra"].fold[same])) == 1
    flux, _ = spectrum_fluxes(SHARED, jpas_filters(SHARED))
    assert np.isfinite(flux).all(0).sum() == 49


@pytest.mark.skipif(not (SHARED / "mgs_photometry.npz").exists(), reason=f"no real photometry in {SHARED}")
def test_the_main_samples_magnitudes_are_dereddened():
    """Galaxies that are in both of SDSS's tables differ by the Milky Way's extinction."""
    tables = load_real(SHARED)
    one, other = tables["sdss"], tables["mgs"]
    _, i, j = np.intersect1d(one.group, other.group, return_indices=True)
    difference = one.magnitude[i] - other.magnitude[j]
    same = (np.abs(difference - np.median(difference, 0)) < 0.15).all(1)
    law = coefficients([f"sdss2010-{band}" for band in "ugriz"])
    ebv = difference[same] @ law / (law @ law)
    assert same.sum() > 50 and 0.02 < np.median(ebv) < 0.05
    assert np.abs(np.median(difference[same] - ebv[:, None] * law, 0)).max() < 0.01
    assert other.extinction == "dereddened" and one.extinction == "observed"
