"""What other programs make of our files, by those programs themselves."""

import importlib
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LIGHT_SPEED_KM_S, SDSS_LINE_SPREAD_KM_S
from pix2spec.errors import InputError
from pix2spec.products.catalogue import CatalogueWriter, open_catalogue
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.sdss_format import spec_name, write_plate, write_spec
from pix2spec.products.tables import to_table, write_table
from pix2spec.products.units import PHYSICAL, RELATIVE
from pix2spec.runtime.atomic import safe_name
from support.paths import DOCS

GRID = SpectralGrid(size=3598)
PAGE = DOCS / "reference" / "interoperability.md"


def make(object_id="0266-51602-0013", n=25, shape=None, grid=GRID, **changes):
    rng = np.random.default_rng(len(object_id))
    shape = 10 if shape is None else shape
    candidates = shape + rng.normal(size=(n, grid.size))
    values = {
        "selected": np.arange(n),
        "scores": rng.uniform(-1, 1, n),
        "redshifts": rng.normal(0.1, 0.01, n),
        "z": 0.2,
        "ra": 150.0,
    }
    values |= {"dec": 2.0, "flags": ["faint"], "provenance": {"model": "default@123", "seed": 1}}
    return Ensemble(object_id, grid, candidates, **values | changes)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exchange") / "predictions"
    with CatalogueWriter(folder, GRID, {"model": "default@123", "seed": 1}) as writer:
        for object_id in ("0266-51602-0013", "0266-51602-0014", "α 3"):
            writer.add(make(object_id))
        writer.add_failure("broken", "broken: no image (give one)")
    return open_catalogue(folder)


# ---------------------------------------------------------------------- specutils, jdaviz, astropy, TOPCAT


