"""The ensemble: chosen flux, quantiles, and its way to specutils and FITS."""

import json

import numpy as np
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL, RELATIVE

GRID = SpectralGrid(3.6, 1e-3, 300)


def make(n=25, seed=0, **changes):
    rng = np.random.default_rng(seed)
    values = {
        "object_id": "galaxy-1",
        "grid": GRID,
        "candidates": 10 + rng.normal(size=(n, GRID.size)),
        "selected": [0, n - 1],
        "scores": rng.uniform(-1, 1, n),
        "select": "mean:2",
        "z": 0.1,
        "ra": 150.0,
        "dec": 2.0,
        "flags": ["faint"],
        "provenance": {"model": "default", "model_hash": "abc", "seed": 7, "command": "pix2spec " * 30},
    }
    return Ensemble(**values | changes)


def test_flux_is_the_mean_of_the_selected():
    ensemble = make()
    np.testing.assert_allclose(ensemble.flux, ensemble.candidates[[0, 24]].mean(0), rtol=1e-6)
    assert ensemble.flux.dtype == ensemble.candidates.dtype == np.float32


def test_quantiles_follow_the_plotting_position():
    ensemble = make(n=9)
    ordered = np.sort(ensemble.candidates, 0)
    levels = (0.05, 0.25, 0.5, 0.9, 0.99)
    expected = np.quantile(ensemble.candidates, levels, axis=0, method="weibull")
    np.testing.assert_allclose(ensemble.quantiles(levels), expected, rtol=1e-6)
    np.testing.assert_array_equal(ensemble.quantiles((0.0, 0.5, 1.0)), ordered[[0, 4, 8]])


def test_uncertainty_is_one_sigma():
    ensemble = make(n=2000)
    assert np.median(ensemble.uncertainty) == pytest.approx(1, abs=0.03)
    assert np.isnan(make(n=1, selected=[0]).uncertainty).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"candidates": np.zeros((3, 7))},
        {"selected": [25]},
        {"selected": [-1]},
        {"selected": []},
        {"scores": np.zeros(3)},
        {"amplitude": np.ones(25)},
        {"unit": "Jy"},
    ],
)
def test_inconsistent_parts_are_refused(changes):
    with pytest.raises(InputError, match="galaxy-1"):
        make(**changes)


@pytest.mark.parametrize("keep", [True, False])
def test_row_brings_the_ensemble_back(keep):
    ensemble = make()
    back = Ensemble.from_row(ensemble.to_row(keep), GRID, ensemble.provenance)
    np.testing.assert_allclose(back.flux, ensemble.flux, rtol=1e-6)
    for name in ("object_id", "unit", "select", "z", "ra", "dec", "flags", "provenance"):
        assert getattr(back, name) == getattr(ensemble, name)
    if keep:
        np.testing.assert_array_equal(back.candidates, ensemble.candidates)
        np.testing.assert_array_equal(back.scores, ensemble.scores)
    else:
        assert len(back) == 1 and back.scores is None


def test_zero_point_is_unknown_only_on_the_minmax_scale():
    assert make().has_zero_point
    assert make(unit=RELATIVE).has_zero_point
    assert not make(unit=RELATIVE, provenance={"normalisation": "minmax"}).has_zero_point


def test_a_model_of_the_minmax_scale_keeps_its_own_numbers():
    x = np.random.default_rng(1).uniform(-0.9, 0.7, (25, GRID.size)).astype(np.float32)
    offset, scale = np.linspace(1, 3, 25)[:, None], np.linspace(2, 9, 25)[:, None]
    spoken = {"normalisation": "minmax"}
    ensemble = make(candidates=offset + scale * x, amplitude=np.hstack([offset, scale]), provenance=spoken)
    np.testing.assert_allclose(ensemble.minmax, x, atol=1e-5)
    back = Ensemble.from_row(ensemble.to_row(), GRID, spoken)
    np.testing.assert_allclose(back.minmax, x, atol=1e-5)
    relative = make(candidates=x, unit=RELATIVE, provenance=spoken)
    np.testing.assert_array_equal(relative.minmax, x)
    assert make(candidates=x, provenance=spoken).minmax is None  # in flux, and nobody knows how
    assert make(amplitude=np.hstack([offset, scale])).minmax is None


def test_spectrum_carries_uncertainty_mask_and_provenance():
    ensemble = make()
    ensemble.candidates[:, 5] = np.nan
    spectrum = ensemble.to_spectrum()
    assert spectrum.flux.unit.to_string("fits") == "10**-17 erg Angstrom-1 s-1 cm-2"
    np.testing.assert_allclose(spectrum.spectral_axis.to_value("Angstrom"), GRID.wave)
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), [5])
    assert spectrum.uncertainty.array[0] == pytest.approx(ensemble.uncertainty[0])
    assert spectrum.meta["provenance"]["seed"] == 7
    assert make(n=1, selected=[0]).to_spectrum().uncertainty is None


@pytest.mark.parametrize("unit", [PHYSICAL, RELATIVE])
@pytest.mark.parametrize("n", [1, 2, 25])
def test_fits_opens_in_specutils(tmp_path, n, unit):
    from specutils import Spectrum

    ensemble = make(n=n, unit=unit)
    ensemble.write_fits(tmp_path / "spectrum.fits")
    spectrum = Spectrum.read(str(tmp_path / "spectrum.fits"))
    np.testing.assert_allclose(spectrum.flux.value, ensemble.flux, rtol=1e-6)
    np.testing.assert_allclose(spectrum.spectral_axis.to_value("Angstrom"), GRID.wave)
    np.testing.assert_allclose(spectrum.uncertainty.array, ensemble.uncertainty, rtol=1e-5)
    assert spectrum.flux.unit == ensemble.to_spectrum().flux.unit
    assert not spectrum.mask.any()
    assert spectrum.meta["header"]["MODEL"] == "default"


def test_fits_holds_candidates_scores_and_provenance(tmp_path):
    from astropy.io import fits

    ensemble = make(object_id="Ängström\n1", z=np.nan)
    ensemble.write_fits(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        header = hdus[0].header
        np.testing.assert_array_equal(hdus["CANDIDATES"].data, ensemble.candidates)
        np.testing.assert_allclose(hdus["SCORES"].data["score"], ensemble.scores)
        assert hdus["SCORES"].data["selected"].sum() == 2
        np.testing.assert_allclose(hdus["SPECTRUM"].data["q84"], ensemble.quantiles((0.84,))[0])
        np.testing.assert_allclose(hdus["SPECTRUM"].data["loglam"], GRID.loglam)
        assert header["COMMAND"] == ("pix2spec " * 30).rstrip()
        assert json.loads(header["PROVENAN"]) == ensemble.provenance
        assert "Z" not in header and header["FLUXUNIT"] == PHYSICAL
    ensemble.write_fits(tmp_path / "a.fits", candidates=False)  # replaces
    with fits.open(tmp_path / "a.fits") as hdus:
        assert len(hdus) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    from astropy.io import fits

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(OSError, match="no space"):
        make().write_fits(tmp_path / "a.fits")
    assert not list(tmp_path.iterdir())


def test_plot_saves_a_picture(tmp_path):
    ensemble = make()
    figure = ensemble.plot(truth=ensemble.candidates[3], path=tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert "galaxy-1" in figure.axes[-1].get_title(loc="left") + figure.axes[-1].get_title()
