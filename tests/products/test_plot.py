"""Figures: what they show, not how they look."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.schema import Galaxy
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.plot import figure_grid, spread
from pix2spec.products.units import PHYSICAL, RELATIVE

GRID = SpectralGrid(3.59, 1e-3, 360)


def make(n=6, unit=PHYSICAL, **changes):
    rng = np.random.default_rng(0)
    candidates = 10 + rng.normal(size=(n, GRID.size))
    return Ensemble("galaxy", GRID, candidates, [0], None, unit, "single", **changes)


def truth(**changes):
    ivar = np.ones(GRID.size)
    ivar[:9] = 0
    return Galaxy(
        "galaxy", flux=np.where(ivar > 0, np.linspace(20, 30, GRID.size), 1e9), ivar=ivar, **changes
    )


label_sets = st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 9)), min_size=1, max_size=12)


@given(label_sets)
def test_spread_labels_never_overlap(labels):
    labels.sort()
    wanted, width = np.array(labels).T
    places = spread(wanted, width)
    assert (np.diff(places) >= (width[1:] + width[:-1]) / 2 - 1e-9).all()
    apart = np.diff(wanted) >= (width[1:] + width[:-1]) / 2
    if apart.all():
        np.testing.assert_allclose(places, wanted, atol=1e-9)


def test_spread_is_the_least_squares_arrangement():
    np.testing.assert_allclose(spread([5, 5], [2, 2]), [4, 6])
    np.testing.assert_allclose(spread([0, 5, 5.5, 20], [2, 2, 2, 2]), [0, 4.25, 6.25, 20])


def test_lines_are_named_where_the_redshift_puts_them():
    figure = figure_grid([make(z=0.1)], [truth(z=0.2)])
    axes = figure.axes[1]
    named = {text.get_text(): text.xy[0] for text in axes.texts}
    assert named["Hβ"] == pytest.approx(4862.68 * 1.2)
    assert "[S II]" in named and "z = 0.2000" in axes.get_title(loc="left")
    assert not figure_grid([make()]).axes[1].texts  # redshift unknown


@pytest.mark.parametrize("z", [0.0, 0.03, 0.1, 0.25, 0.34])
def test_labels_stay_apart_on_paper(z):
    figure = figure_grid([make(z=z)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(t) for t in figure.axes[1].texts]  # without their leader lines
    boxes.sort(key=lambda box: box.x0)
    assert len(boxes) > 5
    for left, right in pairwise(boxes):
        assert left.x1 < right.x0
    title = figure.axes[1].title, figure.axes[1]._left_title
    assert all(t.get_window_extent().y0 >= box.y1 - 1 for t in title if t.get_text() for box in boxes)
    assert boxes[-1].x1 <= figure.bbox.x1


def test_truth_is_drawn_without_invalid_pixels():
    axes = figure_grid([make()], [truth()]).axes[1]
    observed = next(line for line in axes.lines if line.get_label() == "observed spectrum")
    assert np.isnan(observed.get_ydata()[:9]).all()
    assert axes.get_ylim()[1] < 100


def test_relative_spectra_bring_the_truth_to_their_scale():
    axes = figure_grid([make(unit=RELATIVE)], [truth()]).axes[1]
    observed = next(line for line in axes.lines if line.get_label() == "observed spectrum")
    assert np.nanmedian(observed.get_ydata()) == pytest.approx(10, abs=0.5)
    minmax = make(unit=RELATIVE, provenance={"normalisation": "minmax"})
    assert np.isfinite(figure_grid([minmax], [truth()]).axes[1].get_ylim()).all()


@pytest.mark.parametrize("kind", ["linear", "composite", "one band", "photometry", None])
def test_every_kind_of_input_has_a_picture(tmp_path, kind):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 200, (3, 16, 16)).astype(np.float32)
    changes = {
        "linear": {"image": image / 200, "image_kind": "linear"},
        "composite": {"image": image, "image_kind": "composite"},
        "one band": {"image": image[:1], "image_kind": "linear"},
        "photometry": {"photometry": np.array([1.0, 2, np.nan, -1, 3])},
        None: {},
    }[kind]
    figure = figure_grid([make(**changes), make(n=1)], path=tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").stat().st_size > 5000
    if kind == "composite":
        shown = figure.axes[0].images[0].get_array()
        np.testing.assert_allclose(shown[..., 0], image[2] / 255)  # i as red


def test_no_global_state():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure_grid([make()])
    assert plt.get_fignums() == before
