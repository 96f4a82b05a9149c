"""Files in the real layouts, made of the sky's simulated galaxies.

Spectra follow SDSS's data model pages (https://data.sdss.org/datamodel/files/...):
BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html (lite: the same without the exposures),
SPECTRO_REDUX/specObj.html and BOSS_SPECTRO_REDUX/RUN2D/spAll.html (the catalogue rows),
BOSS_SPECTRO_REDUX/RUN2D/PLATE4/spPlate.html. `layouts/` has the header cards and columns of real files,
without their values; the tests compare.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from support.loopback.sky import Sky
from support.loopback.targets import WIDE, Plate, Target

LAYOUTS = Path(__file__).with_name("layouts")
NEARBADPIXEL, NODATA = 1 << 16, 1 << 24  # SPPIXMASK
DTYPES = {"B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
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
COADD_COLUMNS = "flux E|loglam E|ivar E|and_mask J|or_mask J|wdisp E|sky E|model E"
LINE_COLUMNS = (
    "PLATE J|MJD J|FIBERID J|LINENAME 13A|LINEWAVE D|LINEZ E|LINEZ_ERR E|LINESIGMA E|LINESIGMA_ERR E|"
    "LINEAREA E|LINEAREA_ERR E|LINEEW E|LINEEW_ERR E|LINECONTLEVEL E|LINECONTLEVEL_ERR E|LINENPIXLEFT J|"
    "LINENPIXRIGHT J|LINEDOF E|LINECHI2 E"
)
# plPlugMapM's columns; BOSS has more than the first 16 (spPlate.html, HDU5)
PLUG_COLUMNS = (
    "OBJID 5J|HOLETYPE 6A|RA D|DEC D|MAG 5E|STARL E|EXPL E|DEVAUCL E|OBJTYPE 16A|XFOCAL D|YFOCAL D|"
    "SPECTROGRAPHID J|FIBERID J|THROUGHPUT J|PRIMTARGET J|SECTARGET J|OFFSETID J|SCI_EXPTIME E|SOURCETYPE 7A|"
    "LAMBDA_EFF E|ZOFFSET E|BLUEFIBER J|BOSS_TARGET1 K|BOSS_TARGET2 K|ANCILLARY_TARGET1 K|"
    "ANCILLARY_TARGET2 K|RUN J|RERUN 5A|CAMCOL J|FIELD J|ID J|CALIBFLUX 5E|CALIBFLUX_IVAR 5E|SFD_EBV E"
)


class Table:
    """A binary table of a fixed layout, packed without astropy, which takes 0.1 s for 126 columns."""

    def __init__(self, columns: list[str], name: str = "", name_comment: str = "", comment: str = ""):
        fields, made = [], []
        for column, code, *options in (text.split() for text in columns):
            kind, count = code[-1], int(code[:-1] or 1)
            text = kind == "A"
            fields.append(
                (column, f"S{count}") if text else (column, DTYPES[kind], (count,) if count > 1 else ())
            )
            more = {"bzero": 2**63} if "uint" in options else {}
            if options and not more:
                more = {"dim": "( " + ", ".join(options[0].split("x")) + ")"}
            made.append(fits.Column(column, code, **more))
        self.dtype, self.unsigned = np.dtype(fields), [c.name for c in made if c.bzero]
        self.header = fits.BinTableHDU.from_columns(made, nrows=0).header
        if name:
            self.header["EXTNAME"] = (name, name_comment)
        if comment:
            self.header["COMMENT"] = comment
        self.header_bytes = lru_cache(maxsize=256)(self._header_bytes)

    def _header_bytes(self, rows: int) -> bytes:
        header = self.header.copy()
        header["NAXIS2"] = rows
        return header.tostring().encode("ascii")

    def pack(self, rows: int, values: dict) -> bytes:
        """Header and data: zero or empty where `values` has nothing; other layouts' names are ignored."""
        table = np.zeros(rows, self.dtype)
        for name, value in values.items():
            if name in self.dtype.names:
                table[name] = value - 2**63 if name in self.unsigned else value
        return self.header_bytes(rows) + padded(table.tobytes())


def padded(data: bytes) -> bytes:
    """FITS comes in blocks of 2880 bytes."""
    return data + bytes(-len(data) % 2880)


def image_bytes(array: np.ndarray, header: fits.Header | None = None, name: str = "") -> bytes:
    """A primary HDU with the cards of `header`, or an image extension."""
    array = array.astype(array.dtype.newbyteorder(">"))
    if header is not None:
        hdu = fits.PrimaryHDU(array, header=header)
    else:
        hdu = fits.ImageHDU(array, name=name)
    return hdu.header.tostring().encode("ascii") + padded(array.tobytes())


@lru_cache
def primary_header(kind: str) -> fits.Header:
    """Header cards of a `kind` ("sdss", "boss", "frame") of real file, without values."""
    return fits.Header.fromtextfile(LAYOUTS / f"{kind}-primary.hdr")


