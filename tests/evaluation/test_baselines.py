"""Baselines on made-up galaxies whose spectrum follows from their colour."""

import numpy as np
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.evaluation.baselines import feature_source, mean_spectrum, nearest_neighbours
from pix2spec.evaluation.metrics.pixels import to_minmax
from pix2spec.models.baselines.features import ApertureFeatures, image_features, photometry_features

GRID = SpectralGrid(3.6, 1e-3, 200)
SIZE = 32


def galaxies(n, seed=0, image=True, photometry=True, prefix="g"):
    rng = np.random.default_rng(seed)
    slope = np.linspace(-1, 1, GRID.size)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    for i in range(n):
        colour, bright = rng.uniform(-0.8, 0.8), rng.uniform(0.5, 2)
        sed = bright * 20 * np.array([1 - 1.2 * colour, 1 - colour, 1, 1 + colour, 1 + 1.2 * colour])
        blob = np.exp(-np.hypot(y, x) / rng.uniform(2, 5)) * 0.1
        ivar = np.full(GRID.size, 100, np.float32)
        ivar[rng.integers(0, GRID.size, 5)] = 0
        yield Galaxy(
            f"{prefix}-{i}",
            flux=np.where(ivar > 0, bright * (10 + 5 * colour * slope + rng.normal(0, 0.1, GRID.size)), 1e9),
            ivar=ivar,
            image=(sed[1:4, None, None] * blob).astype(np.float32) if image else None,
            photometry=sed.astype(np.float32) if photometry else None,
            photometry_ivar=np.full(5, 50, np.float32) if photometry else None,
            z=colour,
        )


def dataset(path, *args, **kwargs):
    write_dataset(path, galaxies(*args, **kwargs), DatasetInfo(grid=GRID, image_size=SIZE))
    return Dataset(path)


@pytest.mark.parametrize("source", ["photometry", "image"])
def test_neighbours_share_the_colour(tmp_path, source):
    train = dataset(tmp_path / "train", 400)
    test = dataset(tmp_path / "test", 30, seed=1, prefix="t")
    model = nearest_neighbours(train, source, k=5)
    batch = test.batch(np.arange(30))
    prediction, scores = model.predict(batch, "linear")
    assert (np.diff(scores) <= 0).all() and (scores < 0).all()
    assert prediction.shape == (30, 5, GRID.size)
    train_colour = train.batch(np.arange(400), ["z"])["z"]
    found = train_colour[model.neighbours(batch, "linear")[0]]
    assert np.abs(found - batch["z"][:, None]).mean() < 0.1
    np.testing.assert_allclose(np.median(prediction, -1), 1, atol=0.03)
    assert np.abs(prediction).max() < 3  # the filler of invalid pixels never comes through


def test_object_itself_is_never_its_neighbour(tmp_path):
    train = dataset(tmp_path, 40)
    model = nearest_neighbours(train)
    batch = train.batch(np.arange(40))
    found, distance = model.neighbours(batch)
    assert np.isfinite(distance).all()
    assert not (found == np.arange(40)[:, None]).any()
    assert all(len(set(row)) == 25 for row in found)


def test_small_training_set_gives_what_it_has(tmp_path):
    train = dataset(tmp_path, 3)
    spectra, scores = nearest_neighbours(train).predict(train.batch([0]))
    assert spectra.shape == (1, 3, GRID.size)
    assert np.isfinite(scores).tolist() == [[True, True, False]]  # the last is the object itself


def test_mean_spectrum(tmp_path):
    train = dataset(tmp_path, 300)
    model = mean_spectrum(train)
    batch = train.batch(np.arange(4))
    spectra, scores = model.predict(batch)
    assert spectra.shape == (4, 1, GRID.size) and scores is None
    assert np.median(model.spectrum) == pytest.approx(1, abs=0.02)
    everything = nearest_neighbours(train).spectra.float().numpy()
    np.testing.assert_allclose(model.spectrum, everything.mean(0), rtol=1e-4)
    expected = to_minmax(everything, np.ones_like(everything)).mean(0)
    np.testing.assert_allclose(model.minmax_spectrum, expected, atol=1e-3)


def test_limit_bounds_what_is_held(tmp_path):
    train = dataset(tmp_path, 50)
    assert len(nearest_neighbours(train, limit=20).spectra) == 20


def test_source_follows_the_data(tmp_path):
    both = dataset(tmp_path / "a", 5)
    only_image = dataset(tmp_path / "b", 5, photometry=False)
    assert feature_source(both) == "photometry"
    assert feature_source(both, only_image) == "image"
    assert nearest_neighbours(only_image).preset.features == "image"


def test_missing_band_counts_as_average():
    flux = np.full((2, 5), 10.0)
    ivar = np.ones((2, 5))
    ivar[1, 0] = 0
    features = photometry_features(flux, ivar)
    assert features.shape == (2, 5)
    np.testing.assert_array_equal(np.isnan(features), [[False] * 5, [True] + [False] * 4])
    scaled = ApertureFeatures(("photometry",), None, SDSS)
    scaled.fit(features)
    assert scaled(features)[1, 0] == 0


def test_composite_features_ignore_a_grey_sky():
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 100, (3, 3, SIZE, SIZE)) * np.exp(-np.hypot(*np.mgrid[-16:16, -16:16]) / 3)
    plain = image_features(image, "composite", 0.4)
    np.testing.assert_allclose(image_features(image + 40, "composite", 0.4), plain, atol=0.02)
    assert plain.shape == (3, 2 + 1 + 3)


def test_pairs_without_spectra_are_refused(tmp_path):
    blind = [Galaxy("a", photometry=np.ones(5), photometry_ivar=np.ones(5))]
    write_dataset(tmp_path, blind, DatasetInfo(grid=GRID, image_size=SIZE))
    for baseline in (mean_spectrum, nearest_neighbours):
        with pytest.raises(InputError, match="spectrum"):
            baseline(Dataset(tmp_path))
