"""Finding an object's own spectrum: known codes, and the shipped network on its own and on shuffled pairs."""

from dataclasses import replace

import numpy as np
import pytest

from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.retrieval import ranks, retrieval

N = 96


@pytest.fixture(scope="module")
def survey():
    return list(SimulatedSurvey(seed=11).galaxies(N))


def dataset(folder, galaxies):
    galaxies = [replace(galaxy, truth={}) for galaxy in galaxies]
    write_dataset(folder, galaxies, DatasetInfo())
    return Dataset(folder)


def test_the_shipped_network_finds_spectra_by_their_photometry(survey, tmp_path):
    found = retrieval(dataset(tmp_path / "data", survey), np.arange(N))
    assert (found["objects"], found["pool"]) == (N, N)
    assert found["top_1"] > found["top_1_chance"] + 4 * found["top_1_error"]
    assert found["top_5"] > 0.4 > 4 * found["top_5_chance"]


def test_shuffled_spectra_are_found_by_chance(survey, tmp_path):
    others = survey[N // 2 :] + survey[: N // 2]
    galaxies = [replace(p, flux=other.flux, ivar=other.ivar) for p, other in zip(survey, others)]
    found = retrieval(dataset(tmp_path / "data", galaxies), np.arange(N))
    assert found["top_5"] < found["top_5_chance"] + 4 * np.sqrt(found["top_5_chance"] / N)


def test_what_has_no_photometry_is_left_out(survey, tmp_path):
    bare = [replace(p, image=None, photometry=None, photometry_ivar=None) for p in survey[:3]]
    data = dataset(tmp_path / "data", bare + survey[3:9])
    assert retrieval(data, np.arange(9))["objects"] == 6
    with pytest.raises(InputError, match="fewer than two"):
        retrieval(data, np.arange(4))


def test_ranks_of_hand_made_codes():
    codes = np.eye(6)
    np.testing.assert_array_equal(ranks(codes, codes, 6), np.zeros(6))
    swapped = codes[[1, 0, 2, 3, 4, 5]]  # two spectra exchanged
    assert ranks(codes, swapped, 6)[2:].tolist() == [0] * 4
    assert (ranks(codes, swapped, 6)[:2] == 5).all()  # ties count against the network
    towards = codes + 0.5 * np.roll(codes, 1, axis=1)
    np.testing.assert_array_equal(ranks(towards, 3 * codes, 6), np.zeros(6))
    np.testing.assert_array_equal(ranks(codes, np.roll(towards, 1, axis=0), 6), np.ones(6))
    pools = ranks(codes, codes, 4)
    assert pools[:4].tolist() == [0] * 4 and np.isnan(pools[4:]).all()
