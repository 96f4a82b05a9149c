"""Tables in the documented layouts of surveys, made here, against values computed with astropy."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from pix2spec.data.readers.catalogue_rows import CatalogueRows
from pix2spec.data.readers.column_choices import read_choices
from pix2spec.errors import InputError

MAGNITUDES = dict(zip("ugrizy", (19.655, 18.149, 17.298, 16.878, 16.563, 16.4)))
ERROR = 0.02
SKY = {"ra": [150.1], "dec": [2.2]}


def flux_in(band, unit):
    return (MAGNITUDES[band] * u.ABmag).to(unit, u.zero_point_flux(3631 * u.Jy)).value


def mags(value, error=None, bands="ugriz", **more):
    """A table of magnitudes; the forms contain {} for the band."""
    columns = {value.format(b): [MAGNITUDES[b.lower()]] for b in bands}
    if error:
        columns |= {error.format(b): [ERROR] for b in bands}
    return Table(columns | {name: [v] if np.ndim(v) == 0 else v for name, v in more.items()})


def fluxes(value, error, bands, unit, has_unit=False, ivar=False, **more):
    table = Table({name: [v] if np.ndim(v) == 0 else v for name, v in more.items()})
    for b in bands:
        flux = flux_in(b.lower(), unit)
        sigma = 0.4 * np.log(10) * ERROR * flux
        table[value.format(b)] = [flux]
        table[error.format(b)] = [sigma**-2 if ivar else sigma]
        if has_unit:
            table[value.format(b)].unit = unit
            table[error.format(b)].unit = unit**-2 if ivar else unit
    return table


DES_COUNT = u.Unit(3.631 * u.nJy)
UPPER = "GRIZ"
# name: (table, group of filters, kind, bands)
LAYOUTS = {
    "SkyServer": (mags("{}", "err_{}", run=756, camcol=3, field=1), "sdss2010", "model", "ugriz"),
    "CasJobs, model": (mags("modelMag_{}", "modelMagErr_{}"), "sdss2010", "model", "ugriz"),
    "CasJobs, cmodel": (mags("cModelMag_{}", "cModelMagErr_{}"), "sdss2010", "cmodel", "ugriz"),
    "CasJobs, Petrosian": (mags("petroMag_{}", "petroMagErr_{}"), "sdss2010", "petrosian", "ugriz"),
    "CasJobs, fibre of BOSS": (mags("fiber2Mag_{}", "fiber2MagErr_{}"), "sdss2010", "fibre", "ugriz"),
    "CasJobs, prefixes": (mags("p.psfMag_{}", "p.psfMagErr_{}"), "sdss2010", "psf", "ugriz"),
    "CasJobs, fluxes": (
        fluxes("psfFlux_{}", "psfFluxIvar_{}", "ugriz", u.nmgy, ivar=True),
        "sdss2010",
        "psf",
        "ugriz",
    ),
    "CasJobs, fibre fluxes": (
        fluxes("fiberFlux_{}", "fiberFluxIvar_{}", "ugriz", u.nmgy, ivar=True),
        "sdss2010",
        "fibre",
        "ugriz",
    ),
    "VizieR V/154": (
        mags("{}mag", "e_{}mag", RA_ICRS=150.1, DE_ICRS=2.2, SDSS16="J1"),
        "sdss2010",
        "unknown",
        "ugriz",
    ),
    "VizieR, primes": (mags("{}'mag", "e_{}'mag"), "sdss2010", "unknown", "ugriz"),
    "Kaggle": (
        mags("{}", obj_ID="1", spec_obj_ID="2", cam_col=3, plate=1, MJD=2),
        "sdss2010",
        "model",
        "ugriz",
    ),
    "only g and r": (mags("{}", "{}_err", "gr"), "sdss2010", "unknown", "gr"),
    "upper case": (mags("{}", "{}_ERR", "UGRIZ"), "sdss2010", "unknown", "ugriz"),
    "names in words": (mags("mag_{}", "magerr_{}"), "sdss2010", "unknown", "ugriz"),
    "names with the survey": (mags("sdss_mag_{}", "sdss_mag_{}_err"), "sdss2010", "unknown", "ugriz"),
    "speclite's names": (mags("sdss2010-{}", "sdss2010-{}_err"), "sdss2010", "unknown", "ugriz"),
    "units in brackets": (mags("{} [mag]", "{}_err [mag]"), "sdss2010", "unknown", "ugriz"),
    "Tractor": (
        fluxes("FLUX_{}", "FLUX_IVAR_{}", "GRZ", u.nmgy, ivar=True, RA=150.1, DEC=2.2),
        "decam2014",
        "model",
        "grz",
    ),
    "Tractor of Data Lab": (
        fluxes("flux_{}", "flux_ivar_{}", "griz", u.nmgy, ivar=True, ls_id=5, brickid=3),
        "decam2014",
        "model",
        "griz",
    ),
    "Pan-STARRS, mean PSF": (mags("{}MeanPSFMag", "{}MeanPSFMagErr", "grizy"), "panstarrs", "psf", "grizy"),
    "Pan-STARRS, stack": (
        mags("{}KronMag", "{}KronMagErr", "grizy", raStack=1.0),
        "panstarrs",
        "kron",
        "grizy",
    ),
    "Pan-STARRS, stack fluxes": (
        fluxes("{}PSFFlux", "{}PSFFluxErr", "grizy", u.Jy),
        "panstarrs",
        "psf",
        "grizy",
    ),
    "Pan-STARRS, lower case": (
        mags("{}meankronmag", "{}meankronmagerr", "grizy"),
        "panstarrs",
        "kron",
        "grizy",
    ),
    "HSC PDR3": (mags("{}_cmodel_mag", "{}_cmodel_magerr", "grizy"), "hsc2017", "cmodel", "grizy"),
    "HSC PDR2": (mags("{}_psfflux_mag", "{}_psfflux_magsigma", "grizy"), "hsc2017", "psf", "grizy"),
    "HSC, fluxes": (
        fluxes("{}_cmodel_flux", "{}_cmodel_fluxerr", "grizy", u.nJy),
        "hsc2017",
        "cmodel",
        "grizy",
    ),
    "HSC PDR1": (mags("{}cmodel_mag", "{}cmodel_mag_err", "grizy"), "hsc2017", "cmodel", "grizy"),
    "LSST DP1": (
        fluxes(
            "{}_cModelFlux",
            "{}_cModelFluxErr",
            "ugrizy",
            u.nJy,
            objectId=2**60,
            coord_ra=150.1,
            coord_dec=2.2,
        ),
        "lsst2023",
        "cmodel",
        "ugrizy",
    ),
    "LSST DP1, PSF": (fluxes("{}_psfFlux", "{}_psfFluxErr", "ugrizy", u.nJy), "lsst2023", "psf", "ugrizy"),
    "Pan-STARRS of VizieR": (mags("{}Kmag", "e_{}Kmag", "grizy"), "panstarrs", "kron", "grizy"),
    "LSST with photerr": (mags("LSST_obs_{}", "LSST_obs_{}_err", "ugrizy"), "lsst2023", "unknown", "ugrizy"),
    "pixels x and y": (mags("{}", "{}_err", "gr", x=100.0, y=200.0), "sdss2010", "unknown", "gr"),
    "Johnson and Cousins": (mags("{}", "{}_err", "gr", B=18.0, V=17.0, R=16.5), "sdss2010", "unknown", "gr"),
    "RAIL": (mags("mag_{}_lsst", "mag_err_{}_lsst", "ugrizy"), "lsst2023", "unknown", "ugrizy"),
    "bare ugrizy": (mags("{}", "{}_err", "ugrizy"), "lsst2023", "unknown", "ugrizy"),
    "DES": (mags("MAG_AUTO_{}", "MAGERR_AUTO_{}", UPPER, COADD_OBJECT_ID=7), "decam2014", "kron", "griz"),
    "DES, PSF": (mags("WAVG_MAG_PSF_{}", "WAVG_MAGERR_PSF_{}", UPPER), "decam2014", "psf", "griz"),
    "DES, Y": (mags("MAG_AUTO_{}", "MAGERR_AUTO_{}", "GRIZY"), "decam2014", "kron", "grizY"),
    "DES, fluxes": (fluxes("FLUX_AUTO_{}", "FLUXERR_AUTO_{}", UPPER, DES_COUNT), "decam2014", "kron", "griz"),
    "DES Gold": (mags("SOF_CM_MAG_{}", "SOF_CM_MAG_ERR_{}", UPPER), "decam2014", "cmodel", "griz"),
    "Euclid, ground": (
        fluxes("flux_{}_ext_decam_templfit", "fluxerr_{}_ext_decam_templfit", "griz", u.uJy),
        "decam2014",
        "model",
        "griz",
    ),
    "a unit rules over a name": (
        fluxes("{}", "{}_err", "ugriz", u.uJy, True),
        "sdss2010",
        "unknown",
        "ugriz",
    ),
    "maggies": (fluxes("flux_{}", "flux_err_{}", "ugriz", u.mgy, True), "sdss2010", "unknown", "ugriz"),
    "microjansky in the name": (
        fluxes("flux_{}_uJy", "flux_{}_err_uJy", "ugriz", u.uJy),
        "sdss2010",
        "unknown",
        "ugriz",
    ),
    "after a match": (
        mags("{}_1", "{}_err_1", ra_1=150.1, dec_1=2.2, ra_2=1.0, dec_2=1.0),
        "sdss2010",
        "unknown",
        "ugriz",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read(layout):
    table, group, kind, bands = LAYOUTS[layout]
    rows = CatalogueRows(table, where=layout)
    (galaxy,) = rows.galaxies()
    assert galaxy.filters == tuple(f"{group}-{b}" for b in bands)
    assert set(galaxy.kind) == {kind}
    expected = [flux_in(b.lower(), u.nmgy) for b in bands]
    np.testing.assert_allclose(galaxy.photometry, expected, rtol=1e-4)  # astropy has 3630.8 Jy
    has_error = any(band.error for band in rows.columns.bands)
    assert has_error == ("error-assumed" not in galaxy.flags)
    if has_error:
        sigma = 0.4 * np.log(10) * ERROR * np.array(expected)
        np.testing.assert_allclose(galaxy.photometry_ivar, sigma**-2, rtol=2e-4)
    assert len(rows.lines()) >= len(bands) and layout not in rows.lines()[0]
    if any(name.lower().startswith(("ra", "coord")) and "Stack" not in name for name in table.colnames):
        assert (galaxy.ra, galaxy.dec) == (150.1, 2.2)


def test_euclid_has_its_own_filters():
    names = {"vis": "Euclid-VIS", "y": "Euclid-Y", "j": "Euclid-J", "h": "Euclid-H"}
    columns = {f"flux_{b}_templfit": [3.631] for b in ("y", "j", "h")} | {"flux_vis_psf": [3.631]}
    columns |= {f"fluxerr_{b}_templfit": [0.3631] for b in ("y", "j", "h")} | {"fluxerr_vis_psf": [0.3631]}
    (galaxy,) = CatalogueRows(Table(columns)).galaxies()
    assert set(galaxy.filters) == set(names.values())
    np.testing.assert_allclose(galaxy.photometry, 1, rtol=1e-6)
    assert dict(zip(galaxy.filters, galaxy.kind))["Euclid-VIS"] == "psf"


def test_infrared_magnitudes_of_vega_become_ab():
    columns = {
        "w1mpro": [15.0],
        "w1sigmpro": [0.03],
        "w3mpro": [10.0],
        "j_m": [16.0],
        "r": [17.0],
        "nuv_mag": [20.0],
    }
    rows = CatalogueRows(Table(columns))
    (galaxy,) = rows.galaxies()
    found = dict(zip(galaxy.filters, 22.5 - 2.5 * np.log10(galaxy.photometry)))
    ab = {"wise2010-W1": 17.699, "twomass-J": 16.91, "sdss2010-r": 17.0, "galex-nuv": 20.0}
    assert found == pytest.approx(ab, abs=1e-4)
    assert any("w3mpro is not used" in line for line in rows.lines())


ASKED = {
    "KiDS": (mags("MAG_GAAP_{}", "MAGERR_GAAP_{}", "ugri"), "those of KiDS.*`filters`"),
    "S-PLUS": (mags("{}_auto", "e_{}_auto", J0378_auto=18.0), "S-PLUS, J-PLUS or J-PAS.*`filters`"),
    "J-PLUS": (mags("{}", J0410=18.0, J0660=17.0), "S-PLUS, J-PLUS or J-PAS.*`filters`"),
    "grizy of which survey": (mags("{}", bands="grizy"), "which survey's filters.*`filters`"),
    "fluxes without a unit": (fluxes("flux_{}", "flux_err_{}", "ugriz", u.nmgy), "without a unit.*unit=nmgy"),
    "letters with fluxes": (fluxes("{}", "{}_err", "gri", u.nmgy), "without a unit.*`columns`"),
    "two columns": (
        mags("modelMag_{}", more=1, r_model=17.0, i_model=16.0),
        "both model fluxes.*`columns`: r=",
    ),
    "an odd unit": (Table({"r": np.array([1.0]) * u.ct}), "is in 'ct'.*r.unit=nJy"),
    "Subaru of COSMOS": (
        Table({"r_MAG_AUTO": [23.0], "ip_MAG_AUTO": [22.0]}),
        "those of Suprime-Cam.*`filters`",
    ),
    "R alone": (Table({"name": ["a"], "Rmag": [17.0]}), "Rmag may be in.*Cousins.*`columns`: r=Rmag"),
    "R and r": (mags("{}", R=17.5), "'r' and 'R' are both.*`columns`"),
    "z and Z, both redshifts": (
        Table({"r": [17.0], "z": [0.1], "Z": [0.2]}),
        "may both be the redshift.*redshift=",
    ),
    "no magnitude": (Table({"a": [1.0], "b": [2.0]}), "no column is known.*r=COLUMN"),
    "positions": (Table(SKY), "nothing is fetched unasked"),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_cannot_be_known_is_asked(case):
    table, sentence = ASKED[case]
    with pytest.raises(InputError, match=sentence):
        CatalogueRows(table, where=case)


WAVE = np.linspace(5500.0, 7000.0, 31)
CURVE = (WAVE, np.exp(-0.5 * ((WAVE - 6200) / 300) ** 2))


def test_own_curves_give_the_filters_of_kids():
    from pix2spec.core.filters import own_filters

    curves = own_filters({"KiDS-r": CURVE})
    rows = CatalogueRows(mags("MAG_GAAP_{}", "MAGERR_GAAP_{}", "r"), read_choices(filters=curves))
    (galaxy,) = rows.galaxies()
    assert galaxy.filters == ("KiDS-r",) and galaxy.curves == curves and galaxy.kind == ("aperture",)


CHOICES = [
    ({"columns": "r=rmag_best,r.error=e_rmag_best,r.kind=cmodel"}, ("sdss2010-r",), ("cmodel",)),
    ({"columns": "panstarrs-r=rmag_best", "kind": "kron"}, ("panstarrs-r",), ("kron",)),
    ({"columns": {"r": "rmag_best"}, "filters": "hsc2017"}, ("hsc2017-r",), ("unknown",)),
]


@pytest.mark.parametrize("options, filters, kinds", CHOICES)
def test_columns_that_the_user_names(options, filters, kinds):
    table = Table({"rmag_best": [17.5], "e_rmag_best": [0.02], "zed": [0.1]})
    (galaxy,) = CatalogueRows(table, read_choices(**options)).galaxies()
    assert (galaxy.filters, galaxy.kind) == (filters, kinds)
    assert galaxy.photometry[0] == pytest.approx(100, rel=1e-5)
    if "error" in str(options):
        assert galaxy.photometry_ivar[0] == pytest.approx((0.4 * np.log(10) * 0.02 * 100) ** -2, rel=1e-5)


def test_units_redshifts_and_ids_that_the_user_names():
    table = fluxes("flux_{}", "flux_err_{}", "ugriz", u.nJy, zed=0.1, who="me", A_r=0.25, flag=1)
    choices = read_choices("unit=nJy,redshift=zed,id=who,r.extinction=A_r", "petrosian")
    (galaxy,) = CatalogueRows(table, choices).galaxies()
    np.testing.assert_allclose(galaxy.photometry, [flux_in(b, u.nmgy) for b in "ugriz"], rtol=1e-4)
    assert (galaxy.object_id, galaxy.z, set(galaxy.kind)) == ("me", 0.1, {"petrosian"})
    assert galaxy.extinction[2] == 0.25 and np.isnan(galaxy.extinction[0])


def test_asinh_magnitudes_by_their_unit():
    table = Table({"u": [24.63], "r": [20.0]})
    for name in table.colnames:
        table[name].unit = "mag"
    (galaxy,) = CatalogueRows(table, read_choices("u.unit=asinh,r.unit=asinh")).galaxies()
    b = 1.4e-10  # Lupton et al.: m = -2.5 / ln 10 [asinh(f / 2b) + ln b], so that a flux of 0 has 24.63
    assert galaxy.photometry[0] == pytest.approx(
        2e9 * b * np.sinh(-0.4 * np.log(10) * 24.63 - np.log(b)), abs=1e-4
    )
    assert abs(galaxy.photometry[0]) < 2e-3 and galaxy.photometry[1] == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize("columns", ["r", "r=", "r.kind=big", "unit=furlong", "q=rmag", "r=nothing"])
def test_words_that_are_wrong_are_refused(columns):
    with pytest.raises(InputError, match="`columns`"):
        CatalogueRows(mags("{}"), read_choices(columns))


@pytest.mark.parametrize("options", [{"kind": "big"}, {"filters": "nosuchfile.csv"}])
def test_other_words_that_are_wrong_are_refused(options):
    with pytest.raises(InputError, match=r"`kind`|`filters`"):
        read_choices(**options)
