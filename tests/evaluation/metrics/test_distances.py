"""Distances against the formula for Gaussians, chance and planted faults; copies are found."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.distances import (
    beside_chance,
    frechet_distance,
    kernel_distance,
    memorisation,
    spectrum_features,
)
from pix2spec.models.storage import find_model, load_model, read_config
from support.tiny import GRID, tiny_galaxy

D = 6


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def covariance(rng):
    root = rng.normal(size=(D, D))
    return root @ root.T / D


def with_moments(rng, mean, cov, n=500):
    """Codes whose sample mean and covariance are exactly these."""
    x = rng.normal(size=(n, D))
    x -= x.mean(0)
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x.T)), x.T).T
    return mean + x @ np.linalg.cholesky(cov).T


def test_frechet_distance_of_gaussians_is_the_formula(rng):
    ma, mb, ca, cb = rng.normal(size=D), rng.normal(size=D), covariance(rng), covariance(rng)
    expected = ((ma - mb) ** 2).sum() + np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))
    a, b = with_moments(rng, ma, ca), with_moments(rng, mb, cb, n=300)
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_frechet_distance_of_shift_and_scale(rng):
    a = rng.normal(size=(400, D))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 0.5) == pytest.approx(D * 0.25)
    spread = np.trace(np.cov(a.T))
    assert frechet_distance(a, a.mean(0) + 3 * (a - a.mean(0))) == pytest.approx(4 * spread)
    assert frechet_distance(a, rng.permutation(a)) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_takes_singular_covariances(rng):
    a = rng.normal(size=(4, 20))  # rank 3 in 20 dimensions
    flat = np.zeros((7, 20))
    assert frechet_distance(a, flat) == pytest.approx((a.mean(0) ** 2).sum() + np.trace(np.cov(a.T)))
    assert np.isfinite(frechet_distance(a, rng.normal(size=(3, 20))))


def test_kernel_distance_of_two_points_is_the_double_sum(rng):
    a, b = rng.normal(size=(16, D)), rng.normal(size=(20, D))
    value, _ = kernel_distance(a, b, blocks=2, seed=9)
    order = np.random.default_rng(9).permutation(20)
    direct = []
    for i, j in zip(np.array_split(order[order < 16], 2), np.array_split(order, 2)):
        kernel = lambda x, y: (x @ y / D + 1) ** 3  # noqa: E731
        terms = [np.mean([kernel(s[k], s[m]) for k in p for m in p if k != m]) for s, p in ((a, i), (b, j))]
        direct.append(sum(terms) - 2 * np.mean([kernel(a[k], b[m]) for k in i for m in j]))
    assert value == pytest.approx(np.mean(direct))


@pytest.mark.parametrize("paired", [False, True])
def test_kernel_distance_is_unbiased_and_its_error_is_its_scatter(paired, rng):
    values = []
    for _ in range(200):
        a, b = rng.normal(size=(2, 64, D))
        if paired:  # two noisy views of the same objects
            b = 0.9 * a + np.sqrt(1 - 0.81) * b
        values.append(kernel_distance(a, b, blocks=4))
    value, error = np.array(values).T
    assert abs(value.mean()) < 4 * value.std() / np.sqrt(200)
    assert value.std() == pytest.approx(np.sqrt((error**2).mean()), rel=0.25)


def test_kernel_distance_finds_a_shift_and_a_shape_that_frechet_cannot_see(rng):
    a = rng.normal(size=(2000, 2))
    shifted, error = kernel_distance(a, rng.normal(size=(2000, 2)) + 0.2)
    assert shifted > 5 * error
    skewed = np.where(rng.uniform(size=(2000, 2)) < 0.2, 2.0, -0.5)  # of the same mean and covariance
    value, error = kernel_distance(a, skewed)
    assert value > 5 * error
    assert frechet_distance(a, skewed) < 0.02


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_beside_chance(distance, rng):
    common = rng.normal(size=(600, D))
    real, same = (common + 0.5 * rng.normal(size=(600, D)) for _ in range(2))
    equal = beside_chance(distance, real, same)
    assert abs(equal.significance) < 3
    assert abs(beside_chance(distance, real, rng.permutation(same)).significance) < 3
    other = beside_chance(distance, real, same + 0.3)
    assert other.significance > 5
    assert other.chance == pytest.approx(equal.chance)  # of real ones alone
    if distance is frechet_distance:
        assert 0.8 < equal.ratio < 1.25 and other.ratio > 2


def test_repeat_spectra_are_in_one_half(rng):
    galaxies = rng.normal(size=(40, D)).repeat(10, 0)
    seen = []
    beside_chance(lambda a, b: seen.append((a, b)) or 0.0, galaxies, galaxies, 4, 0, np.arange(40).repeat(10))
    assert len(seen) == 8
    for a, b in seen:
        assert len(a) + len(b) == 400
        assert not set(a[:, 0]) & set(b[:, 0])


def test_codes_that_cannot_be_compared_are_refused(rng):
    a = rng.normal(size=(20, D))
    for b in (a[:, :-1], a[:1], np.full((20, D), np.nan)):
        with pytest.raises(InputError, match="codes"):
            frechet_distance(a, b)
    with pytest.raises(InputError, match="blocks"):
        kernel_distance(a, a, blocks=11)
    with pytest.raises(InputError, match="not pairs"):
        beside_chance(frechet_distance, a, a[:-1])


def observed(grid):
    pairs = [tiny_galaxy(i, grid) for i in range(40)]
    return np.stack([p.flux for p in pairs]), np.stack([p.ivar for p in pairs])


@pytest.mark.parametrize("kind", ["shipped", "trained"])
def test_codes_of_both_kinds_of_network(kind, request):
    folder = find_model("default") if kind == "shipped" else request.getfixturevalue("tiny_selector")
    flux, ivar = observed(read_config(folder)["grid"])
    ivar[:, 50:60] = 0
    codes = spectrum_features(flux, ivar, folder)
    assert codes.shape == (40, 64 if kind == "shipped" else 8) and codes.dtype == np.float64
    np.testing.assert_allclose((codes**2).mean(1), 1)
    other = flux.copy()
    other[:, 50:60] = 1e9
    np.testing.assert_array_equal(spectrum_features(other, ivar, load_model(folder)[0]), codes)
    assert np.abs(spectrum_features(flux[::-1], ivar, folder) - codes).max() > 1e-3
    np.testing.assert_array_equal(
        spectrum_features(flux, model=folder), spectrum_features(flux, np.ones_like(flux), folder)
    )
    with pytest.raises(InputError, match=f"grid of {flux.shape[1]}"):
        spectrum_features(flux[:, 1:], None, folder)


def test_codes_need_a_contrastive_network(tiny_run):
    with pytest.raises(InputError, match="no contrastive network"):
        spectrum_features(*observed(GRID), tiny_run)


def test_shipped_network_tells_galaxies_from_reddened_ones_and_not_from_others(sdss_galaxies):
    flux, ivar = (sdss_galaxies[name][:300] for name in ("flux", "ivar"))
    rng = np.random.default_rng(0)
    noise = np.where(ivar > 0, rng.normal(size=flux.shape) / np.sqrt(np.where(ivar > 0, ivar, 1)), 0)
    clean = sdss_galaxies["model"][:300]
    again, redder = clean + noise, (clean + noise) * np.linspace(0.7, 1.3, flux.shape[1])
    real, again, redder = (spectrum_features(x, ivar) for x in (flux, again, redder))
    groups = sdss_galaxies["object_group"][:300]
    same, different = (beside_chance(frechet_distance, real, x, groups=groups) for x in (again, redder))
    assert same.ratio < 2 < different.ratio
    assert different.significance > 5


# ------------------------------------------------------------------------------------- memorisation


def galaxies(rng, n, noise=0.1, size=400):
    """Spectra of few parameters, with noise."""
    x = np.linspace(0, 1, size)
    clean = 2 + rng.normal(0, 0.3, (n, 1)) * x + rng.normal(0, 0.3, (n, 1)) * np.sin(6 * x)
    clean = clean + rng.exponential(1.0, (n, 1)) * np.exp(
        -(((x - rng.uniform(0.3, 0.7, (n, 1))) / 0.02) ** 2)
    )
    return clean, clean + noise * rng.normal(size=clean.shape)


@pytest.fixture(scope="module")
def library():
    rng = np.random.default_rng(8)
    clean, train = galaxies(rng, 1500)
    return rng, clean, train, galaxies(rng, 400)[1]


def test_new_spectra_are_no_copies(library):
    rng, _, train, test = library
    result = memorisation(galaxies(rng, 400)[1], train, test)
    assert abs(result.copied - result.copied_chance) < 3 * result.copied_error
    assert result.p > 0.01
    assert result.distance == pytest.approx(result.distance_real, rel=0.05)


def test_lack_of_noise_brings_spectra_near_but_makes_few_copies_of_them(library):
    rng, _, train, test = library
    result = memorisation(galaxies(rng, 400)[0], train, test)
    assert result.distance < 0.85 * result.distance_real  # nearer, for lack of noise
    assert result.copied < 0.1


@pytest.mark.parametrize("kind", ["as they are", "brighter", "with fresh noise"])
def test_copies_are_found(kind, library):
    rng, clean, train, test = library
    copies = {
        "as they are": train[:400],
        "brighter": 7 * train[:400],
        "with fresh noise": clean[:400] + 0.05 * rng.normal(size=(400, 400)),
    }
    result = memorisation(copies[kind], train, test)
    assert result.copied > result.copied_chance + 5 * result.copied_error
    assert result.p < 1e-10
    if kind != "with fresh noise":
        assert result.copied == 1
        np.testing.assert_array_equal(result.nearest, np.arange(400))
        assert result.nearness.max() < 0.05


def test_a_few_copies_are_counted(library):
    rng, _, train, test = library
    made = galaxies(rng, 400)[1]
    made[:40] = train[100:140]
    result = memorisation(made, train, test)
    assert abs(result.copied - 0.1) < 3 * result.copied_error
    assert set(np.argsort(result.nearness)[:40]) == set(range(40))


def test_more_spectra_than_are_compared_at_once(library):
    rng, _, train, test = library
    made = galaxies(rng, 300)[1]
    whole = memorisation(made, train, test)
    np.testing.assert_allclose(
        memorisation(made[270:], train, test).nearness, whole.nearness[270:], rtol=1e-3
    )


def test_memorisation_refuses_what_it_cannot_compare(library):
    _, _, train, test = library
    with pytest.raises(InputError, match="one length"):
        memorisation(test[:, 1:], train, test)
    with pytest.raises(InputError, match="too few"):
        memorisation(test, train[:5], test)
    with pytest.raises(InputError, match="not finite"):
        memorisation(np.full_like(test, np.nan), train, test)
