"""The corner figure: what it shows."""

import numpy as np
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError
from pix2spec.products.corner import figure_corner
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL, RELATIVE

GRID = SpectralGrid()
HALPHA = 6564.61


def lines(widths, at=0.05, **changes):
    """Flat spectra whose Halpha has the given equivalent widths in the rest frame, in emission."""
    z = np.broadcast_to(at, len(widths))
    sigma = 3 * (1 + z[:, None])
    profile = np.exp(-0.5 * ((GRID.wave - HALPHA * (1 + z[:, None])) / sigma) ** 2) / np.sqrt(2 * np.pi)
    flux = 2 * (1 + np.asarray(widths)[:, None] * (1 + z[:, None]) * profile / sigma)
    settings = {"unit": PHYSICAL, "redshifts": z, "provenance": {"noise": "none"}} | changes
    return Ensemble("galaxy", GRID, flux, np.arange(len(widths)), **settings)


def test_the_points_are_the_measured_candidates():
    widths = np.linspace(10, 40, 8)
    figure = lines(widths, np.linspace(0.04, 0.06, 8)).corner()
    panels = np.reshape(figure.axes, (3, 3))
    drawn = panels[1, 0].lines[0]
    np.testing.assert_allclose(drawn.get_xdata(), np.linspace(0.04, 0.06, 8), rtol=1e-5)
    np.testing.assert_allclose(drawn.get_ydata(), widths, rtol=0.03)
    np.testing.assert_allclose(panels[2, 0].lines[0].get_ydata(), 1, atol=0.1)  # Dn4000 of a flat spectrum
    assert [panels[2, j].get_xlabel() for j in range(3)] == ["redshift", "EW(Hα) [Å]", "Dn4000"]


def test_candidates_without_a_quantity_are_left_out(tmp_path):
    values = {"a": np.array([1.0, 2, np.nan]), "b": np.array([3.0, 4, 5])}
    figure = figure_corner(values, ["a", "b"], "x", path=tmp_path / "a.png")
    assert "2 of 3 candidates" in figure.get_suptitle() and (tmp_path / "a.png").stat().st_size > 5000
    with pytest.raises(InputError, match="no candidate has all of a, b"):
        figure_corner({"a": np.full(3, np.nan), "b": np.ones(3)}, ["a", "b"])


def test_an_unknown_quantity_is_refused_and_the_known_ones_named():
    with pytest.raises(InputError, match="'ew_hα' is unknown \\(some of z, "):
        lines([10.0]).corner(("ew_hα",))


def test_a_known_redshift_serves_all_candidates():
    figure = lines([10.0, 20, 30], redshifts=None, z=0.05).corner(("ew_halpha",))
    assert len(figure.axes[0].patches) == 12


def test_spectra_without_a_zero_point_are_refused():
    with pytest.raises(InputError, match="no zero point"):
        lines([10.0], unit=RELATIVE, provenance={"normalisation": "minmax"}).corner()
