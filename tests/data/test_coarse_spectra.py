"""Coarse spectra as photometry: fluxes in boxes against closed forms, errors against noise."""

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.filters import load_filter
from pix2spec.core.photometry import synthetic_photometry
from pix2spec.data.coarse_spectra import box_filter, coarse_spectrum
from pix2spec.data.measurements import ERROR_ASSUMED, Measurements
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

WAVE = np.arange(3800.0, 9200, 4)
UNIT = 1e-17 * u.erg / u.s / u.cm**2 / u.AA


def flat_in_frequency(wave, nanomaggies=5.0):
    """A constant AB spectrum, in 1e-17 erg/s/cm2/Angstrom."""
    return nanomaggies * 3.631e-29 * 2.99792458e18 / wave**2 / 1e-17


@given(st.integers(60, 200), st.floats(2, 60), st.floats(3000, 6000), st.floats(0.1, 1e4))
def test_a_constant_ab_spectrum_has_its_flux_in_every_box(width, pixel, start, flux):
    wave = np.arange(start, start + 3000, pixel)
    found = coarse_spectrum(wave, flat_in_frequency(wave, flux), np.ones(len(wave)), width=width)
    np.testing.assert_allclose(found.flux, flux, rtol=2e-3)  # steps of up to 2 % for a curve
    centres = [int(name.split("-")[1]) for name in found.filters]
    assert np.all(np.diff(centres) == width) and set(np.mod(centres, width)) == {0}
    assert centres[0] - width / 2 >= start - pixel / 2 - 0.2 * width
    assert len(centres) >= 2900 / width - 2


@pytest.mark.parametrize("width", [60, 100, 200])
def test_boxes_are_filters_like_others(width):
    rng = np.random.default_rng(0)
    fine = np.arange(3800, 9200, 0.5)
    flux = 20 + np.cumsum(rng.normal(size=len(fine))) / 30
    found = coarse_spectrum(fine, flux, np.ones(len(fine)), width=width)
    curves = [load_filter(name, found.curves) for name in found.filters]
    np.testing.assert_allclose(found.flux, synthetic_photometry(flux, fine, curves, 0.7), rtol=0.01)
    for curve in curves:
        assert curve.width == pytest.approx(width / np.sqrt(12)) and curve is found.curves[curve.name]
    assert curves[3] is box_filter(int(curves[3].centre), width)
    assert found.filters[0] == f"box-{curves[0].centre:.0f}-{width}"


def test_errors_are_those_of_the_noise():
    rng = np.random.default_rng(1)
    clean, sigma = flat_in_frequency(WAVE), rng.uniform(0.5, 2, len(WAVE))
    stated = coarse_spectrum(WAVE, clean, sigma)
    noisy = [coarse_spectrum(WAVE, clean + sigma * rng.normal(size=len(WAVE)), sigma) for _ in range(400)]
    pull = (np.array([found.flux for found in noisy]) - stated.flux) / stated.error
    assert np.abs(pull.mean()) < 0.03 and pull.std() == pytest.approx(1, abs=0.02)
    assert stated.flags == () and stated.kinds == ("fibre",) * len(stated.filters)


def test_a_line_counts_with_its_whole_flux():
    line = np.zeros(len(WAVE))
    line[np.searchsorted(WAVE, 6600)] = 50.0  # 200 in 1e-17 erg/s/cm2
    found = dict(zip(*(lambda m: (m.filters, m.flux))(coarse_spectrum(WAVE, line, np.ones(len(WAVE))))))
    # photons of the line over those of one nanomaggie: F lambda / (c g ln(l2 / l1))
    expected = 200e-17 * 6600 / (2.99792458e18 * 3.631e-29 * np.log(6650 / 6550))
    assert found.pop("box-6600-100") == pytest.approx(expected, rel=1e-3)
    assert not any(found.values())


def test_units_are_understood():
    flux, error = flat_in_frequency(WAVE), np.full(len(WAVE), 0.3)
    plain = coarse_spectrum(WAVE, flux, error)
    forms = {
        "cgs": (WAVE * u.AA, flux * UNIT, error * UNIT),
        "nm": ((WAVE * u.AA).to(u.nm), (flux * UNIT).to(u.W / u.m**2 / u.um), error * UNIT),
        "Jy": (
            WAVE * u.AA,
            (flux * UNIT).to(u.uJy, u.spectral_density(WAVE * u.AA)),
            (error * UNIT).to(u.mJy, u.spectral_density(WAVE * u.AA)),
        ),
    }
    for form in forms.values():
        found = coarse_spectrum(*form)
        np.testing.assert_allclose(found.flux, plain.flux)
        np.testing.assert_allclose(found.error, plain.error)


def test_missing_pixels_leave_out_their_boxes_or_a_little_of_them():
    flux, error = flat_in_frequency(WAVE), np.ones(len(WAVE))
    error[(WAVE > 5050) & (WAVE < 5150)] = 0
    flux[(WAVE > 6050) & (WAVE < 6066)] = np.nan
    error[(WAVE > 7050) & (WAVE < 7066)] = np.inf
    found = coarse_spectrum(WAVE, flux, error)
    assert "box-5100-100" not in found.filters and {"box-6100-100", "box-7100-100"} <= set(found.filters)
    np.testing.assert_allclose(found.flux, 5, rtol=1e-3)
    usual, fewer = (found.error[found.filters.index(f"box-{c}-100")] for c in (6000, 6100))
    assert 1.02 < fewer / usual < 1.2


