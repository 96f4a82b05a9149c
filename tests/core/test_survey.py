"""Surveys as data: filters that exist, numbers that agree, names that are mended, old metadata that load."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.apps.cli.describe import describe
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import synthetic_photometry
from pix2spec.core.survey import (
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
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError
from pix2spec.models.registry import build_model
from pix2spec.models.storage import load_model, save_model
from pix2spec.products.catalogue import open_catalogue
from support.tiny import GRID, tiny_factorised_preset, tiny_galaxy, tiny_preset

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
        check_same_survey("data", LEGACY, "the model", SDSS, hint="train one on it")
    assert str(caught.value) == (
        "data: its survey is legacy, that of the model is sdss: image bands grz and gri; pixel scale "
        '0.262" and 0.396"; photometric bands grz and ugriz; aperture 1.5" and 3" (train one on it)'
    )
    with pytest.raises(InputError, match="filters BASS-g, BASS-r, MzLS-z and decam2014-g"):
        check_same_survey("data", LEGACY_NORTH, "the model", LEGACY)
    assert differences(HSC, PS1, ("image",))


# ---------------------------------------------------------------------- datasets, models, mixing


def survey_pairs(survey, n=24):
    """Blobs with noise and spectra, of a survey's bands."""
    for i in range(n):
        galaxy = tiny_galaxy(i)
        rng = np.random.default_rng(i)
        bands, photometric = len(survey.image_bands), len(survey.photometry_bands)
        galaxy.image = rng.uniform(1, 2, (bands, 64, 64)).astype(np.float32)
        galaxy.photometry = rng.uniform(5, 9, photometric).astype(np.float32)
        galaxy.photometry_ivar = np.full(photometric, 4.0, np.float32)
        yield galaxy


def write_survey(path, survey, **kwargs):
    write_dataset(path, survey_pairs(survey, **kwargs), DatasetInfo(grid=GRID, survey=survey))
    return path


@pytest.fixture(scope="module")
def legacy_data(tmp_path_factory):
    return write_survey(tmp_path_factory.mktemp("legacy") / "data", LEGACY)


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    """Folder of an untrained model: what a survey does to shapes and records needs no training."""
    presets = {
        "pixels": lambda: tiny_preset("paper-concat-small", "data.image=linear"),  # for any number of bands
        "select": lambda: tiny_preset("paper-contrastive-small"),
        "factorised": tiny_factorised_preset,
    }
    made = {}

    def make(kind, survey):
        if (kind, survey.name) not in made:
            folder = tmp_path_factory.mktemp(f"{kind}-{survey.name}")
            save_model(folder, build_model(presets[kind](), GRID, survey), {"trained_on": "nothing"})
            made[kind, survey.name] = folder
        return made[kind, survey.name]

    return make


def generated(model, data, out, selector=None, **settings):
    from pix2spec.generate.catalogue import generate_catalogue
    from pix2spec.generate.load import load
    from pix2spec.models.generator import Settings

    generator = load(model, selector, device="cpu")
    settings = Settings(n=2, steps=2, **settings)
    return generate_catalogue(generator, Dataset(data), out, settings, limit=3, progress=False)


@pytest.mark.parametrize("survey", [LEGACY, HSC])
@pytest.mark.parametrize("kind", ["pixels", "factorised"])
def test_models_of_other_bands_and_pixels_work_and_say_so(model_of, survey, kind, tmp_path):
    data = write_survey(tmp_path / "data", survey, n=3)
    folder = model_of(kind, survey)
    assert load_model(folder)[0].survey == survey
    assert describe(folder)["survey"]["name"] == survey.name
    assert generated(folder, data, tmp_path / "out").n_ok == 3
    assert open_catalogue(tmp_path / "out").survey == survey


def test_a_dataset_of_another_survey_is_refused(model_of, legacy_data, tmp_path):
    with pytest.raises(InputError) as caught:
        generated(model_of("pixels", SDSS), legacy_data, tmp_path / "out")
    told = str(caught.value)
    assert told.startswith(f"{legacy_data}: its survey is legacy, that of the model is sdss: image bands grz")
    assert told.endswith("(use a model trained on such data: pix2spec train PRESET DATASET)")


