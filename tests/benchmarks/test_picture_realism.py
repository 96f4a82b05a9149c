"""The benchmark of pictures: its numbers agree with what is known of made-up galaxies."""

import numpy as np
import pytest

from pix2spec.core.stretches import STRETCHES
from pix2spec.data.simulate.galaxies import draw_galaxies
from realism.classify import by_numbers
from realism.draw import CLASSES, petrosian_r90, subjects
from realism.measure import numbers_of


def picture(size=4.0, colour=0.0, spot=0.0) -> np.ndarray:
    """An exponential galaxy (3, 64, 64) whose g - r grows outwards by `colour` mag for each scale length."""
    y, x = np.indices((64, 64)) - 32
    radius = np.hypot(x, y) / size
    light = np.exp(-radius) * 10 ** (0.4 * np.array([-colour, 0, 0])[:, None, None] * radius)
    light = light + spot * np.exp(-0.5 * ((x - 9) ** 2 + y**2))
    return STRETCHES["sdss"].shown(light)


def test_numbers_of_an_exponential_galaxy():
    plain, red, lopsided = (numbers_of(p[None]) for p in (picture(), picture(colour=0.2), picture(spot=0.3)))
    assert plain["size"][0] == pytest.approx(1.678 * 4, rel=0.07)
    # 5 log10 of the radii of 80 and 20 % of the light: 2.994 and 0.824 scale lengths.
    assert plain["concentration"][0] == pytest.approx(5 * np.log10(2.994 / 0.824), rel=0.08)
    assert plain["asymmetry"][0] < 0.01
    # Within two half-light radii, 85.6 % of 2 pi 4^2 is the galaxy's, and the spot has 2 pi 0.3.
    assert lopsided["asymmetry"][0] == pytest.approx(2 * 0.3 / (0.856 * 16 + 0.3), abs=0.01)
    assert plain["colour gradient"][0] == pytest.approx(0, abs=0.01)
    assert 0.1 < red["colour gradient"][0] < 0.5


def test_r90_grows_with_the_galaxy():
    galaxies = draw_galaxies(np.random.default_rng(1), 16)
    galaxies.bulge_fraction[:], galaxies.disc_axis_ratio[:], galaxies.disc_radius[:] = 0, 1, 8.0
    # An exponential disc has R90 of 2.32 half-light radii (its Petrosian flux is 99 % of the light).
    np.testing.assert_allclose(petrosian_r90(galaxies), 2.3 * 8.0, rtol=0.05)


def test_the_pictures_show_as_many_of_each_class_and_discs_on_edge():
    found = list(subjects(8, 3))
    assert [s.label for s in found] == [*CLASSES] * 2
    flat = [s.galaxies.disc_axis_ratio[s.row] for s in found if s.label == "edge_on"]
    assert max(flat) < 0.35


def test_the_classifier_knows_chance_and_certainty():
    first, second = np.random.default_rng(0).normal(size=(2, 300, 4))
    assert abs(by_numbers(first, second)[0] - 0.5) < 0.08
    # No classifier tells two normal distributions, 2 sigma apart, in more than 84 % of cases.
    assert 0.7 < by_numbers(first, second + np.array([2, 0, 0, 0]))[0] < 0.88
