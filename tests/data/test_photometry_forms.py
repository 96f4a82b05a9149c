"""Photometry as users write it: each form is right, or is refused in one sentence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.filters import load_filter
from pix2spec.core.survey import LSST, PS1
from pix2spec.data.measurements import ERROR_ASSUMED, check_not_magnitudes
from pix2spec.data.schema import Galaxy
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError

MAGNITUDES = (19.66, 18.15, 17.30, 16.88, 16.56)  # a real galaxy at z = 0.083
FLUXES = 10 ** (0.4 * (22.5 - np.array(MAGNITUDES)))  # nanomaggies
TYPICAL = np.array([0.06, 0.012, 0.01, 0.01, 0.022])


def assert_fluxes(galaxy, filters, flux, error=None):
    assert galaxy.filters == tuple(filters)
    np.testing.assert_allclose(galaxy.photometry, flux, rtol=1e-5)
    assert galaxy.photometry.dtype == galaxy.photometry_ivar.dtype == np.float32
    if error is not None:
        np.testing.assert_allclose(galaxy.photometry_ivar, 1 / np.square(error), rtol=1e-5)


SDSS_FILTERS = [f"sdss2010-{band}" for band in "ugriz"]
FORMS = {
    "magnitudes by letter": {b: m * u.ABmag for b, m in zip("ugriz", MAGNITUDES)},
    "magnitudes by speclite's name": {b: m * u.ABmag for b, m in zip(SDSS_FILTERS, MAGNITUDES)},
    "nanomaggies with a unit": {b: f * u.nmgy for b, f in zip("ugriz", FLUXES)},
    "microjansky": {b: (3.631 * f) * u.uJy for b, f in zip("ugriz", FLUXES)},
    "nanojansky": {b: (3631 * f) * u.nJy for b, f in zip("ugriz", FLUXES)},
    "an array of magnitudes": np.array(MAGNITUDES) * u.ABmag,
    "an array of fluxes": FLUXES,
    "a list of fluxes": list(FLUXES),
    "plain numbers by letter": dict(zip("ugriz", FLUXES)),
    "a pandas Series": pd.Series(dict(zip("ugriz", FLUXES))),
    "a row of a table": Table({b: [f] for b, f in zip("ugriz", FLUXES)})[0],
    "a row with units": QTable({b: [m] * u.ABmag for b, m in zip("ugriz", MAGNITUDES)})[0],
    "a row with an id and a name": Table(
        {"id": [1], "name": ["x"]} | {b: [f] for b, f in zip("ugriz", FLUXES)}
    )[0],
    "a table of measurements": Table({"filter": list("ugriz"), "flux": FLUXES * u.nmgy}),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_galaxy_in_all_forms_without_errors(form):
    galaxy = Galaxy("g", photometry=FORMS[form])
    assert_fluxes(galaxy, SDSS_FILTERS, FLUXES, TYPICAL * FLUXES)
    assert galaxy.flags == (ERROR_ASSUMED,) and set(galaxy.kind) == {"unknown"}


SIGMA = 0.03 * FLUXES
WITH_ERRORS = {
    "magnitudes": {b: (m * u.ABmag, 0.03 / (0.4 * np.log(10))) for b, m in zip("ugriz", MAGNITUDES)},
    "magnitudes, both with units": {
        b: (m * u.ABmag, 0.03 / (0.4 * np.log(10)) * u.mag) for b, m in zip("ugriz", MAGNITUDES)
    },
    "microjansky": {b: (3.631 * f * u.uJy, 3631 * s * u.nJy) for b, f, s in zip("ugriz", FLUXES, SIGMA)},
    "plain numbers": {b: (f, s) for b, f, s in zip("ugriz", FLUXES, SIGMA)},
    "a pandas Series": pd.Series(
        dict(zip("ugriz", FLUXES)) | {f"{b}_err": s for b, s in zip("ugriz", SIGMA)}
    ),
    "a table": Table({"filter": list("ugriz"), "flux": FLUXES, "error": SIGMA, "kind": ["model"] * 5}),
}


@pytest.mark.parametrize("form", WITH_ERRORS)
def test_one_galaxy_in_all_forms_with_errors(form):
    galaxy = Galaxy("g", photometry=WITH_ERRORS[form], kind="model")
    assert_fluxes(galaxy, SDSS_FILTERS, FLUXES, SIGMA)
    assert galaxy.flags == () and set(galaxy.kind) == {"model"}


def test_letters_are_the_surveys_bands_and_other_filters_have_their_names():
    galaxy = Galaxy("g", photometry={"y": 3.0, "wise2010-W1": 2.0}, survey="lsst")
    assert galaxy.filters == ("lsst2023-y", "wise2010-W1")
    np.testing.assert_allclose(galaxy.photometry_ivar, [1 / 0.15**2, 1 / 0.1**2], rtol=1e-5)
    assert Galaxy("g", photometry=[1.0, 2, 3, 4, 5], survey=PS1).filters == PS1.filters
    assert Galaxy("g", photometry={"y": 1.0}, survey=LSST).filters == ("lsst2023-y",)


WAVE = np.linspace(4000, 6000, 41)
BELL = np.exp(-0.5 * ((WAVE - 5000) / 200) ** 2)
OWN = {"mine": (WAVE, BELL), "my nm": (WAVE / 10 * u.nm, BELL)}
OWN_FORMS = {
    "a dictionary": {"r": (3.0, 0.1), "mine": 2.0, "my nm": (7.262 * u.uJy, 0.3631 * u.uJy)},
    "a pandas Series": pd.Series({"r": 3.0, "r_err": 0.1, "mine": 2.0, "my nm": 2.0, "my nm_err": 0.1}),
    "a row": Table({"r": [3.0], "e_r": [0.1], "mine": [2.0], "my nm": [2.0], "e_my nm": [0.1]})[0],
    "a table": Table({"filter": ["r", "mine", "my nm"], "flux": [3.0, 2, 2], "error": [0.1, np.nan, 0.1]}),
}


@pytest.mark.parametrize("form", OWN_FORMS)
def test_own_curves_are_filters_like_others(form):
    galaxy = Galaxy("g", photometry=OWN_FORMS[form], filters=OWN)
    assert_fluxes(galaxy, ["sdss2010-r", "mine", "my nm"], [3, 2, 2], [0.1, 0.2, 0.1])
    assert set(galaxy.curves) == {"mine", "my nm"} and galaxy.flags == (ERROR_ASSUMED,)
    assert galaxy.curves["my nm"].centre == pytest.approx(5000)


def test_galaxies_of_one_table_share_their_curves():
    one = Galaxy("a", photometry={"mine": 2.0}, filters=OWN)
    two = Galaxy("b", photometry={"my nm": 2.0, "r": 3.0}, filters=one.curves)
    assert two.curves is one.curves and two.filters == ("my nm", "sdss2010-r")
    same = replace(two, z=0.1)
    assert same.curves is one.curves and same.filters == two.filters
    assert Galaxy("c", photometry={"r": 3.0}).curves == {}


def test_a_speclite_filter_that_is_given_again_is_no_own_curve():
    r = load_filter("sdss2010-r")
    galaxy = Galaxy("g", photometry={"sdss2010-r": 3.0}, filters={"sdss2010-r": (r.wave, r.response)})
    assert galaxy.curves == {} and galaxy.filters == ("sdss2010-r",)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"photometry": {"other": 2.0}}, "no filter is called 'other'.*a curve of your own as `filters`"),
        ({"photometry": [1.0, 2.0]}, "does not say in which of the filters.*dictionary by filter"),
        ({"photometry": [1.0, 2.0], "photometry_ivar": [1.0, 1.0]}, "does not say in which"),
        ({"photometry": {"mine": 2.0}, "filters": {"mine": (WAVE / 10, BELL)}}, "filters: mine: .*u.nm"),
        ({"photometry": {"sdss2010-r": 1}, "filters": {"sdss2010-r": (WAVE, BELL)}}, "another curve"),
        ({"photometry": {"wise2010-W3": 2.0}}, "templates end at 5.5 um"),
        ({"photometry": {"mine": 2.0}, "extinction": -0.1}, "extinction: -0.1 is unknown"),
        ({"photometry": {"mine": 2.0}, "extinction": np.nan}, "extinction: nan is unknown"),
        ({"photometry": {"mine": 2.0}, "extinction": None}, "extinction: None is unknown"),
    ],
)
def test_what_is_wrong_with_own_curves_is_said(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Galaxy("m31", **({"filters": OWN} | options))


@pytest.mark.parametrize("error", [None, np.nan, 0.0, -1.0])
def test_an_error_that_is_none_becomes_the_filters_typical_one(error):
    galaxy = Galaxy("g", photometry={"g": (10.0, error), "r": (20.0, 0.5)})
    np.testing.assert_allclose(galaxy.photometry_ivar, [1 / 0.12**2, 4], rtol=1e-5)
    assert galaxy.flags == (ERROR_ASSUMED,)


def test_missing_and_masked_fluxes_are_left_out():
    masked = np.ma.masked_array(FLUXES, [True, False, False, False, False])
    assert Galaxy("g", photometry=masked).filters == tuple(SDSS_FILTERS[1:])
    galaxy = Galaxy("g", photometry={"g": np.nan, "r": 3.0, "i": None})
    assert galaxy.filters == ("sdss2010-r",)
    row = Table({"g": np.ma.masked_array([1.0], [True]), "r": [3.0]}, masked=True)[0]
    assert Galaxy("g", photometry=row).filters == ("sdss2010-r",)
    ivar = np.ones(5, np.float32)
    assert np.isnan(Galaxy("g", photometry=masked, photometry_ivar=ivar).photometry[0])


def test_negative_fluxes_with_errors_are_measurements():
    galaxy = Galaxy("g", photometry={"u": (-0.2, 0.3), "r": (3.0, 0.1)})
    assert_fluxes(galaxy, ["sdss2010-u", "sdss2010-r"], [-0.2, 3], [0.3, 0.1])


def test_a_redshift_in_a_row_is_no_z_band():
    row = Table({"u": [10.0], "g": [20.0], "r": [30.0], "z": [0.083]})[0]
    assert Galaxy("g", photometry=row).filters == ("sdss2010-u", "sdss2010-g", "sdss2010-r")


REFUSED = [
    (list(MAGNITUDES), "look like magnitudes.*u.ABmag"),
    (dict(zip("ziug", (16.56, 16.88, 19.66, 18.15))), "look like magnitudes"),
    ([1, 2, 3, 4], r"shape \(4,\).*5 bands.*dictionary by filter"),
    ({"q": 1.0}, "no filter is called 'q'.*u, g, r, i, z"),
    ({"sdss2010-q": 1.0}, "no filter is called 'sdss2010-q'"),
    ({"../x-r": 1.0}, "no filter is called"),
    ({"g": 17 * u.mag}, "does not say the system.*u.ABmag"),
    ({"g": 17 * u.STmag}, "u.ABmag"),
    ({"g": 17 * u.m}, "no flux in a filter"),
    ({"g": "bright"}, "'bright', not a number"),
    ({"g": (3.0, 0.1 * u.uJy)}, "plain number and its error has the unit uJy"),
    ({"g": -3.0}, "no error and is not positive"),
    ("bright", "not numbers"),
    ({}, "no filter that is known"),
    (Table({"u": [1.0, 2.0]}), "one row of it"),
    (Table({"filter": ["g", "g"], "flux": [1.0, 2.0]}), "sdss2010-g is there twice"),
    (Table({"filter": ["g"], "flux": [1.0], "kind": ["isophotal"]}), "'isophotal' is unknown.*petrosian"),
]


@pytest.mark.parametrize("photometry, sentence", REFUSED, ids=[s for _, s in REFUSED])
def test_the_others_are_refused_in_one_sentence(photometry, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        Galaxy("m31", photometry=photometry)
    assert str(error.value).startswith("m31: ") and "--" not in str(error.value)


@pytest.mark.parametrize(
    "options, sentence", [({"kind": "isophotal"}, "kind"), ({"extinction": "yes"}, "E.B-V.")]
)
def test_kind_and_extinction_are_checked(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Galaxy("g", photometry={"g": 1.0}, **options)


def test_simulated_galaxies_never_look_like_magnitudes():
    for fluxes in SimulatedSurvey(seed=3).sample(512)["photometry"]:
        for scale in (0.3, 1, 3):
            check_not_magnitudes(scale * fluxes, "g")


@given(st.lists(st.floats(12, 24), min_size=5, max_size=5))
def test_falling_numbers_in_the_range_of_magnitudes_are_refused_whatever_they_are(numbers):
    numbers = sorted(numbers, reverse=True)
    if numbers[0] - numbers[-1] > 0.2:
        with pytest.raises(InputError, match="look like magnitudes"):
            Galaxy("g", photometry=numbers)
