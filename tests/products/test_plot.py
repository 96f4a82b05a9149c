"""Figures: what they show, not how they look."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.text import Text
from scipy.stats import gaussian_kde

from pix2spec.core.extinction import coefficients
from pix2spec.core.filters import load_filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LIGHT_SPEED_ANGSTROM_S
from pix2spec.core.photometry import FLUX_UNIT, NANOMAGGY, filter_matrix
from pix2spec.data.measurements import Measurements
from pix2spec.data.schema import Galaxy
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.photometry_points import PhotometryPoints, photometry_points
from pix2spec.products.plot import figure_grid
from pix2spec.products.spectrum_panel import place_inset, redshift_density, smooth_quantiles, spread
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


def test_a_figure_is_saved_as_matplotlib_lays_it_out(tmp_path):
    figure = figure_grid([make(z=0.1)], path=tmp_path / "ours.png")
    assert figure.get_dpi() == 150 and figure.get_layout_engine() is not None
    figure.savefig(tmp_path / "theirs.png", dpi=200)
    ours, theirs = (imread(tmp_path / f"{name}.png") for name in ("ours", "theirs"))
    assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 1e-3


def test_the_density_of_redshifts_is_that_of_a_kernel_of_the_same_width():
    z = np.random.default_rng(0).normal(0.1, 0.02, 40)
    place, density = redshift_density(z)
    low, high = np.quantile(z, (0.16, 0.84))
    width = 0.9 * min(z.std(), (high - low) / 2) * len(z) ** -0.2  # Silverman's rule
    expected = gaussian_kde(z, width / z.std(ddof=1))(place)
    np.testing.assert_allclose(density, expected, rtol=1e-9)


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
    axes = figure.axes[-1]
    named = {text.get_text(): text.xy[0] for text in axes.texts}
    assert named["Hβ"] == pytest.approx(4862.68 * 1.2)
    assert "[S II]" in named and "z = 0.2000" in axes.get_title(loc="left")
    assert not figure_grid([make()]).axes[0].texts  # redshift unknown


@pytest.mark.parametrize("z", [0.0, 0.03, 0.1, 0.25, 0.34])
def test_labels_stay_apart_on_paper(z):
    figure = figure_grid([make(z=z)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(t) for t in figure.axes[-1].texts]  # without their leader lines
    boxes.sort(key=lambda box: box.x0)
    assert len(boxes) > 5
    for left, right in pairwise(boxes):
        assert left.x1 < right.x0
    title = figure.axes[-1].title, figure.axes[-1]._left_title
    assert all(t.get_window_extent().y0 >= box.y1 - 1 for t in title if t.get_text() for box in boxes)
    assert boxes[-1].x1 <= figure.bbox.x1


def test_truth_is_drawn_without_invalid_pixels():
    axes = figure_grid([make()], [truth()]).axes[-1]
    observed = next(line for line in axes.lines if line.get_label() == "observed spectrum")
    assert np.isnan(observed.get_ydata()[:9]).all()
    assert axes.get_ylim()[1] < 100


def test_relative_spectra_bring_the_truth_to_their_scale():
    axes = figure_grid([make(unit=RELATIVE)], [truth()]).axes[-1]
    observed = next(line for line in axes.lines if line.get_label() == "observed spectrum")
    assert np.nanmedian(observed.get_ydata()) == pytest.approx(10, abs=0.5)
    minmax = make(unit=RELATIVE, provenance={"normalisation": "minmax"})
    assert np.isfinite(figure_grid([minmax], [truth()]).axes[-1].get_ylim()).all()


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


def photometric(n=25, **changes):
    """An ensemble of a flat AB spectrum of one nanomaggy, with photometry of it in SDSS's filters and W1."""
    rng = np.random.default_rng(1)
    flux = NANOMAGGY * LIGHT_SPEED_ANGSTROM_S / GRID.wave**2 / FLUX_UNIT
    candidates = flux * (1 + 0.01 * rng.normal(size=(n, GRID.size)))
    filters = ("wise2010-W1", "sdss2010-r", "sdss2010-u", "sdss2010-i", "sdss2010-g")
    given = Measurements(filters, np.ones(5), np.full(5, 0.1), ("model",) * 5, extinction="observed")
    changes = {"redshifts": rng.normal(0.1, 0.02, n), "measurements": given} | changes
    return Ensemble("galaxy", GRID, candidates, np.arange(n), None, PHYSICAL, "all", **changes)


def test_photometry_stands_on_a_flat_spectrum():
    ensemble = photometric()
    points = photometry_points(ensemble)
    assert points.filters == tuple(f"sdss2010-{band}" for band in "ugri")
    assert points.label == "photometry (model)"
    inside = points.wave > GRID.wave[0]
    expected = np.interp(points.wave[inside], GRID.wave, np.median(ensemble.candidates, 0))
    np.testing.assert_allclose(points.flux[inside], expected, rtol=0.02)
    np.testing.assert_allclose(points.error, 0.1 * points.flux)


