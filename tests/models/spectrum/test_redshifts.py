"""Candidates of the default model's family whose redshifts come from a redshift model with a known answer."""

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.table import Table
from scipy.stats import norm

import pix2spec
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.models.redshift.posterior import RedshiftPosterior, from_y, to_y
from pix2spec.models.spectrum import redshifts
from pix2spec.models.storage import save_model
from support.fake_redshifts import Oracle
from support.tiny import tiny_spectrum_model

FLUXES = np.array([13.7, 55.0, 120.2, 177.0, 237.7])
QUICK = {"n": 8, "steps": 2, "noise": "none", "use": ("photometry",)}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_model(folder, tiny_spectrum_model(), {"trained_on": "nothing"})
    return pix2spec.load(folder, device="cpu")


@pytest.fixture
def model(loaded, monkeypatch):
    monkeypatch.setattr(loaded, "redshifts", Oracle())
    return loaded


def galaxy(name="a", **options):
    values = {"photometry": {b: (f, 0.03 * f) for b, f in zip("ugriz", FLUXES)}, "kind": "model"}
    return pix2spec.Galaxy(name, **values | options)


def test_redshifts_are_draws_and_spectra_lie_at_them(model):
    made = model.generate(galaxy(), **QUICK | {"n": 64})
    y = (to_y(made.redshifts.astype(float)) - to_y(0.2377)) / Oracle.sd
    assert abs(y.mean()) < 0.4 and 0.75 < y.std() < 1.25
    # The 4000 A break of a spectrum lies where its redshift puts it: the spectrum in the rest frame is alike.
    rest = [
        np.interp(3700 + np.arange(900), made.grid.wave / (1 + z), flux)
        for z, flux in zip(made.redshifts, made.candidates)
    ]
    mean = np.mean([r / r.mean() for r in rest], 0)
    assert mean[500:].mean() > 1.1 * mean[100:250].mean()


def test_draws_do_not_depend_on_the_batch(model):
    both = model.generate_batch([galaxy("a"), galaxy("b")], "linear", pix2spec.Settings(**QUICK))
    np.testing.assert_array_equal(both[1].redshifts, model.generate(galaxy("b"), **QUICK).redshifts)
    np.testing.assert_allclose(
        both[0].candidates, model.generate(galaxy("a"), **QUICK).candidates, rtol=1e-3, atol=0.02
    )
    assert not np.array_equal(both[0].redshifts, both[1].redshifts)


def test_a_redshift_with_an_error_multiplies(model, monkeypatch):
    monkeypatch.setattr(model, "redshifts", Oracle(0.2))
    z, error = 0.21, 0.01
    options = QUICK | {"n": 400, "use": ("photometry", "redshift")}
    made = model.generate(galaxy(z=z, z_err=error), **options)
    grid = np.linspace(0.1, 0.3, 4001)
    weight = norm.pdf(to_y(grid), to_y(0.2), Oracle.sd) / (grid + 0.02) * norm.pdf(grid, z, error)
    mean = (weight * grid).sum() / weight.sum()
    sd = np.sqrt((weight * (grid - mean) ** 2).sum() / weight.sum())
    assert made.redshifts.mean() == pytest.approx(mean, abs=4 * sd / 20)
    assert made.redshifts.std() == pytest.approx(sd, rel=0.15)
    exact = model.generate(galaxy(z=z, z_err=1e-4), **options | {"n": 2})
    np.testing.assert_allclose(exact.redshifts, z, atol=1e-4)


def test_a_prior_weights_the_redshifts(model, monkeypatch, tmp_path):
    monkeypatch.setattr(model, "redshifts", Oracle(0.2))
    path = tmp_path / "prior.csv"
    Table({"z": [0.0, 0.2, 0.2001, 0.8], "weight": [0.0, 0.0, 1.0, 1.0]}).write(path)
    assert model.generate(galaxy(), **QUICK, prior=str(path)).redshifts.min() >= 0.2
    with pytest.raises(pix2spec.InputError, match="there is no file"):
        model.generate(galaxy(), **QUICK, prior="none.csv")


