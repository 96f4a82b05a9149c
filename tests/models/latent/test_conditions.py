"""Tokens: what is absent has no influence, what is given has, and augmentation keeps the light."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.photometry import aperture_weights
from pix2spec.core.scaling import from_lupton_rgb, lupton_rgb
from pix2spec.core.survey import SDSS
from pix2spec.models.latent.conditions import (
    RADII,
    ConditionNetwork,
    augment,
    drop_tokens,
    image_token,
    redshift_token,
)
from pix2spec.models.shared.inputs import TOKENS, photometry_token
from pix2spec.runtime.random import BatchRng


def galaxies(n, seed=0):
    """Images, fluxes, ivar, redshifts and their errors of n galaxies."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5
    size = rng.uniform(2, 6, (n, 1, 1))
    blob = np.exp(-np.hypot(x - rng.normal(0, 1, (n, 1, 1)), 1.3 * y) / size)
    image = blob[:, None] * rng.uniform(0.1, 1, (n, 3, 1, 1)) + 0.02 * rng.normal(size=(n, 3, 64, 64))
    flux = rng.uniform(1, 100, (n, 5)).astype(np.float32)
    return (
        image.astype(np.float32),
        flux,
        (25 / flux**2).astype(np.float32),
        rng.uniform(0.01, 0.4, n),
        rng.uniform(1e-4, 0.1, n),
    )


def tokens_of(image, flux, ivar, z, z_err, kind="linear"):
    return image_token(image, kind) | photometry_token(flux, ivar) | redshift_token(z, z_err)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ConditionNetwork(SDSS, channels=(8, 8, 8), blocks=1, width=16).eval()


# --- tokens ---------------------------------------------------------------------------------------------


def test_tokens_know_whether_they_are_there():
    image, flux, ivar, z, z_err = galaxies(4)
    image[1, 0, 3, 3], image[2] = np.nan, 0
    ivar[3], z[0] = 0, np.nan
    tokens = tokens_of(image, flux, ivar, z, z_err)
    assert tokens["has_image"].tolist() == [1, 0, 0, 1]
    assert tokens["has_photometry"].tolist() == [1, 1, 1, 0]
    assert tokens["has_redshift"].tolist() == [0, 1, 1, 1]
    assert all(torch.isfinite(value).all() and value.dtype == torch.float32 for value in tokens.values())


@pytest.mark.parametrize("garbage", [0.0, -5.0, 1e30, np.nan, np.inf])
def test_bands_without_an_error_do_not_matter(garbage):
    _, flux, ivar, *_ = galaxies(3)
    ivar[0, 2] = ivar[1, :2] = 0
    clean = photometry_token(flux, ivar)
    flux[0, 2] = garbage
    flux[1, :2] = garbage
    dirty = photometry_token(flux, ivar)
    assert all(torch.equal(clean[name], dirty[name]) for name in clean)


def test_fluxes_that_are_not_finite_or_errors_that_are_no_errors_count_as_absent():
    _, flux, ivar, *_ = galaxies(2)
    absent = ivar.copy()
    absent[:, 1] = 0
    expected = photometry_token(flux, absent)["photometry"]
    for value in (np.nan, np.inf):
        broken = flux.copy()
        broken[:, 1] = value
        assert torch.equal(photometry_token(broken, ivar)["photometry"], expected)
    for value in (np.nan, -1.0):
        broken = ivar.copy()
        broken[:, 1] = value
        assert torch.equal(photometry_token(flux, broken)["photometry"], expected)


def test_photometric_errors_enter():
    _, flux, ivar, *_ = galaxies(3)
    a, b = photometry_token(flux, ivar)["photometry"], photometry_token(flux, ivar / 4)["photometry"]
    assert torch.equal(a[:, :5], b[:, :5]) and torch.equal(a[:, 10:], b[:, 10:])
    torch.testing.assert_close((b - a)[:, 5:10], torch.full((3, 5), np.log(2)).float(), rtol=1e-4, atol=1e-5)


def test_bright_fluxes_are_logarithms_and_faint_ones_linear():
    flux = np.array([[100.0, 200.0, 0.0, 0.01, -0.01]], np.float32)
    brightness = photometry_token(flux, np.ones_like(flux))["photometry"][0, :5]
    assert (brightness[1] - brightness[0]).item() == pytest.approx(np.log(2), abs=1e-4)
    assert brightness[2] == 0 and brightness[3] == -brightness[4]


def test_redshift_errors_enter_and_a_missing_one_counts_as_spectroscopic():
    z = np.full(4, 0.1)
    columns = redshift_token(z, np.array([0.0, np.nan, 1e-4, 0.03]))["redshift"]
    assert torch.equal(columns[0], columns[1]) and torch.equal(columns[0], columns[2])
    assert columns[3, 0] == columns[0, 0] and columns[3, 1] > columns[0, 1] + 2


def test_a_composite_is_made_linear_again():
    rng = np.random.default_rng(0)
    image = rng.exponential(0.05, (5, 3, 8, 8)).astype(np.float32) + 1e-4
    composite = lupton_rgb(image)
    unclipped = composite.max(1) < 254.9
    assert unclipped.mean() > 0.9
    back = from_lupton_rgb(composite)
    for band in range(3):
        np.testing.assert_allclose(back[:, band][unclipped], image[:, band][unclipped], rtol=1e-4)
    token = image_token(composite, "composite")
    assert torch.equal(token["image"], torch.from_numpy(back)) and token["lossy"].tolist() == [1] * 5
    assert image_token(image, "linear")["lossy"].tolist() == [0] * 5


