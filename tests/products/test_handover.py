"""Files for other programs, read by these where they are installed."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import magnitude, synthetic_photometry
from pix2spec.data.measurements import Measurements
from pix2spec.errors import InputError
from pix2spec.products.catalogue import CatalogueWriter, open_catalogue
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.handover import FORMATS, write_handover
from pix2spec.products.handover.qp_ensemble import histograms
from pix2spec.products.units import PHYSICAL, RELATIVE

GRID = SpectralGrid()


def make(object_id="1001", n=9, z=0.1, kind="fibre", unit=PHYSICAL, **changes):
    """Candidates with a slope and an emission line, at redshifts around `z`."""
    redshifts = z + np.linspace(-0.02, 0.02, n)
    slope = 5 * (GRID.wave / 6000) ** np.linspace(-1, 1, n)[:, None]
    line = 40 * np.exp(-0.5 * ((GRID.wave / (1 + redshifts[:, None]) - 5008) / 3) ** 2)
    given = Measurements(("sdss2010-r",), np.array([30.0]), np.array([1.0]), (kind,), extinction="dereddened")
    changes = {"ra": 150.0, "dec": -5.0, "ebv": 0.03, "redshifts": redshifts, "measurements": given} | changes
    return Ensemble(object_id, GRID, slope + line, np.arange(n), None, unit, "all", **changes)


def write(path, *ensembles, noise="none", **settings):
    with CatalogueWriter(path, GRID, {"model": "default", "seed": 3, "noise": noise}, **settings) as writer:
        for ensemble in ensembles:
            writer.add(ensemble)
        writer.add_failure("broken", "no image")
    return open_catalogue(path)


@pytest.fixture
def catalogue(tmp_path):
    return write(tmp_path / "catalogue", make("1001"), make("1002", z=0.25))


# ---------------------------------------------------------------------------------- redshifts


def test_a_histogram_has_the_candidates_mean_and_spread():
    rng = np.random.default_rng(0)
    draws, bins = rng.normal(0.3, 0.03, 4000), np.linspace(0, 1, 501)
    middle, density = (bins[1:] + bins[:-1]) / 2, histograms([draws], bins)[0]
    assert density.sum() * 0.002 == pytest.approx(1)
    mean = (middle * density).sum() * 0.002
    assert mean == pytest.approx(draws.mean(), abs=1e-4)
    assert np.sqrt(((middle - mean) ** 2 * density).sum() * 0.002) == pytest.approx(0.03, rel=0.05)


def test_known_redshifts_and_redshifts_outside_the_bins_keep_their_probability():
    bins = np.linspace(0, 1, 501)
    for z in (0.2, 0.0, 1.7):
        density = histograms([np.full(25, z)], bins)[0]
        assert density.sum() * 0.002 == pytest.approx(1)
        assert abs(bins[density.argmax()] - min(z, 1)) < 0.004


def test_qp_reads_the_posteriors(tmp_path, catalogue):
    qp = pytest.importorskip("qp", reason="qp is not installed (pip install 'pix2spec[qp]')")
    (path,) = write_handover(catalogue, "qp", tmp_path / "pz.hdf5")
    read = qp.read(str(path))
    assert read.npdf == 2 and list(read.ancil["object_id"]) == ["1001", "1002"]
    np.testing.assert_allclose(np.ravel(read.median()), [0.1, 0.25], atol=2e-3)
    np.testing.assert_allclose(read.ancil["z_median"], [0.1, 0.25], atol=1e-4)
    np.testing.assert_allclose(np.ravel(read.cdf(0.175)), [1, 0], atol=1e-3)
    assert not list(tmp_path.glob("*.partial*"))


def test_qp_needs_redshifts_and_a_name_that_it_knows(tmp_path, catalogue):
    pytest.importorskip("qp", reason="qp is not installed (pip install 'pix2spec[qp]')")
    with pytest.raises(InputError, match=r"ends in \.hdf5"):
        write_handover(catalogue, "qp", tmp_path / "pz.fits")
    none = write(tmp_path / "none", make(redshifts=None))
    with pytest.raises(InputError, match="no object has redshifts"):
        write_handover(none, "qp", tmp_path / "pz.hdf5")


# -------------------------------------------------------------------------------------- 4MOST

COLUMNS = (  # https://escience.aip.de/readthedocs/OpSys/etc/master/format.html
    "NAME", "RESOLUTION", "RULESET", "TEMPLATE", "DEC", "MAG", "MAG_TYPE", "REDDENING", "EXTENT_FLAG",
    "EXTENT_PARAMETER", "EXTENT_INDEX", "REDSHIFT_ESTIMATE", "TEMPLATE_REDSHIFT",
)  # fmt: skip


def test_4most_has_a_row_and_a_template_for_each_target(tmp_path, catalogue):
    yaml = pytest.importorskip("yaml")
    write_handover(catalogue, "4most", tmp_path / "etc")
    settings = yaml.safe_load((tmp_path / "etc" / "etc.yml").read_text())
    targets = Table.read(tmp_path / "etc" / settings["catalog"])
    assert set(COLUMNS) <= set(targets.colnames) and list(targets["NAME"]) == ["1001", "1002"]
    assert (targets["REDSHIFT_ESTIMATE"] == targets["TEMPLATE_REDSHIFT"]).all()
    np.testing.assert_allclose(targets["REDSHIFT_ESTIMATE"], [0.1, 0.25], atol=1e-6)
    np.testing.assert_allclose(targets["REDDENING"], 0.03)
    for target, ensemble in zip(targets, catalogue):
        template = Table.read(tmp_path / "etc" / settings["templates"] / target["TEMPLATE"])
        flux = template["FLUX_DENSITY"].quantity.to_value(1e-17 * u.erg / u.s / u.cm**2 / u.AA)
        typical = ensemble.candidates[ensemble.typical]
        inside = (template["LAMBDA"] > 3900) & (template["LAMBDA"] < 8900)
        expected = np.interp(template["LAMBDA"][inside], GRID.wave, typical)
        np.testing.assert_allclose(flux[inside], expected, rtol=1e-5)
        assert (flux > 0).all()
        area = 2.5 * np.log10(np.pi / 4 * 3**2)
        own = magnitude(synthetic_photometry(typical, GRID.wave, ["sdss2010-r"]))[0]
        assert target["EXTENT_FLAG"] == 1 and target["MAG"] == pytest.approx(own + area, abs=1e-4)


def test_4most_needs_a_radius_for_fluxes_of_the_whole_galaxy(tmp_path):
    total = write(tmp_path / "total", make(kind="cmodel"))
    with pytest.raises(InputError, match=r"half-light radius of the targets as `radius`"):
        write_handover(total, "4most", tmp_path / "a")
    write_handover(total, "4most", tmp_path / "b", radius=1.2, sersic=4.0)
    (target,) = Table.read(tmp_path / "b" / "targets.fits")
    assert (target["EXTENT_FLAG"], target["EXTENT_INDEX"]) == (2, 4.0)
    assert target["EXTENT_PARAMETER"] == pytest.approx(1.2)


# --------------------------------------------------------------------------------------- DESI


def test_quickspectra_finds_equal_steps_over_all_cameras(tmp_path, catalogue):
    write_handover(catalogue, "specsim", tmp_path / "desi")
    with fits.open(tmp_path / "desi" / "spectra.fits") as read:
        wave, flux = read["WAVELENGTH"].data, read["FLUX"].data
    assert flux.shape == (2, len(wave)) and wave[0] < 3600 and wave[-1] > 9824
    np.testing.assert_allclose(np.diff(wave), wave[1] - wave[0])
    ensemble = next(iter(catalogue))
    np.testing.assert_allclose(
        np.interp(6000, wave, flux[0]),
        np.interp(6000, GRID.wave, ensemble.candidates[ensemble.typical]),
        rtol=1e-4,
    )


def test_specsim_finds_columns_with_units(tmp_path, catalogue):
    """As ``specsim.source.initialize`` reads them: by name, with units that convert."""
    write_handover(catalogue, "specsim", tmp_path / "desi")
    table = Table.read(tmp_path / "desi" / "sources" / "1001.ecsv", format="ascii.ecsv")
    wave, flux = table["wavelength"].quantity, table["flux"].quantity
    assert wave.unit.to(u.AA) == 1 and flux.unit.to(u.erg / (u.s * u.cm**2 * u.AA)) == 1
    assert 1e-17 < flux.min().value < flux.max().value < 1e-15
    assert table.meta["z"] == pytest.approx(0.1)


def test_specsim_itself_takes_the_source(tmp_path, catalogue):
    source = pytest.importorskip("specsim.source", reason="specsim is not installed, and not on PyPI")
    write_handover(catalogue, "specsim", tmp_path / "desi")
    table = Table.read(tmp_path / "desi" / "sources" / "1001.ecsv", format="ascii.ecsv")
    made = source.Source(
        "1001", "elg", np.arange(3600, 9800, 1.0) * u.AA, table["wavelength"].quantity, table["flux"].quantity
    )
    assert np.isfinite(made.flux_out.value).all()


def test_truth_tables_have_desis_columns(tmp_path, catalogue):
    (path,) = write_handover(catalogue, "desi-truth", tmp_path / "truth.fits")
    truth = Table.read(path, hdu="TRUTH")
    assert truth.colnames[:8] == [
        "TARGETID", "MOCKID", "TRUEZ", "TRUESPECTYPE", "TEMPLATETYPE", "TEMPLATESUBTYPE", "TEMPLATEID",
        "SEED",
    ]  # fmt: skip
    assert list(truth["TARGETID"]) == [1001, 1002] and list(truth["SEED"]) == [3, 3]
    np.testing.assert_allclose(truth["TRUEZ"], [0.1, 0.25], atol=1e-6)
    ensemble = next(iter(catalogue))
    expected = synthetic_photometry(ensemble.candidates[ensemble.typical], GRID.wave, ["decam2014-r"])
    assert truth["FLUX_R"][0] == pytest.approx(expected[0], rel=1e-5)
    assert truth["FLUX_W1"].mask.all() and (truth["MAGFILTER"] == "decam2014-r").all()


def test_ids_that_are_no_numbers_get_positions(tmp_path):
    named = write(tmp_path / "named", make("NGC 1"), make("NGC 2"))
    write_handover(named, "desi-truth", tmp_path / "truth.fits")
    truth = Table.read(tmp_path / "truth.fits", hdu="TRUTH")
    assert list(truth["TARGETID"]) == [0, 1] and list(truth["OBJECT_ID"]) == ["NGC 1", "NGC 2"]


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("form", ["4most", "specsim", "desi-truth"])
def test_noisy_relative_and_unredshifted_spectra_are_refused(tmp_path, form):
    cases = {
        'noise="none"': write(tmp_path / "noisy", make(), noise="observed"),
        "its fluxes are relative": write(tmp_path / "relative", make(unit=RELATIVE)),
        "its candidates have no redshifts": write(tmp_path / "z", make(redshifts=None)),
    }
    for number, (words, bad) in enumerate(cases.items()):
        with pytest.raises(InputError, match=words):
            write_handover(bad, form, tmp_path / f"out{number}")


@pytest.mark.parametrize("form", ["4most", "specsim"])
def test_folders_are_never_overwritten(tmp_path, catalogue, form):
    write_handover(catalogue, form, tmp_path / "out")
    with pytest.raises(InputError, match="the folder is not empty"):
        write_handover(catalogue, form, tmp_path / "out")


def test_unknown_formats_are_refused_and_the_known_ones_named(tmp_path, catalogue):
    with pytest.raises(InputError, match="'votable' is unknown") as error:
        write_handover(catalogue, "votable", tmp_path)
    assert all(form in error.value.hint for form in FORMATS)