@pytest.mark.parametrize("unit", [PHYSICAL, RELATIVE])
def test_specutils_reads_uncertainty_and_mask(tmp_path, unit):
    import specutils
    from astropy import units as u

    reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    ensemble = make(unit=unit)
    ensemble.candidates[3, 7] = np.nan
    ensemble.write_fits(tmp_path / "a.fits")
    for spectrum in (reader.read(tmp_path / "a.fits"), ensemble.to_spectrum()):
        np.testing.assert_allclose(spectrum.flux.value, ensemble.flux, rtol=1e-6)
        np.testing.assert_allclose(spectrum.spectral_axis.to_value(u.AA), GRID.wave)
        assert spectrum.uncertainty.uncertainty_type == "std"
        np.testing.assert_allclose(spectrum.uncertainty.array, ensemble.uncertainty, rtol=1e-6)
        assert spectrum.mask.sum() == 1 and spectrum.mask[7]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_specviz_loads_the_file(tmp_path):
    jdaviz = pytest.importorskip("jdaviz", minversion="5")
    make().write_fits(tmp_path / "a.fits")
    app = jdaviz.App()
    app.load(str(tmp_path / "a.fits"), format="1D Spectrum")
    spectrum = app.get_data("a")
    np.testing.assert_allclose(spectrum.flux.value, make().flux, rtol=1e-6)
    np.testing.assert_allclose(spectrum.uncertainty.array, make().uncertainty, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")  # the VO would rather have nm, and watts
def test_astropy_and_topcat_read_tables(tmp_path, catalogue):
    """TOPCAT reads VOTables: what it needs is valid XML, positions marked as such, and one value a cell."""
    from astropy.io.votable import parse
    from astropy.table import Table

    write_table(catalogue, tmp_path, "votable")
    first = parse(tmp_path / "catalog.vot", verify="exception").get_first_table()
    ucds = {field.name: field.ucd for field in first.fields}
    assert ucds["ra"] == "pos.eq.ra;meta.main" and ucds["dec"] == "pos.eq.dec;meta.main"
    assert {field.name: str(field.unit) for field in first.fields}["mag_r"] == "mag"
    back = Table.read(tmp_path / "catalog.vot")
    assert list(back["object_id"]) == ["0266-51602-0013", "0266-51602-0014", "α 3", "broken"]
    assert list(back["status"]) == ["ok"] * 3 + ["failed"] and back["flags"][0] == "faint"
    np.testing.assert_allclose(back["z"][:3], 0.1, atol=0.01)
    with_spectra = to_table(catalogue, spectra=True)
    with_spectra.write(tmp_path / "spectra.vot", format="votable", tabledata_format="binary2")
    flux = Table.read(tmp_path / "spectra.vot")["flux"]
    assert flux.shape == (4, GRID.size) and "1e-17 erg" in str(flux.unit).lower()
    np.testing.assert_array_equal(flux[0], catalogue.ensemble("0266-51602-0013").flux)


# ----------------------------------------------------------------------------------- datasets, pandas, xarray


def test_datasets_loads_the_parquet(tmp_path, catalogue):
    import datasets

    files = str(catalogue.path)
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded["object_id"][0] == "0266-51602-0013" and len(loaded) == 4
    np.testing.assert_array_equal(
        np.float32(loaded[1]["q50"]), catalogue.ensemble("0266-51602-0014").quantiles((0.5,))[0]
    )


def test_xarray_and_pandas(tmp_path, catalogue):
    xr = pytest.importorskip("xarray")
    ensembles = list(catalogue)
    cube = xr.concat([e.to_xarray() for e in ensembles], dim="object_id")
    assert cube.candidates.shape == (3, 25, GRID.size) and cube.flux.attrs["units"] == PHYSICAL
    inside = cube.flux.sel(wavelength=slice(5000, 6000), object_id="α 3")
    np.testing.assert_array_equal(inside, ensembles[2].flux[(GRID.wave >= 5000) & (GRID.wave <= 6000)])
    assert list(cube.flags.values) == ["faint"] * 3 and np.isnan(cube.ebv).all()
    ensembles[0].to_xarray().to_netcdf(tmp_path / "one.nc")
    with xr.open_dataset(tmp_path / "one.nc") as back:
        np.testing.assert_array_equal(back.candidates, ensembles[0].candidates)
        assert str(back.object_id.values) == "0266-51602-0013"
    frame = ensembles[0].to_pandas()
    assert list(frame.columns) == ["flux", "uncertainty", "q05", "q16", "q50", "q84", "q95"]
    np.testing.assert_array_equal(frame.q84, ensembles[0].quantiles((0.84,))[0])
    assert frame.index.name == "wavelength" and frame.attrs["object_id"] == "0266-51602-0013"


# ----------------------------------------------------------------------------------------- SDSS's own formats


def test_spec_files_have_the_layout_of_sdss(tmp_path):
    """Columns and extensions of a real spec file, if pPXF, which ships one, is there; else as listed."""
    from astropy.io import fits

    ensemble = make(flags=["faint"])
    ensemble.candidates[3, 7] = np.nan
    path = tmp_path / spec_name(ensemble.object_id)
    ensemble.write_spec(path)
    assert path.name == "spec-0266-51602-0013.fits" and spec_name("α/3") == safe_name("α/3") + ".fits"
    with fits.open(path) as hdus:
        coadd, row, header = hdus["COADD"].data, hdus["SPECOBJ"].data[0], hdus[0].header
        expected = ["flux", "loglam", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model"]
        assert coadd.names == expected and hdus.index_of("COADD") == 1
        assert "TELESCOP" not in header and "not observed" in header.comments["ORIGIN"]
        good = np.arange(GRID.size) != 7
        np.testing.assert_allclose(coadd["ivar"][good], ensemble.uncertainty[good] ** -2.0, rtol=1e-5)
        assert coadd["ivar"][7] == coadd["flux"][7] == 0 and coadd["and_mask"][7] == 1 << 24
        assert row["Z"] == pytest.approx(np.median(ensemble.redshifts)) and row["Z_ERR"] < 0.02
        assert (header["PLATEID"], header["MJD"], header["FIBERID"]) == (266, 51602, 13)
    try:
        real = Path(importlib.import_module("ppxf").__file__).parent / "spectra" / "NGC3522_SDSS_DR18.fits"
    except ImportError:
        return
    with fits.open(real) as hdus:
        assert hdus["COADD"].columns.names == expected
        assert {"PLATE", "MJD", "FIBERID", "Z", "Z_ERR", "ZWARNING"} <= set(hdus["SPECOBJ"].columns.names)


def test_one_candidate_has_no_uncertainty(tmp_path):
    from astropy.io import fits

    write_spec(make(n=1, redshifts=None), tmp_path / "a.fits")
    assert not fits.getdata(tmp_path / "a.fits", "COADD")["ivar"].any()
    assert fits.getdata(tmp_path / "a.fits", "SPECOBJ")["Z"][0] == 0.2


def test_spec_files_come_back(tmp_path):
    """Our own reader, specutils' and what `evaluate` opens."""
    import specutils

    from pix2spec.data.readers.spectra import read_spectrum
    from pix2spec.evaluation.predictions.open import open_predictions

    ensemble = make()
    write_spec(ensemble, tmp_path / spec_name(ensemble.object_id))
    (path,) = tmp_path.iterdir()
    pair = read_spectrum(path, GRID)
    assert pair.object_id == ensemble.object_id and pair.ra == 150 and pair.spec_class == "GALAXY"
    np.testing.assert_allclose(pair.flux, ensemble.flux, rtol=1e-6)
    reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    spectrum = reader.read(path, format="SDSS-III/IV spec")
    np.testing.assert_allclose(spectrum.uncertainty.array, pair.ivar)
    assert open_predictions(tmp_path, GRID).ids == [ensemble.object_id]


def test_ppxf_measures_a_spec_file(tmp_path):
    """pPXF reads the file as its own example reads SDSS's, and finds the velocity dispersion put in."""
    ppxf = pytest.importorskip("ppxf.ppxf")
    from astropy.io import fits
    from scipy.ndimage import gaussian_filter1d

    from pix2spec.data.simulate.spectra import load_templates

    velscale, sigma, z = LIGHT_SPEED_KM_S * np.log(10) * GRID.step, 180.0, 0.05
    templates = load_templates()  # the one of 5 Gyr and solar metallicity
    lam = 10 ** (templates["start"] + templates["step"] * np.arange(templates["flux"].shape[1]))
    star = templates["flux"][28].astype(float)[(lam > 3500) & (lam < 9500)]
    lam = lam[(lam > 3500) & (lam < 9500)]
    flux = np.interp(GRID.wave / (1 + z), lam, gaussian_filter1d(star, sigma / velscale))
    shape = 100 * flux / np.median(flux)
    write_spec(make(shape=shape, redshifts=np.full(25, z), selected=[0]), tmp_path / "spec.fits")

    hdu = fits.open(tmp_path / "spec.fits")
    t = hdu["COADD"].data
    redshift_0 = hdu["SPECOBJ"].data["z"].item()
    ln_lam_gal = t["loglam"] * np.log(10)
    norm = np.median(t["flux"])
    galaxy, noise = t["flux"] / norm, t["ivar"] ** -0.5 / norm
    lam_gal = np.exp(ln_lam_gal)
    fwhm_gal = 2.355 * t["wdisp"] * np.gradient(lam_gal)
    fwhm_km_s = fwhm_gal / lam_gal * LIGHT_SPEED_KM_S
    np.testing.assert_allclose(fwhm_km_s, 2.355 * SDSS_LINE_SPREAD_KM_S, rtol=0.01)
    step = LIGHT_SPEED_KM_S * (ln_lam_gal[-1] - ln_lam_gal[0]) / (ln_lam_gal.size - 1)
    fit = ppxf.ppxf(
        star / np.median(star), galaxy, noise, step, [0.0, 100.0], moments=2, degree=4, quiet=True,
        lam=lam_gal / (1 + redshift_0), lam_temp=lam,
    )  # fmt: skip
    hdu.close()
    assert abs(fit.sol[0]) < 10 and fit.sol[1] == pytest.approx(sigma, abs=10) and 0.5 < fit.chi2 < 2


def test_redrock_reads_a_plate(tmp_path, catalogue):
    from astropy.io import fits

    path = tmp_path / "spPlate-0001-60000.fits"
    assert write_plate(catalogue, path, plate=1, mjd=60000) == ["0266-51602-0013", "0266-51602-0014", "α 3"]
    with fits.open(path) as hdus:
        assert hdus[0].data.shape == (3, GRID.size) and list(hdus[5].data["FIBERID"]) == [1, 2, 3]
    boss = pytest.importorskip("redrock.external.boss")
    targets, table = boss.read_spectra([str(path)])
    assert list(table["TARGETID"]) == [1_600_000_001 + k for k in range(3)]
    for target, ensemble in zip(targets, catalogue):
        (spectrum,) = target.spectra
        inside = np.isin(GRID.wave, spectrum.wave)
        np.testing.assert_allclose(spectrum.flux, ensemble.flux[inside], rtol=1e-6)
        expected = ensemble.uncertainty[inside] ** -2.0
        np.testing.assert_allclose(spectrum.ivar[1:-1], expected[1:-1], rtol=1e-5)  # it drops the ends


def test_plates_refuse_what_does_not_belong_together(tmp_path):
    path = tmp_path / "plate.fits"
    with pytest.raises(InputError, match="no spectrum"):
        write_plate([], path)
    with pytest.raises(InputError, match="grid"):
        write_plate([make(), make(grid=SpectralGrid(size=100))], path)
    with pytest.raises(InputError, match="relative"):
        write_plate([make(unit=RELATIVE)], path)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------------- the page

SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
OPTIONAL = ("xarray", "jdaviz", "redrock", "ppxf")


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_snippets_of_the_page_run(number, tmp_path, monkeypatch, catalogue):
    code = SNIPPETS[number]
    for name in re.findall(rf"\b({'|'.join(OPTIONAL)})\b", code):
        pytest.importorskip(name)
        warnings.simplefilter("ignore")  # of what others' packages warn, until the end of this test
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "catalog.parquet").write_bytes(catalogue.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"interoperability.md, snippet {number + 1}", "exec"), {})
