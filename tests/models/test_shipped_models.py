import numpy as np
import pytest

import pix2spec
from pix2spec.core.photometry import filter_matrix
from pix2spec.core.survey import SDSS
from pix2spec.data.schema import Galaxy
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.models.storage import read_config, shipped_models


@pytest.fixture(scope="module")
def galaxies():
    batch = SimulatedSurvey(seed=77).sample(48)
    names = ("object_id", "z", "image", "photometry", "photometry_ivar", "flux", "ivar")
    return [Galaxy(**{k: batch[k][i] for k in names}) for i in range(48)], batch


@pytest.mark.parametrize("name", ["default", "redshift", "shape"])
def test_shipped_models_say_what_they_saw_and_where_they_fail(name):
    record = read_config(shipped_models()[name])["record"]
    assert record["trained_on"] and record["scores"] and len(record["limits"]) >= 3


def test_a_model_prints_three_lines():
    model = pix2spec.load("default", device="cpu")
    first, training, inputs = repr(model).splitlines()
    assert first.startswith(f"{model.ids['model']}: ")
    record = model.config["record"]
    assert training == f"trained on {record['trained_on']}, {record['steps']} steps"
    assert all(f" of {table}" in training for table in record["tables"])
    assert "image (g, r, i), photometry (u, g, r, i, z), redshift" in inputs
    assert "grid: 3598 pixels, 3890 to 8906 Angstrom" in inputs


def test_weights_stay_small():
    files = [f for folder in shipped_models().values() for f in folder.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 40e6


@pytest.fixture(scope="module")
def model():
    return pix2spec.load(device="cpu")


@pytest.fixture(scope="module")
def ensembles(galaxies, model):
    return model.generate_batch(galaxies[0], "linear", pix2spec.Settings(n=16, noise="none"))


def test_the_default_model_knows_redshifts(galaxies, ensembles):
    batch = galaxies[1]
    guess = np.array([np.median(e.redshifts) for e in ensembles])
    dz = (guess - batch["z"]) / (1 + batch["z"])
    assert np.median(np.abs(dz)) < 0.02  # the spread of the redshifts themselves is 0.08


def test_the_default_model_knows_fluxes(galaxies, ensembles, model):
    batch = galaxies[1]
    weights = filter_matrix(model.grid.wave, SDSS.filters)[:, 2]
    synthetic = np.stack([e.candidates @ weights for e in ensembles])
    ratio = synthetic / batch["photometry"][:, 2:3]  # the amplitude is drawn too
    assert abs(np.median(ratio) - 1) < 0.03 and np.median(np.abs(ratio - 1)) < 0.1
    clean = np.stack([e.candidates.mean(0) for e in ensembles])
    scale = np.median(batch["true_flux"], 1, keepdims=True)
    assert (((clean - batch["true_flux"]) / scale) ** 2).mean() < 0.03


def test_candidates_with_a_given_redshift_have_it(galaxies):
    pairs, batch = galaxies
    known = Galaxy("known", z=float(batch["z"][0]), z_err=0.0, photometry=pairs[0].photometry,
                 photometry_ivar=pairs[0].photometry_ivar)  # fmt: skip
    ensemble = pix2spec.load(device="cpu").generate(known, n=8, use=("photometry", "redshift"))
    np.testing.assert_allclose(ensemble.redshifts, batch["z"][0], atol=1e-4)


def test_the_default_model_takes_fluxes_alone(galaxies):
    pairs, batch = galaxies
    ensemble = pix2spec.load(device="cpu").generate(pairs[0], n=8, use=("photometry",))
    assert ensemble.unit == pix2spec.products.units.PHYSICAL and np.isfinite(ensemble.candidates).all()
    assert abs(np.median(ensemble.redshifts) - batch["z"][0]) < 0.05
