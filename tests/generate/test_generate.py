from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import pix2spec
from pix2spec.core.filters import Filter
from pix2spec.core.photometry import filter_matrix
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.models.generator import Settings
from pix2spec.products.catalogue import open_catalogue
from pix2spec.products.columns import Contents
from pix2spec.products.units import PHYSICAL, RELATIVE
from support.tiny import GRID, tiny_galaxy, write_tiny_dataset


@pytest.fixture(scope="module")
def model(tiny_run, tiny_selector):
    torch.manual_seed(0)
    return pix2spec.load(tiny_run, selector=tiny_selector, device="cpu")


def test_three_lines(tiny_run):
    model = pix2spec.load(tiny_run)
    ensemble = model.generate(tiny_galaxy(0), n=3, steps=4)
    assert ensemble.plot() is not None
    assert ensemble.candidates.shape == (3, GRID.size) and np.isfinite(ensemble.candidates).all()


def test_a_candidate_depends_on_seed_object_and_number_alone(model):
    galaxies = [tiny_galaxy(i) for i in range(5)]
    settings = Settings(n=3, steps=4, select="best")
    together = model.generate_batch(galaxies, "linear", settings)
    for galaxy, expected in zip(galaxies, together):
        alone = model.generate(galaxy, n=3, steps=4, select="best")
        np.testing.assert_allclose(alone.candidates, expected.candidates, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(alone.scores, expected.scores, atol=1e-4)
    more = model.generate(galaxies[0], n=5, steps=4)
    np.testing.assert_allclose(more.candidates[:3], together[0].candidates, rtol=1e-4, atol=1e-3)
    other = model.generate(galaxies[0], n=3, steps=4, seed=1)
    assert np.abs(other.candidates - together[0].candidates).max() > 0.1


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_every_sampler_runs(model, sampler):
    ensemble = model.generate(tiny_galaxy(0), n=2, sampler=sampler, steps=5)
    assert np.isfinite(ensemble.candidates).all()
    assert ensemble.provenance["sampler"] == sampler and ensemble.provenance["model"].startswith(
        "paper-xattn"
    )


def test_the_condition_is_encoded_once_an_object(model, monkeypatch):
    calls = []
    real = model.model.encode
    monkeypatch.setattr(model.model, "encode", lambda image: calls.append(len(image)) or real(image))
    model.generate_batch([tiny_galaxy(0), tiny_galaxy(1)], "linear", Settings(n=4, steps=6))
    assert calls == [2]


def test_selection_follows_the_scores(model):
    ensemble = model.generate(tiny_galaxy(0), n=6, steps=4, select="mean:2")
    assert ensemble.selected.tolist() == np.argsort(-ensemble.scores)[:2].tolist()
    np.testing.assert_allclose(ensemble.flux, ensemble.candidates[ensemble.selected].mean(0))


def test_without_a_selector_the_whole_ensemble_is_the_product(tiny_run):
    model = pix2spec.load(tiny_run)
    assert model.generate(tiny_galaxy(0), n=3, steps=4).select == "all"
    with pytest.raises(InputError, match="contrastive network"):
        model.generate(tiny_galaxy(0), n=3, steps=4, select="best")


def test_the_amplitude_follows_the_photometry(model):
    weights = filter_matrix(GRID.wave, SDSS.filters, 0.99)
    seen = np.isfinite(weights).all(0)
    galaxy = tiny_galaxy(0)
    galaxy.photometry = np.nan_to_num(galaxy.flux @ weights).astype(np.float32)
    galaxy.photometry_ivar = np.where(seen, 1e4, 0).astype(np.float32)
    ensemble = model.generate(galaxy, n=4, steps=8)
    assert ensemble.unit == PHYSICAL and "amplitude-from-photometry" in ensemble.flags
    # An untrained model has the wrong colours, so one offset and one scale cannot match every band.
    synthetic = ensemble.candidates @ weights[:, seen]
    np.testing.assert_allclose(synthetic.mean(1), galaxy.photometry[seen].mean(), rtol=0.5)
    galaxy.photometry, galaxy.photometry_ivar = 100 * galaxy.photometry, galaxy.photometry_ivar / 1e4
    brighter = model.generate(galaxy, n=4, steps=8)
    np.testing.assert_allclose(brighter.candidates, 100 * ensemble.candidates, rtol=1e-3, atol=0.1)


def test_without_photometry_a_linear_image_gives_the_amplitude_and_a_composite_none(model):
    galaxy = tiny_galaxy(0, with_photometry=False)
    ensemble = model.generate(galaxy, n=2, steps=4)
    assert ensemble.unit == PHYSICAL and "amplitude-from-image" in ensemble.flags
    galaxy.image = 255 * galaxy.image / galaxy.image.max()
    relative = model.generate(galaxy, image_kind="composite", n=2, steps=4)
    assert relative.unit == RELATIVE and relative.flags == ["relative-flux"]
    physical = model.generate(galaxy, image_kind="linear", n=2, steps=4)
    assert relative.amplitude is None and physical.amplitude.shape == (2, 2)
    assert np.abs(physical.minmax).max() < 2  # the scale that the network spoke on


def spoil(galaxy, how):
    if how == "nan":
        galaxy.image[1, 3, 4] = np.nan
    elif how == "zero":
        galaxy.image[:] = 0
    elif how == "none":
        galaxy.image = None
    elif how == "bands":
        galaxy.image = galaxy.image[:2]
    return galaxy


@pytest.mark.parametrize(
    ("how", "message"),
    [("nan", "NaN or inf"), ("zero", "zero everywhere"), ("none", "no image"), ("bands", "3 bands")],
)
def test_unusable_images_are_named(model, how, message):
    with pytest.raises(InputError, match=message) as caught:
        model.generate(spoil(tiny_galaxy(3), how), n=1, steps=2)
    assert "tiny-3" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "at least one"),
        ({"steps": 0}, "at least one"),
        ({"sampler": "rk4"}, "ddim, ddpm"),
        ({"noise": "some"}, "observed or none"),
        ({"use": ("parallax",)}, "image, photometry, redshift"),
        ({"select": "mean:30"}, "there are 25"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


def test_a_catalogue_keeps_order_and_loses_no_good_row_to_a_bad_one(model, tmp_path):
    info = DatasetInfo(grid=GRID)
    clean = [tiny_galaxy(i) for i in range(7)]
    write_dataset(tmp_path / "clean", clean, info)
    dirty = [spoil(tiny_galaxy(i), {2: "nan", 5: "none"}.get(i)) for i in range(7)]
    write_dataset(tmp_path / "dirty", dirty, info)
    settings = Settings(n=2, steps=3)
    good = generate_catalogue(model, Dataset(tmp_path / "clean"), tmp_path / "a", settings)
    bad = generate_catalogue(
        model, Dataset(tmp_path / "dirty"), tmp_path / "b", settings, fits=True, figures=2
    )
    assert (good.n_ok, good.n_failed) == (7, 0)
    assert (bad.n_ok, bad.n_failed) == (5, 2) and [f[0] for f in bad.failures] == ["tiny-2", "tiny-5"]
    a, b = open_catalogue(tmp_path / "a"), open_catalogue(tmp_path / "b")
    assert list(b.ids) == [f"tiny-{i}" for i in range(7)]
    for i in (0, 1, 3, 4, 6):  # to the bit: a neighbour's failure changes nothing
        ours, theirs = b.ensemble(f"tiny-{i}"), a.ensemble(f"tiny-{i}")
        assert np.array_equal(ours.candidates, theirs.candidates)
    assert len(list((tmp_path / "b" / "spectra").glob("*.fits"))) == 5
    assert (tmp_path / "b" / "spectra.png").stat().st_size > 10_000
    assert b.provenance["seed"] == 0 and b.provenance["model"] == model.ids["model"]


def test_a_catalogue_records_the_measurements_as_they_were_given(model, tmp_path):
    """From a galaxy over a dataset to the catalogue: own filters, errors, kinds, extinction."""
    wave = np.linspace(4900, 5100, 21)
    own = {"NB500": Filter("NB500", wave, np.exp(-0.5 * ((wave - 5000) / 30) ** 2))}
    tiny = [tiny_galaxy(i) for i in range(3)]
    photometry = {"r": (50.0, 1.0), "NB500": (20.0, 3.0), "wise2010-W1": (-1.0, 2.0)}
    facts = {"kind": ("model", "total", "unknown"), "extinction": 0.02}
    galaxies = [
        Galaxy("mine", image=tiny[0].image, photometry=photometry, filters=own, **facts),
        replace(tiny[1], photometry=tiny[1].photometry, photometry_ivar=None, filters=SDSS.filters),
        replace(tiny[2], photometry=None, photometry_ivar=None, filters=()),
    ]
    info = DatasetInfo(grid=GRID, as_measured=True, curves=own)
    write_dataset(tmp_path / "data", galaxies, info)
    generate_catalogue(model, tmp_path / "data", tmp_path / "out", Settings(n=2, steps=2), progress=False)
    first, *others = open_catalogue(tmp_path / "out")
    given = first.measurements
    assert given.filters == ("sdss2010-r", "NB500", "wise2010-W1") and given.kinds == facts["kind"]
    np.testing.assert_allclose(given.flux, [50, 20, -1])
    np.testing.assert_allclose(given.error, [1, 3, 2], rtol=1e-6)
    assert given.extinction == 0.02 and given.curves == own
    assert [ensemble.measurements for ensemble in others] == [None, None]  # fluxes without errors are none
    direct = model.generate(galaxies[1], n=2, steps=2).measurements
    assert direct.filters == SDSS.filters  # with the errors that were assumed
    assert open_catalogue(tmp_path / "out").ensemble("mine").plot() is not None


def test_a_damaged_row_of_a_dataset_fails_alone(model, tmp_path):
    galaxies = [replace(tiny_galaxy(i), filters=SDSS.filters) for i in range(3)]
    (path,) = write_dataset(tmp_path / "data", galaxies, DatasetInfo(grid=GRID, as_measured=True))
    table = pq.read_table(path)
    filters = table["filters"].to_pylist()
    filters[1] = ["no such filter"] * 5
    place = table.schema.get_field_index("filters")
    pq.write_table(table.set_column(place, table.schema.field(place), [filters]), path)
    summary = generate_catalogue(
        model, tmp_path / "data", tmp_path / "out", Settings(n=2, steps=2), progress=False
    )
    assert (summary.n_ok, summary.n_failed) == (2, 1)
    ((name, reason),) = summary.failures
    assert name == galaxies[1].object_id and "no such filter" in reason


def test_data_of_another_grid_are_refused(model, tmp_path):
    from pix2spec.core.grid import SpectralGrid

    write_tiny_dataset(tmp_path / "data", 2, grid=SpectralGrid(3.6, 1.8e-3, 200))
    with pytest.raises(InputError, match="grid"):
        generate_catalogue(model, Dataset(tmp_path / "data"), tmp_path / "out", Settings(n=1, steps=2))


def test_models_of_the_wrong_kind_are_refused(tiny_run, tiny_selector, tmp_path):
    with pytest.raises(InputError, match="ranks spectra"):
        pix2spec.load(tiny_selector)
    with pytest.raises(InputError, match="not a contrastive"):
        pix2spec.load(tiny_run, selector=tiny_run)
    with pytest.raises(InputError, match="no such model"):
        pix2spec.load("nothing-here")
    with pytest.raises(InputError, match=r"no config\.json"):
        pix2spec.load(tmp_path)


def test_a_table_of_numbers_has_what_was_measured_and_the_photometry(model, tmp_path):
    galaxies = [tiny_galaxy(i) for i in range(3)]
    write_dataset(tmp_path / "data", galaxies, DatasetInfo(grid=GRID))
    contents = Contents(spectra=False, columns_out=("z_given", "ew_halpha", "phot_*", "ext_*"))
    settings = Settings(n=2, steps=3, select="all")
    summary = generate_catalogue(
        model, tmp_path / "data", tmp_path / "out", settings, contents=contents, figures=1,
        file_format="fits", progress=False,
    )  # fmt: skip
    assert summary.files == [tmp_path / "out" / "catalog.fits"] and summary.n_ok == 3
    rows = open_catalogue(tmp_path / "out").table.to_pylist()
    r = SDSS.photometry_bands.index("r")
    for row, galaxy in zip(rows, galaxies):
        assert row["phot_sdss2010-r"] == pytest.approx(22.5 - 2.5 * np.log10(galaxy.photometry[r]), abs=1e-4)
        assert row["ext_sdss2010-r"] == 0 and row["phot_kind"] == "fibre" and "ew_halpha" in row
    with pytest.raises(InputError, match="no column is called 'ew_x'"):
        generate_catalogue(
            model, tmp_path / "data", tmp_path / "other", contents=Contents(columns_out=("ew_x",))
        )
    assert not (tmp_path / "other").exists()