def test_without_errors_boxes_have_those_of_own_filters():
    flux = flat_in_frequency(WAVE)
    flux[WAVE < 4050] *= -1
    found = coarse_spectrum(WAVE, flux)
    np.testing.assert_allclose(found.error, 0.1 * found.flux)
    assert found.flags == (ERROR_ASSUMED,) and found.filters[0] == "box-4100-100"
    galaxy = Galaxy("a", photometry=found)
    assert galaxy.flags == (ERROR_ASSUMED,) and set(galaxy.kind) == {"fibre"}


def photometry(flux, kinds=("model", "model", "model"), filters=("sdss2010-u", "sdss2010-r", "sdss2010-i")):
    return Measurements(filters, np.array(flux), 0.02 * np.array(flux), kinds)


@pytest.mark.parametrize("counts", [u.ct, u.adu, u.dimensionless_unscaled, None])
def test_a_relative_spectrum_takes_its_scale_from_the_photometry(counts):
    shape = flat_in_frequency(WAVE, 1.0) * 123.0
    values = shape if counts is None else shape * counts
    found = coarse_spectrum(
        WAVE, values, 0.1 * values, relative=counts is None, photometry=photometry([1.0, 7.0, 7.0])
    )
    np.testing.assert_allclose(found.flux, 7, rtol=1e-3)  # u reaches beyond the spectrum
    own = coarse_spectrum(WAVE, shape / 123 * 7, 0.1 * shape / 123 * 7)
    np.testing.assert_allclose(found.error, own.error, rtol=1e-3)
    assert set(found.kinds) == {"model"}


def test_the_kind_is_the_fibre_unless_stated():
    flux, error = flat_in_frequency(WAVE), np.ones(len(WAVE))
    assert set(coarse_spectrum(WAVE, flux, error, kind="total").kinds) == {"total"}
    mixed = photometry([1.0, 7.0, 7.0], ("model", "total", "fibre"))
    scaled = coarse_spectrum(WAVE, flux, error, relative=True, photometry=mixed)
    assert set(scaled.kinds) == {"unknown"}
    with pytest.raises(InputError, match="kind: 'slit' is unknown"):
        coarse_spectrum(WAVE, flux, error, kind="slit")


def test_a_galaxy_holds_photometry_and_its_coarse_spectrum():
    boxes = coarse_spectrum(WAVE, flat_in_frequency(WAVE), np.ones(len(WAVE)))
    bands = Galaxy("a", photometry={"r": (3.0, 0.1)}, kind="fibre", extinction="observed").measurements()
    galaxy = Galaxy("a", photometry=bands.joined(boxes, "a"))
    assert galaxy.filters == ("sdss2010-r", *boxes.filters) and galaxy.extinction == "observed"
    assert galaxy.curves == boxes.curves and len(galaxy.photometry) == 1 + len(boxes.flux)
    with pytest.raises(InputError, match=r"a: photometry: box-.* is there twice"):
        boxes.joined(boxes, "a")
    dereddened = Galaxy("a", photometry={"i": (3.0, 0.1)}, extinction="dereddened").measurements()
    with pytest.raises(InputError, match="one flux is observed, and another one dereddened"):
        bands.joined(dereddened, "a")


FLUX, ERROR = flat_in_frequency(WAVE), np.ones(len(WAVE))
REFUSED = [
    ((WAVE, FLUX, ERROR, 30), {}, "boxes of 30 Angstrom.*60 to 200"),
    ((WAVE, FLUX, ERROR, 90.5), {}, "boxes of 90.5 Angstrom"),
    ((WAVE, FLUX, ERROR[:-1]), {}, "arrays of equal length"),
    ((WAVE[::-1], FLUX, ERROR), {}, "do not increase"),
    ((WAVE / 10, FLUX, ERROR), {}, "from 380 to 919.6 Angstrom.*nm or um"),
    ((WAVE * u.s, FLUX, ERROR), {}, "wavelength is in s"),
    ((WAVE[::40], FLUX[::40], ERROR[::40]), {}, "pixels are 160 Angstrom wide, and the boxes 100"),
    ((WAVE, FLUX, 0 * ERROR), {}, "no valid pixel"),
    ((WAVE, "bright", ERROR), {}, "not an array of numbers"),
    ((WAVE, FLUX * 1e12, ERROR), {}, "brighter than magnitude 0.*is it in 1e-17"),
    ((WAVE, FLUX * UNIT, ERROR * u.m), {}, "its error is in m"),
    ((WAVE, FLUX * u.ct, ERROR * u.ct), {}, "has no unit: is it in erg/s/cm2/Angstrom, in Jy, or relative?"),
    ((WAVE, FLUX, ERROR), {"relative": True}, "a relative spectrum needs photometry"),
    (
        (WAVE, FLUX, ERROR),
        {"relative": True, "photometry": photometry([1.0], ("model",), ("wise2010-W1",))},
        "it covers none of the filters wise2010-W1.*is its flux in a known unit",
    ),
]


@pytest.mark.parametrize("arrays, options, sentence", REFUSED, ids=[s for *_, s in REFUSED])
def test_what_is_no_spectrum_is_refused_in_one_sentence(arrays, options, sentence):
    with pytest.raises(InputError, match=sentence):
        coarse_spectrum(*arrays, **options, where="prism.ecsv")
