"""Files in the real layouts, made of the sky's simulated galaxies.

Spectra follow SDSS's data model pages (https://data.sdss.org/datamodel/files/...):
BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html (lite: the same without the exposures),
SPECTRO_REDUX/specObj.html and BOSS_SPECTRO_REDUX/RUN2D/spAll.html (the catalogue rows),
BOSS_SPECTRO_REDUX/RUN2D/PLATE4/spPlate.html. `layouts/` has the header cards and columns of real files,
without their values; the tests compare.
"""

from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits

from loopback.sky import WIDE, Plate, Sky, Target

LAYOUTS = Path(__file__).with_name("layouts")
FULLREJECT, NODATA = 1 << 18, 1 << 24  # SPPIXMASK
LINES_SDSS = {
    "Ly_alpha": 1215.67,
    "N_V 1240": 1240.81,
    "C_IV 1549": 1549.48,
    "He_II 1640": 1640.42,
    "C_III] 1908": 1908.734,
    "Mg_II 2799": 2800.31518365,
    "[O_II] 3725": 3727.0917268,
    "[O_II] 3727": 3729.875448,
    "[Ne_III] 3868": 3869.85679723,
    "H_epsilon": 3890.15107992,
    "[Ne_III] 3970": 3971.12318721,
    "H_delta": 4102.89163087,
    "H_gamma": 4341.68431265,
    "[O_III] 4363": 4364.4353004,
    "He_II 4685": 4686.9914442,
    "H_beta": 4862.68299373,
    "[O_III] 4959": 4960.29490145,
    "[O_III] 5007": 5008.23963773,
    "He_II 5411": 5413.02442257,
    "[O_I] 5577": 5578.8877038,
    "[O_I] 6300": 6302.04637673,
    "[S_III] 6312": 6313.80553291,
    "[O_I] 6363": 6365.53541957,
    "[N_II] 6548": 6549.85892925,
    "H_alpha": 6564.61389433,
    "[N_II] 6583": 6585.26844525,
    "[S_II] 6716": 6718.29420812,
    "[S_II] 6730": 6732.67807633,
    "[Ar_III] 7135": 7137.75710333,
}
# BOSS fits two more lines and calls the one at 3890 Angstrom H_zeta.
LINES_BOSS = LINES_SDSS | {"H_zeta": 3890.15107992, "H_epsilon": 3971.202, "[N_II] 5755": 5756.19}
LINES_BOSS |= {"He_I 5876": 5877.29}
LINE_COLUMNS = """PLATE J|MJD J|FIBERID J|LINENAME 13A|LINEWAVE D|LINEZ E|LINEZ_ERR E|LINESIGMA E
LINESIGMA_ERR E|LINEAREA E|LINEAREA_ERR E|LINEEW E|LINEEW_ERR E|LINECONTLEVEL E|LINECONTLEVEL_ERR E
LINENPIXLEFT J|LINENPIXRIGHT J|LINEDOF E|LINECHI2 E""".replace("\n", "|").split("|")


@lru_cache
def primary_header(boss: bool) -> fits.Header:
    return fits.Header.fromtextfile(LAYOUTS / f"{'boss' if boss else 'sdss'}-primary.hdr")


@lru_cache
def row_columns(boss: bool) -> list[list[str]]:
    """Name, format and options of each column of the SPECOBJ or SPALL row."""
    text = (LAYOUTS / f"{'boss' if boss else 'sdss'}-row.txt").read_text(encoding="ascii")
    return [line.split() for line in text.splitlines()]


def as_bytes(hdus: list) -> bytes:
    stream = BytesIO()
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


def plate_cards(plate: Plate, first: float) -> dict:
    """Values of the primary header that differ between plates."""
    name = f"{plate.plate:04d}-{plate.mjd}-01"
    return {
        "TAI": 86_400.0 * plate.mjd,
        "RA": plate.ra,
        "DEC": plate.dec,
        "RADEG": plate.ra,
        "DECDEG": plate.dec,
        "MJD": plate.mjd,
        "MJDLIST": str(plate.mjd),
        "PLATEID": plate.plate,
        "TILEID": plate.number + 1,
        "NAME": name,
        "PLUGFILE": f"plPlugMapM-{name}.par",
        "RUN2D": plate.run2d,
        "COEFF0": round(first, 4),
        "EXPTIME": 2700.0,
    }