def test_a_point_is_the_mean_flux_that_the_filter_sees():
    curve, wave = load_filter("sdss2010-r"), np.arange(5000, 7500.0)
    flux, response = (wave / 6000) ** 4, np.interp(wave, curve.wave, curve.response, left=0, right=0)
    mean = (flux * response * wave).sum() / (response * wave).sum()
    nanomaggies = float(flux @ filter_matrix(wave, ["sdss2010-r"])[:, 0])
    given = Measurements(("sdss2010-r",), np.array([nanomaggies]), np.array([0.1]), ("fibre",))
    points = photometry_points(photometric(measurements=given))
    assert points.flux[0] == pytest.approx(mean, rel=1e-3)


def test_photometry_is_corrected_for_known_extinction():
    given = photometric().measurements
    reddened = photometry_points(photometric(measurements=replace(given, extinction=0.1)))
    plain = photometry_points(photometric())
    place = [f"sdss2010-{band}" for band in "ugri"]
    magnitudes = 2.5 * np.log10(reddened.flux / plain.flux)
    np.testing.assert_allclose(magnitudes, 0.1 * coefficients(place), rtol=1e-4)


def test_relative_spectra_have_no_points():
    assert photometry_points(replace(photometric(), unit=RELATIVE)) is None


def test_the_typical_candidate_is_in_the_middle():
    levels = np.array([1.0, 2, 3, 4, 50])[:, None]
    ensemble = Ensemble("a", GRID, levels * np.ones(GRID.size), np.arange(5))
    assert ensemble.typical == 2
    assert Ensemble("a", GRID, levels * np.ones(GRID.size), [4]).typical == 4
    same = Ensemble("a", GRID, np.ones((5, GRID.size)), np.arange(5), redshifts=[0.3, 0.1, 0.2, 0.11, 0.9])
    assert same.typical == 2


def test_bands_are_smooth_and_the_candidate_is_sharp():
    spikes = np.ones((9, GRID.size))
    spikes[np.arange(9), 40 + 30 * np.arange(9)] = 9  # a line at nine redshifts
    ensemble = Ensemble("a", GRID, spikes, np.arange(9), None, PHYSICAL, "all")
    axes = figure_grid([ensemble]).axes[0]
    drawn = next(line for line in axes.lines if line.get_label() == "typical candidate")
    assert drawn.get_ydata().max() == 9
    assert smooth_quantiles(ensemble)["q95"].max() < 5
    level = Ensemble("a", GRID, np.full((9, GRID.size), 3.0), np.arange(9))
    np.testing.assert_allclose(smooth_quantiles(level)["q05"], 3, rtol=1e-5)


def test_redshifts_have_an_inset_and_an_axis():
    axes = figure_grid([photometric()]).axes[-1]
    inset, rest = axes.child_axes
    area = inset.lines[0].get_ydata()
    assert np.trapezoid(area, inset.lines[0].get_xdata()) == pytest.approx(1, abs=0.02)
    z = photometric().redshifts[photometric().typical]
    assert f"z = {z:.3f}" in rest.get_xlabel()
    one = photometric(redshifts=np.full(25, 0.1))
    assert len(figure_grid([one]).axes[-1].child_axes) == 1  # a known redshift has no density


def test_noise_is_smoothed_and_lines_and_gaps_stay():
    grid = SpectralGrid()
    noise = np.random.default_rng(2).normal(size=(5, grid.size))
    line = 40 * np.exp(-0.5 * ((np.arange(grid.size) - 2000) / 3) ** 2)
    ensemble = Ensemble("a", grid, 10 + line + noise, [2], select="single", provenance={"noise": "observed"})
    seen = Galaxy("a", flux=np.full(grid.size, 10.0), ivar=np.arange(grid.size) > 99)
    axes = figure_grid([ensemble], [seen]).axes[-1]
    drawn = {text.get_label(): text.get_ydata() for text in axes.lines}
    typical, observed = drawn["one candidate (smoothed)"], drawn["observed spectrum (smoothed)"]
    assert 0.2 < typical[:1900].std() < 0.5 and typical[2000] > 35
    assert np.isnan(observed[:100]).all()
    np.testing.assert_allclose(observed[100:], 10)


def test_a_narrow_figure_names_emission_lines_alone():
    names = {text.get_text() for text in figure_grid([make(z=0.1)], width=4.5).axes[-1].texts}
    assert names == {"[O II]", "Hβ", "[O III]", "Hα+[N II]", "[S II]"}


@pytest.mark.parametrize(
    ("left", "right", "corner", "top"),
    [
        (0.2, 0.2, "upper", 1.0),  # room above
        (0.9, 0.9, "lower", 1.0),  # room below
        (0.2, 0.65, "upper left", 1.0),
        (0.455, 0.458, "upper left", 0.455 / 0.45),  # no room: the axes grow by a little
    ],
)
def test_an_inset_is_put_where_the_data_leave_room(left, right, corner, top):
    wave = np.linspace(0, 1, 101)
    flux = np.where(wave < 0.5, left, right)
    (x, y), high = place_inset(wave, [flux, flux], (0, 1), (0, 1), 0.3)
    found = f"{'upper' if y > 0.3 else 'lower'} {'left' if x < 0.5 else 'right'}"
    assert corner in found and high == pytest.approx(top)
    points = PhotometryPoints(
        ("r",), ("fibre",), np.array([0.1]), np.array([0.1]), np.array([0.2]), np.zeros(1)
    )
    if corner == "lower":  # photometry takes room too
        assert place_inset(wave, [flux], (0, 1), (0, 1), 0.3, points)[0][0] > 0.5
