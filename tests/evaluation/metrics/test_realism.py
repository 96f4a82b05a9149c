"""Classifier, power spectrum and autocorrelation find differences, and none where there is none."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d
from scipy.stats import norm

from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.realism import _split, autocorrelation, power_spectrum, two_sample_accuracy

N, L = 600, 256


def spectra(rng, shift=0.0):
    x = np.arange(L)
    continuum = 1 + 0.3 * np.sin(x / 40 + rng.uniform(0, 6, (N, 1)))
    return continuum + rng.uniform(0.5, 1.5, (N, 1)) * np.exp(-(((x - 128 - shift) / 2) ** 2) / 2)


def white(rng):
    return rng.normal(0, 0.1, (N, L))


DIFFERENCES = {
    "correlated noise": lambda rng: spectra(rng) + uniform_filter1d(white(rng), 3, axis=1) * np.sqrt(3),
    "shifted line": lambda rng: spectra(rng, shift=3) + white(rng),
    "less noise": lambda rng: spectra(rng) + 0.7 * white(rng),
    "no noise": spectra,
}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_equal_distributions_cannot_be_told_apart(rng):
    accuracy, error = two_sample_accuracy(spectra(rng) + white(rng), spectra(rng) + white(rng), epochs=4)
    assert 0.01 < error < 0.05
    assert abs(accuracy - 0.5) < 3 * error


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_small_differences_are_found(kind, rng):
    accuracy, error = two_sample_accuracy(spectra(rng) + white(rng), DIFFERENCES[kind](rng), epochs=4)
    assert accuracy > 0.8
    assert error < 0.03


def test_brightness_gives_nothing_away(rng):
    real, fake = spectra(rng) + white(rng), spectra(rng) + white(rng)
    reference = two_sample_accuracy(real, fake, epochs=1)
    assert two_sample_accuracy(real * 8, fake / 8, epochs=1) == pytest.approx(reference)


def test_repeats_with_the_same_seed(rng):
    real, fake = spectra(rng), spectra(rng, shift=0.3)
    state = torch.get_rng_state()
    first = two_sample_accuracy(real, fake, seed=3, epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert two_sample_accuracy(real, fake, seed=3, epochs=1) == first


def test_galaxies_are_on_one_side_of_the_split(rng):
    groups = rng.integers(0, 100, 1000)
    parts = _split(groups, rng)
    assert sorted(np.concatenate(parts)) == list(range(1000))
    sets = [set(groups[part]) for part in parts]
    assert all(sets)
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])


def test_memorised_galaxies_do_not_help(rng):
    galaxies = spectra(rng)[:40].repeat(15, axis=0)
    real, fake = galaxies + white(rng), galaxies + white(rng)
    accuracy, error = two_sample_accuracy(real, fake, epochs=3, groups=np.arange(40).repeat(15))
    assert abs(accuracy - 0.5) <= max(3 * error, 0.05)


def test_unequal_shapes_and_too_few_galaxies_are_refused(rng):
    real = spectra(rng)
    with pytest.raises(InputError, match="not pairs"):
        two_sample_accuracy(real, real[:-1])
    with pytest.raises(InputError, match="too few"):
        two_sample_accuracy(real[:9], real[:9], groups=np.zeros(9))


def test_spectra_without_light_do_not_break_it(rng):
    real, fake = spectra(rng)[:50], spectra(rng)[:50]
    real[:5], fake[:5] = 0, -1
    assert 0 <= two_sample_accuracy(real, fake, epochs=1)[0] <= 1


def survey(rng, n, size, noise=lambda white: white):
    """Spectra of galaxies of all brightnesses with noise that depends on wavelength, and their ivar."""
    x = np.arange(size)
    clean = 1 + 0.5 * np.sin(x / 200 + rng.uniform(0, 6, (n, 1))) + 2 * np.exp(-(((x - 400) / 2) ** 2) / 2)
    level = 10 ** rng.uniform(-0.05, 0.05, (n, 1)) * np.median(clean, 1, keepdims=True)
    sigma = 0.1 * (1 + np.exp(-x / 100)) * level
    brightness = 10 ** rng.uniform(-1, 1, (n, 1))
    return brightness * (clean + sigma * noise(rng.normal(size=(n, size)))), (brightness * sigma) ** -2.0


def survey_pair(seed, n=150, size=1024, **kwargs):
    """Real and fake spectra and the ivar of the real ones, with holes."""
    rng = np.random.default_rng(seed)
    (real, ivar), (fake, _) = survey(rng, n, size), survey(rng, n, size, **kwargs)
    ivar[:, 600:640] = 0
    real[:, 600:640] = 1e6
    return real, fake, ivar


def test_power_of_equal_distributions_is_equal_and_that_of_noise_is_one():
    real, fake, ivar = survey_pair(0)
    result = power_spectrum(real, fake, ivar)
    assert (np.abs(result.log_ratio) < 4 * result.log_ratio_error).all()
    assert abs(result.noise_ratio - 1) < 3 * result.noise_ratio_error < 0.1
    assert (np.diff(result.wavenumber) > 0).all() and result.wavenumber[-1] < 0.5
    np.testing.assert_allclose(result.real[-2:], 1, atol=0.1)


def test_power_error_is_its_scatter():
    logs, errors = [], []
    for seed in range(40):
        result = power_spectrum(*survey_pair(seed, n=30, size=512))
        logs.append(result.log_ratio[-1])
        errors.append(result.log_ratio_error[-1])
    assert np.std(logs) == pytest.approx(np.mean(errors), rel=0.3)
    assert abs(np.mean(logs)) < 3 * np.std(logs) / np.sqrt(40)


@pytest.mark.parametrize("amount", [0.0, 0.8])
def test_missing_noise_is_found(amount):
    result = power_spectrum(*survey_pair(1, noise=lambda white: amount * white))
    assert abs(result.noise_ratio - amount**2) < 0.01 + 4 * result.noise_ratio_error
    assert result.noise_ratio < 1 - 5 * result.noise_ratio_error


def test_smoothed_noise_has_the_power_and_the_correlation_of_its_filter():
    real, fake, ivar = survey_pair(2, noise=lambda white: uniform_filter1d(white, 3, axis=1) * np.sqrt(3))
    power, lagged = power_spectrum(real, fake, ivar), autocorrelation(real, fake, ivar, lags=8)
    wavenumber = np.linspace(0.25, 0.5, 1000)
    transfer = ((1 + 2 * np.cos(2 * np.pi * wavenumber)) ** 2 / 3).mean()
    assert power.noise_ratio == pytest.approx(transfer, rel=0.1)
    # A mean of three pixels correlates by 2/3 and 1/3, of which lines leave the larger part.
    noise_only = autocorrelation(*(a[:, 440:] for a in (real, fake, ivar)), lags=8)
    np.testing.assert_allclose(noise_only.fake[:3], [2 / 3, 1 / 3, 0], atol=0.06)
    np.testing.assert_allclose(noise_only.real, 0, atol=0.04)
    assert (lagged.difference[:2] > 5 * lagged.error[:2]).all()
    assert (np.abs(noise_only.difference[3:]) < 0.06).all()


def test_autocorrelation_of_equal_distributions_is_equal():
    result = autocorrelation(*survey_pair(3))
    np.testing.assert_array_equal(result.lag, np.arange(1, 21))
    assert (np.abs(result.difference) < 4 * result.error).all()
    assert result.error.max() < 0.03


def test_texture_does_not_depend_on_units_or_on_what_is_in_holes():
    real, fake, ivar = survey_pair(4, n=20)
    before = power_spectrum(real, fake, ivar)
    fake[:, 600:640] = np.nan
    after = power_spectrum(1e3 * real, 1e-2 * fake, ivar / 1e6)
    np.testing.assert_allclose(after.log_ratio, before.log_ratio, atol=1e-4)
    np.testing.assert_allclose(after.real, before.real, rtol=1e-4)
    empty = ivar.copy()
    empty[3] = 0
    kept = np.arange(20) != 3
    same = power_spectrum(real, fake, empty), power_spectrum(real[kept], fake[kept], ivar[kept])
    np.testing.assert_array_equal(same[0].log_ratio, same[1].log_ratio)


def test_texture_refuses_what_is_not_pairs():
    real, fake, ivar = survey_pair(5, n=4, size=300)
    with pytest.raises(InputError, match="not pairs"):
        power_spectrum(real, fake[:-1], ivar)
    with pytest.raises(InputError, match="valid pixel"):
        autocorrelation(real, fake, 0 * ivar)


def pixels_apart(shift, n=600):
    """Spectra in 16 pixels, of which three differ by `shift` sigma between real and fake."""
    rng = np.random.default_rng(11)
    real, fake = 10 + rng.normal(size=(2, n, 16))
    fake[:, 5:8] += shift
    return real, fake


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_accuracy_agrees_with_sbi_and_does_not_exceed_the_best_possible(shift):
    c2st = pytest.importorskip("sbi.utils.metrics").c2st
    real, fake = pixels_apart(shift)
    best = norm.cdf(shift * np.sqrt(3) / 2)  # of any classifier of two Gaussians that differ in the mean
    accuracy, error = two_sample_accuracy(real, fake, epochs=20)
    theirs = float(c2st(*(torch.from_numpy(x).float() for x in (real, fake)), classifier="rf"))
    assert abs(accuracy - best) < 3 * error + 0.05
    assert abs(theirs - best) < 3 * error + 0.05
