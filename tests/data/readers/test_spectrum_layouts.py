"""Layouts that surveys and programs document, each with the same spectrum."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from specutils.utils.wcs_utils import air_to_vac

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
from pix2spec.data.readers.spectra import read_spectrum
from pix2spec.data.readers.spectrum_roles import column_roles
from pix2spec.errors import InputError
from pix2spec.evaluation.predictions.open import open_predictions

UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")
WAVE = np.arange(3700.0, 9301.0, 2.0)
LOGLAM = 3.57 + 1e-4 * np.arange(4100)
FLAM = "erg/s/cm2/Angstrom"
rng = np.random.default_rng(1)


def shape(wave):
    return 20 + 5 * np.sin(np.asarray(wave) / 200) + rng.normal(0, 0.5, len(wave))


FLUX, LOGFLUX = shape(WAVE), shape(10**LOGLAM)
ERROR, LOGERROR = 0.4 + WAVE / 1e5, 0.4 + LOGLAM / 10
SKY = np.full(len(WAVE), 100.0)
LINEAR = {"CRVAL1": 3700.0, "CRPIX1": 1.0, "CD1_1": 2.0, "CTYPE1": "WAVE", "CUNIT1": "Angstrom"}


def image(path, data, header, *others, **cards):
    primary = fits.PrimaryHDU(np.asarray(data))
    primary.header.update(header | cards)
    fits.HDUList([primary, *others]).writeto(path)


def table(path, columns, units=(), primary=None, vector=False, **cards):
    units = dict(units)
    made = []
    for name, values in columns.items():
        values = np.asarray(values)
        code = {"f": "D", "i": "J", "u": "J"}[values.dtype.kind]
        form, array = (f"{len(values)}{code}", values[None]) if vector else (code, values)
        made.append(fits.Column(name, form, units.get(name), array=array))
    hdu = fits.BinTableHDU.from_columns(made)
    hdu.header.update(cards)
    first = fits.PrimaryHDU()
    first.header.update(primary or {})
    fits.HDUList([first, hdu]).writeto(path)


def weave_l1(path):
    """Counts, their inverse variances and the sensitivity, one extension each."""
    response = 1e-17 * (1 + WAVE / 1e4)
    names = {"RED_DATA": FLUX * 1e-17 / response, "RED_IVAR": (response / (ERROR * 1e-17)) ** 2}
    names |= {"RED_DATA_NOSS": SKY, "RED_SENSFUNC": response}
    hdus = [fits.ImageHDU(values, fits.Header(LINEAR), name) for name, values in names.items()]
    primary = fits.PrimaryHDU()
    primary.header.update({"CNAME": "WVE_10000000+0200000", "RA": 150.0, "DEC": 2.0})
    fits.HDUList([primary, *hdus]).writeto(path)


def weave_l2(path):
    columns = {"LAMBDA": WAVE, "FLUX": FLUX * 1e-17, "IVAR": 1 / (ERROR * 1e-17) ** 2}
    units = {"LAMBDA": "Angstrom", "FLUX": FLAM}
    table(path, columns, units, {"RA": 150.0, "DEC": 2.0, "Z": 0.1}, vector=True)


def fourmost(path):
    columns = {"WAVE": WAVE, "FLUX": FLUX * 1e-17, "ERR_FLUX": ERROR * 1e-17, "QUAL": 0 * WAVE.astype(int)}
    columns |= {"FLUX_NOSS": SKY, "ERR_FLUX_NOSS": ERROR}
    units = {"WAVE": "Angstrom", "FLUX": "erg/(Angstrom s cm2)", "ERR_FLUX": "erg/(Angstrom s cm2)"}
    table(path, columns, units, {"RA": 150.0, "DEC": 2.0, "OBJECT": "a target"}, vector=True)


def vipers(path):
    columns = {"WAVES": WAVE, "FLUXES": FLUX * 1e-17, "NOISE": ERROR * 1e-17, "SKY": SKY}
    header = {"ID": 101140349, "ALPHA": 150.0, "DELTA": 2.0, "REDSHIFT": 0.1}
    table(path, columns, {"WAVES": "ANGSTROMS", "FLUXES": "erg/cm2/s/A"}, header)


def zcosmos(path):
    image(path, FLUX * 1e-17, LINEAR, BUNIT="erg/s/cm**2/Angstroms", RA=150.0, DEC=2.0, REDSHIFT=0.1)


def gama(path):
    rows = [FLUX, ERROR, SKY, ERROR, SKY]
    header = LINEAR | {"CRPIX1": 101.0, "CRVAL1": 3900.0}
    labels = {"ROW1": "Spectrum", "ROW2": "Error", "ROW3": "Spectrum without flux calibration"}
    labels |= {"ROW4": "Error without flux calibration", "ROW5": "Sky"}
    facts = {"SPECID": "G12_Y2_009_085", "CATAID": 92770, "RA": 150.0, "DEC": 2.0, "Z": 0.1, "NQ": 4}
    image(path, rows, header, BUNIT="10^-17 erg/s/cm^2/A", **labels, **facts)


def lamost_coadd(path):
    columns = {"FLUX": LOGFLUX, "IVAR": 1 / LOGERROR**2, "WAVELENGTH": 10**LOGLAM}
    columns |= {"ANDMASK": 0 * LOGLAM, "ORMASK": 0 * LOGLAM}
    facts = {"OBSID": 353301001, "RA": 150.0, "DEC": 2.0, "Z": 0.1, "CLASS": "GALAXY"}
    table(path, columns, (), facts, vector=True, EXTNAME="COADD")


def lamost_rows(path):
    rows = [LOGFLUX, 1 / LOGERROR**2, 10**LOGLAM, 0 * LOGLAM, 0 * LOGLAM]
    image(path, rows, {"COEFF0": 3.57, "COEFF1": 1e-4, "VACUUM": True, "Z": 0.1, "RA": 150.0, "DEC": 2.0})


def sixdf(path):
    header = {"CRVAL1": 3700.0, "CRPIX1": 1.0, "CDELT1": 2.0, "QUALITY": 4, "Z_HELIO": 0.1}
    primary = fits.PrimaryHDU(np.stack([FLUX, ERROR**2, SKY, WAVE]))
    primary.header.update(header | {"OBSRA": np.deg2rad(150.0), "OBSDEC": np.deg2rad(2.0), "Z": 0.1})
    primary.header.comments["OBSRA"] = primary.header.comments["OBSDEC"] = "observed position (radians)"
    primary.writeto(path)


def twodf(path):
    chart = fits.ImageHDU(np.ones((49, 49)), fits.Header({"IMAGE": "SKYCHART"}))
    header = {"CRVAL1": 3700 + 2.0 * 1400, "CRPIX1": 1401.0, "CDELT1": 2.0, "IMAGE": "SPECTRUM"}
    image(path, [FLUX, ERROR**2, SKY], header, chart, Z_HELIO=0.1)


def eso(path):
    columns = {"WAVE": WAVE / 10, "FLUX": FLUX * 1e-17, "ERR": ERROR * 1e-17, "QUAL": 0 * WAVE.astype(int)}
    unit = "10**(-17)erg.cm**(-2).s**(-1).angstrom**(-1)"
    columns = columns | {"FLUX": FLUX, "ERR": ERROR}
    cards = {"VOCLASS": "SPECTRUM V2.0", "EXTNAME": "SPECTRUM", "TUCD1": "em.wl;obs.atmos"}
    table(path, columns, {"WAVE": "nm", "FLUX": unit, "ERR": unit}, {"RA": 150.0, "DEC": 2.0}, True, **cards)


def iraf_log(path):
    """A four-dimensional product of apall: bands that BANDID names, and DC-FLAG."""
    bands = {"BANDID1": "spectrum - background none, weights variance, clean yes", "BANDID2": "raw - none"}
    bands |= {"BANDID3": "background - background median", "BANDID4": "sigma - variance"}
    header = {"CRVAL1": 3.57, "CDELT1": 1e-4, "CRPIX1": 1.0, "DC-FLAG": 1, "CTYPE1": "LINEAR"}
    sky = np.full(len(LOGLAM), 9.0)
    rows = np.stack([LOGFLUX, LOGFLUX + 9, sky, LOGERROR])[:, None]
    image(path, rows, header, **bands, BUNIT="1.0E-17 ERG/CM2/S/A")


def wave_log(path):
    header = {"CRVAL1": 10**3.57, "CDELT1": 10**3.57 * 1e-4 * np.log(10), "CRPIX1": 1.0}
    image(path, LOGFLUX, header, CTYPE1="WAVE-LOG", CUNIT1="Angstrom", BUNIT="10(-17) ergs/cm2/s/Ang")


def sdss_v(path):
    columns = {"FLUX": LOGFLUX, "LOGLAM": LOGLAM, "IVAR": 1 / LOGERROR**2, "AND_MASK": 0 * LOGLAM.astype(int)}
    table(path, columns, EXTNAME="COADD")
    row = Table({"FIELD": [15001], "MJD": [59187], "CATALOGID": [27021597911984196], "Z": [0.1]})
    row["Z_ERR"], row["ZWARNING"], row["CLASS"], row["RACAT"], row["DECCAT"] = 1e-5, 0, "GALAXY", 150.0, 2.0
    row["PROGRAMNAME"] = "bhm"
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.BinTableHDU(row, name="SPALL"))


def extensions(path):
    """FLUX, ERROR, WAVELENGTH and MASK as images of their own."""
    names = {"FLUX": FLUX, "STAT": ERROR**2, "WAVELENGTH": WAVE / 1e4, "MASK": np.zeros(len(WAVE), np.int16)}
    hdus = [fits.ImageHDU(values, name=name) for name, values in names.items()]
    hdus[0].header["BUNIT"] = "1e-17 erg s-1 cm-2 Å-1".replace("Å", "A")
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)


def janskys(path):
    flux, error = ((x * UNIT).to("uJy", u.spectral_density(WAVE * u.AA)) for x in (FLUX, ERROR))
    Table({"wave": WAVE / 1e4 * u.um, "flux": flux, "flux_err": error}).write(path)


def ascii_ivar(path):
    lines = ["# z = 0.1", "# RA: 10:00:00", "# DEC: +02:00:00", "# wave flux ivar"]
    lines += [f"{w} {f!r} {1 / e**2!r}" for w, f, e in zip(WAVE, FLUX.tolist(), ERROR)]
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", ""))


def ascii_air(path):
    rows = np.transpose([WAVE / 10, FLUX, ERROR])
    head = "Wavelength_air(nm) Flux(1e-17 erg/s/cm^2/A) Error"
    np.savetxt(path, rows, header=head.replace("1e-17 erg", "1e-17erg"), comments="")


def csv(path):
    Table({"Wavelength (Angstrom)": WAVE, "Flux": FLUX, "sigma": ERROR}).write(path, format="ascii.csv")


def ipac(path):
    found = Table({"wave": WAVE, "flux": FLUX, "err": ERROR}, meta={"keywords": {"z": {"value": 0.1}}})
    found["wave"].unit, found["flux"].unit = "Angstrom", "1e-17 erg/(s cm2 Angstrom)"
    found.write(path, format="ascii.ipac")


AIR = {eso, ascii_air}
LOG = {lamost_coadd, lamost_rows, iraf_log, wave_log, sdss_v}
RELATIVE = {lamost_coadd, lamost_rows, sixdf, twodf, ascii_ivar, csv}
WITHOUT_ERROR = {zcosmos, wave_log}
LAYOUTS = {  # file, id
    "single_1001.fits": (weave_l1, "WVE_10000000+0200000"),
    "aps_1001.fits": (weave_l2, "aps_1001"),
    "L1_0001.fits": (fourmost, "L1_0001"),
    "VIPERS_101140349.fits": (vipers, "101140349"),
    "sc_700001.fits": (zcosmos, "sc_700001"),
    "G12_Y2_009_085.fit": (gama, "G12_Y2_009_085"),
    "spec-56685-B5_sp01-001.fits": (lamost_coadd, "353301001"),
    "lamost.fits.gz": (lamost_rows, "lamost"),
    "g0000-6dF.fits": (sixdf, "g0000-6dF"),
    "T100.fits": (twodf, "T100"),
    "ADP.2015.fits": (eso, "ADP.2015"),
    "apall.ms.fits": (iraf_log, "apall.ms"),
    "wave-log.fits": (wave_log, "wave-log"),
    "spec-015001-59187-27021597911984196.fits": (sdss_v, "15001-59187-27021597911984196"),
    "extensions.fits": (extensions, "extensions"),
    "jy.ecsv": (janskys, "jy"),
    "ivar.dat": (ascii_ivar, "ivar"),
    "air.txt": (ascii_air, "air"),
    "plain.csv": (csv, "plain"),
    "irsa.tbl": (ipac, "irsa"),
}
WITH_Z = {weave_l2, vipers, zcosmos, gama, lamost_coadd, lamost_rows, sixdf, twodf, sdss_v, ascii_ivar}
WITH_POSITION = {*WITH_Z, weave_l1, fourmost, eso} - {twodf}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_the_pixels_and_facts_of_its_file(name, tmp_path):
    write, object_id = LAYOUTS[name]
    write(tmp_path / name)
    seen = read_observed_spectrum(tmp_path / name)
    wave, flux, error = (10**LOGLAM, LOGFLUX, LOGERROR) if write in LOG else (WAVE, FLUX, ERROR)
    wave = air_to_vac(wave * u.AA, method="Ciddor1996").value if write in AIR else wave
    np.testing.assert_allclose(seen.wave, wave, rtol=1e-9)
    assert seen.is_relative == (write in RELATIVE)
    plain = seen.flux if seen.is_relative else seen.flux.to(UNIT, u.spectral_density(wave * u.AA)).value
    np.testing.assert_allclose(plain, flux, rtol=1e-6)
    if write in WITHOUT_ERROR:
        assert seen.error is None
    else:
        given = seen.error if seen.is_relative else seen.error.to(UNIT, u.spectral_density(wave * u.AA)).value
        np.testing.assert_allclose(given, error, rtol=1e-6)
    galaxy = seen.galaxy
    assert galaxy.object_id == object_id
    np.testing.assert_allclose(galaxy.z, 0.1 if write in WITH_Z else np.nan)
    position = (150, 2) if write in WITH_POSITION else (np.nan, np.nan)
    np.testing.assert_allclose((galaxy.ra, galaxy.dec), position, atol=1e-9)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_put_on_the_grid(name, tmp_path):
    write, _ = LAYOUTS[name]
    write(tmp_path / name)
    galaxy = read_spectrum(tmp_path / name, SpectralGrid())
    expected = 20 + 5 * np.sin((WAVE if write in AIR else SpectralGrid().wave)[:3598] / 200)
    assert (galaxy.ivar > 0).all()
    if write not in AIR:
        assert np.abs(galaxy.flux - expected).mean() < 0.6  # noise of 0.5
    error = np.median(1 / np.sqrt(galaxy.ivar))
    assert 0.3 < error < 1.5


ROWS = {
    "flux and error": [FLUX, ERROR],
    "flux, error, mask": [FLUX, ERROR, 0 * FLUX],
    "flux and ivar": [FLUX, 1 / ERROR**2],
    "flux and wavelengths": [FLUX, WAVE],
    "flux and a constant error": [FLUX, np.full(len(WAVE), 10.0)],
    "faint flux and its error": [FLUX - 19.6, ERROR],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_without_names_are_a_question(rows, tmp_path):
    image(tmp_path / "a.fits", rows, LINEAR)
    with pytest.raises(InputError, match=r"rows that differ in kind: which is the flux.*ROW1 = 'flux'"):
        read_observed_spectrum(tmp_path / "a.fits")
    opened = open_predictions(tmp_path, SpectralGrid())
    assert not list(opened) and "which is the flux" in opened.failures["a"]


def test_rows_that_are_alike_or_named_are_candidates(tmp_path):
    image(tmp_path / "a.fits", [FLUX, FLUX[::-1], 1.5 * FLUX], LINEAR)
    image(tmp_path / "b.fits", [FLUX, 100 * FLUX], LINEAR, CTYPE2="CANDIDATE")
    assert [len(e.candidates) for e in open_predictions(tmp_path, SpectralGrid())] == [3, 2]
    with pytest.raises(InputError, match="3 spectra, not one"):
        read_observed_spectrum(tmp_path / "a.fits")


def test_units_that_are_not_understood_are_named(tmp_path):
    table(tmp_path / "flux.fits", {"wave": WAVE, "flux": FLUX}, {"wave": "nm", "flux": "blargs"})
    with pytest.raises(InputError, match=r"flux\.fits: its unit of flux 'blargs' is not understood"):
        read_observed_spectrum(tmp_path / "flux.fits")
    table(tmp_path / "wave.fits", {"wave": WAVE, "flux": FLUX}, {"wave": "parsnips"})
    with pytest.raises(InputError, match=r"wave\.fits: its wavelengths are in 'parsnips'"):
        read_observed_spectrum(tmp_path / "wave.fits")


@pytest.mark.parametrize(
    ("facts", "why"),
    [({"ZWARNING": 4}, "ZWARNING is 4"), ({"ZWARN": 1}, "ZWARN is 1"), ({"NQ": 2}, "NQ is 2")],
)
def test_warned_redshifts_are_missing_and_said(facts, why, tmp_path):
    image(tmp_path / "a.fits", FLUX, LINEAR, Z=0.1, **facts)
    seen = read_observed_spectrum(tmp_path / "a.fits")
    assert np.isnan(seen.galaxy.z) and seen.notes == [f"its redshift 0.1 is not used: {why}"]


def test_fillers_are_no_redshifts_and_masks_no_flux(tmp_path):
    image(tmp_path / "a.fits", FLUX, LINEAR, Z=-9999.0, RA="10:00:00", DEC="-00:30:00")
    galaxy = read_observed_spectrum(tmp_path / "a.fits").galaxy
    assert np.isnan(galaxy.z) and (galaxy.ra, galaxy.dec) == (150, -0.5)
    bad = np.isin(np.arange(len(WAVE)), [5, 6])
    table(tmp_path / "b.fits", {"wave": WAVE, "flux": FLUX, "err": ERROR, "dq": bad.astype(int)})
    np.testing.assert_array_equal(np.isnan(read_observed_spectrum(tmp_path / "b.fits").flux), bad)
    table(tmp_path / "c.fits", {"wave": WAVE, "flux": FLUX, "err": ERROR, "mask": (~bad).astype(int)})
    seen = read_observed_spectrum(tmp_path / "c.fits")
    assert np.isfinite(seen.flux).all() and "marks 100 % of the pixels" in seen.notes[0]


@pytest.mark.parametrize(
    "names, role", [("Fnu eFnu", "error"), ("f_lambda f_lambda_ivar", "ivar"), ("spec dspec", "error")]
)
def test_errors_are_named_after_the_flux(names, role):
    flux, errors = names.split()
    assert column_roles(["wave", flux, errors, "model"]) == {"wave": "wave", "flux": flux, role: errors}