def test_the_floor_reaches_the_redshift_model(model):
    model.generate(galaxy(photometry={b: (f, 1e-5) for b, f in zip("ugriz", FLUXES)}), **QUICK)
    model.generate(galaxy(photometry={b: (f, 1e-5) for b, f in zip("ugriz", FLUXES)}), **QUICK, floor=0.1)
    error = [(tokens.error / tokens.flux)[0].numpy() for tokens in model.redshifts.seen]
    np.testing.assert_allclose(error[0], 0.00921, rtol=1e-3)
    np.testing.assert_allclose(error[1], 0.0921, rtol=1e-3)


def test_flags(model, monkeypatch):
    assert "outside-training" not in model.generate(galaxy(), **QUICK).flags
    monkeypatch.setattr(model, "redshifts", Oracle(0.6, outside=True))
    made = model.generate(galaxy(), **QUICK)
    assert {"outside-training", "redshift-beyond-spectra"} <= set(made.flags)
    assert np.median(made.redshifts) == pytest.approx(0.6, abs=0.05)


def test_redshifts_beyond_the_spectra_have_no_noise_free_spectrum(model, monkeypatch):
    monkeypatch.setattr(model, "redshifts", Oracle(0.45))
    made = model.generate(galaxy(), **QUICK | {"n": 32})
    beyond = made.redshifts > model.model.z_max + 1e-3
    assert beyond.any() and not beyond.all()
    np.testing.assert_array_equal(np.isnan(made.noise_free).all(1), beyond)
    assert np.isfinite(made.candidates).all()


def test_filters_of_other_surveys_give_a_redshift(model):
    infrared = {"wise2010-W1": 17 * u.ABmag, "twomass-J": 16.5 * u.ABmag}
    made = model.generate(pix2spec.Galaxy("w", photometry=infrared, kind="total"), **QUICK)
    assert len(model.redshifts.seen) == 1 and "spectrum-from-redshift-alone" not in made.flags
    assert np.isfinite(made.candidates).all()


def test_a_galaxy_without_any_usable_flux_is_refused(model):
    nothing = pix2spec.Galaxy("n", photometry=np.full(5, np.nan), photometry_ivar=np.zeros(5))
    with pytest.raises(pix2spec.InputError, match="none of: photometry"):
        model.generate(nothing, **QUICK)


def test_a_picture_decides_as_far_as_it_is_like_a_simulated_one(model, monkeypatch):
    pictured, options = (
        next(SimulatedSurvey(seed=9).galaxies(1)),
        QUICK | {"use": ("image", "photometry"), "n": 64},
    )
    by_fluxes = model.generate(pictured, **QUICK | {"n": 64}).redshifts
    shares = {}
    for like in (0.0, 0.5, 1.0):
        monkeypatch.setattr(
            type(model.model), "likeness", lambda self, picture, p=like: torch.full((len(picture),), p)
        )
        made = model.generate(pictured, **options)
        assert "outside-training" not in made.flags
        shares[like] = np.mean((made.redshifts > by_fluxes.min()) & (made.redshifts < by_fluxes.max()))
    assert shares[0.0] > 0.95 and shares[1.0] < 0.3  # the network of pictures has learnt nothing
    assert abs(shares[0.5] - (shares[0.0] + shares[1.0]) / 2) < 0.1


def test_the_quantiles_of_the_oracle():
    assert from_y(to_y(0.3)) == pytest.approx(0.3)


def test_pictures_and_fluxes_mix_by_how_much_a_picture_is_like_a_simulated_one():
    """Of two distributions, a share of the probability each; what has no fluxes keeps its own."""
    rng = np.random.default_rng(0)

    def drawn(n, components, centre):
        weight = rng.dirichlet(np.ones(components), n)
        return RedshiftPosterior(
            weight, centre + 0.1 * rng.random((n, components)), np.full((n, components), 0.01)
        )

    picture, fluxes = drawn(3, 4, -3.0), drawn(2, 5, -1.0)
    made = redshifts._joined(picture, fluxes, np.array([0, 2]), np.array([0.25, 0.5, 1.0]))
    between = from_y(np.full(3, -2.0))
    np.testing.assert_allclose(made.weight.sum(1), 1)
    np.testing.assert_allclose(made.cdf(between), [0.25, 1.0, 1.0], atol=1e-9)
    below = from_y(np.full(3, -2.95))
    np.testing.assert_allclose(made.cdf(below), picture.cdf(below) * [0.25, 1, 1], atol=1e-9)
    assert np.isfinite(made.sample(50)).all()
