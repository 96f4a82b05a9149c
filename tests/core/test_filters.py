"""Transmission curves: centres and widths against closed forms, and what is refused in one sentence."""

import pickle
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.filters import (
    OWN_CURVE_ERROR,
    Filter,
    filter_name,
    load_filter,
    own_filters,
    typical_error,
    with_floor,
)
from pix2spec.core.photometry import filter_matrix, synthetic_photometry
from pix2spec.core.survey import SDSS
from pix2spec.errors import InputError
from support.paths import SHARED

SPECLITE = sorted(
    p.name[:-5] for p in (files("speclite") / "data" / "filters").iterdir() if ".ecsv" in p.name
)
WAVE = np.linspace(5000, 6000, 41)
BELL = np.exp(-0.5 * ((WAVE - 5500) / 100) ** 2)


@given(st.floats(1500, 50_000), st.floats(10, 400), st.floats(0.01, 100))
def test_a_gaussian_has_its_centre_and_width_whatever_its_scale(centre, sigma, scale):
    wave = np.linspace(centre - 6 * sigma, centre + 6 * sigma, 401)
    wave = wave[(wave > 500) & (wave < 60_000)]
    if wave[0] > centre - 5 * sigma or wave[-1] < centre + 5 * sigma:
        return
    found = Filter("bell", wave, scale * np.exp(-0.5 * ((wave - centre) / sigma) ** 2))
    assert found.centre == pytest.approx(centre, abs=1e-3 * sigma)
    assert found.width == pytest.approx(sigma, rel=1e-3)


def test_a_box_has_the_width_of_a_uniform_distribution():
    for points in (3, 1001):
        box = Filter("box", np.linspace(5000, 5100, points), np.ones(points))
        assert box.centre == pytest.approx(5050) and box.width == pytest.approx(100 / np.sqrt(12))
    triangle = Filter("triangle", [5000, 5050, 5100], [0, 1, 0])
    assert triangle.width == pytest.approx(50 / np.sqrt(6))


def test_points_without_response_at_the_ends_change_nothing():
    wave = np.arange(3000.0, 9000, 10)
    response = np.where((wave > 5000) & (wave < 6000), 0.7, 0)
    short = slice(200, 301)
    long, cut = Filter("long", wave, response), Filter("cut", wave[short], response[short])
    assert (long.centre, long.width) == (cut.centre, cut.width) and len(long.wave) == 101
    np.testing.assert_array_equal(filter_matrix(wave, [long]), filter_matrix(wave, [cut]))
    assert not long.wave.flags.writeable and not long.response.flags.writeable


@pytest.mark.parametrize("name", SPECLITE)
def test_every_filter_of_speclite_is_known_but_for_the_dust_of_wise(name):
    if name in ("wise2010-W3", "wise2010-W4"):
        for use in (
            load_filter,
            lambda name: filter_name(name, SDSS),
            lambda name: filter_matrix(WAVE, [name]),
        ):
            with pytest.raises(InputError, match=r"um, and templates end at 5.5 um \(leave out"):
                use(name)
        return
    import speclite.filters

    curve, theirs = load_filter(name), speclite.filters.load_filter(name)
    wave = np.unique(np.concatenate([np.linspace(a, b, 21) for a, b in pairwise(theirs.wavelength)]))
    response = np.interp(wave, theirs.wavelength, theirs.response)
    centre = np.trapezoid(response * wave, wave) / np.trapezoid(response, wave)
    width = np.sqrt(np.trapezoid(response * (wave - centre) ** 2, wave) / np.trapezoid(response, wave))
    np.testing.assert_allclose([curve.centre, curve.width], [centre, width], rtol=1e-3)
    assert filter_name(name, SDSS) == name and curve is load_filter(name)


@pytest.mark.parametrize("name", ["sdss2010-r", "decam2014-z", "wise2010-W1"])  # in Angstrom, nm, micron
def test_the_curve_is_that_which_speclite_reads(name):
    import speclite.filters

    theirs, ours = speclite.filters.load_filter(name), load_filter(name)
    np.testing.assert_allclose(ours.wave, theirs.wavelength, rtol=1e-14)
    np.testing.assert_array_equal(ours.response, theirs.response)


def test_an_own_curve_gives_the_fluxes_of_the_filter_that_it_copies():
    grid = np.arange(3600.0, 9000, 2)
    spectrum = 20 * (grid / 6000) ** 1.5
    copy = Filter("mine", load_filter("sdss2010-r").wave * u.AA, 3 * load_filter("sdss2010-r").response)
    found = synthetic_photometry(spectrum, grid, ["sdss2010-r", copy])
    assert found[0] == pytest.approx(found[1], rel=1e-12)


@pytest.mark.parametrize("unit", [u.nm, u.um, u.m, u.AA])
def test_wavelengths_have_any_unit_of_length(unit):
    curve = Filter("bell", (WAVE * u.AA).to(unit), BELL)
    np.testing.assert_allclose(curve.wave, WAVE)


