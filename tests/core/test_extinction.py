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
    deredden_fluxes,
    deredden_image,
    find_maps,
    open_maps,
)
from pix2spec.core.survey import LEGACY, SDSS, SURVEYS
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.generate.foreground import CORRECTED, KEPT, UNKNOWN, Foreground
from support.fake_dust import sky_dust, write_maps


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    return open_maps(write_maps(tmp_path_factory.mktemp("dust")))


def test_coefficients_fall_with_wavelength_alike_in_all_surveys():
    import speclite.filters

    wave = {n: speclite.filters.load_filter(n).effective_wavelength.value for n in COEFFICIENTS}
    sdss = [n for n in SDSS.filters]
    law = np.polyfit(np.log([wave[n] for n in sdss]), np.log(coefficients(sdss)), 2)
    for name, value in COEFFICIENTS.items():
        expected = np.exp(np.polyval(law, np.log(wave[name])))
        assert value == pytest.approx(expected, rel=0.07), name


def test_every_survey_has_its_coefficients():
    for survey in SURVEYS.values():
        assert (np.diff(coefficients(survey.filters)) < 0).all()
    with pytest.raises(InputError, match="bessell-V: its extinction coefficient is not known"):
        coefficients(["bessell-V"])


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
