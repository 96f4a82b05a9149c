import numpy as np
import pytest
from astropy.table import Table

from pix2spec.errors import InputError
from pix2spec.models.redshift.prior import COUNTS_R, COUNTS_Z, Prior, read_prior


def write(path, **columns):
    Table(columns).write(path)
    return str(path)


def test_weights_are_interpolated_and_zero_outside():
    prior = Prior(np.array([0.1, 0.2]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(prior.weights(np.array([0.05, 0.1, 0.15, 0.2, 0.3]), None), [0, 1, 2, 3, 0])


def test_a_sample_like_the_surveys_has_equal_weights():
    middle = (COUNTS_Z[1:] + COUNTS_Z[:-1]) / 2
    counts = np.exp(-(((middle - 0.2) / 0.1) ** 2))[None] * np.arange(1, len(COUNTS_R))[:, None]
    limit = 18.25  # in the middle of a bin
    rows = np.clip(limit - COUNTS_R[:-1], 0, 0.5) / 0.5
    assert rows.sum() == pytest.approx((limit - COUNTS_R[0]) / 0.5)
    prior = Prior(middle, 7 * (rows @ counts), limit)
    weights = prior.weights(np.linspace(0.05, 0.4, 50), counts)
    np.testing.assert_allclose(weights / weights[0], 1, rtol=1e-6)


def test_files(tmp_path):
    weight = read_prior(write(tmp_path / "a.csv", z=[0.3, 0.1], weight=[2.0, 1.0]))
    np.testing.assert_array_equal(weight.z, [0.1, 0.3])
    assert weight.limit is None
    number = read_prior(write(tmp_path / "b.ecsv", z=[0.1, 0.3], n=[5, 8]) + ":r<19.5")
    assert number.limit == 19.5 and number.values.tolist() == [5, 8]


@pytest.mark.parametrize(
    "columns, match",
    [
        ({"z": [0.1, 0.2], "n": [1, 2]}, "no magnitude limit.*r<19"),
        ({"redshift": [0.1, 0.2], "n": [1, 2]}, "its columns are redshift, n"),
        ({"z": [0.1, 0.2], "weight": [1.0, -2.0]}, "none negative"),
        ({"z": [0.1, np.nan], "weight": [1.0, 2.0]}, "must be numbers"),
        ({"z": [0.1, 0.1], "weight": [1.0, 2.0]}, "twice"),
        ({"z": [0.1, 0.2], "weight": [0.0, 0.0]}, "are zero"),
    ],
)
def test_what_is_no_prior_is_refused(tmp_path, columns, match):
    with pytest.raises(InputError, match=match):
        read_prior(write(tmp_path / "p.csv", **columns))


def test_files_that_are_missing_or_no_tables(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_prior(tmp_path / "none.csv")
    (tmp_path / "x.fits").write_text("no")
    with pytest.raises(InputError, match="no table"):
        read_prior(tmp_path / "x.fits")