@lru_cache
def tables(boss: bool) -> dict[str, Table]:
    """The tables of spectra and plates."""
    row = (LAYOUTS / f"{'boss' if boss else 'sdss'}-row.txt").read_text(encoding="ascii").splitlines()
    said = "extension name" if boss else ""  # how SDSS's and BOSS's pipelines comment EXTNAME
    spall = (
        ("SPALL", said, "Metadata from spAll row") if boss else ("SPECOBJ", said, "Metadata from specObj row")
    )
    plug = PLUG_COLUMNS.split("|")
    return {
        "coadd": Table(COADD_COLUMNS.split("|"), "COADD", said, "Coadded spectrum"),
        "row": Table(row, *spall),
        "lines": Table(LINE_COLUMNS.split("|"), "SPZLINE", said, "Line fits from spZline"),
        "plugmap": Table(plug, "PLUGMAP") if boss else Table(plug[:16]),
    }


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


def filled(kind: str, cards: dict) -> fits.Header:
    """The primary header with `cards` in it; those that this layout lacks are left out."""
    header = primary_header(kind).copy()
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
        "or_mask": mask | np.int32(NEARBADPIXEL) * (np.arange(len(mask)) % 97 == 0),
        "wdisp": (1.1 + 0.2 * np.cos(loglam * 20)).astype(np.float32),
        "sky": sky.sky_flux[cut],
        "model": galaxy["true_flux"][cut],
    }


def spec_lite(sky: Sky, target: Target) -> bytes:
    """``spec-PLATE-MJD-FIBER.fits``, lite."""
    boss, columns = target.plate.boss, native(sky, target)
    layout = tables(boss)
    cards = plate_cards(target.plate, WIDE.start + WIDE.step * target.start) | {
        "PLUG_RA": target.ra,
        "PLUG_DEC": target.dec,
        "FIBERID": target.fiber,
        "SPEC_ID": str(target.specobjid),
        "THING_ID": target.number,
    }
    primary = filled("boss" if boss else "sdss", cards).tostring().encode("ascii")
    lines = dict(sorted((LINES_BOSS if boss else LINES_SDSS).items(), key=lambda line: line[1]))
    return (
        primary
        + layout["coadd"].pack(target.pixels, columns)
        + layout["row"].pack(1, catalogue_row(sky, target, columns))
        + layout["lines"].pack(
            len(lines),
            {
                "PLATE": target.plate.plate,
                "MJD": target.plate.mjd,
                "FIBERID": target.fiber,
                "LINENAME": list(lines),
                "LINEWAVE": list(lines.values()),
                "LINEZ": sky.redshift(target),
            },
        )
    )


def catalogue_row(sky: Sky, target: Target, spectrum: dict) -> dict:
    """Values of the SPECOBJ or SPALL row that the simulation has something to say about."""
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
    return values


def spplate(sky: Sky, plate: Plate) -> bytes:
    """``spPlate-PLATE-MJD.fits``: all spectra of a plate on common pixels, without redshifts."""
    shape, first = (plate.fibres, plate.pixels), plate.start
    arrays = {name: np.zeros(shape, np.float32) for name in ("flux", "ivar", "wdisp", "sky")}
    arrays["and_mask"] = np.full(shape, NODATA, np.int32)
    arrays["or_mask"] = arrays["and_mask"].copy()
    for row, target in enumerate(sky.targets(plate)):
        pixels = slice(target.start - first, target.start - first + target.pixels)
        for name, values in native(sky, target).items():
            if name in arrays:
                arrays[name][row, pixels] = values
    kind = "boss" if plate.boss else "sdss"
    header = filled(kind, plate_cards(plate, WIDE.start + WIDE.step * first))
    for own in ("PLUG_RA", "PLUG_DEC", "FIBERID", "SPEC_ID", "THING_ID"):  # of single spectra
        header.remove(own, ignore_missing=True)
    # BOSS's reductions name the extensions, the older ones go by number
    names = ("IVAR", "ANDMASK", "ORMASK", "WAVEDISP", "SKY") if plate.boss else ("",) * 5
    parts = [image_bytes(arrays["flux"], header)]
    for key, name in zip(("ivar", "and_mask", "or_mask", "wdisp", "sky"), names):
        parts.append(image_bytes(arrays[key], name=name))
    parts.insert(5, tables(plate.boss)["plugmap"].pack(plate.fibres, plug_map(sky, plate)))
    return b"".join(parts)


def plug_map(sky: Sky, plate: Plate) -> dict:
    """Columns of the plug map, a row a fibre."""
    targets = sky.targets(plate)
    number = np.arange(1, plate.fibres + 1)
    return {
        "OBJID": [(plate.run, 301, t.camcol, t.field, t.obj) for t in targets],
        "HOLETYPE": "OBJECT",
        "RA": [t.ra for t in targets],
        "DEC": [t.dec for t in targets],
        "OBJTYPE": ["SKY" if t.kind == "sky" else "GALAXY" for t in targets],
        "SPECTROGRAPHID": 1 + (number > plate.fibres // 2),
        "FIBERID": number,
        "RUN": plate.run,
        "RERUN": "301",
        "CAMCOL": [t.camcol for t in targets],
        "FIELD": [t.field for t in targets],
        "ID": [t.obj for t in targets],
        "LAMBDA_EFF": 5400.0,
    }
