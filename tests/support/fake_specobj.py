"""specObj and photoPosPlate files as SDSS writes them."""

from collections import defaultdict

import numpy as np
from astropy.io import fits

# Catalogue files: formats as in row tables of real spectra (BESTOBJID 19A, RUN2D 7A, SPECPRIMARY B, Z E ...)
from pix2spec.data.archives.sdss.select_sql import SpecRow

FORMATS = {
    "SURVEY": ("6A", "survey"),
    "SPECPRIMARY": ("B", "sciencePrimary"),
    "BESTOBJID": ("19A", "bestObjID"),
    "RUN2D": ("7A", "run2d"),
    "PLATE": ("J", "plate"),
    "MJD": ("J", "mjd"),
    "FIBERID": ("J", "fiberID"),
    "PLUG_RA": ("D", "ra"),
    "PLUG_DEC": ("D", "dec"),
    "CLASS": ("6A", "class"),
    "Z": ("E", "z"),
    "Z_ERR": ("E", "zErr"),
    "ZWARNING": ("J", "zWarning"),
    "WAVEMIN": ("E", "waveMin"),
    "WAVEMAX": ("E", "waveMax"),
}


def write_catalogue(path, facts, **changes):
    formats = FORMATS | changes
    columns = []
    for name, made in formats.items():
        if made is None:
            continue
        form, source = made
        values = [fact[source] for fact in facts]
        if form.endswith("A"):
            values = [str(value or "") for value in values]
        columns.append(fits.Column(name, form, array=np.array(values)))
    columns.insert(3, fits.Column("OBJID", "5J", array=np.zeros((len(facts), 5), int)))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def write_photometry(path, server, facts):
    values = defaultdict(list)
    for fact in facts:
        galaxy = fact["class"] == "GALAXY"
        for name in ("fiberFlux", "fiberFluxIvar"):
            values[name].append(
                [
                    server.skyserver.photometry(fact["number"], i, name) if galaxy else -9999.0
                    for i in range(5)
                ]
            )
        values["extinction"].append([fact[f"extinction_{band}"] for band in "ugriz"])
    columns = [
        fits.Column(name, "5E", array=np.array(values[source]))
        for name, source in (
            ("FIBERFLUX", "fiberFlux"),
            ("FIBERFLUX_IVAR", "fiberFluxIvar"),
            ("EXTINCTION", "extinction"),
        )
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def spec_row(plate=266, fiber=1, field=11, bestobjid=None, **facts):
    values = {
        "plate": plate,
        "mjd": 51602,
        "fiber": fiber,
        "run2d": "26",
        "ra": 150 + plate / 1000 + fiber / 100,
        "dec": 0.1 + 0.2,  # no short decimal
        "z": 0.1,
        "z_err": 1e-5,
        "spec_class": "GALAXY",
        "zwarning": 0,
        "bestobjid": 1237650795146576091 + 1000 * plate + fiber if bestobjid is None else bestobjid,
        "run": 752,
        "camcol": 1,
        "field": field,
        "rerun": 301,
        "photometry": (1.0, 2.0, 3.0, 4.0, 5.0),
        "photometry_ivar": (1.0, 1.0, 1.0, 1.0, 0.1),
        "extinction": (0.1,) * 5,
    }
    return SpecRow(**values | facts)
