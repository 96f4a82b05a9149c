"""The classifier finds small differences and none where there is none."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d

from pix2spec.errors import InputError
from pix2spec.evaluate.realism import _split, two_sample_accuracy

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
