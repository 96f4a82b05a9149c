"""Surveys as data: filters that exist, numbers that agree, names that are mended, old metadata that load."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError
from pix2spec.grid import SpectralGrid
from pix2spec.photometry import synthetic_photometry
from pix2spec.survey import (
    HSC,
    LEGACY,
    LEGACY_NORTH,
    LSST,
    PS1,
    SDSS,
    SURVEYS,
    Survey,
    check_same_survey,
    differences,
    survey_of,
)

surveys = st.sampled_from(list(SURVEYS.values()))


@pytest.mark.parametrize("survey", SURVEYS.values(), ids=SURVEYS)
def test_the_filters_of_every_survey_see_a_constant_ab_source_as_such(survey):
    grid = SpectralGrid(start=3.45, step=2e-4, size=3200)  # 2818 to 12294 Angstrom: all bands
    flux = 3.631e-29 * 2.99792458e18 / grid.wave**2 / 1e-17  # one nanomaggy, in 1e-17 erg/s/cm2/Angstrom
    np.testing.assert_allclose(synthetic_photometry(flux, grid.wave, survey.filters), 1.0, rtol=1e-6)


@pytest.mark.parametrize("survey", SURVEYS.values(), ids=SURVEYS)
def test_the_default_grid_holds_two_bands_of_every_survey(survey):
    """Two bands fix the amplitude of a spectrum that has lost its scale and zero point."""
    wave = SpectralGrid().wave
    assert np.isfinite(synthetic_photometry(np.ones_like(wave), wave, survey.filters)).sum() >= 2


def test_bands_increase_in_wavelength():
    import speclite.filters

    for survey in SURVEYS.values():
        waves = [speclite.filters.load_filter(name).effective_wavelength.value for name in survey.filters]
        assert waves == sorted(waves)
        assert set(survey.image_filters) == set(survey.image_bands)


def test_zero_points_are_those_of_their_units():
    assert SDSS.zero_point == LEGACY.zero_point == LEGACY_NORTH.zero_point == 22.5
    nanojansky = -2.5 * np.log10(1e-9 / 3631)  # AB magnitude of one nJy
    assert LSST.zero_point == pytest.approx(nanojansky, abs=1e-4)


@given(surveys)
def test_a_survey_comes_back_from_its_dictionary(survey):
    import json

    assert Survey.from_dict(json.loads(json.dumps(survey.as_dict()))) == survey
    assert survey_of(survey.name.upper()) is survey


def test_metadata_from_before_the_new_fields_still_mean_sdss():
    old = SDSS.as_dict()
    for name in ("zero_point", "pixel_unit", "per_second"):
        del old[name]
    assert Survey.from_dict(old) == SDSS
    schema = DatasetInfo(provenance={"from": "before"}).arrow_schema()
    raw = schema.metadata[b"pix2spec"].replace(b'"zero_point": 22.5, ', b"").replace(b'"per_second"', b'"x"')
    raw = raw.replace(b', "pixel_unit": "nanomaggy", "x": false', b"")
    assert b"zero_point" not in raw and b"pixel_unit" not in raw and b'"x"' not in raw
    assert DatasetInfo.from_schema(schema.with_metadata({"pix2spec": raw})).survey == SDSS


def test_names_are_mended():
    with pytest.raises(InputError, match=r"'sdds' is unknown \(did you mean sdss\? known are sdss, legacy"):
        survey_of("sdds")
    assert survey_of("Legacy_North") is LEGACY_NORTH


def test_a_survey_needs_a_curve_a_band():
    with pytest.raises(InputError, match="survey mine: 0 response curves for 5 bands"):
        Survey("mine", filters=())


@given(surveys, surveys)
def test_only_a_survey_itself_stands_in_for_it(one, other):
    for seen in (("image",), ("photometry",), ("image", "photometry")):
        assert bool(differences(one, other, seen)) == (one is not other)
    assert differences(one, other, ()) == []


def test_what_does_not_matter_for_the_input_is_no_difference():
    resampled = replace(SDSS, pixel_scale=0.262)
    assert differences(SDSS, resampled, ("photometry",)) == []
    assert differences(SDSS, resampled, ("image",)) == ['pixel scale 0.396" and 0.262"']
    assert differences(SDSS, replace(SDSS, fibre_diameter=2.0), ("image",)) == []
    assert differences(SDSS, replace(SDSS, name="dr8", psf_fwhm=1.0, zero_point=20.0)) == []
    assert differences(SDSS, replace(SDSS, pixel_scale=0.3961)) == []  # rounding of a header


def test_the_error_says_which_survey_each_has_and_what_differs():
    with pytest.raises(InputError) as caught:
        check_same_survey("data", LEGACY, "the model", SDSS, mend="train one on it")
    assert str(caught.value) == (
        "data: its survey is legacy, that of the model is sdss: image bands grz and gri; pixel scale "
        '0.262" and 0.396"; photometric bands grz and ugriz; aperture 1.5" and 3" (train one on it)'
    )
    with pytest.raises(InputError, match="filters BASS-g, BASS-r, MzLS-z and decam2014-g"):
        check_same_survey("data", LEGACY_NORTH, "the model", LEGACY)
    assert differences(HSC, PS1, ("image",))
