"""From pictures alone to a catalogue, with a tiny model."""

import numpy as np
import pytest
from PIL import Image

import pix2spec
from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import LEGACY
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.generate.sources import open_source
from pix2spec.models.generator import Settings
from support.skies import sky, write_sky

QUICK = {"n": 2, "steps": 2}


@pytest.fixture(scope="module")
def model(tiny_factorised_run):
    return pix2spec.load(tiny_factorised_run, device="cpu")


def write_colour_picture(path, image):
    shown = np.rint(STRETCHES["sdss"].shown(image)).astype(np.uint8)
    Image.fromarray(np.moveaxis(shown[::-1], 0, -1)).save(path)


def test_the_photometry_of_pictures_is_in_the_catalogue(model, tmp_path):
    folder = tmp_path / "cutouts"
    folder.mkdir()
    write_sky(folder / "good.fits", *sky(100))
    write_sky(folder / "moved.fits", *sky(64, at=(3.0, 0)))
    write_sky(folder / "small.fits", *sky(40, 0.262))
    opened = open_source(folder, tmp_path / "out", model)
    assert opened.dataset.info.of_pictures and "3.0 arcsec off the centre" in opened.note
    summary = generate_catalogue(model, opened.dataset, tmp_path / "out", Settings(**QUICK), progress=False)
    assert (summary.n_ok, summary.n_failed) == (3, 0)
    found = {e.object_id: e for e in pix2spec.open_catalogue(tmp_path / "out")}
    for name, flags in {"good": set(), "moved": {"off-centre"}, "small": set()}.items():
        measured = found[name].measurements
        assert measured.filters[:3] == model.survey.filters[1:4] and measured.kinds[:3] == ("fibre",) * 3
        np.testing.assert_allclose(measured.flux[:3], [1.63, 4.08, 6.1], rtol=0.03)
        assert {"photometry-from-picture", *flags} <= set(found[name].flags)
        assert "amplitude-from-image" in found[name].flags


def test_colour_pictures_keep_their_brightness_error(model, tmp_path):
    write_colour_picture(tmp_path / "a.png", sky(flux=60)[0])
    opened = open_source(tmp_path / "a.png", tmp_path / "out", model)
    generate_catalogue(model, opened.dataset, tmp_path / "out", Settings(**QUICK), progress=False)
    (ensemble,) = pix2spec.open_catalogue(tmp_path / "out")
    assert ensemble.measurements.brightness_error == pytest.approx(0.35)
    assert ensemble.unit == "relative"


def seen_by(model, galaxy, kind, **settings):
    return model._restrict(model._prepared(galaxy, kind), kind, Settings(**QUICK, **settings))[0]


def test_the_flow_sees_a_picture_or_its_fluxes_and_no_colour_picture_beside_given_fluxes(model, tmp_path):
    write_colour_picture(tmp_path / "a.png", sky(flux=60)[0])
    write_sky(tmp_path / "a.fits", *sky(flux=60))
    for path, keeps in ((tmp_path / "a.png", False), (tmp_path / "a.fits", True)):
        galaxy, kind = model._as_galaxy(path, None)
        alone = seen_by(model, galaxy, kind)
        assert alone.image is not None and alone.photometry is None
        fluxes = seen_by(model, galaxy, kind, use=("photometry",))
        assert fluxes.image is None and fluxes.photometry is not None
        given = pix2spec.Galaxy("a", image=galaxy.image, photometry={"r": (24.5, 0.5)}, kind="fibre")
        both = seen_by(model, given, kind)
        assert (both.image is not None) == keeps and both.photometry is not None


def test_redshifts_of_colour_pictures_are_those_of_their_fluxes(tmp_path):
    model = pix2spec.load("default", device="cpu")
    write_colour_picture(tmp_path / "a.png", sky(flux=60)[0])
    picture = model.generate(tmp_path / "a.png", n=8, steps=2)
    fluxes = model.generate(tmp_path / "a.png", n=8, steps=2, use=("photometry",))
    np.testing.assert_allclose(picture.redshifts, fluxes.redshifts, rtol=1e-5)


def test_cutouts_of_another_survey_work_through_their_photometry(tmp_path):
    model = pix2spec.load("default", device="cpu")
    image, wcs = sky(100, LEGACY.pixel_scale, flux=60)
    path = write_sky(tmp_path / "a.fits", image, wcs, BANDS="grz", BUNIT="nanomaggy")
    opened = open_source(path, tmp_path / "out", model, survey=LEGACY)
    generate_catalogue(model, opened.dataset, tmp_path / "out", Settings(n=3), progress=False)
    (ensemble,) = pix2spec.open_catalogue(tmp_path / "out")
    assert ensemble.measurements.filters[:3] == LEGACY.filters
    assert "photometry-from-picture" in ensemble.flags
    r = ensemble.measurements.flux[1]
    assert r == pytest.approx(6 * 4.08, rel=0.03)  # within the model's fibre of 3 arcsec
