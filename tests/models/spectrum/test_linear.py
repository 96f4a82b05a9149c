"""The best linear answer: against the textbook posterior of a Gaussian, and against truths."""

import numpy as np
import torch

from pix2spec.models.spectrum.linear import MODEL_ERROR, LinearPrior, fit_linear

Q, K = 4, 7


def case(n=300, error=0.02, seed=0):
    """Fluxes of galaxies from a Gaussian prior, with their coefficients and scales."""
    rng = np.random.default_rng(seed)
    root = np.tril(rng.normal(size=(Q, Q))) * 0.3 + 0.3 * np.eye(Q)
    mean = np.r_[1.0, rng.normal(size=Q) * 0.2]
    prior = LinearPrior(torch.from_numpy(mean), torch.from_numpy(root))
    parts = np.abs(rng.normal(size=(1, K, 1 + Q))) * 0.3
    parts[..., 0] = rng.uniform(1, 3, (1, K))
    parts = np.repeat(parts, n, 0)
    c = mean[1:] + rng.normal(size=(n, Q)) @ root.T
    scale = np.exp(rng.normal(size=n))
    clean = scale[:, None] * (parts @ np.c_[np.ones(n), c][..., None])[..., 0]
    sigma = error * np.abs(clean)
    flux = clean + sigma * rng.normal(size=clean.shape)
    tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in (parts, flux, sigma)]
    return prior, *tensors, torch.ones(n, K, dtype=torch.bool), c, scale


def test_the_posterior_is_calibrated():
    prior, parts, flux, error, seen, c, _ = case()
    fit = fit_linear(prior, parts, flux, error, seen)
    pull = ((fit.mean - torch.from_numpy(c)) / fit.sd).numpy()
    assert abs(pull.mean()) < 0.1 and 0.85 < pull.std() < 1.1


def test_the_posterior_is_the_textbook_one_at_a_known_scale():
    prior, parts, flux, error, seen, *_ = case(n=1)
    fit = fit_linear(prior, parts, flux, error, seen)
    a, s, mean, root = parts[0].numpy(), float(fit.scale), prior.mean.numpy(), prior.factor.numpy()
    noise = np.diag((np.hypot(error[0].numpy(), MODEL_ERROR * flux[0].numpy()) / s) ** 2)
    spread = root @ root.T
    gain = spread @ a[:, 1:].T @ np.linalg.inv(a[:, 1:] @ spread @ a[:, 1:].T + noise)
    expected = mean[1:] + gain @ (flux[0].numpy() / s - a @ mean)
    np.testing.assert_allclose(fit.mean[0], expected, atol=2e-2)


def test_without_fluxes_the_answer_is_the_prior():
    prior, parts, flux, error, seen, *_ = case(n=3)
    fit = fit_linear(prior, parts, flux, error, seen & False)
    np.testing.assert_allclose(fit.mean, prior.mean[1:].expand(3, -1), atol=1e-9)
    np.testing.assert_allclose(fit.sd[0], ((prior.factor**2).sum(1)) ** 0.5, rtol=1e-6)
    assert (fit.scale == 1).all()


def test_exact_fluxes_give_the_coefficients():
    prior, parts, flux, error, seen, c, scale = case(error=1e-4)
    fit = fit_linear(prior, parts, flux, error, seen)
    assert np.median(np.abs(fit.scale.numpy() / scale - 1)) < 0.02
    assert np.median(np.abs(fit.mean.numpy() - c)) < 0.1


def test_negative_fluxes_give_finite_answers():
    prior, parts, flux, error, seen, *_ = case(n=20)
    fit = fit_linear(prior, parts, -flux, error, seen)
    assert all(torch.isfinite(values).all() for values in vars(fit).values()) and (fit.scale > 0).all()