@given(st.floats(1e-6, 0.1), st.floats(1e-6, 0.1), st.floats(1e-6, 0.1))
def test_the_stretch_is_inverted_for_any_colour(g, r, i):
    image = np.array([g, r, i], np.float32)[:, None, None]
    composite = lupton_rgb(image)
    if composite.max() < 254.9:
        np.testing.assert_allclose(from_lupton_rgb(composite), image, rtol=2e-3)


def test_clipped_pixels_are_too_faint_but_finite():
    image = np.full((3, 4, 4), 50.0, np.float32)
    back = from_lupton_rgb(lupton_rgb(image))
    assert np.isfinite(back).all() and (back < image).all() and (back > 0.1).all()


# --- hiding and augmenting ------------------------------------------------------------------------------


def test_tokens_are_dropped_at_their_rates():
    n = 20_000
    tokens = {f"has_{name}": torch.ones(n) for name in TOKENS}
    tokens["has_redshift"][: n // 2] = 0  # what is absent stays so
    rates = {"image": 0.2, "photometry": 0.3, "redshift": 0.7, "all": 0.1}
    dropped = drop_tokens(tokens, rates, BatchRng(0))
    image, photometry, redshift = (dropped[f"has_{name}"] for name in TOKENS)
    assert image.mean().item() == pytest.approx(0.8 * 0.9, abs=0.015)
    assert photometry.mean().item() == pytest.approx(0.7 * 0.9, abs=0.015)
    assert redshift[n // 2 :].mean().item() == pytest.approx(0.3 * 0.9, abs=0.02)
    assert not redshift[: n // 2].any()
    nothing = (image + photometry + redshift)[n // 2 :] == 0
    assert nothing.float().mean().item() == pytest.approx(0.1 + 0.9 * 0.2 * 0.3 * 0.7, abs=0.015)
    assert tokens["has_image"].all()  # the input is as it was


def test_no_rates_drop_nothing_and_full_rates_everything():
    tokens = {f"has_{name}": torch.ones(50) for name in TOKENS}
    rng = BatchRng(0)
    none = drop_tokens(tokens, dict.fromkeys((*TOKENS, "all"), 0.0), rng)
    assert all(none[f"has_{name}"].all() for name in TOKENS)
    every = drop_tokens(tokens, dict.fromkeys(TOKENS, 0.0) | {"all": 1.0}, rng)
    assert not any(every[f"has_{name}"].any() for name in TOKENS)


def test_augmentation_keeps_sums_over_apertures_and_shows_all_eight_views():
    image = galaxies(1)[0].repeat(200, 0)
    turned = augment(image_token(image, "linear"), 0.0, BatchRng(0))["image"].numpy()
    for radius in RADII:
        weights = aperture_weights((64, 64), SDSS.pixel_scale, 2 * radius)
        before, after = ((values * weights).sum((2, 3)) for values in (image, turned))
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    views = {view.tobytes() for view in turned}
    square = [np.rot90(image[0], k, (1, 2)) for k in range(4)]
    expected = {v.tobytes() for s in square for v in (s, s[:, ::-1])}
    assert views == expected and len(expected) == 8


def test_a_share_of_the_cutouts_is_shown_as_composites():
    image = galaxies(400)[0]
    tokens = image_token(image, "linear")
    shown = augment(tokens, 0.25, BatchRng(0))
    lossy = shown["lossy"].bool()
    assert lossy.float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert (shown["image"][lossy] >= 0).all()  # a composite has no negative pixel
    assert (shown["image"][~lossy] < 0).any((1, 2, 3)).all()
    np.testing.assert_array_equal(np.sort(shown["image"][~lossy].numpy(), None), np.sort(image[~lossy], None))
    assert not tokens["lossy"].any() and np.array_equal(tokens["image"], image)


def test_a_composite_is_not_stretched_twice():
    composite = np.rint(lupton_rgb(galaxies(20)[0]))
    tokens = image_token(composite, "composite")
    shown = augment(tokens, 1.0, BatchRng(0))
    assert shown["lossy"].all()
    np.testing.assert_array_equal(
        np.sort(shown["image"].numpy(), None), np.sort(tokens["image"].numpy(), None)
    )


# --- network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", TOKENS)
def test_what_is_absent_has_no_influence_whatever_it_holds(network, absent):
    tokens = tokens_of(*galaxies(4))
    tokens[f"has_{absent}"] = torch.tensor([1.0, 0, 1, 0])
    expected = network(tokens)
    for garbage in (0.0, 1e20, torch.nan):
        dirty = tokens | {absent: tokens[absent].clone()}
        dirty[absent][[1, 3]] = garbage
        assert torch.equal(network(dirty), expected)


@pytest.mark.parametrize("given", TOKENS)
def test_what_is_given_has_an_influence(network, given):
    mine, other = tokens_of(*galaxies(4)), tokens_of(*galaxies(4, seed=1))
    assert (network(mine | {given: other[given]}) - network(mine)).abs().amax(1).min() > 1e-5
    hidden = network(mine | {f"has_{given}": torch.zeros(4)})
    assert (hidden - network(mine)).abs().amax(1).min() > 1e-5


def test_with_nothing_known_the_condition_is_that_of_nothing(network):
    tokens = tokens_of(*galaxies(4)) | {f"has_{name}": torch.zeros(4) for name in TOKENS}
    torch.testing.assert_close(network(tokens), network.nothing(4))
    assert network.nothing(4).shape == (4, network.width)


def test_conditions_do_not_depend_on_the_batch(network):
    arrays = galaxies(6)
    together = network(tokens_of(*arrays))
    for i in (0, 5):
        alone = network(tokens_of(*(a[i : i + 1] for a in arrays)))
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-6)


def test_gradients_reach_every_part(network):
    tokens = tokens_of(*galaxies(4))
    for name in TOKENS:
        tokens[f"has_{name}"] = torch.tensor([1.0, 1, 0, 0])
    network(tokens).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0, name
    network.zero_grad()