def filled(boss: bool, cards: dict) -> fits.Header:
    """The primary header with `cards` in it; those that this layout lacks are left out."""
    header = primary_header(boss).copy()
    for key, value in cards.items():
        if key in header:
            header[key] = value
    return header


def native(sky: Sky, target: Target) -> dict:
    """Spectrum on its native pixels: the columns of the COADD table."""
    galaxy, loglam = sky.galaxy(target), target.loglam
    cut = slice(target.start, target.start + target.pixels)
    mask = galaxy["mask"][cut]
    return {
        "flux": galaxy["flux"][cut],
        "loglam": loglam,
        "ivar": galaxy["ivar"][cut],
        "and_mask": mask,
        "or_mask": mask | np.int32(1 << 16) * (np.arange(len(mask)) % 97 == 0),  # NEARBADPIXEL now and then
        "wdisp": (1.1 + 0.2 * np.cos(loglam * 20)).astype(np.float32),
        "sky": sky.sky_flux[cut],
        "model": galaxy["true_flux"][cut],
    }


def spec_lite_hdus(sky: Sky, target: Target) -> list:
    """HDUs of ``spec-PLATE-MJD-FIBER.fits``, lite."""
    boss, columns = target.plate.boss, native(sky, target)
    cards = plate_cards(target.plate, WIDE.start + WIDE.step * target.start) | {
        "PLUG_RA": target.ra,
        "PLUG_DEC": target.dec,
        "FIBERID": target.fiber,
        "SPEC_ID": str(target.specobjid),
        "THING_ID": target.number,
    }
    coadd = fits.BinTableHDU.from_columns(
        [fits.Column(n, "J" if v.dtype.kind == "i" else "E", array=v) for n, v in columns.items()]
    )
    row = fits.BinTableHDU.from_columns([fits.Column(**c) for c in catalogue_row(sky, target, columns)])
    lines = line_table(sky, target)
    names = (
        (coadd, "COADD", "Coadded spectrum"),
        (row, *(("SPALL", "Metadata from spAll row") if boss else ("SPECOBJ", "Metadata from specObj row"))),
        (lines, "SPZLINE", "Line fits from spZline"),
    )
    for hdu, name, comment in names:
        hdu.header["EXTNAME"] = (name, "extension name" if boss else "")
        hdu.header["COMMENT"] = comment
    return [fits.PrimaryHDU(header=filled(boss, cards)), coadd, row, lines]


