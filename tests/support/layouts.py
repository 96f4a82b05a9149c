"""Tables of two galaxies in the documented layouts of surveys and programs, as files, with the right values.

The right values are AB magnitudes, their errors, redshifts, ids and positions. No reader of this package is
used here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy import units as u

from support.layout_files import (
    DEC,
    DUST,
    ERRORS,
    IDS,
    MAGNITUDES,
    RA,
    REDSHIFTS,
    SIGMAS_Z,
    ZERO,
    columns,
    comma,
    encoded,
    extinctions,
    flux,
    fluxes,
    hdus,
    packed,
    psql,
    quantities,
    rail_hdf5,
    sextractor,
    table,
    text,
    vaex,
    vectors,
)

__all__ = ["LAYOUTS", "Layout"]


@dataclass(frozen=True)
class Layout:
    """A file, and what a reader should find in it.

    `write` makes the file in a folder and returns its path. `bands` are pairs of a filter and its key in
    `MAGNITUDES`, `kinds` the kind of each. Parts that the file does not have are None.
    """

    source: str
    write: Callable[[Path], Path]
    bands: tuple[tuple[str, str], ...]
    kind: str | tuple[str, ...]
    has_errors: bool = True
    z: tuple | None = REDSHIFTS
    ids: tuple | None = IDS
    has_position: bool = True
    dust: str = ""  # columns | dereddened
    options: dict = field(default_factory=dict)

    @property
    def magnitudes(self) -> np.ndarray:
        """AB magnitudes (galaxy, band)."""
        return np.array([MAGNITUDES[b] for _, b in self.bands]).T

    @property
    def fluxes(self) -> np.ndarray:
        """Nanomaggies (galaxy, band), as the file has them."""
        return (self.magnitudes * u.ABmag).to(u.nmgy, ZERO).value

    @property
    def sigmas(self) -> np.ndarray:
        """Errors in nanomaggies (galaxy, band)."""
        return 0.4 * np.log(10) * self.fluxes * np.array([ERRORS[b] for _, b in self.bands]).T


def named(group: str, bands: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{group}-{b}", b.lower()) for b in bands.split())


SDSS, PS1, HSC = (
    named("sdss2010", "u g r i z"),
    named("panstarrs", "g r i z y"),
    named("hsc2017", "g r i z y"),
)
LSST, DES = named("lsst2023", "u g r i z y"), named("decam2014", "g r i z")
SKY = {"ra": RA, "dec": DEC}
UGRIZ, GRIZY, GRIZ = "u g r i z", "g r i z y", "g r i z"
LAYOUTS: dict[str, Layout] = {}


def add(name: str, source: str, write, bands, kind, **more) -> None:
    LAYOUTS[name] = Layout(source, write, bands, kind, **more)


def _of_sdss() -> None:
    # fmt: off
    model = columns(UGRIZ, "modelMag_{}", "modelMagErr_{}") | extinctions(UGRIZ, "extinction_{}")
    add("SkyServer, first line #Table1", "skyserver.sdss.org, SQL search", text("a.csv", OBJID | model |
        SPEC, before="#Table1\n"), SDSS, "model", dust="columns")
    add("CasJobs, dered_u with modelMagErr_u", "PhotoObj of CasJobs", text("a.csv", OBJID | columns(UGRIZ,
        "dered_{}") | columns(UGRIZ, "m_{}", "modelMagErr_{}") | {"q_u": (1.0, 2.0)} | SPEC), SDSS, "model",
        dust="dereddened", options={"columns": NO_M})
    add("SkyServer, u g r i z and z1", "SQL of two columns z: the second is z1", text("a.csv", OBJID |
        columns(UGRIZ, "{}", "err_{}") | {"z1": REDSHIFTS}), SDSS, "unknown")
    add("SkyServer, z u g r i and z1", "SQL of two columns z, the redshift first", text("a.csv", OBJID |
        {"z": REDSHIFTS} | columns("u g r i", "{}") | {"z1": MAGNITUDES["z"]}), SDSS, "unknown",
        has_errors=False)
    add("pandas, z and z.1", "pandas names of repeated columns", text("a.csv", OBJID | columns(UGRIZ, "{}")
        | {"z.1": REDSHIFTS}), SDSS, "unknown", has_errors=False)
    odd = {f"{n}_{b}": (1.0, 2.0) for b in "ugriz" for n in ("petroRad", "deVAB", "expABErr", "q", "u",
        "lnLExp", "sky", "fracDeV", "psffwhm", "type", "r_e")}
    add("PhotoObjAll with radii, ratios and Stokes parameters", "PhotoObjAll of CasJobs", text("a.csv",
        OBJID | columns(UGRIZ, "cModelMag_{}", "cModelMagErr_{}") | odd), SDSS, "cmodel", z=None)
    add("specObj in FITS", "specObj-dr17.fits, vectors of five fluxes", vectors("SPECTROFLUX",
        "SPECTROFLUX_IVAR"), SDSS, "fibre", ids=None)
    add("photoObj in FITS", "photoObj-*.fits of SDSS, vectors of five fluxes", vectors("MODELFLUX",
        "MODELFLUX_IVAR"), SDSS, "model", ids=None)
    add("Kaggle, star_classification.csv", "Kaggle, SDSS DR17 (fedesoriano)", text("a.csv", {"obj_ID":
        ("1.23766E+18",) * 2, "alpha": RA, "delta": DEC} | columns(UGRIZ, "{}") | {"run_ID": (3606, 756),
        "cam_col": (2, 3), "spec_obj_ID": ("6.54E+18",) * 2, "class": ("GALAXY",) * 2, "redshift":
        REDSHIFTS, "plate": (5812, 10445), "MJD": (56354, 58158), "fiber_ID": (171, 427)}), SDSS, "model",
        has_errors=False, ids=("5812-56354-0171", "10445-58158-0427"))
    add("VizieR V/147, petrosian and PSF magnitudes", "VizieR V/147/sdss12", text("a.tsv", {"RA_ICRS": RA,
        "DE_ICRS": DEC, "mode": (1, 1), "class": (3, 3), "SDSS12": IDS} | columns(UGRIZ, "{}Pmag",
        "e_{}Pmag") | {"Q": (3, 3), "zsp": REDSHIFTS, "e_zsp": SIGMAS_Z, "zph": (0.1, 0.2), "<zph>": (0.1,
        0.2)}, sep="\t", before="#\n#   VizieR\n#\n"), SDSS, "petrosian")
    add("VizieR V/154 with units, dashes and sexagesimal positions", "VizieR V/154/sdss16 as TSV",
        text("a.tsv", {"RAJ2000": ("10 00 24.000", "14 02 00.000"), "DEJ2000": ("+02 12 00.00",
        "-01 15 00.00"), "objID": IDS, "class": (3, 3)} | columns(UGRIZ, "{}mag", "e_{}mag") | {"zsp":
        REDSHIFTS}, sep="\t", before="#RESOURCE=yCat_5154\n\n", after="\t".join(['"h:m:s"', '"d:m:s"', "",
        ""] + ["mag"] * 10 + [""]) + "\n" + "\t".join(["-" * 6] * 15) + "\n"), SDSS, "unknown")
    # fmt: on


def _of_surveys() -> None:
    # fmt: off
    add("VizieR II/349, Kron and PSF means", "VizieR II/349/ps1", text("a.csv", {"RAJ2000": RA, "DEJ2000":
        DEC, "objID": IDS} | columns(GRIZY, "{}Kmag", "e_{}Kmag") | {"gFlags": (1, 2), "Nd": (30, 40)}),
        PS1, "kron", z=None)
    add("VizieR II/349, some columns", "VizieR II/349/ps1", text("a.csv", {"objID": IDS} | columns("g r",
        "{}mag", "e_{}mag") | columns("i z", "{}Kmag", "e_{}Kmag")), PS1[:4], ("unknown",) * 2 + ("kron",)
        * 2, z=None, has_position=False)
    add("LSST DP1, magnitudes", "sdm-schemas.lsst.io/dp1.html", table("a.parquet", {"objectId": np.array(IDS,
        np.int64)} | columns("g r i", "{}_cModelMag", "{}_cModelMagErr")), LSST[1:4], "cmodel", z=None,
        has_position=False)
    add("Pan-STARRS of MAST, two bands", "catalogs.mast.stsci.edu, mean table", text("a.csv", {"objName":
        ("PSO J1", "PSO J2"), "objID": IDS, "raMean": RA, "decMean": DEC, "nDetections": (40, 50), "ng": (9,
        9)} | columns("g r", "{}MeanKronMag", "{}MeanKronMagErr")), PS1[:2], "kron", z=None)
    add("VizieR II/371", "VizieR II/371/des_dr2", text("a.csv", {"RA_ICRS": RA, "DE_ICRS": DEC, "CoadID":
        IDS, "ExtClsCoad": (3, 3)} | columns(GRIZ, "{}mag", "e_{}mag") | {"Ymag": MAGNITUDES["y"], "e_Ymag":
        ERRORS["y"]}), (*DES, ("decam2014-Y", "y")), "unknown", z=None)
    add("DES DR2", "des.ncsa.illinois.edu, DR2_MAIN", table("a.fits", {"COADD_OBJECT_ID": np.array(IDS,
        np.int64), "RA": RA, "DEC": DEC} | columns(GRIZ, "MAG_AUTO_{}", "MAGERR_AUTO_{}", upper=True) |
        {"EBV_SFD98": (0.05, 0.04), "SPREAD_MODEL_G": (0.01, 0.02), "IMAFLAGS_ISO_G": (0, 0)}), DES, "kron",
        z=None, dust="columns")
    add("DES Y6 Gold", "DES Y6 Gold, BDF magnitudes corrected for extinction", table("a.fits",
        {"COADD_OBJECT_ID": np.array(IDS, np.int64), "RA": RA, "DEC": DEC} | columns(GRIZ,
        "BDF_MAG_{}_CORRECTED", "BDF_MAG_ERR_{}", upper=True) | {"EXT_MASH": (4, 4), "DNF_Z": (0.1, 0.2),
        "DNF_ZN": (0.1, 0.2)}), DES, "model", z=None, dust="dereddened")
    sweep = {"RELEASE": (9010,) * 2, "BRICKID": (330368,) * 2, "OBJID": (12, 13), "TYPE": ("REX", "DEV"),
        "RA": RA, "DEC": DEC, "EBV": (0.05, 0.04)}
    sweep |= fluxes("g r z w1", "FLUX_{}", "FLUX_IVAR_{}", u.nmgy, upper=True, ivar=True)
    sweep |= {f"MW_TRANSMISSION_{b.upper()}": (10 ** (-0.4 * DUST[b]),) * 2 for b in "grz"}
    sweep |= {"FRACFLUX_G": (0.1, 0.2), "SHAPE_R": (1.2, 2.3), "PSFSIZE_G": (1.3, 1.4), "SERSIC": (1.0,
        4.0), "GAIA_PHOT_G_MEAN_MAG": (0.0, 0.0), "LC_FLUX_W1": np.ones((2, 15))}
    add("Legacy Surveys, sweep", "legacysurvey.org/dr9/files", table("a.fits", sweep), (*(f for f in DES if
        f[0][-1] in "grz"), ("wise2010-W1", "w1")), "model", z=None, ids=("9010-330368-12",
        "9010-330368-13"), dust="columns")
    lab = {"ls_id": IDS, "type": ("EXP", "SER")} | SKY
    lab |= {"mag_w1": MAGNITUDES["w1"], "snr_g": (9.0, 8.0), "z_phot_median": (0.1, 0.2)}
    grz = tuple(f for f in DES if f[0][-1] in "grz")
    add("Legacy Surveys, Data Lab", "datalab.noirlab.edu, ls_dr9.tractor", text("a.csv", lab | columns(
        "g r z", "mag_{}")), (*grz, ("wise2010-W1", "w1")), "model", z=None, has_errors=False)
    add("Legacy Surveys, Data Lab, dereddened", "datalab.noirlab.edu, ls_dr9.tractor", text("a.csv", OBJID |
        columns("g r z", "dered_mag_{}")), grz, "model", z=None, dust="dereddened", has_errors=False)
    add("HSC PDR3", "hsc-release.mtk.nao.ac.jp, CSV of the SQL editor", text("a.csv", {"object_id": IDS,
        "ra": RA, "dec": DEC, "a_g": (DUST["g"],) * 2} | columns(GRIZY, "{}_cmodel_mag", "{}_cmodel_magerr")
        | {"g_cmodel_mag_isnull": ("False",) * 2, "i_extendedness_value": (1, 1), "specz_redshift":
        REDSHIFTS}, head="# "), HSC, "cmodel", dust="columns")
    dp1 = {"objectId": np.array(IDS, np.int64), "coord_ra": RA, "coord_dec": DEC, "x": (10.0, 2.0), "y":
        (9.0, 7.0)}
    dp1 |= fluxes("u g r i z y", "{}_cModelFlux", "{}_cModelFluxErr", u.nJy) | {"refExtendedness": (1.0,
        1.0)}
    dp1 |= {"g_ra": RA, "g_blendedness": (0.1, 0.2), "g_kronRad": (3.0, 4.0), "ebv": (0.05, 0.04)}
    add("LSST DP1, Object", "sdm-schemas.lsst.io/dp1.html", table("a.parquet", dp1), LSST, "cmodel", z=None,
        dust="columns")
    truth = {"id": IDS, "ra": RA, "dec": DEC, "redshift": REDSHIFTS, "redshiftHubble": (0.1, 0.2)}
    add("LSST DP0.2, TruthSummary", "dp0-2.lsst.io, truth tables", text("a.csv", truth | {"truth_type": (1,
        1)} | {f"flux_{b}": flux(b, u.nJy) for b in "ugrizy"} | columns("u g r i z y", "mag_{}")), LSST,
        "unknown", has_errors=False)
    add("CosmoDC2 of GCRCatalogs", "LSSTDESC/gcr-catalogs", text("a.csv", {"galaxy_id": IDS, "ra": RA,
        "dec": DEC, "redshift": REDSHIFTS, "redshift_true": REDSHIFTS} | columns("u g r i z y",
        "mag_{}_lsst") | {"Mag_true_r_lsst_z0": (-20.1, -21.2)}), LSST, "unknown", has_errors=False)
    add("RAIL in HDF5", "rail_base, table in a group photometry", rail_hdf5, LSST, "unknown", ids=None,
        has_position=False)
    q1 = {"object_id": np.array(IDS, np.int64), "right_ascension": RA, "declination": DEC}
    q1 |= fluxes("vis", "flux_{}_psf", "fluxerr_{}_psf", u.uJy)
    q1 |= fluxes("y j h", "flux_{}_templfit", "fluxerr_{}_templfit", u.uJy)
    q1 |= fluxes(GRIZ, "flux_{}_ext_decam_templfit", "fluxerr_{}_ext_decam_templfit", u.uJy)
    q1 |= {"mumax_minus_mag": (-2.0, -3.0), "phz_median": (0.1, 0.2), "flag_vis": (0, 0)}
    near = tuple((f"Euclid-{b}", b.lower()) for b in ("VIS", "Y", "J", "H"))
    add("Euclid Q1", "IRSA, euclid_q1_mer_catalogue", table("a.xml", q1, format="votable"), near + DES,
        ("psf",) + ("model",) * 7, z=None)
    add("GAMA, TilingCat", "gama-survey.org/dr4, TilingCatv46", table("a.fits", {"CATAID": (6802, 6806),
        "RA": RA, "DEC": DEC, "R_PETRO": (17.0, 17.5)} | columns(UGRIZ, "{}_MODEL", upper=True) | {"NQ": (4,
        4), "Z": REDSHIFTS, "VIS_CLASS": (0, 0)}), SDSS, "model", has_errors=False, ids=("6802", "6806"),
        options={"columns": "R_PETRO=none"})
    farmer = {"ID": (1, 2), "ALPHA_J2000": RA, "DELTA_J2000": DEC}
    farmer |= columns(GRIZY, "HSC_{}_MAG", "HSC_{}_MAGERR") | {"UVISTA_J_MAG": (16.0, 17.0), "lp_zBEST":
        (0.1, 0.2)}
    farmer |= {"IRAC_CH1_MAG": (17.0, 18.0), "SC_IB427_MAG": (19.0, 20.0), "HSC_g_FLUX": (1.0, 2.0)}
    add("COSMOS2020, Farmer", "cosmos2020.calet.org", table("a.fits", farmer, {"HSC_g_FLUX": "uJy"}), HSC,
        "unknown", z=None, ids=("1", "2"))
    add("LAMOST with Pan-STARRS magnitudes", "dr7.lamost.org, general catalogue", text("a.csv", {"obsid":
        IDS, "ra": RA, "dec": DEC, "class": ("GALAXY",) * 2} | columns(GRIZY, "mag_ps_{}") |
        {"gaia_g_mean_mag": (18.0, 19.0), "z": REDSHIFTS, "z_err": SIGMAS_Z}, sep="|"), PS1, "unknown",
        has_errors=False)
    # fmt: on


def _of_programs() -> None:
    # fmt: off
    plain = {"name": ("a", "b")} | SKY | columns(UGRIZ, "{}", "{}_err") | {"redshift": REDSHIFTS}
    more = {"ids": ("a", "b")}
    microjansky = {"name": ("a", "b")} | fluxes(UGRIZ, "{}", "{}_err", u.uJy)
    has_unit = dict.fromkeys([n for n in microjansky if n != "name"], "uJy")
    add("TOPCAT, ASCII", "TOPCAT's ASCII: names in a comment", text("a.txt", plain, " ", head="# "), SDSS,
        "unknown", **more)
    add("TOPCAT, tab-separated with lines of dashes", "TOPCAT's TST", text("a.tst", plain, "\t",
        before="t1\n\n# Table parameters\n", after="\t".join(["--"] * 14) + "\n"), SDSS, "unknown", **more)
    add("CSV after comments", "TOPCAT, ADQL services", text("a.csv", plain,
        before="# made by me\n# u, g: AB\n"), SDSS, "unknown", **more)
    add("Excel in German", "CSV with ; and decimal commas, and a byte order mark",
        encoded(comma(text("a.csv", plain, ";")), "utf-8-sig"), SDSS, "unknown", **more)
    add("Excel, Unicode text", "UTF-16 with tabs", encoded(text("a.txt", plain, "\t"), "utf-16"), SDSS,
        "unknown", **more)
    add("units in the second line", "CSV with a line of units", text("a.csv", microjansky,
        after=",".join(["", *["uJy"] * 10]) + "\n"), SDSS, "unknown", z=None, has_position=False, **more)
    add("psql", "psql's output with a footer", psql(plain), SDSS, "unknown", **more)
    add("R, write.table", "row names without a header", text("a.txt", {"": ('"1"', '"2"')} | {f'"{n}"': v
        for n, v in plain.items()}, " "), SDSS, "unknown", **more)
    add("EAZY", "catalogue of EAZY with # id f_u e_u, in uJy", text("a.cat", {"id": (1, 2)} | fluxes(UGRIZ,
        "f_{}", "e_{}", u.uJy) | {"z_spec": REDSHIFTS}, " ", head="# "), SDSS, "unknown",
        has_position=False, ids=("1", "2"), options={"columns": "unit=uJy"})
    add("gzip of FITS", "FITS packed", packed(table("a.fits", microjansky, has_unit)), SDSS, "unknown",
        z=None, has_position=False, **more)
    add("gzip of VOTable", "VOTable packed", packed(table("a.vot", microjansky, has_unit,
        format="votable")), SDSS, "unknown", z=None, has_position=False, **more)
    add("gzip of Parquet", "Parquet packed", packed(table("a.parquet", microjansky, has_unit)), SDSS,
        "unknown", z=None, has_position=False, **more)
    add("gzip of HDF5", "HDF5 packed", packed(table("a.hdf5", microjansky, has_unit, path="t",
        serialize_meta=True)), SDSS, "unknown", z=None, has_position=False, **more)
    add("gzip of IPAC", "IPAC table packed", packed(table("a.tbl", microjansky, has_unit,
        format="ascii.ipac")), SDSS, "unknown", z=None, has_position=False, **more)
    add("ECSV with AB magnitudes as quantities", "astropy's QTable of u.ABmag", quantities, SDSS, "unknown",
        z=None, **more)
    add("units of CDS", "CDS's unit 10-32W/m2/Hz", table("a.vot", microjansky, dict.fromkeys(has_unit,
        "1e-32 W m-2 Hz-1"), format="votable"), SDSS, "unknown", z=None, has_position=False, **more)
    add("redshifts as velocities", "cz in km/s by its unit", table("a.ecsv", columns(UGRIZ, "{}", "{}_err")
        | {"name": ("a", "b"), "redshift": tuple(299792.458 * z for z in REDSHIFTS)}, {"redshift":
        "km/s"}), SDSS, "unknown", has_position=False, **more)
    add("right ascensions in hours", "unit h", table("a.ecsv", {"name": ("a", "b"), "RA": tuple(r / 15 for
        r in RA), "DEC": DEC} | columns(UGRIZ, "{}", "{}_err"), {"RA": "h", "DEC": "deg"}), SDSS,
        "unknown", z=None, **more)
    add("angles in radians", "LSST's afw tables", table("a.fits", {"id": np.array(IDS, np.int64),
        "coord_ra": np.radians(RA), "coord_dec": np.radians(DEC)} | fluxes("g r", "{}_cModelFlux",
        "{}_cModelFluxErr", u.nJy), {"coord_ra": "rad", "coord_dec": "rad"}), LSST[1:3], "cmodel", z=None)
    add("sexagesimal with letters", "10h00m24s", text("a.csv", {"name": ("a", "b"), "RA": ("10h00m24.0s",
        "14h02m00.0s"), "Dec": ("+02d12m00s", "-01d15m00s")} | columns(UGRIZ, "{}", "{}_err")), SDSS,
        "unknown", z=None, **more)
    add("SExtractor", "ASCII_HEAD: a comment a column", sextractor(plain), SDSS, "unknown", **more)
    add("a sign at the end of each row", "CSV of scripts and spreadsheets", text("a.csv", plain | {"": ("",
        "")}, drop=1), SDSS, "unknown", **more)
    add("bytes of Python", "pandas writes b'GALAXY'", text("a.csv", {"id": ("b'a'", "b'b'")} |
        columns(UGRIZ, "{}", "{}_err") | {"class": ("b'GALAXY  '",) * 2}), SDSS, "unknown", z=None,
        has_position=False, **more)
    add("lines of old Macintoshes", "Excel for Macintosh", comma(text("a.csv", plain), "\n", "\r"), SDSS,
        "unknown", **more)
    add("FITS_LDAC", "SExtractor's tables after a table of headers", hdus({"LDAC_IMHEAD":
        {"Field Header Card": ("SIMPLE",)}, "LDAC_OBJECTS": plain}), SDSS, "unknown", **more)
    add("DESI, redrock", "redrock-*.fits: REDSHIFTS beside FIBERMAP, row by row", hdus({"REDSHIFTS":
        {"TARGETID": IDS, "Z": REDSHIFTS, "ZWARN": (0, 0)}, "FIBERMAP": {"TARGETID": IDS, "TARGET_RA": RA,
        "TARGET_DEC": DEC, "MASKBITS": (0, 0)} | fluxes("g r z", "FLUX_{}", "FLUX_IVAR_{}", u.nmgy,
        upper=True, ivar=True)}), tuple(f for f in DES if f[0][-1] in "grz"), "model")
    add("vaex", "HDF5 with a group a column", vaex(plain), SDSS, "unknown", **more)
    add("Gaia beside SDSS", "VizieR X-match: Gmag is Gaia's", text("a.csv", plain | {"Gmag": (17.9, 18.4),
        "e_Gmag": (0.01, 0.01), "BPmag": (18.4, 19.0), "RPmag": (17.0, 17.5)}), SDSS, "unknown", **more)
    add("Johnson and Cousins beside SDSS", "VizieR: Bmag Vmag Rmag Imag", text("a.csv", {"name": ("a", "b")}
        | columns(UGRIZ, "{}mag", "e_{}mag") | {n: (17.1, 17.9) for n in ("Bmag", "Vmag", "Rmag", "Imag",
        "e_Rmag")}), SDSS, "unknown", z=None, has_position=False, **more)
    add("radii r_e beside r", "a column r_e is a radius, no error", text("a.csv", plain | {"r_e": (3.2,
        4.1), "R_e": (3.2, 4.1)}), SDSS, "unknown", **more)
    # fmt: on


NO_M = ",".join(f"m_{b}=none" for b in "ugriz")
OBJID = {"objid": IDS} | SKY
SPEC = {"z": REDSHIFTS, "zErr": SIGMAS_Z, "zWarning": (0, 0), "class": ("GALAXY",) * 2,
        "subClass": ("STARFORMING", ""), "velDisp": (101.2, 180.3)}  # fmt: skip


_of_sdss()
_of_surveys()
_of_programs()
