import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from specutils.utils.wcs_utils import air_to_vac

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
from pix2spec.data.readers.spectra import (
    SpectraBundle,
    read_spectra_bundle,
    read_spectrum,
    read_spectrum_header,
)
from pix2spec.errors import InputError
from support.fake_sdss import BESTOBJID, LOGLAM, spec_hdus, write_bundle, write_spec
from support.paths import SHARED

needs_real = pytest.mark.skipif(
    not (SHARED / "spec").is_dir(), reason=f"no real SDSS data in {SHARED} (set PIX2SPEC_SHARED)"
)


def changed(**columns):
    return {"columns": columns}


def spoiled(column, value, where=slice(100, 105)):
    values = np.array(spec_hdus()[1].data[column])
    values[where] = value
    return values


@pytest.mark.parametrize("boss", [False, True], ids=["SPECOBJ", "SPALL"])
def test_reads_native_pixels_and_facts_of_the_object(tmp_path, boss):
    path = write_spec(tmp_path / "spec-0266-51602-0013.fits", boss=boss)
    galaxy = read_spectrum(path)
    table = fits.getdata(path, 1)
    first = 100  # the file begins at 3.58, the grid at 3.59
    np.testing.assert_array_equal(galaxy.flux, table["flux"][first : first + 3598])
    assert (galaxy.flux.dtype, galaxy.ivar.dtype, galaxy.mask.dtype) == (np.float32, np.float32, np.int32)
    assert galaxy.flux.dtype.isnative
    assert (galaxy.object_id, galaxy.group_id, galaxy.spec_class) == ("0266-51602-0013", BESTOBJID, "GALAXY")
    assert (galaxy.ra, galaxy.dec) == (146.9341, -0.6704)  # not the telescope's
    assert galaxy.z == pytest.approx(0.12) and galaxy.z_err == pytest.approx(3e-5)
    assert galaxy.photometry[2] == pytest.approx(74.4)
    # 5 % and 0.05 nanomaggies, and the pipeline's own error where it is known
    sigma = np.hypot(np.hypot(0.05 * 25.4, 0.05), 19**-0.5)
    assert galaxy.photometry_ivar[1] == pytest.approx(sigma**-2, rel=1e-5)
    assert galaxy.photometry_ivar[2] == pytest.approx(1 / ((0.05 * 74.4) ** 2 + 0.05**2), rel=1e-5)


def test_header_alone_agrees_with_the_whole(tmp_path):
    path = write_spec(tmp_path / "s.fits")
    header, galaxy = read_spectrum_header(path), read_spectrum(path)
    assert header.flux is None
    assert (header.object_id, header.group_id, header.ra) == (galaxy.object_id, galaxy.group_id, galaxy.ra)


def test_other_column_case_and_gzip(tmp_path):
    hdus = spec_hdus()
    upper = {name.upper(): np.array(hdus[1].data[name]) for name in hdus[1].columns.names}
    path = write_spec(tmp_path / "s.fits.gz", columns=dict.fromkeys(hdus[1].columns.names) | upper)
    assert read_spectrum(path).flux.shape == (3598,)


def test_another_grid(tmp_path):
    grid = SpectralGrid(3.6, 1e-4, 1000)
    galaxy = read_spectrum(write_spec(tmp_path / "s.fits"), grid)
    assert galaxy.flux.shape == (1000,)


def test_missing_pixels_have_no_weight(tmp_path):
    mask = np.zeros(len(LOGLAM), np.int32)
    mask[300], mask[301] = 1 << 24, 1 << 23  # NODATA; BRIGHTSKY
    columns = {
        "flux": spoiled("flux", np.nan, slice(200, 202)),
        "ivar": spoiled("ivar", -1.0, slice(250, 251)),
        "and_mask": mask,
    }
    galaxy = read_spectrum(write_spec(tmp_path / "s.fits", columns=columns))
    assert np.flatnonzero(galaxy.ivar == 0).tolist() == [100, 101, 150, 200]
    assert np.isfinite(galaxy.flux).all()
    assert galaxy.mask[201] == 1 << 23 and galaxy.ivar[201] > 0


@pytest.mark.parametrize(
    ("zwarning", "trusted"), [(0, True), (16, True), (4, False), (20, False)]
)  # 16: MANY_OUTLIERS
def test_warned_redshifts_are_missing(tmp_path, zwarning, trusted):
    galaxy = read_spectrum(write_spec(tmp_path / "s.fits", ZWARNING=zwarning))
    assert np.isfinite(galaxy.z) == np.isfinite(galaxy.z_err) == trusted
    notes = read_observed_spectrum(tmp_path / "s.fits").notes
    assert notes == ([] if trusted else [f"its redshift 0.12 is not used: ZWARNING is {zwarning}"])


