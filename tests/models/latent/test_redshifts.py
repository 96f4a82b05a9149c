"""Candidates of a factorised model whose redshifts come from a redshift model with a known answer."""

import numpy as np
import pytest
from astropy import units as u

import pix2spec
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.models.redshift.posterior import to_y
from support.fake_redshifts import Oracle

FLUXES = np.array([13.7, 55.0, 120.2, 177.0, 237.7])
QUICK = {"n": 8, "steps": 2, "noise": "none", "use": ("photometry",)}


@pytest.fixture(scope="module")
def loaded(tiny_factorised_run):
    return pix2spec.load(tiny_factorised_run, device="cpu")


@pytest.fixture
def model(loaded, monkeypatch):
    monkeypatch.setattr(loaded, "redshifts", Oracle())
    return loaded


def galaxy(name="a", **options):
    values = {"photometry": {b: (f, 0.03 * f) for b, f in zip("ugriz", FLUXES)}, "kind": "model"}
    return pix2spec.Galaxy(name, **values | options)


def test_redshifts_are_draws(model):
    made = model.generate(galaxy(), **QUICK | {"n": 64})
    y = (to_y(made.redshifts.astype(float)) - to_y(0.2377)) / Oracle.sd
    assert abs(y.mean()) < 0.4 and 0.75 < y.std() < 1.25


def test_flags(model, monkeypatch):
    assert "outside-training" not in model.generate(galaxy(), **QUICK).flags
    monkeypatch.setattr(model, "redshifts", Oracle(0.6, outside=True))
    made = model.generate(galaxy(), **QUICK)
    assert {"outside-training", "redshift-beyond-spectra"} <= set(made.flags)
    assert np.median(made.redshifts) == pytest.approx(0.6, abs=0.05)
    assert np.isnan(made.noise_free[made.redshifts > 0.46]).all()


def test_filters_that_the_flow_does_not_know_give_a_redshift(model):
    infrared = {"wise2010-W1": 17 * u.ABmag, "twomass-J": 16.5 * u.ABmag}
    made = model.generate(pix2spec.Galaxy("w", photometry=infrared, kind="total"), **QUICK)
    assert "spectrum-from-redshift-alone" in made.flags and made.unit != "1e-17 erg/s/cm2/Angstrom"
    assert np.isfinite(made.candidates).all()


def test_an_image_beside_fibre_fluxes_keeps_the_flows_redshifts(model):
    one = SimulatedSurvey(seed=9).sample(1)
    fibre = pix2spec.Galaxy(
        "i", image=one["image"][0], photometry=one["photometry"][0], photometry_ivar=one["photometry_ivar"][0]
    )
    options = QUICK | {"use": ("image", "photometry")}
    model.generate(fibre, **options)
    assert not model.redshifts.seen
    model.generate(galaxy(image=one["image"][0]), **options)
    assert len(model.redshifts.seen) == 1
