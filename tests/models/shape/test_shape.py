"""Views of pictures against closed forms, and weights of candidates against Bayes' theorem."""

import math

import numpy as np
import pytest
import torch

from pix2spec.core.grid import SpectralGrid
from pix2spec.models.shape.network import ShapeModel
from pix2spec.models.shape.preset import ShapePreset
from pix2spec.models.shape.view import shape_view

PIXEL = 0.4  # arcsec


def disc(scale=3.0, ratio=1.0, angle=0.0, x=0.0, y=0.0, size=64):
    """An exponential disc (3, y, x) of a scale length in pixels, with bands of brightness 1, 2, 3."""
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    across = ((rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)) / ratio
    return np.exp(-np.hypot(along, across) / scale) * np.array([1.0, 2, 3])[:, None, None]


def view_of(image):
    return shape_view(torch.from_numpy(image[None]).float(), torch.tensor([PIXEL]))


def test_the_size_is_the_petrosian_radius():
    # That of an exponential disc, where the brightness is 0.2 of the mean inside, is 3.63 scale lengths.
    (size,) = view_of(disc(3.0)).numbers[:, 0]
    assert math.exp(size) * 4 == pytest.approx(3.63 * 3.0 * PIXEL, rel=0.06)


def test_a_view_knows_neither_brightness_nor_mean_colours():
    image = disc(3.0, 0.6)
    one, other = view_of(image), view_of(40 * image * np.array([1.5, 0.7, 2.0])[:, None, None])
    torch.testing.assert_close(one.image, other.image, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(one.numbers, other.numbers, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("change", [{"x": 1.0, "y": -1.5}, {"angle": 0.6}, {"scale": 4.0}])
def test_a_view_is_the_same_wherever_however_turned_and_sized(change):
    one, other, flat = (view_of(disc(**{"ratio": 0.6} | some)) for some in ({}, change, {"ratio": 0.3}))
    difference = (one.image - other.image).abs().mean()
    assert difference < 0.03 and difference < 0.6 * (one.image - flat.image).abs().mean()


def test_flatter_galaxies_have_smaller_axis_ratios():
    # They are rounder than the galaxies, because moments are those within a circle.
    ratio = [float(view_of(disc(3.0, q)).numbers[0, 2]) for q in (0.3, 0.6, 0.95)]
    assert 0.3 < ratio[0] < 0.75 < ratio[1] < 0.9 < ratio[2] <= 1


def test_an_empty_picture_has_a_finite_view():
    view = view_of(np.zeros((3, 64, 64)))
    assert torch.isfinite(view.image).all() and torch.isfinite(view.numbers).all()


@pytest.fixture(scope="module")
def model():
    made = ShapeModel(ShapePreset.released(), SpectralGrid()).eval()
    with torch.no_grad():
        made.line_weight.copy_(torch.arange(4.0)[:, None].expand(-1, made.line_weight.shape[1]) / 10)
        made.line_bias.fill_(0.3)
    return made


def test_weights_are_those_of_bayes(model):
    lines = torch.linspace(-1, 1, 2 * 3 * 14).reshape(2, 3, 14)
    pictured = torch.tensor([1.2, torch.nan])
    weights = model.log_weights(pictured, lines, fold=2).exp()
    early = 1 / (1 + np.exp(-(0.2 * lines[0].sum(1).numpy() + 0.3)))
    seen = 1 / (1 + np.exp(-1.2))
    np.testing.assert_allclose(weights[0], early * seen + (1 - early) * (1 - seen), rtol=1e-5)
    np.testing.assert_array_equal(weights[1], 1)


def test_a_fold_has_its_own_regression_and_the_answer_of_all_is_their_mean(model):
    lines = torch.ones(1, 14)
    logits = [model.of_lines(lines, k).item() for k in (0, 1, 2, 3)]
    np.testing.assert_allclose(logits, 1.4 * np.arange(4) + 0.3, rtol=1e-5)
    assert model.of_lines(lines).item() == pytest.approx(np.mean(logits))


def test_pictures_are_seen_one_by_one(model):
    images = np.stack([disc(2.0), disc(4.0, 0.3)]).astype(np.float32)
    both = model.of_pictures(images, np.full(2, np.nan))
    alone = [model.of_pictures(image[None], np.full(1, np.nan))[0] for image in images]
    torch.testing.assert_close(both, torch.stack(alone))