@pytest.mark.parametrize("bestobjid", ["", "0", "                0", None])
def test_without_photometric_id_the_group_is_the_object(tmp_path, bestobjid):
    galaxy = read_spectrum(write_spec(tmp_path / "s.fits", bestobjid=bestobjid or "", BESTOBJID=bestobjid))
    assert galaxy.group_id == galaxy.object_id


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (changed(flux=None), "'flux' is missing"),
        (changed(ivar=None), "'ivar' is missing"),
        (changed(loglam=spoiled("loglam", np.nan)), "wavelengths are missing or not finite"),
        (changed(loglam=spoiled("loglam", 3.7)), "do not fall on the grid"),
        (changed(ivar=np.zeros(len(LOGLAM), np.float32)), "ivar: no valid pixel"),
        (changed(flux=np.full(len(LOGLAM), np.nan, np.float32)), "no valid pixel"),
        (changed(flux=np.array([np.ones(2, np.float32)] * len(LOGLAM), object)), "variable length"),
        (changed(flux=np.ones((len(LOGLAM), 2), np.float32)), "one number per pixel"),
        (changed(flux=np.array(["abcd"] * len(LOGLAM))), "one number per pixel"),
        ({"loglam": LOGLAM[200:]}, "range is too short"),
        ({"loglam": LOGLAM[:2000]}, "range is too short"),
        ({"ra": -1.0}, "not a position"),
        ({"dec": np.nan}, "not a position"),
        ({"Z": None}, "no SPECOBJ or SPALL"),
        ({"PLUG_RA": None}, "PLUG_RA is missing"),
    ],
)
def test_each_fault_is_named(tmp_path, options, says):
    path = write_spec(tmp_path / "spec-faulty.fits", **options)
    with pytest.raises(InputError, match=says) as error:
        read_spectrum(path)
    assert "spec-faulty.fits" in str(error.value)


def test_air_wavelengths_are_converted(tmp_path):
    hdus = spec_hdus()
    hdus[0].header["VACUUM"] = False
    hdus.writeto(tmp_path / "s.fits")
    air = 10 ** LOGLAM.astype(float)
    seen = read_observed_spectrum(tmp_path / "s.fits")
    np.testing.assert_allclose(seen.wave, air_to_vac(air * u.AA, method="Ciddor1996").value)
    assert (read_spectrum(tmp_path / "s.fits").ivar > 0).all()


def test_without_and_mask(tmp_path):
    assert not read_spectrum(write_spec(tmp_path / "s.fits", **changed(and_mask=None))).mask.any()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404 not found</html>", "web page"),
        (b"plain text", "not a FITS file"),
        (b"SIMPLE  = garbage", "cannot be read as FITS|no table"),
        (b"\x1f\x8b not gzip", "cannot be read as FITS"),
    ],
)
def test_no_fits(tmp_path, content, says):
    path = tmp_path / "s.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_spectrum(path)


def test_missing_file_folder_and_forbidden(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_spectrum(tmp_path / "none.fits")
    with pytest.raises(InputError, match="folder"):
        read_spectrum(tmp_path)


@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1])
def test_truncated(tmp_path, kept):
    path = write_spec(tmp_path / "s.fits")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=r"truncated|cannot be read|no SPECOBJ"):
        read_spectrum(path)


@pytest.mark.parametrize("kept", [0.95, 0.5, 0.05])
def test_truncated_gzip(tmp_path, kept):
    path = write_spec(tmp_path / "s.fits.gz")
    assert read_spectrum(path).flux is not None
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=r"s\.fits\.gz"):
        read_spectrum(path)


def test_huge_declared_size_allocates_nothing(tmp_path):
    path = write_spec(tmp_path / "s.fits")
    raw = path.read_bytes()
    card = b"NAXIS2  = " + b"3850".rjust(20)
    assert card in raw
    path.write_bytes(raw.replace(card, b"NAXIS2  = " + b"385000000000".rjust(20)))
    with pytest.raises(InputError, match="truncated"):
        read_spectrum(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_raise_input_error_or_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    pristine = folder / "whole.fits"
    if not pristine.exists():
        write_spec(pristine)
    raw = bytearray(pristine.read_bytes())
    headers = st.integers(0, 14400) | st.integers(0, len(raw) - 1)
    for place, byte in data.draw(st.lists(st.tuples(headers, st.integers(0, 255)), min_size=1, max_size=30)):
        raw[place] = byte
    path = folder / "damaged.fits"
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)) | st.just(len(raw)))])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_spectrum(path)
    except InputError as error:
        assert "damaged.fits" in str(error)


