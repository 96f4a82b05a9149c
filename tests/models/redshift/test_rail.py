"""The redshift model as RAIL's stages."""

import numpy as np
import pytest

pytest.importorskip("rail.estimation", reason="RAIL is not installed (pip install 'pix2spec[rail]')")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages that RAIL loads

from pix2spec.errors import InputError  # noqa: E402
from pix2spec.models.redshift.rail import Pix2SpecEstimator, Pix2SpecInformer  # noqa: E402
from pix2spec.models.storage import find_model, load_model  # noqa: E402

BANDS = "ugrizy"
COLOURS = {0: (20.0, 18.6, 17.9, 17.6, 17.4, 17.3), 1: (21.8, 19.9, 18.5, 18.0, 17.7, 17.5)}


def table(n=2):
    """Magnitudes of a near and a farther galaxy; the last has no u and y."""
    magnitudes = np.array([COLOURS[k % 2] for k in range(n)])
    magnitudes[-1, [0, 5]] = 99.0, np.nan
    columns = {f"mag_{band}_lsst": column for band, column in zip(BANDS, magnitudes.T)}
    columns |= {f"mag_err_{band}_lsst": np.full(n, 0.02) for band in BANDS}
    return columns | {"redshift": np.linspace(0.05, 0.3, n), "object_id": np.arange(n)}


def stages(tmp_path, **settings):
    path = str(tmp_path / "model.pkl")
    informer = Pix2SpecInformer.make_stage(name="inform", model=path, hdf5_groupname="", **settings)
    handle = informer.inform(table(50))
    return Pix2SpecEstimator.make_stage(
        name="estimate", model=handle, hdf5_groupname="", output=str(tmp_path / "pz.hdf5")
    )


def test_the_posteriors_are_those_of_the_model(tmp_path):
    estimator = stages(tmp_path, kind="cmodel", extinction="dereddened")
    found = estimator.estimate(table()).data
    assert found.npdf == 2
    model = load_model(find_model("redshift"))[0]
    expected = model.posterior(estimator.model.measurements(table()).tokens())
    for level in (0.16, 0.5, 0.84):
        np.testing.assert_allclose(np.ravel(found.ppf(level)), expected.quantile(level), atol=2e-3)
    assert set(found.ancil) >= {"zmode", "outside_training", "redshift"}


def test_missing_magnitudes_are_no_measurements(tmp_path):
    estimator = stages(tmp_path)
    estimator.open_model(**estimator.config)
    read = estimator.model.measurements(table())
    assert np.isnan(read.flux[-1, [0, 5]]).all() and np.isfinite(read.flux[0]).all()
    assert read.flux[0, 1] == pytest.approx(10 ** (0.4 * (22.5 - 18.6)))
    assert read.error[0, 1] == pytest.approx(read.flux[0, 1] * 0.02 * 0.4 * np.log(10))


def test_the_training_samples_redshifts_become_a_prior(tmp_path):
    plain = stages(tmp_path).estimate(table()).data
    informed = stages(tmp_path, prior_limit=19.0).estimate(table()).data
    assert np.ravel(informed.cdf(0.32)).min() > 0.999  # the sample ends at 0.3
    assert not np.allclose(plain.median(), informed.median())


def test_bands_without_a_filter_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not name a filter"):
        stages(tmp_path, bands=["redshift"], err_bands=["object_id"])