REFUSED = [
    (WAVE[:2], BELL[:2], "has 2 points"),
    (WAVE, BELL[:-1], "give two arrays of equal length"),
    (WAVE.reshape(1, -1), BELL.reshape(1, -1), "give two arrays of equal length"),
    (WAVE, "high", "response is not an array of numbers"),
    (np.where(WAVE > 5900, np.nan, WAVE), BELL, "its wavelength is not finite"),
    (WAVE, np.where(WAVE > 5900, np.inf, BELL), "its response is not finite"),
    (WAVE[::-1], BELL, "do not increase.*sort"),
    (np.round(WAVE, -2), BELL, "do not increase"),
    (WAVE, BELL - 0.3, "its response is negative"),
    (WAVE, 0 * BELL, "not positive anywhere"),
    (WAVE, -BELL, "not positive anywhere"),
    (WAVE / 10, BELL, "from 500 to 600.*plain numbers mean Angstrom.*u.nm"),
    (WAVE / 1e4, BELL, "from 0.5 to 0.6.*plain numbers mean Angstrom.*u.um"),
    (WAVE * u.s, BELL, "in s.*unit of length"),
    (WAVE / 1e5 * u.um, BELL, "from 0.1 um on"),
    (WAVE / 400 * u.um, BELL, "centre is at 13.7 um, and templates end at 5.5 um"),
    (np.linspace(40_000, 61_000, 41), BELL, "must end at 6 um"),
]


@pytest.mark.parametrize("wave, response, sentence", REFUSED, ids=[s for *_, s in REFUSED])
def test_what_is_no_curve_is_refused_in_one_sentence(wave, response, sentence):
    with pytest.raises(InputError, match=f"filter mine: .*{sentence}"):
        Filter("mine", wave, response)
    with pytest.raises(InputError, match=f"m31: filters: mine: .*{sentence}"):
        own_filters({"mine": (wave, response)}, "m31")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 61, 7])
def test_names_are_short_texts(name):
    with pytest.raises(InputError, match="no name of a filter"):
        Filter(name, WAVE, BELL)


def test_noise_about_zero_is_no_response():
    curve = Filter("noisy", WAVE, np.where(BELL > 0.01, BELL, -0.002))
    assert curve.response.min() == 0


@pytest.mark.parametrize("name", [n for n in SPECLITE if n[:7] not in ("galex-f", "galex-n", "wise201")])
@pytest.mark.parametrize("factor", [0.1, 1e-4], ids=["nm", "um"])
def test_nanometres_and_micrometres_are_never_taken_for_angstrom(name, factor):
    curve = load_filter(name)
    with pytest.raises(InputError, match="plain numbers mean Angstrom"):
        Filter(f"my {name}", factor * curve.wave, curve.response)


def test_filters_are_equal_if_names_and_curves_are():
    one, same = Filter("a", WAVE, BELL), Filter("a", list(WAVE), BELL.copy())
    others = [Filter("b", WAVE, BELL), Filter("a", WAVE + 1, BELL), Filter("a", WAVE, 2 * BELL)]
    assert one == same and hash(one) == hash(same) and one not in others and one != "a"
    assert pickle.loads(pickle.dumps(one)) == one
    assert Filter.from_dict("a", one.as_dict()) == one
    assert one.is_same_curve(others[2]) and not one.is_same_curve(others[1])


def test_own_filters_are_shared_and_never_shadow_speclites():
    mine = {"a": Filter("a", WAVE, BELL)}
    assert own_filters(mine) is mine
    r = load_filter("sdss2010-r")
    assert own_filters({"sdss2010-r": (r.wave / 1e4 * u.um, 2 * r.response)} | mine) == mine
    with pytest.raises(InputError, match=r"speclite has another curve of this name.*another name"):
        own_filters({"sdss2010-r": (WAVE, BELL)})
    with pytest.raises(InputError, match=r"pair \(wavelength, response\), not float"):
        own_filters({"a": 3.0})
    with pytest.raises(InputError, match="called 'a'"):
        own_filters({"b": mine["a"]})
    assert load_filter("a", mine) is mine["a"] and load_filter("sdss2010-r", mine) is r
    assert filter_name("a", SDSS, own=mine) == "a" and filter_name("r", SDSS, own=mine) == "sdss2010-r"


def test_an_own_curve_that_is_called_as_a_band_is_that_curve():
    mine = {"r": Filter("r", WAVE, BELL)}
    assert filter_name("r", SDSS, own=mine) == "r"


def test_typical_errors():
    assert typical_error("sdss2010-r") == 0.01 and typical_error("lsst2023-r") == 0.05
    assert typical_error("my own") == OWN_CURVE_ERROR == 0.1


@given(st.floats(-100, 100), st.floats(0, 10), st.floats(0, 0.1))
def test_a_floor_is_added_in_quadrature(flux, error, floor):
    found = with_floor(np.array([flux]), np.array([error]), floor)[0]
    assert found == pytest.approx(np.sqrt(error**2 + (floor * flux * 0.921034) ** 2), rel=1e-6, abs=1e-12)
    assert found >= error


def test_the_floor_is_a_hundredth_of_a_magnitude():
    magnitude = -2.5 * np.log10(1 - with_floor(1.0, 0.0))
    assert magnitude == pytest.approx(0.01, rel=0.01)
    assert np.isnan(with_floor(np.nan, 1.0)) and with_floor(1.0, np.inf) == np.inf


@pytest.mark.skipif(not SHARED.exists(), reason=f"measured curves are not here ({SHARED})")
@pytest.mark.parametrize("archive", ["filters_jpas.npz", "filters_surveys.npz"])
def test_measured_curves_are_read_and_their_units_are_checked(archive):
    from pix2spec.data.readers.curves import read_curves

    curves = read_curves(SHARED / archive)
    assert len(curves) == {"filters_jpas.npz": 59, "filters_surveys.npz": 29}[archive]
    for name, curve in curves.items():
        if name.startswith("J"):
            assert abs(curve.centre - int(name[1:])) < 170  # the bluest and reddest are wide
        for factor in (0.1, 1e-4):
            with pytest.raises(InputError, match="plain numbers mean Angstrom"):
                Filter(name, factor * curve.wave, curve.response)
