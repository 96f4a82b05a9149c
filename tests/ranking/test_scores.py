import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from pix2spec.core.survey import LEGACY
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.ranking.exposure import INSTRUMENTS, exposure_hours, instrument_of, line_sn, telescope_hours
from pix2spec.ranking.scores import (
    binary_entropy,
    class_information,
    novelty,
    probability,
    redshift_information,
)


@pytest.mark.parametrize("true, n", [(0, 25), (25, 25), (7, 25), (1, 1)])
def test_probability_has_the_error_of_its_posterior(true, n):
    share, error = probability(np.array([true]), np.array([n]))
    assert share == true / n
    np.testing.assert_allclose(error, beta(true + 0.5, n - true + 0.5).std())
    assert error > 0


def test_errors_of_probability_are_as_large_as_the_scatter():
    rng = np.random.default_rng(0)
    share, error = probability(rng.binomial(25, 0.3, 4000), np.full(4000, 25))
    # The prior weighs as much as two candidates or so.
    assert abs(share.std() / np.sqrt((error**2).mean()) * np.sqrt(25 / 27) - 1) < 0.04


def test_binary_entropy():
    np.testing.assert_allclose(binary_entropy([0, 0.5, 1, 0.25]), [0, 1, 0, 0.811278], atol=1e-6)
    assert np.isnan(binary_entropy(np.nan))


@pytest.mark.parametrize("sigma", [0.001, 0.02])
def test_redshift_information_of_a_gaussian(sigma):
    draws = 0.1 + sigma * np.random.default_rng(1).normal(size=(400, 25))
    bits = np.mean([redshift_information(z) for z in draws])
    assert abs(bits - np.log2(sigma / 1e-4)) < 0.1


def test_a_known_redshift_has_no_information():
    assert redshift_information(np.full(25, 0.1)) == 0
    assert np.isnan(redshift_information([0.1, np.nan, 0.2]))


def test_class_information():
    assert class_information(np.full(25, 3)) == 0
    assert class_information(np.tile([0, 1, 2, 3], 500)) == 2
    # Two classes alike: one bit, also from few draws.
    draws = np.random.default_rng(2).integers(0, 2, (2000, 12))
    assert abs(np.mean([class_information(own) for own in draws]) - 1) < 0.01


def photometry_set(path, fluxes, survey=None):
    info = DatasetInfo(survey=survey) if survey else DatasetInfo()
    bands = len(info.survey.photometry_bands)
    pairs = (
        Galaxy(
            f"o-{i}",
            photometry=np.array(flux[:bands], np.float32),
            photometry_ivar=np.isfinite(flux[:bands]).astype(np.float32),
        )
        for i, flux in enumerate(fluxes)
    )
    write_dataset(path, pairs, info)
    return Dataset(path)


def test_novelty(tmp_path):
    rng = np.random.default_rng(3)
    usual = np.exp(rng.normal(3, 0.3, (300, 1)) + rng.normal(0, 0.1, (300, 5)))
    train = photometry_set(tmp_path / "train", usual)
    odd = np.array([20, 20, 20, 2000, 20.0])
    missing = np.array([20, np.nan, 20, 20, 20.0])
    found = novelty(photometry_set(tmp_path / "new", [*usual[:50], odd, missing]), train)
    assert 0.5 < np.median([found[f"o-{i}"] for i in range(50)]) < 1.5
    assert found["o-50"] > 10
    assert np.isnan(found["o-51"])
    with pytest.raises(InputError, match="another survey"):
        novelty(photometry_set(tmp_path / "legacy", usual[:5], LEGACY), train)


# ------------------------------------------------------------------------------ instruments

SDSS = INSTRUMENTS["sdss"]


def test_a_bright_line_has_the_noise_of_its_own_photons():
    hours = 0.5
    sn = line_sn(SDSS, 1e9, 0, 6000, hours, 3.0)
    photon = 6.62607e-27 * 2.99792e18 / 6000  # erg
    electrons = 1e9 * 1e-17 * SDSS.area * 1e4 * SDSS.throughput * hours * 3600 / photon
    np.testing.assert_allclose(sn, np.sqrt(electrons), rtol=1e-4)


def test_a_faint_line_has_the_noise_of_sky_and_continuum():
    one, two = (line_sn(SDSS, flux, 0, 6000, 1, 3.0) for flux in (0.01, 0.02))
    np.testing.assert_allclose(two / one, 2, rtol=1e-3)
    assert line_sn(SDSS, 10, 50, 6000, 1, 3.0) < 0.7 * line_sn(SDSS, 10, 0, 6000, 1, 3.0)


@given(
    st.sampled_from(sorted(INSTRUMENTS)), st.floats(0.1, 1e4), st.floats(-1, 100), st.floats(3900, 9000),
    st.floats(0.5, 50),
)  # fmt: skip
def test_exposure_is_the_inverse_of_signal_to_noise(name, flux, continuum, wave, sn):
    arguments = (INSTRUMENTS[name], flux, continuum, wave)
    hours = exposure_hours(*arguments, sn, 3.0)
    np.testing.assert_allclose(line_sn(*arguments, hours, 3.0), sn, rtol=1e-6)


def test_no_line_and_no_coverage():
    hours = exposure_hours(SDSS, [0, -3, 10, np.nan], 1, [6000, 6000, 9500, 6000], 5, 3.0)
    np.testing.assert_equal(hours, [np.inf, np.inf, np.nan, np.nan])


def test_overheads_come_with_each_exposure():
    np.testing.assert_allclose(telescope_hours(SDSS, [0.1, 0.25, 0.26]), np.array([435, 975, 1086]) / 3600)
    assert telescope_hours(SDSS, np.inf) == np.inf


def test_a_narrower_fibre_sees_less():
    # Photons alone: half the diameter, 2 ** -1.2 of the light.
    desi = INSTRUMENTS["desi"]
    wide, narrow = (line_sn(desi, 1e9, 0, 6000, 1, fibre) for fibre in (1.52, 3.04))
    np.testing.assert_allclose((narrow / wide) ** 2, 2**-1.2, rtol=1e-3)


def test_unknown_instruments():
    assert instrument_of("DESI").name == "desi"
    with pytest.raises(InputError, match="did you mean sdss"):
        instrument_of("sds")
