import numpy as np
import pytest
from astropy.io import fits

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import LEGACY, LEGACY_NORTH, SDSS
from pix2spec.data.dataset import Dataset
from pix2spec.data.import_files import import_data
from pix2spec.data.readers.desi import DesiCoadd
from pix2spec.data.readers.spectra import read_spectrum, read_spectrum_header
from pix2spec.errors import InputError
from support.fake_desi import write_coadd
from support.fake_sdss import write_spec
from support.paths import SHARED

REAL = SHARED / "spec" / "coadd-4-80613-thru20210324.fits"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason=f"no real DESI data in {SHARED}")


def test_smooth_spectra_come_through_the_arms(tmp_path):
    """A straight line, to a fraction of a pixel's width: pixels are taken as flat."""
    galaxy = DesiCoadd(write_coadd(tmp_path, spectrum=lambda wave: wave / 1000)).galaxy(0)
    grid = SpectralGrid()
    np.testing.assert_allclose(galaxy.flux, grid.wave / 1000, rtol=5e-5)
    assert (galaxy.flux.dtype, galaxy.ivar.dtype, galaxy.mask.dtype) == (np.float32, np.float32, np.int32)
    width = np.diff(10 ** (3.59 + 1e-4 * (np.arange(3599) - 0.5)))
    # width / 0.8 pixels of ivar 1, and at most as many as the pixel touches
    one_arm, both = (grid.wave > 6000) & (grid.wave < 7400), (grid.wave > 7530) & (grid.wave < 7610)
    for where, arms in ((one_arm, 1), (both, 2)):
        information = galaxy.ivar[where] / arms
        assert (information > width[where] / 0.8 - 1e-5).all()
        assert (information < width[where] / 0.8 + 2).all()


def test_arms_are_weighted_by_ivar_and_masked_pixels_left_out(tmp_path):
    def change(hdus):
        for arm, flux, ivar in (("B", 1, 9), ("R", 2, 1), ("Z", 4, 1)):
            hdus[f"{arm}_FLUX"].data[:] = flux
            hdus[f"{arm}_IVAR"].data[:] = ivar
        hdus["B_MASK"].data[0, :1500] = 8
        hdus["B_FLUX"].data[0, :1500] = 1e6

    coadd = DesiCoadd(write_coadd(tmp_path, change=change))
    galaxy, wave = coadd.galaxy(0), SpectralGrid().wave
    np.testing.assert_allclose(galaxy.flux[(wave > 5765) & (wave < 5795)], (9 * 1 + 1 * 2) / 10, rtol=0.02)
    masked = wave < 3600 + 0.8 * 1495
    assert (galaxy.ivar[masked] == 0).all() and (galaxy.mask[masked] == 8).all()
    assert (galaxy.ivar[~masked][10:] > 0).all() and galaxy.flux[~masked].max() < 5
    assert (coadd.galaxy(1).ivar > 0).all()


def test_facts_are_joined_by_target_not_by_row(tmp_path):
    coadd = DesiCoadd(write_coadd(tmp_path), survey=LEGACY_NORTH)
    first, second = coadd.header(0), coadd.header(1)
    assert (first.object_id, first.group_id) == ("39633345008634465",) * 2
    assert (first.z, first.spec_class) == (0.1, "GALAXY") and first.z_err == 1e-5
    assert np.isnan(second.z) and np.isnan(second.z_err)  # ZWARN
    assert coadd.notes(0) == [] and "redshift 0.2 is not used: ZWARN is" in coadd.notes(1)[0]
    assert (first.ra, first.dec) == (105.4, 56.67)
    np.testing.assert_array_equal(first.photometry, np.array([2, 4, np.nan], np.float32))
    # 5 %, 0.05 nanomaggies, and 1/40 of the flux, as of the total
    assert first.photometry_ivar[0] == pytest.approx(1 / (0.1**2 + 0.05**2 + 0.05**2), rel=1e-5)
    assert first.photometry_ivar[2] == 0
    for survey in (SDSS, LEGACY):  # other bands, other filters
        path = tmp_path / "coadd-4-80613-thru20210324.fits"
        assert DesiCoadd(path, survey=survey).header(0).photometry is None


def test_without_redrock_the_redshift_is_unknown(tmp_path):
    galaxy = DesiCoadd(write_coadd(tmp_path, redrock=False)).header(0)
    assert np.isnan(galaxy.z) and np.isnan(galaxy.z_err) and galaxy.spec_class == ""


