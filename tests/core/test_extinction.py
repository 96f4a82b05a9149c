"""Extinction: coefficients against wavelength, maps against an analytic sky, corrections that undo dust."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.extinction import (
    COEFFICIENTS,
    MAP_FILES,
    coefficients,
    correct,
    deredden_fluxes,
    deredden_image,
    extinction_law,
    find_maps,
    open_maps,
)
from pix2spec.core.filters import Filter, load_filter
from pix2spec.core.survey import LEGACY, SDSS, SURVEYS
from pix2spec.data.schema import Galaxy, dereddened
from pix2spec.errors import InputError
from pix2spec.generate.foreground import CORRECTED, KEPT, UNKNOWN, Foreground
from support.fake_dust import sky_dust, write_maps


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    return open_maps(write_maps(tmp_path_factory.mktemp("dust")))


def test_the_law_agrees_with_the_tables_to_a_percent_and_a_half():
    for name, value in COEFFICIENTS.items():
        assert extinction_law(load_filter(name).centre) == pytest.approx(value, rel=0.015), name


# Schlafly & Finkbeiner (2011), table 6, R_V = 3.1: Landolt and UKIRT; the Legacy Surveys' values for WISE
OTHERS = {"bessell-U": 4.334, "bessell-B": 3.626, "bessell-V": 2.742, "bessell-R": 2.169, "bessell-I": 1.505}
OTHERS |= {"twomass-J": 0.709, "twomass-H": 0.449, "twomass-Ks": 0.302}
OTHERS |= {"wise2010-W1": 0.184, "wise2010-W2": 0.113}


@pytest.mark.parametrize("name", OTHERS)
def test_filters_without_a_table_follow_the_law(name):
    assert coefficients([name])[0] == pytest.approx(OTHERS[name], rel=0.08)


def test_the_law_is_that_of_fitzpatrick_from_the_ultraviolet_to_the_infrared():
    # Table 3 of Fitzpatrick (1999) for R_V = 3.1: A(lambda) / E(B-V)
    law = {26500: 0.265, 12200: 0.829, 6000: 2.688, 5470: 3.055, 4670: 3.806, 4110: 4.315, 2700: 6.265}
    scale = extinction_law(6000) / 2.688
    for wave, value in law.items():
        assert extinction_law(wave) == pytest.approx(scale * value, rel=1e-3), wave
    assert extinction_law(1e4) == pytest.approx(0.78 * 1.32)
    wave = np.geomspace(1000, 60_000, 5000)
    jump = np.abs(np.diff(extinction_law(wave)))
    assert jump.max() < 0.03 and extinction_law(wave).min() > 0  # continuous, also at 0.27 um
    bump = extinction_law(np.array([1900, 2175, 2600]))
    assert bump[1] > bump[0] and bump[1] > bump[2]


def test_every_survey_has_its_coefficients():
    for survey in SURVEYS.values():
        assert (np.diff(coefficients(survey.filters)) < 0).all()
    with pytest.raises(InputError, match="does not have this transmission curve"):
        coefficients(["bessell-Q"])


def test_own_curves_go_before_the_table():
    r = load_filter("sdss2010-r")
    own = {"mine": Filter("mine", r.wave, r.response)}
    found = coefficients(["mine", "sdss2010-r", own["mine"]], own)
    np.testing.assert_allclose(found, 2.285, rtol=0.01)
    assert found[0] == found[2] != found[1]


@given(st.floats(0, 2), st.floats(-5, 100), st.floats(0.01, 100))
def test_a_correction_undoes_the_dust_in_any_filter(ebv, flux, ivar):
    filters = ("sdss2010-u", "galex-nuv", "wise2010-W1", "suprime-IB505")
    dimming = 10 ** (-0.4 * ebv * coefficients(filters))
    clean, weight = np.full(4, flux), np.full(4, ivar)
    seen = correct(filters, clean * dimming, weight / dimming**2, ebv)
    np.testing.assert_allclose(seen[0], clean, rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(seen[1], weight, rtol=1e-5)
    both = correct(filters, np.stack([clean, clean]), np.stack([weight, weight]), np.array([0, ebv]))
    np.testing.assert_allclose(both[0][0], clean, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(both[0][1], correct(filters, clean, weight, ebv)[0], rtol=1e-6)


def test_a_galaxy_with_a_known_extinction_becomes_dereddened_once():
    photometry = {"g": (10.0, 1.0), "twomass-J": (30.0, 1.0)}
    seen = Galaxy("a", photometry=photometry, extinction=0.1)
    clean = dereddened(seen)
    expected = correct(seen.filters, seen.photometry, seen.photometry_ivar, 0.1)
    np.testing.assert_array_equal(clean.photometry, expected[0])
    np.testing.assert_array_equal(clean.photometry_ivar, expected[1])
    assert clean.extinction == "dereddened" and clean.filters == seen.filters and dereddened(clean) is clean
    for state in ("observed", "unknown", "dereddened"):
        galaxy = Galaxy("a", photometry=photometry, extinction=state)
        assert dereddened(galaxy) is galaxy
    array = dereddened(Galaxy("a", photometry=np.ones(5), photometry_ivar=np.ones(5), extinction=0.1))
    np.testing.assert_allclose(2.5 * np.log10(array.photometry), 0.1 * coefficients(SDSS.filters), rtol=1e-4)


@given(st.floats(0, 3), st.floats(0.01, 100))
def test_dereddening_makes_brighter_by_the_magnitudes(extinction, flux):
    x, ivar = deredden_fluxes(np.full(5, flux), np.full(5, 4.0), np.full(5, extinction))
    np.testing.assert_allclose(-2.5 * np.log10(x / flux), -extinction, atol=1e-5)
    np.testing.assert_allclose(x * np.sqrt(ivar), flux * 2.0, rtol=1e-5)  # signal to noise stays
    image = deredden_image(np.full((1, 2, 2), flux), [extinction])
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, x[0])


@pytest.mark.parametrize("position", [(30.0, 60.0), (210.0, 12.0), (0.0, -35.0), (120.0, -80.0)])
def test_maps_are_read_at_the_right_place(maps, position):
    longitude, latitude = position
    sky = SkyCoord(longitude, latitude, unit="deg", frame="galactic").icrs
    ebv, per_band = Foreground(SDSS, maps=maps).towards(Galaxy("a", ra=sky.ra.deg, dec=sky.dec.deg))
    assert ebv == pytest.approx(sky_dust(np.radians(latitude)), abs=2e-4)
    np.testing.assert_allclose(per_band, ebv * np.array([4.239, 3.303, 2.285, 1.698, 1.263]))


def galaxy(**values):
    values = {"ra": 150.0, "dec": 2.0} | values
    return Galaxy("a", photometry=np.arange(1, 6.0), photometry_ivar=np.ones(5), **values)


def test_a_corrected_object_is_as_if_there_were_no_dust(maps):
    """Dust put before a galaxy is taken away again, in the image and in the catalogue."""
    clean = galaxy(image=np.ones((3, 4, 4), np.float32))
    foreground = Foreground(SDSS, maps=maps)
    ebv, dust = foreground.towards(clean)
    dimming = 10 ** (-0.4 * dust)
    seen = galaxy(image=clean.image * dimming[1:4, None, None])
    seen.photometry = clean.photometry * dimming
    mended, stated, flags = foreground.apply(seen)
    np.testing.assert_allclose(mended.photometry, clean.photometry, rtol=1e-6)
    np.testing.assert_allclose(mended.image, 1, rtol=1e-6)
    assert stated == ebv and flags == [CORRECTED]
    assert seen.image[0, 0, 0] < 1  # the input stays as it was


def test_legacy_images_take_their_own_bands(maps):
    seen = Galaxy("a", ra=150.0, dec=2.0, image=np.ones((3, 2, 2), np.float32))
    mended, ebv, _ = Foreground(LEGACY, maps=maps).apply(seen)
    np.testing.assert_allclose(2.5 * np.log10(mended.image[:, 0, 0]) / ebv, (3.214, 2.165, 1.211), rtol=1e-5)


def test_what_came_with_the_photometry_goes_before_the_maps(maps):
    known = {"a": 0.1 * coefficients(SDSS.filters)}
    ebv, per_band = Foreground(SDSS, maps=maps, known=known).towards(galaxy())
    assert ebv == pytest.approx(0.1)
    np.testing.assert_allclose(per_band, known["a"])


def test_fluxes_that_are_dereddened_are_not_dereddened_again(maps):
    """A stated E(B-V) goes before the maps, for each filter of the galaxy; "dereddened" fluxes stay."""
    foreground = Foreground(SDSS, maps=maps)
    place = {"ra": 150.0, "dec": 2.0}
    photometry = {"r": (10.0, 1.0), "wise2010-W1": (30.0, 1.0)}
    stated, ebv, flags = foreground.apply(Galaxy("a", photometry=photometry, extinction=0.2, **place))
    assert ebv == 0.2 and flags == [CORRECTED] and stated.extinction == "dereddened"
    magnitudes = 2.5 * np.log10(stated.photometry / [10, 30])
    np.testing.assert_allclose(magnitudes, 0.2 * coefficients(["sdss2010-r", "wise2010-W1"]), rtol=1e-4)
    again, ebv, _ = foreground.apply(stated)
    np.testing.assert_array_equal(again.photometry, stated.photometry)
    assert ebv == pytest.approx(foreground.towards(galaxy())[0])
    from_maps, ebv, _ = foreground.apply(Galaxy("a", photometry=photometry, extinction="observed", **place))
    np.testing.assert_allclose(2.5 * np.log10(from_maps.photometry[1] / 30), ebv * 0.173, rtol=0.01)


def test_it_is_said_what_was_done(maps):
    for foreground, flag, text in (
        (Foreground(SDSS), UNKNOWN, "nothing was corrected: no map"),
        (Foreground(SDSS, correct=False, maps=maps), KEPT, "stated, not corrected"),
        (Foreground(SDSS, maps=maps), CORRECTED, "corrected by SFD's maps"),
        (Foreground(SDSS, known={"a": np.ones(5)}), CORRECTED, "corrected by SkyServer's extinction"),
    ):
        mended, _, flags = foreground.apply(galaxy())
        assert flags == [flag] and text in str(foreground)
        assert (mended.photometry[0] == 1) == (flag != CORRECTED)
        assert foreground.as_dict()["corrected"] == (flag == CORRECTED)
    nowhere = Foreground(SDSS, maps=maps).apply(galaxy(ra=np.nan))
    assert nowhere[2] == [UNKNOWN] and np.isnan(nowhere[1])


def test_maps_are_found_where_they_are_said_to_be(tmp_path, monkeypatch):
    monkeypatch.delenv("SFD_DIR", raising=False)
    assert find_maps() is None
    with pytest.raises(InputError, match=r"`dust=.*`: it lacks SFD_dust_4096_ngp.fits .*never downloads"):
        find_maps(tmp_path)
    write_maps(tmp_path / "sfd")
    assert find_maps(tmp_path) == tmp_path / "sfd"
    monkeypatch.setenv("SFD_DIR", str(tmp_path / "sfd"))
    assert find_maps() == tmp_path / "sfd"


def test_files_that_are_no_maps_are_the_maps_fault(tmp_path):
    for name in MAP_FILES:
        fits.PrimaryHDU(np.ones((4, 4))).writeto(tmp_path / name)
    with pytest.raises(InputError, match="its maps cannot be read"):
        Foreground(SDSS, maps=open_maps(tmp_path)).towards(galaxy())
