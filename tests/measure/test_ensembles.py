"""Summaries of ensembles, on candidates whose lines, breaks and classes are known."""

import numpy as np
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LINES
from pix2spec.errors import InputError
from pix2spec.measure.emission_lines import BALMER_ABSORPTION_ANGSTROM
from pix2spec.measure.ensembles import measure_ensembles
from pix2spec.products.columns import CLASSES, MEASURED
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import RELATIVE

GRID = SpectralGrid()
CONTINUUM = 20.0
STARS = BALMER_ABSORPTION_ANGSTROM[0]


def spectrum(z, widths, sigma=150.0):
    """A flat continuum with Gaussian lines of rest-frame equivalent widths in Angstrom."""
    flux = np.full(GRID.size, CONTINUUM)
    for name, width in widths.items():
        centre = LINES[name] * (1 + z)
        spread = centre * sigma / 299792.458
        profile = np.exp(-0.5 * ((GRID.wave - centre) / spread) ** 2) / spread / np.sqrt(2 * np.pi)
        flux += CONTINUUM * width * (1 + z) * profile
    return flux


def ensemble(candidates, at=0.1, **values):
    n = len(candidates)
    return Ensemble("a", GRID, candidates, np.arange(n), **{"redshifts": np.full(n, at)} | values)


def test_known_widths_give_medians_intervals_and_probabilities():
    widths = np.array([1.0, 2, 5, 10, 20, 30, 40])
    own = ensemble([spectrum(0.1, {"H_alpha": width}) for width in widths])
    (row,) = measure_ensembles([own])
    assert set(row) == {field.name for field in MEASURED}
    low, median, high = np.quantile(widths, [0.16, 0.5, 0.84], method="weibull")
    found = [row["ew_halpha_lo"], row["ew_halpha"], row["ew_halpha_hi"]]
    np.testing.assert_allclose(found, [low, median, high], rtol=0.01)
    assert row["flux_halpha"] == pytest.approx(median * CONTINUUM * 1.1, rel=0.01)
    assert row["p_emission_halpha"] == pytest.approx(5 / 7) and row["p_emission_hbeta"] == 0
    assert row["sigma_gas"] == pytest.approx(150, rel=0.03)
    assert row["ew_sii"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("line", ["[O_II]", "H_beta", "[O_III] 5007", "[N_II] 6583", "[S_II]"])
def test_lines_and_sums_of_doublets(line):
    names = {"[O_II]": ("[O_II] 3725", "[O_II] 3727"), "[S_II]": ("[S_II] 6716", "[S_II] 6730")}
    lines = names.get(line, (line,))
    columns = dict(zip(["[O_II]", "H_beta", "[O_III] 5007", "[N_II] 6583", "[S_II]"],
                       ["oii", "hbeta", "oiii", "nii", "sii"]))  # fmt: skip
    widths = dict.fromkeys(lines, 12.0)
    if line == "[N_II] 6583":
        widths["[N_II] 6548"] = 12 / 3.06
    (row,) = measure_ensembles([ensemble([spectrum(0.1, widths)] * 2)])
    assert row[f"ew_{columns[line]}"] == pytest.approx(12 * len(lines), rel=0.02)


@pytest.mark.parametrize("jump", [1.2, 1.9])
def test_breaks_of_a_step_in_f_nu(jump):
    z = 0.1
    step = np.where(GRID.wave < 4001 * (1 + z), 1.0, jump) * (5000 / GRID.wave) ** 2
    (row,) = measure_ensembles([ensemble([10 * step] * 3, z)])
    assert row["dn4000"] == pytest.approx(jump, rel=1e-3)
    assert row["d4000"] == pytest.approx(jump, rel=1e-3)


# Equivalent widths, stars' absorption taken out, and the class by the published lines.
CLASSES_BY_WIDTHS = {
    "star_forming": {"H_alpha": 40, "H_beta": 13, "[O_III] 5007": 8, "[N_II] 6583": 10},
    "composite": {"H_alpha": 20, "H_beta": 7, "[O_III] 5007": 7, "[N_II] 6583": 15},
    "seyfert": {"H_alpha": 20, "H_beta": 5, "[O_III] 5007": 50, "[N_II] 6583": 20},
    "liner": {"H_alpha": 5, "H_beta": 2, "[O_III] 5007": 5, "[N_II] 6583": 8},
    "passive": {"H_alpha": 0.2, "H_beta": 0.1, "[O_III] 5007": 0.3, "[N_II] 6583": 0.3},
}


@pytest.mark.parametrize("expected", CLASSES)
def test_classes(expected):
    widths = dict(CLASSES_BY_WIDTHS[expected])
    widths["[N_II] 6548"] = widths["[N_II] 6583"] / 3.06
    for line in ("H_alpha", "H_beta"):
        widths[line] -= STARS
    (row,) = measure_ensembles([ensemble([spectrum(0.1, widths)] * 4)])
    assert {name: row[f"p_{name}"] for name in CLASSES} == {name: name == expected for name in CLASSES}


def test_unit_and_zero_point_decide_on_quantities():
    candidates = [spectrum(0.1, {"H_alpha": 20})] * 3
    relative = ensemble(candidates, unit=RELATIVE)
    minmax = ensemble(candidates, unit=RELATIVE, provenance={"normalisation": "minmax"})
    first, second = measure_ensembles([relative, minmax])
    assert first["ew_halpha"] == pytest.approx(20, rel=0.01) and np.isnan(first["flux_halpha"])
    assert all(np.isnan(value) for value in second.values())


def test_noise_free_candidates_go_before_noisy_ones_and_unknown_ones_are_left_out():
    clean = np.array([spectrum(0.1, {"H_alpha": 20})] * 5)
    clean[:2] = np.nan
    noisy = clean * np.nan
    (row,) = measure_ensembles([ensemble(noisy, noise_free=clean)])
    assert row["ew_halpha"] == pytest.approx(20, rel=0.01) and row["p_emission_halpha"] == 1
    clean[2] = np.nan
    (row,) = measure_ensembles([ensemble(noisy, noise_free=clean)])
    assert all(np.isnan(value) for value in row.values())


def test_without_redshifts_the_given_one_counts():
    candidates = [spectrum(0.1, {"H_alpha": 20})] * 3
    known, unknown = (ensemble(candidates, redshifts=None, **z) for z in ({"z": 0.1}, {}))
    first, second = measure_ensembles([known, unknown])
    assert first["ew_halpha"] == pytest.approx(20, rel=0.01) and np.isnan(second["ew_halpha"])


def test_ensembles_of_different_lengths_are_refused():
    flux = spectrum(0.1, {})
    assert measure_ensembles([]) == []
    with pytest.raises(InputError, match="number and grid"):
        measure_ensembles([ensemble([flux] * 2), ensemble([flux] * 3)])
