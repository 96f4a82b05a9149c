"""Roles of columns that are no measurement: ids, positions, redshifts, classes and others, by their names."""

import re

__all__ = ["AFTER_Z", "NO_UNIT", "OTHER_ROLES", "bare", "role_of", "without_unit"]

NO_UNIT = r"(?i:B ?- ?V|spec|phot|hel|cmb)"  # words in brackets that are no units: E(B-V), z (spec)


def bare(name: str) -> str:
    """A name without case, signs, and the table's name before a dot; also without a unit in brackets."""
    return re.sub(r"[^a-z0-9]", "", without_unit(name).lower())


def without_unit(name: str) -> str:
    """A name without its unit in brackets, and without the table's name: ``p.ra (deg)`` is ``ra``."""
    name = re.sub(rf"\s*[\[(]\s*(?!{NO_UNIT})[^\[\]()]*\s*[\])]\s*$", "", name.strip()) or name
    return re.sub(r"^(?!R\.A)\w+\.(?=[^\W\d])", "", name.strip())


# Names of other columns, as `bare` writes them; of several, the first one counts.
OTHER_ROLES: dict[str, tuple[str, ...]] = {
    "id": ("objectid", "objid", "targetid", "coaddobjectid", "sourceid", "lsid", "bestobjid",
           "dr8objid", "dr7objid", "specobjid", "id", "galaxyid", "galid", "catid", "cataid", "releaseid",
           "uberid", "sdssid", "thingid", "coadid", "obsid", "name", "objname", "objectname", "designation",
           "iauname", "sdssname", "sdss", "sdss12", "sdss16", "target", "object", "galaxy", "source", "iauid",
           "nsaid", "mangaid", "plateifu", "catalogid", "identifier", "uid", "nyuid", "objno", "starid",
           "obj", "recno", "seq", "number"),
    "ra": ("ra", "raicrs", "raj2000", "radeg", "alpha", "alphaj2000", "alphawinj2000", "ramean", "rastack",
           "targetra", "plugra", "fiberra", "coordra", "rightascension", "raj2000deg", "ra2000"),
    "dec": ("dec", "deicrs", "decicrs", "dej2000", "decj2000", "dedeg", "decdeg", "delta", "deltaj2000",
            "deltawinj2000", "decmean", "decstack", "targetdec", "plugdec", "fiberdec", "coorddec",
            "declination", "decl", "de", "dec2000"),
    "redshift": ("redshift", "zspec", "specz", "zsp", "redshiftspec", "specredshift", "spectroscopicredshift",
                 "zredshift", "speczredshift", "ztrue", "redshifttrue", "truez", "zbest", "zfinal", "znoqso",
                 "zhelio", "zhel", "ztonry", "zcmb", "zdist", "zsys", "zem", "zvi", "zdesi", "zgal", "cz"),
    "zwarn": ("zwarn", "zwarning"),
    "class": ("class", "spectype", "specclass", "spclass", "objclass", "classification", "label", "cl",
              "type"),
    "ebv": ("ebv", "ebvsfd", "sfdebv", "ebvsfd98", "galebv", "ebvgal", "mwebv", "ebvmw"),
    "photsys": ("photsys",),
    "plate": ("plate", "plateid"), "mjd": ("mjd",), "fiber": ("fiberid", "fiber"),
    "release": ("release",), "brick": ("brickid",),
    "file": ("file", "filename", "specfile", "spectrum", "specname", "spec", "path"),
    "photoz": ("zphot", "photoz", "zph", "photozbest", "zphoto", "zpeak", "zb", "zbpz", "zmc", "zml"),
}  # fmt: skip


# Redshifts that count after one in a column ``z``: Z_NOQSO is 0 where it was not measured
AFTER_Z = OTHER_ROLES["redshift"][OTHER_ROLES["redshift"].index("zbest") :]


def role_of(name: str) -> tuple[str, int] | None:
    """The role of a column that is no measurement, and the place of its name among those of the role."""
    key = bare(name)
    for role, names in OTHER_ROLES.items():
        if key in names:
            return role, names.index(key)
    return None