def catalogue_row(sky: Sky, target: Target, spectrum: dict) -> list[dict]:
    """Columns of the SPECOBJ or SPALL row; zero or empty where the simulation has nothing to say."""
    plate, galaxy = target.plate, sky.galaxy(target)
    signal = spectrum["flux"] * np.sqrt(spectrum["ivar"])
    unit = [np.cos(np.radians(target.dec)) * f(np.radians(target.ra)) for f in (np.cos, np.sin)]
    survey = {"SURVEY": "sdss", "INSTRUMENT": "SDSS", "SOURCETYPE": "GALAXY", "TARGETTYPE": "SCIENCE"}
    values = survey | {
        "PROGRAMNAME": "legacy",
        "CHUNK": "chunk1",
        "PLATEQUALITY": "good",
        "SPECPRIMARY": int(target.kind not in ("repeat", "sky")),
        "SPECLEGACY": 1,
        "SPECBOSS": int(target.kind != "repeat"),
        "SPECOBJID": target.specobjid if plate.boss else f"{target.specobjid:22d}",
        "BESTOBJID": str(target.objid) if target.objid else "",
        "FLUXOBJID": str(target.objid) if target.objid else "",
        "NSPECOBS": 1,
        "FIRSTRELEASE": "dr1",
        "RUN2D": plate.run2d,
        "RUN1D": plate.run2d if plate.boss else "",
        "CX": unit[0],
        "CY": unit[1],
        "CZ": np.sin(np.radians(target.dec)),
        "PLATE": plate.plate,
        "MJD": plate.mjd,
        "FIBERID": target.fiber,
        "TILE": plate.number + 1,
        "PLUG_RA": target.ra,
        "PLUG_DEC": target.dec,
        "RA": target.ra,
        "DEC": target.dec,
        "OBJTYPE": "SKY" if target.kind == "sky" else "GALAXY",
        "CLASS": target.spec_class,
        "Z": sky.redshift(target),
        "Z_ERR": 2e-5,
        "RCHI2": 1.0,
        "DOF": target.pixels,
        "WAVEMIN": 10 ** spectrum["loglam"][0],
        "WAVEMAX": 10 ** spectrum["loglam"][-1],
        "WCOVERAGE": 1e-4 * target.pixels,
        "ZWARNING": target.zwarning,
        "SN_MEDIAN_ALL": np.median(signal),
        "ANYANDMASK": np.bitwise_or.reduce(spectrum["and_mask"]),
        "ANYORMASK": np.bitwise_or.reduce(spectrum["or_mask"]),
        "CALIBFLUX": galaxy["photometry"],
        "CALIBFLUX_IVAR": galaxy["photometry_ivar"],
        "EXTINCTION": sky.extinction(target),
        "RUN": plate.run,
        "RERUN": "301",
        "CAMCOL": target.camcol,
        "FIELD": target.field,
        "ID": target.obj,
        "OBJID": (str(target.objid) if target.objid else "")
        if plate.boss
        else [plate.run, 1, target.camcol, target.field, target.obj],
        "THING_ID": target.number,
        "FIBERFLUX": galaxy["photometry"],
        "FIBERFLUX_IVAR": galaxy["photometry_ivar"],
    }
    if target.kind == "sky":
        values |= dict.fromkeys(("CALIBFLUX", "CALIBFLUX_IVAR", "FIBERFLUX", "FIBERFLUX_IVAR"), np.zeros(5))
    return [
        _column(name, code, options, values.get(name)) for name, code, *options in row_columns(plate.boss)
    ]


def _column(name: str, code: str, options: list, value, rows: int = 1) -> dict:
    """Arguments of `fits.Column`: `value` in every row, or zero or empty for None."""
    kind, count = code[-1], int(code[:-1] or 1)
    if kind == "A":
        array = np.full(rows, value or "", f"U{count}")
        return {"name": name, "format": code, "array": array}
    dtype = {"B": np.uint8, "I": np.int16, "J": np.int32, "K": np.int64, "E": np.float32, "D": np.float64}[
        kind
    ]
    column = {"name": name, "format": code}
    if "uint" in options:
        column["bzero"], dtype = 2**63, np.uint64
    elif options:
        column["dim"] = "( " + ", ".join(options[0].split("x")) + ")"
    array = np.zeros((rows, count) if count > 1 else rows, dtype)
    array[:] = 0 if value is None else value
    return column | {"array": array}


def line_table(sky: Sky, target: Target) -> fits.BinTableHDU:
    """SPZLINE: one row a line, at the redshift, without measurements."""
    lines = dict(sorted((LINES_BOSS if target.plate.boss else LINES_SDSS).items(), key=lambda line: line[1]))
    values = {"PLATE": target.plate.plate, "MJD": target.plate.mjd, "FIBERID": target.fiber}
    values |= {"LINEZ": sky.redshift(target), "LINEWAVE": list(lines.values())}
    columns = []
    for name, code in (column.split() for column in LINE_COLUMNS):
        column = _column(name, code, [], values.get(name), len(lines))
        if name == "LINENAME":
            column["array"] = np.array(list(lines))
        columns.append(fits.Column(**column))
    return fits.BinTableHDU.from_columns(columns)


def spec_lite(sky: Sky, plate: int, mjd: int, fiber: int, run2d: str) -> bytes | None:
    """The file, or None where the sky has no such spectrum."""
    target = sky.find(plate, mjd, fiber)
    if target is None or target.plate.run2d != run2d:
        return None
    return as_bytes(spec_lite_hdus(sky, target))
