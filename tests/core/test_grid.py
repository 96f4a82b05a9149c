import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError

GRID = SpectralGrid()


def test_the_papers_grid():
    assert GRID.loglam[0] == 3.59 and GRID.size == 3598
    assert GRID.loglam[-1] == pytest.approx(3.9497)
    np.testing.assert_allclose(GRID.pixel(GRID.wave), np.arange(GRID.size), atol=1e-6)


def test_json_round_trip():
    grid = SpectralGrid(3.6, 2e-4, 100)
    assert SpectralGrid(**json.loads(json.dumps(grid.as_dict()))) == grid


@given(before=st.integers(0, 300), after=st.integers(0, 300), single=st.booleans())
def test_place_shifts_by_whole_pixels(before, after, single):
    loglam = 3.59 + 1e-4 * np.arange(-before, 3598 + after)
    flux = np.arange(len(loglam), dtype=float)
    (cut,) = GRID.place(loglam.astype(np.float32) if single else loglam, flux)
    np.testing.assert_array_equal(cut, before + np.arange(3598))


@pytest.mark.parametrize(
    ("loglam", "says"),
    [
        (GRID.loglam + 3e-5, "do not fall on the grid"),
        (3.5 + 2e-4 * np.arange(5000), "do not fall on the grid"),
        (np.linspace(3.59, 3.95, 3598), "do not fall on the grid"),
        (GRID.loglam[::-1], "do not fall on the grid"),
        (GRID.loglam[1:], "range is too short"),
        (GRID.loglam[:-1], "range is too short"),
        (np.r_[GRID.loglam[:-1], np.nan], "not finite"),
        (np.array([3.59]), "missing"),
        (GRID.loglam[None], "missing"),
    ],
)
def test_other_pixels_are_refused(loglam, says):
    with pytest.raises(InputError, match=f"spec-1.fits.*{says}"):
        GRID.place(loglam, np.zeros(np.shape(loglam)[-1]), where="spec-1.fits")


def test_columns_of_another_length_are_refused():
    with pytest.raises(InputError, match="differ in length"):
        GRID.place(GRID.loglam, np.zeros(3597))