def test_bundle_round_trip(tmp_path):
    galaxies = list(read_spectra_bundle(write_bundle(tmp_path / "b.npz")))
    assert [p.object_id for p in galaxies] == [f"0266-51602-{i:04d}" for i in range(1, 5)]
    assert galaxies[0].flux.shape == (3598,) and galaxies[0].photometry_ivar[0] > 0
    assert len({p.group_id for p in galaxies}) == 4


def test_bundle_repeats_share_a_group_even_with_partial_ids(tmp_path):
    path = write_bundle(
        tmp_path / "b.npz",
        n=5,
        bestobjid=np.array(["", "222", "111", "0", ""]),
        object_group=np.array([7, 7, 7, 8, 8]),
    )
    groups = [p.group_id for p in read_spectra_bundle(path)]
    assert groups == ["111", "111", "111", "0266-51602-0004", "0266-51602-0004"]


def test_bundle_photometry_that_is_not_positive_has_no_weight(tmp_path):
    flux = np.array([[1, 0, -1, np.nan, np.inf]] * 4, np.float32)
    galaxy = next(read_spectra_bundle(write_bundle(tmp_path / "b.npz", calibflux_ugriz=flux)))
    assert (galaxy.photometry_ivar > 0).tolist() == [True, False, False, False, False]


def test_one_bad_spectrum_of_a_bundle(tmp_path):
    ivar = np.ones((4, 3598), np.float32)
    ivar[1] = 0
    bundle = SpectraBundle(write_bundle(tmp_path / "b.npz", ivar=ivar))
    assert bundle.galaxy(0).flux is not None
    with pytest.raises(InputError, match=r"b\.npz\[1\].*no valid pixel"):
        bundle.galaxy(1)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"flux": None, "fluxes": np.ones(3)}, "no array 'flux'.*'fluxes'"),
        ({"ivar": np.ones((4, 7))}, "'ivar' has shape"),
        ({"plate": np.array(["a"] * 4)}, "not integer"),
        ({"z": np.array([{}] * 4, object)}, "pickle"),
        ({"loglam": 3.59 + 2e-4 * np.arange(3598)}, "do not fall on the grid"),
    ],
)
def test_bundle_faults(tmp_path, arrays, says):
    with pytest.raises(InputError, match=says):
        list(read_spectra_bundle(write_bundle(tmp_path / "b.npz", **arrays)))


def test_truncated_bundle(tmp_path):
    path = write_bundle(tmp_path / "b.npz")
    path.write_bytes(path.read_bytes()[:10000])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_spectra_bundle(path)


@needs_real
def test_real_files_of_every_pipeline():
    for path in sorted((SHARED / "spec").glob("spec-*.fits")):
        galaxy = read_spectrum(path)
        assert path.name == f"spec-{galaxy.object_id}.fits"
        assert galaxy.group_id.isdigit() and (galaxy.ivar > 0).mean() > 0.99


@needs_real
def test_real_files_of_other_instruments():
    """An IRAF image of the TNG, whose RA is in hours, and an image that is one column of pixels."""
    radio, cluster = (
        read_observed_spectrum(SHARED / "spec" / f"{n}.fits") for n in ("3C433", "NGC7099_2016-10-01")
    )
    np.testing.assert_allclose(radio.wave[[0, -1]], [3500, 7615], atol=0.01)
    np.testing.assert_allclose([radio.galaxy.ra, radio.galaxy.dec], [320.931, 25.0755], atol=1e-3)
    np.testing.assert_allclose(cluster.wave, 3350 + 0.6 * np.arange(9417))
    assert cluster.galaxy.z == 0 and cluster.galaxy.group_id == "NGC7099" and cluster.is_relative
    with pytest.raises(InputError, match=r"redrock-.*a DESI file other than a coadd"):
        read_spectrum(SHARED / "spec" / "redrock-4-80613-thru20210324.fits")


@needs_real
def test_real_bundle_agrees_with_the_files():
    galaxies = {p.object_id: p for p in read_spectra_bundle(SHARED / "sdss_galaxies.npz")}
    compared = 0
    for path in (SHARED / "spec").glob("spec-*.fits"):
        ours = read_spectrum(path)
        theirs = galaxies.get(ours.object_id)
        if theirs is not None:
            np.testing.assert_array_equal(ours.flux, theirs.flux)
            np.testing.assert_array_equal(ours.ivar, theirs.ivar)
            assert ours.group_id == theirs.group_id and ours.ra == pytest.approx(theirs.ra)
            compared += 1
    assert compared > 10