def test_what_the_model_does_not_look_at_may_be_another_surveys(model_of, tmp_path):
    """Photometry of the model's bands beside images of other pixels: fluxes alone are used, and kept."""
    finer = replace(SDSS, pixel_scale=0.2)
    data = write_survey(tmp_path / "data", finer, n=3)
    factorised = model_of("factorised", SDSS)
    assert generated(factorised, data, tmp_path / "fluxes", use=("photometry",)).n_ok == 3
    with pytest.raises(InputError, match=r'pixel scale 0\.2" and 0\.396"'):
        generated(factorised, data, tmp_path / "both")
    other = replace(SDSS, fibre_diameter=2.0)  # images alone: another aperture does not matter
    data = write_survey(tmp_path / "other", other, n=3)
    assert generated(factorised, data, tmp_path / "images", use=("image",)).n_ok == 3
    for ensemble in open_catalogue(tmp_path / "images"):
        assert "amplitude-from-image" in ensemble.flags
    with pytest.raises(InputError, match='aperture 2" and 3"'):
        generated(model_of("pixels", SDSS), data, tmp_path / "amplitude")


def test_selectors_of_another_survey_are_refused(model_of):
    from pix2spec.generate.load import load

    pixels = model_of("pixels", SDSS)
    assert load(pixels, model_of("select", SDSS), device="cpu").selector is not None
    with pytest.raises(InputError, match="its survey is legacy, that of the model is sdss: image bands"):
        load(pixels, model_of("select", LEGACY), device="cpu")


@pytest.mark.parametrize("kind", ["pixels", "factorised"])
def test_fine_tuning_starts_from_the_same_survey(model_of, legacy_data, tmp_path, kind):
    from pix2spec.training.loop import train

    preset = {"pixels": tiny_preset("paper-concat-small"), "factorised": tiny_factorised_preset()}[kind]
    with pytest.raises(InputError, match=r"its survey is sdss, that of the training data is legacy.*`init`"):
        train(preset, legacy_data, tmp_path / "run", init=model_of(kind, SDSS), progress=False)
    assert not (tmp_path / "run").exists()


def test_training_on_another_survey_is_recorded(tmp_path):
    from pix2spec.training.loop import train

    data = write_survey(tmp_path / "data", LEGACY, n=200)
    preset = tiny_preset("paper-concat-small", "train.steps=2")
    run = train(preset, data, tmp_path / "run", progress=False)
    assert load_model(run)[1]["survey"] == LEGACY
    assert generated(run, data, tmp_path / "out").n_ok == 3


def test_shipped_models_are_sdsss():
    from pix2spec.models.storage import read_config, shipped_models

    assert {read_config(folder)["survey"] for folder in shipped_models().values()} == {SDSS}


def test_import_takes_cutouts_of_a_survey(tmp_path):
    from astropy.io import fits

    from support.fake_sdss import wcs_header

    (tmp_path / "cutouts").mkdir()
    image = np.linspace(1, 2, 3 * 64 * 64, dtype=np.float32).reshape(3, 64, 64)
    fits.PrimaryHDU(image, wcs_header(scale=0.262, BANDS="grz")).writeto(tmp_path / "cutouts" / "a.fits")
    (tmp_path / "t.csv").write_text("object_id,flux_g,flux_r,flux_z\na,1,2,3\n")
    words = ["--images", tmp_path / "cutouts", "--table", tmp_path / "t.csv"]
    result = imported(tmp_path / "data", *words, "--survey", "legacy")
    assert result.exit_code == 0, result.output
    dataset = Dataset(tmp_path / "data")
    assert dataset.info.survey == LEGACY
    np.testing.assert_array_equal(dataset[0].image, image)
    np.testing.assert_array_equal(dataset[0].photometry, [1, 2, 3])
    assert imported(tmp_path / "wrong", *words[:2]).exit_code == 3  # as SDSS: other bands, other pixels
    assert "is unknown (did you mean legacy?" in str(imported(tmp_path / "x", "--survey", "legac").exception)


def imported(out, *words):
    from typer.testing import CliRunner

    from pix2spec.apps.cli.main import app

    return CliRunner().invoke(app, ["data", "import", str(out), *map(str, words)])


def test_composites_of_other_than_three_bands_are_refused():
    from pix2spec.models.shared.inputs import scale_image

    with pytest.raises(InputError, match=r"three bands, but these images have 5 \(.*data.image=linear"):
        scale_image(np.ones((1, 5, 8, 8), np.float32), "linear", "composite")


def test_a_response_curve_that_is_not_there_is_said_so():
    mine = replace(SDSS, filters=("nowhere2010-u", *SDSS.filters[1:]))
    with pytest.raises(InputError, match="nowhere2010-u: the installed version of speclite does not have"):
        synthetic_photometry(np.ones(10), np.linspace(4000, 5000, 10), mine.filters)
