"""Spectra of stars: known colours, brightness and dust."""

import numpy as np
import pytest

from pix2spec.core.extinction import COEFFICIENTS
from pix2spec.training.stars import TEST_LIBRARIES, TRAINING_LIBRARIES, draw_stars, load_stars

UGRIZ = [f"sdss2010-{band}" for band in "ugriz"]


def colours(flux):
    mag = -2.5 * np.log10(flux)
    return mag[..., :-1] - mag[..., 1:]


def test_all_libraries_span_ultraviolet_to_infrared():
    stars = load_stars()
    assert len(stars) > 250 and set(stars.library) == {*TRAINING_LIBRARIES, *TEST_LIBRARIES}
    flux = stars.fluxes(("galex-fuv", *UGRIZ, "twomass-J", "wise2010-W1", "wise2010-W2"))
    assert np.isfinite(flux).all() and (flux > 0).all()
    near = abs(stars.wave - 5500) < 100
    assert np.allclose(stars.flux[:, near].mean(1), 1, atol=0.02)


@pytest.mark.parametrize(
    ("kind", "u_g", "g_r", "r_i", "i_z"),
    [
        ("A0V", 0.99, -0.24, -0.21, -0.17),  # Vega: Blanton & Roweis (2007, AJ 133:734), table 1
        ("G2V", 1.43, 0.44, 0.11, 0.03),  # the Sun: www.sdss4.org/dr17/algorithms/sdssubvritransform
    ],
)
def test_known_colours(kind, u_g, g_r, r_i, i_z):
    pickles = load_stars().of(["pickles"])
    (row,) = np.flatnonzero(pickles.name == kind)
    found = colours(pickles.fluxes(UGRIZ)[row])
    assert found[0] == pytest.approx(u_g, abs=0.2)
    assert found[1:] == pytest.approx([g_r, r_i, i_z], abs=0.05)


def test_the_same_type_has_the_same_colours_in_other_libraries():
    stars = load_stars()
    griz = colours(stars.fluxes(UGRIZ[1:]))
    known, others = griz[stars.library == "pickles"], griz[stars.library == "stelib"]
    nearest = np.abs(others[:, None] - known).max(2).min(1)
    assert np.median(nearest) < 0.05 and np.quantile(nearest, 0.9) < 0.15


def test_dust_reddens_by_the_known_coefficients():
    stars = load_stars().of(["pickles"])
    (row,) = np.flatnonzero(stars.name == "F0V")
    change = -2.5 * np.log10(stars.fluxes(UGRIZ[1:], 0.1)[row] / stars.fluxes(UGRIZ[1:])[row])
    # Schlafly & Finkbeiner's coefficients are for E(B-V) of SFD's maps, 0.86 of which is the true one
    expected = 0.1 * np.array([COEFFICIENTS[name] for name in UGRIZ[1:]]) / 0.86
    assert change == pytest.approx(expected, rel=0.08)


def test_the_infrared_falls_as_the_rayleigh_jeans_law():
    stars = load_stars()
    flux = stars.fluxes(["wise2010-W1", "wise2010-W2"])
    # f_nu ~ 1 / wavelength^2 between 3.37 and 4.62 um
    assert colours(flux)[:, 0] == pytest.approx(-5 * np.log10(4.62 / 3.37), abs=0.03)


def test_drawn_stars_have_the_brightness_that_is_promised():
    flux, ebv = draw_stars(2000, ["sdss2010-g", "sdss2010-r"], 1)
    r = 22.5 - 2.5 * np.log10(flux[:, 1])
    assert 14 <= r.min() < 14.1 and 21.9 < r.max() <= 22
    assert r.mean() == pytest.approx(18, abs=0.15) and ebv.mean() == pytest.approx(0.06, abs=0.005)
    again, _ = draw_stars(2000, ["sdss2010-g", "sdss2010-r"], 1)
    assert np.array_equal(flux, again)
    other, _ = draw_stars(2000, ["sdss2010-g", "sdss2010-r"], 1, TEST_LIBRARIES)
    assert not np.array_equal(flux, other)
