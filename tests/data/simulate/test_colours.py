"""The comparison of simulated colours with real ones, benchmarks/templates.py."""

import runpy

import numpy as np
import pytest

from support.paths import ROOT, SHARED

BENCHMARK = runpy.run_path(str(ROOT / "benchmarks/templates.py"))
BANDS = BENCHMARK["BANDS"]


@pytest.fixture(scope="module")
def simulated():
    return BENCHMARK["simulate"](1024)


def test_a_fault_of_one_band_is_found_in_that_band_alone(simulated, tmp_path, capsys):
    real = BENCHMARK["simulate"](512, seed=2)[2] + 1.0  # the third redshift; brightness does not matter
    real[:, BANDS.index("wise2010-W1")] += 0.3
    real[:5, BANDS.index("sdss2010-u")] = np.nan
    flux = 3631 * 10 ** (-0.4 * real)
    z = np.full(512, BENCHMARK["REDSHIFTS"][2])
    for name in ("brown2014", "dustpedia"):
        np.savez(tmp_path / f"{name}.npz", filters=np.array(BANDS), flux_Jy=flux, z=z)
    read, read_z = BENCHMARK["read_galaxies"](tmp_path / "dustpedia.npz")
    np.testing.assert_allclose(read, real, atol=1e-5)
    table = BENCHMARK["judge"](read, read_z, simulated)
    for band in BANDS:
        for bias, scatter, n in table[band]:
            assert n <= 507
            tolerance = 0.05 + 4 * scatter / np.sqrt(max(n, 1))
            assert abs(bias - 0.3 * (band == "wise2010-W1")) < tolerance, band
    assert table["sdss2010-g"][0][2] > 400
    BENCHMARK["main"](["--data", str(tmp_path), "-n", "256"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| wise2010-W1 |") for line in lines) == 2


def test_the_milky_ways_dust_is_taken_out_where_it_is_stated(tmp_path):
    path = tmp_path / "brown2014.npz"
    mag, ebv = np.full((1, 12), 15.0), np.array([0.1])
    np.savez(path, filters=np.array(BANDS), mag=mag, ebv=ebv, z=np.zeros(1))
    corrected = 15 - BENCHMARK["read_galaxies"](path)[0][0]
    # Cardelli et al. (1989), table 3: A/A(V) of U, V (here g) and K
    assert 0.31 * 1.5 < corrected[BANDS.index("sdss2010-u")] < 0.31 * 1.65
    np.testing.assert_allclose(corrected[BANDS.index("twomass-Ks")], 0.31 * 0.114, rtol=0.05)
    assert corrected[0] > corrected[2]


def test_real_galaxies_have_the_simulated_colours(simulated):
    path = SHARED / "dustpedia.npz"
    if not path.exists():
        pytest.skip(f"DustPedia's photometry is not here ({path})")
    table = BENCHMARK["judge"](*BENCHMARK["read_galaxies"](path), simulated)
    for band in BANDS[7:]:  # J to W2
        assert abs(table[band][0][0]) < 0.15, band
    assert abs(table["galex-fuv"][3][0]) < 0.25 and abs(table["galex-nuv"][0][0]) < 0.3
