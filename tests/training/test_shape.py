"""Training of the shape model: regressions against scikit-learn, and a training that is cut off."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.stretches import STRETCHES
from pix2spec.errors import InputError
from pix2spec.models.shape.network import ShapeModel
from pix2spec.models.shape.preset import ShapePreset
from pix2spec.training.shape import RIDGE, fit_lines, read_pictures, train_pictures, views_of


def model():
    torch.manual_seed(1)
    preset = ShapePreset(task="shape", name="tiny", about="", channels=(4, 4), width=4)
    return ShapeModel(preset, SpectralGrid())


def test_regressions_agree_with_those_of_scikit_learn_and_see_no_galaxy_of_their_fold():
    rng, made = np.random.default_rng(0), model()
    lines = rng.normal(size=(300, 1, 14)).astype(np.float32)
    is_early = rng.random(300) < 1 / (1 + np.exp(-lines[:, 0, :3].sum(1)))
    fold = np.arange(300) % 4
    fit_lines(made, lines, is_early, fold)
    x = np.clip((lines[:, 0] - lines.mean((0, 1))) / lines[:, 0].std(0, ddof=0), -4, 4)
    for k in range(4):
        some = fold != k
        oracle = LogisticRegression(C=1 / RIDGE, tol=1e-8, max_iter=1000).fit(x[some], is_early[some])
        np.testing.assert_allclose(made.line_weight[k], oracle.coef_[0], atol=5e-3)
        np.testing.assert_allclose(made.line_bias[k], oracle.intercept_[0], atol=5e-3)


def pictures(n=60):
    """Round and flat galaxies as colour pictures, and which are round."""
    rng, round_ = np.random.default_rng(0), np.arange(n) % 2 == 0
    y, x = np.indices((64, 64)) - 31.5
    ratio = np.where(round_, 0.9, 0.3)[:, None, None]
    light = np.exp(-np.hypot(x, y / ratio) / rng.uniform(3, 6, (n, 1, 1)))[:, None].repeat(3, 1)
    return STRETCHES["sdss"].shown(light), round_


def test_a_training_that_is_cut_off_ends_like_one_that_is_not(tmp_path):
    shown, round_ = pictures()
    views = [views_of(shown)]
    whole = train_pictures(model(), views, round_, tmp_path / "whole", steps=40, report=lambda line: None)
    half = tmp_path / "half"
    train_pictures(model(), views, round_, half, steps=40, stop=20, report=lambda line: None)
    joined = train_pictures(model(), views, round_, half, steps=40, report=lambda line: None)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(tensor, joined.state_dict()[name])
    assert (whole.early[1].weight - model().early[1].weight).abs().max() > 1e-4


def test_pictures_of_pairs_are_left_out(tmp_path):
    names = np.array(["Er", "Sb2m", "A", "Sc", "Ei"])
    np.savez(
        tmp_path / "gz2_images.npz", asset_id=np.arange(5), gz2class=names,
        image64=np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(3, 1).repeat(64, 2).repeat(64, 3),
    )  # fmt: skip
    np.savez(tmp_path / "sdss_pairs.npz", asset_id=np.array([3, -1]))
    found, is_early = read_pictures(tmp_path)
    np.testing.assert_array_equal(found[:, 0, 0, 0], [0, 1, 4])
    np.testing.assert_array_equal(is_early, [True, False, True])


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(InputError, match="gz2_images"):
        read_pictures(tmp_path)