def test_sky_fibres_are_no_objects_and_bad_fibres_are_reported(tmp_path):
    path = write_coadd(
        tmp_path,
        n=4,
        OBJTYPE=np.array(["TGT", "SKY", "TGT", "TGT"]),
        COADD_FIBERSTATUS=np.array([0, 0, 512, 0]),
    )
    write_spec(tmp_path / "spec-0266-51602-0013.fits")
    report = import_data(tmp_path / "out", [tmp_path], progress=False)
    data = Dataset(tmp_path / "out")
    ids = [galaxy.object_id for galaxy in data]
    assert ids == ["39633345008634465", "39633345008634468", "0266-51602-0013"]
    assert data[0].photometry is None and data[2].photometry is not None
    [(where, why)] = report.failures
    assert "TARGETID 39633345008634467" in where and "COADD_FIBERSTATUS 512" in why and path.name in where


def test_single_target_is_read_as_a_spectrum_whatever_its_name(tmp_path):
    path = write_coadd(tmp_path, n=1, name="anything.fits", redrock=False)
    assert read_spectrum(path).flux.shape == (3598,)
    assert read_spectrum_header(path).flux is None
    with pytest.raises(InputError, match=r"holds 3 targets.*import"):
        read_spectrum(write_coadd(tmp_path, n=3))


def drop(name):
    return lambda hdus: hdus.__delitem__(name)


def narrow(hdus):
    for name in ("Z_WAVELENGTH", "Z_FLUX", "Z_IVAR", "Z_MASK"):
        del hdus[name]


def unequal(hdus):
    hdus["R_IVAR"].data = hdus["R_IVAR"].data[:, 5:]


def backwards(hdus):
    hdus["B_WAVELENGTH"].data = hdus["B_WAVELENGTH"].data[::-1].copy()


def few(hdus):
    for name in ("FLUX", "IVAR", "MASK"):
        for arm in "BRZ":
            hdus[f"{arm}_{name}"].data = hdus[f"{arm}_{name}"].data[:1]


def dark(hdus):
    for arm in "BRZ":
        hdus[f"{arm}_IVAR"].data[:] = 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop("FIBERMAP"), "no extension FIBERMAP"),
        (drop("B_IVAR"), "no array B_IVAR"),
        (narrow, "covers 3600.0 to 7620.0 Angstrom"),
        (unequal, "arm R differ in shape"),
        (backwards, "not increasing"),
        (few, "fewer spectra than rows"),
        (dark, "no valid pixel"),
    ],
)
def test_faults_name_what_is_wrong(tmp_path, change, says):
    with pytest.raises(InputError, match=says):
        DesiCoadd(write_coadd(tmp_path, change=change)).galaxy(2)


def test_missing_column_and_position(tmp_path):
    with pytest.raises(InputError, match="FIBERMAP has no column OBJTYPE"):
        DesiCoadd(write_coadd(tmp_path, OBJTYPE=None))
    path = write_coadd(tmp_path, name="coadd-b.fits", TARGET_RA=np.array([np.nan, 400, 10]))
    for i in (0, 1):
        with pytest.raises(InputError, match="not a position"):
            DesiCoadd(path).header(i)


@needs_real
def test_real_coadd_conserves_flux():
    galaxy = read_spectrum(REAL)
    assert (galaxy.object_id, galaxy.spec_class) == ("39633345008634465", "GALAXY")
    assert galaxy.z == pytest.approx(0.36874355) and galaxy.z_err == pytest.approx(1.1796e-6, rel=1e-3)
    assert (galaxy.ra, galaxy.dec) == (105.48977452498902, 56.669300058331935)
    assert (galaxy.ivar > 0).all()
    grid = SpectralGrid()
    width = np.diff(10 ** (3.59 + 1e-4 * (np.arange(3599) - 0.5)))
    with fits.open(REAL) as hdus:
        for arm, low, high in (("B", 4000, 5700), ("R", 5850, 7450), ("Z", 7700, 8850)):
            wave, flux = hdus[f"{arm}_WAVELENGTH"].data, hdus[f"{arm}_FLUX"].data[0]
            ivar = hdus[f"{arm}_IVAR"].data[0]
            ours = (grid.wave > low) & (grid.wave < high)
            edges = 10 ** (3.59 + 1e-4 * (np.flatnonzero(ours)[[0, -1]] + np.array([-0.5, 0.5])))
            share = np.clip(np.minimum(wave + 0.4, edges[1]) - np.maximum(wave - 0.4, edges[0]), 0, None)
            assert (galaxy.flux * width)[ours].sum() == pytest.approx((flux * share).sum(), rel=1e-5)
            # information is neither made nor lost: ivar adds up, less what unequal weights cost
            gain = galaxy.ivar[ours].sum() / ivar[(wave > low) & (wave < high)].sum()
            assert 0.95 < gain < 1.35


@needs_real
def test_real_coadd_is_imported(tmp_path):
    report = import_data(tmp_path / "out", [REAL], progress=False)
    assert (report.n_written, report.failures) == (1, [])
    galaxy = Dataset(tmp_path / "out")[0]
    np.testing.assert_array_equal(galaxy.flux, read_spectrum(REAL).flux)
