"""Names of columns in catalogues of magnitudes: the filter, the kind and the role that a name tells.

A name such as ``modelMagErr_u`` or ``g_cmodel_magsigma`` is a row of words without a fixed order. It is the
name of a measurement if all its words are known and exactly one of them is a band.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from pix2spec.core.filters import Filter, _is_known
from pix2spec.data.readers.column_roles import bare, without_unit

__all__ = [
    "ASK_FOR_CURVES",
    "GROUPS",
    "LONG_NAMES",
    "Meaning",
    "filter_of",
    "is_bare",
    "meaning_of",
    "survey_of_table",
]


def _group(prefix: str, bands: str) -> dict[str, str]:
    return {band.lower(): f"{prefix}-{band}" for band in bands.split()}


WISE = _group("wise2010", "W1 W2 W3 W4")
# Group of filters -> band in lower case -> speclite's name. "legacy" depends on the position, see `columns`.
GROUPS: dict[str, dict[str, str]] = {
    "sdss": _group("sdss2010", "u g r i z"),
    "panstarrs": _group("panstarrs", "g r i z y"),
    "hsc": _group("hsc2017", "g r i z y"),
    "lsst": _group("lsst2023", "u g r i z y"),
    "decam": _group("decam2014", "u g r i z Y"),
    "legacy": {b: f"legacy-{b}" for b in "griz"} | WISE,
    "euclid": _group("Euclid", "VIS Y J H"),
    "megacam": _group("cfht_megacam", "u g r i z"),
    "wise": WISE,
    "twomass": _group("twomass", "J H Ks") | {"k": "twomass-Ks"},
    "galex": _group("galex", "fuv nuv"),
    "suprimecam": {},
}
ASK_FOR_CURVES = {
    "kids": "KiDS",
    "splus": "S-PLUS, J-PLUS or J-PAS",
    "vista": "VISTA or UKIDSS",
    "suprimecam": "Suprime-Cam",
    "skymapper": "SkyMapper",
}
LONG_NAMES = {
    "sdss": "SDSS", "panstarrs": "Pan-STARRS", "hsc": "HSC", "lsst": "LSST", "decam": "DECam",
    "legacy": "Legacy Surveys", "euclid": "Euclid", "megacam": "MegaCam", "wise": "WISE", "twomass": "2MASS",
    "galex": "GALEX", "own": "own curve",
}  # fmt: skip
# AB minus Vega: Jarrett et al. (2011, ApJ 735:112) and Blanton & Roweis (2007, AJ 133:734)
VEGA = {"w1": 2.699, "w2": 3.339, "w3": 5.174, "w4": 6.620, "j": 0.91, "h": 1.39, "k": 1.85, "ks": 1.85}

# Word -> (slot, value). The rank of a kind tells which of two columns of one kind is the usual one: 0.
WORDS: dict[str, tuple[str, object]] = {
    **{w: ("quantity", "mag") for w in ("mag", "mags", "magnitude")},
    "flux": ("quantity", "flux"),
    **{w: ("unit", u) for w, u in {"nmgy": "nmgy", "nanomaggies": "nmgy", "nanomaggy": "nmgy", "mgy": "mgy",
       "maggies": "mgy", "ujy": "uJy", "microjy": "uJy", "njy": "nJy", "mjy": "mJy", "jy": "Jy"}.items()},
    **{w: ("role", "error") for w in ("err", "error", "errs", "sigma", "unc", "uncertainty", "sig")},
    **{w: ("role", "ivar") for w in ("ivar", "invvar")},
    **{w: ("role", "variance") for w in ("var", "variance")},
    **{w: ("role", "extinction") for w in ("extinction", "galext", "galacticextinction")},
    **{w: ("role", "transmission") for w in ("mw_transmission", "mwtransmission")},
    **{w: ("dered", True) for w in ("dered", "dereddened", "deredden", "nomw", "corrected", "extcorr")},
    **{w: ("dust", w) for w in ("ext", "gal", "galactic", "sfd", "sfd98")},
    "mw": ("dust", "mw"),
    **{w: ("kind", (k, n)) for w, (k, n) in {
        "model": ("model", 0), "templfit": ("model", 0), "bdf": ("model", 0), "mof": ("model", 0),
        "sersic": ("model", 1), "ser": ("model", 1), "detmodel": ("model", 1), "dev": ("model", 2),
        "exp": ("model", 2), "cmodel": ("cmodel", 0), "cm": ("cmodel", 0), "petro": ("petrosian", 0),
        "petrosian": ("petrosian", 0), "elpetro": ("petrosian", 0), "psf": ("psf", 0), "fiber": ("fibre", 0),
        "fibre": ("fibre", 0), "fiber2": ("fibre", 1), "fibre2": ("fibre", 1), "fibertot": ("fibre", 2),
        "kron": ("kron", 0), "auto": ("kron", 0), "total": ("total", 0), "tot": ("total", 0),
        "aperture": ("aperture", 0),
        "aper": ("aperture", 0), "ap": ("aperture", 0), "gaap": ("aperture", 0)}.items()},
    **{w: ("survey", g) for w, g in {
        "sdss": "sdss", "sdss2010": "sdss", "ps1": "panstarrs", "panstarrs": "panstarrs", "hsc": "hsc",
        "hsc2017": "hsc", "des": "decam", "decam": "decam", "decam2014": "decam", "lsst": "lsst",
        "lsst2023": "lsst", "rubin": "lsst", "lsstcam": "lsst", "euclid": "euclid", "nisp": "euclid",
        "legacy": "legacy", "ls": "legacy", "megacam": "megacam", "cfht": "megacam", "wise": "wise",
        "wise2010": "wise", "unwise": "wise", "2mass": "twomass", "twomass": "twomass", "galex": "galex",
        "kids": "kids", "omegacam": "kids", "splus": "splus", "jplus": "splus", "jpas": "splus",
        "viking": "vista", "vista": "vista", "vhs": "vista", "ukidss": "vista", "java": "splus",
        "suprimecam": "suprimecam"}.items()},
    **{w: ("extra", w) for w in ("mean", "wavg", "stack", "free", "undeblended", "sof", "calib",
       "1fwhm", "2fwhm", "3fwhm", "4fwhm", "forced", "unif", "phot")},
    **{w: ("filler", w) for w in ("ab", "obs", "observed", "measured", "app", "apparent", "band",
       "true")},
    **{w: ("band", w) for w in ("u", "g", "r", "i", "z", "y", "w1", "w2", "w3", "w4", "fuv", "nuv", "vis",
       "j",       "h", "k", "ks")},
}  # fmt: skip
# Words that only count between underscores
ALONE: dict[str, tuple[str, object]] = {
    "e": ("role", "error"),
    "a": ("role", "extinction"),
    "m": ("quantity", "mag"),
    "f": ("quantity", "flux"),
}
ALONE |= {
    "ps": ("survey", "panstarrs"),
    "dmag": ("role", "error"),
    "ap": WORDS.pop("ap"),
    "ls": WORDS.pop("ls"),
    "cm": WORDS.pop("cm"),
    "ser": WORDS.pop("ser"),
}
FIRST = ("e", "a", "f")  # r_e is a radius
PATTERNS = [  # words with numbers in them
    (re.compile(r"(?:aperture|aper|ap|gaap|convolved)(?:flux)?_?\d+(?:p\d+)?(?:_\d+)*"), "aperture"),
    (re.compile(r"(?:j0\d{3}|f\d{3,4})"), "narrow"),
]
NEEDS_SURVEY = {"j", "h", "k", "ks", "y_nir"}
LETTERS = "ugrizy"

# Layouts of catalogues that name no survey: the pattern of a name, the survey, and the unit of fluxes.
STYLES = [
    (re.compile(r"[ugrizy]_((free_)?cModel|psf|kron|gaap\w*|ap\d+|calib|sersic)(Flux|Mag)(Err)?"),
     "lsst", "nJy"),
    (re.compile(r"[grizy]_?(undeblended_)?(cmodel|psfflux|kronflux|convolvedflux\w*|apertureflux\w*|psf|kron)_"
                r"(mag|flux)_?(err|sigma)?", re.I), "hsc", "nJy"),
    (re.compile(r"[grizy](F?mean|F)?(PSF|Kron|Ap)(Mag|Flux)(Err)?", re.I), "panstarrs", "Jy"),
    (re.compile(r"(e_)?[grizy]Kmag"), "panstarrs", ""),
    (re.compile(r"MAG(ERR)?_GAAP_\w+", re.I), "kids", ""),
    (re.compile(r"(WAVG_)?(MAG|FLUX)(_?ERR)?_(AUTO|PSF|DETMODEL|APER_\d+)_[UGRIZY](_DERED)?"
                r"|(wavg_)?(mag|flux)(_?err)?_(auto|psf|detmodel|aper_\d+)_[ugrizy](_dered)?"),
     "decam", "DES"),
    (re.compile(r"(SOF|MOF|BDF)_(CM_|PSF_)?(MAG|FLUX)(_ERR)?(_CORRECTED|_DERED)?_[UGRIZY](_CORRECTED)?",
                re.I), "decam", "DES"),
    (re.compile(r"flux(err)?_(vis|y|j|h)(_\w+)?_(psf|sersic|templfit|aper)", re.I), "euclid", "uJy"),
    (re.compile(r"flux(err)?_[ugrizy]_ext_\w+", re.I), "", "uJy"),
    (re.compile(r"(model|cmodel|petro|psf|dev|exp)flux(_?ivar)?_[ugriz]|(?-i:fiber2?Flux(Ivar)?_[ugriz])|calibflux\w*|spectroflux\w*"
                r"|(elpetro|sersic)_(flux|nmgy)\w*", re.I), "sdss", "nmgy"),
    (re.compile(r"w[1-4](mpro|sigmpro)", re.I), "wise", "Vega"),
    (re.compile(r"(e_)?W[1-4]mag"), "wise", "Vega"),
    (re.compile(r"[jhk]_(m|msigcom|cmsig)", re.I), "twomass", "Vega"),
]  # fmt: skip
# Names of which one tells the survey of the whole table: VizieR's Pan-STARRS, COSMOS's Subaru
TABLES = [
    (re.compile(r"[grizy]Kmag$"), "panstarrs"),
    (re.compile(r"(ip|rp|gp|zpp?)_(mag|flux)", re.I), "suprimecam"),
]
LEGACY_IDS = {"brickid", "brickname", "photsys", "lsid"}
# Names that look like photometry and are something else: ratios of axes, Gaia's G, absolute magnitudes
NO_PHOTOMETRY = re.compile(r"(?i:(exp|dev)AB(Err)?_[ugriz])|(?i:(gaia_)?phot_(g|bp|rp)_mean_\w+)"
                           r"|M_(?!\w*(?i:mag))\w+")  # fmt: skip
CASES = [  # VizieR's SDSS, where the case tells the kind
    (re.compile(r"^(e_)?([ugriz])pmag$"), r"\1\2_psf_mag"),
    (re.compile(r"^(e_)?([ugriz])Pmag$"), r"\1\2_petro_mag"),
]
ALIKE = [  # signs of filters that are like those of SDSS: MegaCam's u*, Subaru's r+
    (re.compile(r"(?<![A-Za-z])u\*"), "u_megacam_"),
    (re.compile(r"(?<![A-Za-z])([griz])\+"), r"\1_suprimecam_"),
]
SPELLINGS = [  # old spellings of words, before a name is taken apart
    (re.compile(r"^w([1-4])mpro$"), r"w\1_mag"),
    (re.compile(r"^w([1-4])sigmpro$"), r"w\1_mag_err"),
    (re.compile(r"^([jhk])_m$"), r"\1_mag"),
    (re.compile(r"^([jhk])_(?:msigcom|cmsig)$"), r"\1_mag_err"),
    (re.compile(r"^(decam|ls)_mw_transmission"), r"mw_transmission"),
    (re.compile(r"^([grizy]_(?:undeblended_)?)(psf|kron)flux_"), r"\1\2_"),  # HSC: g_psfflux_mag
    (re.compile(r"^([grizy])f(psf|kron|ap|mean)"), r"\1_forced_\2"),
    (re.compile(r"(calib|spectro)flux"), r"fibre_flux"),
    (re.compile(r"^(e_)?([grizy])kmag$"), r"\1\2_kron_mag"),  # VizieR: Pan-STARRS
    (re.compile(r"^(?:nsa_)?nmgy"), r"nmgy"),
    (re.compile(r"^phot_(?=\w+20\d\d|panstarrs)"), ""),  # catalogues of this package
]


@dataclass(frozen=True)
class Meaning:
    """The meaning of a column's name as far as the name tells it."""

    role: str  # value | error | ivar | variance | extinction | transmission
    band: str  # in lower case, or the name of the user's own curve
    group: str = ""  # a key of GROUPS or ASK_FOR_CURVES, "own", or "" where the name does not say
    kind: str = ""  # one of `pix2spec.core.filters.KINDS`, or ""
    rank: int = 0
    quantity: str = ""  # mag | flux | ""
    unit: str = ""  # that of the catalogue's fluxes, or "Vega"
    dereddened: bool = False
    extra: str = ""
    bare: bool = False  # the name is a band, perhaps with a survey or a word for errors
    named_group: bool = True  # the name tells the survey; False: the table does


def meaning_of(name: str, own: Mapping[str, Filter] | None = None) -> Meaning | None:
    """The meaning of the name of a column; None if it is not that of a measurement in a filter.

    Parameters
    ----------
    name : str
        As the table writes it.
    own : mapping of str to Filter, optional
        The user's own curves, whose names are bands too.

    Examples
    --------
    >>> from pix2spec.data.readers.column_names import meaning_of
    >>> found = meaning_of("gMeanKronMagErr")
    >>> found.group, found.band, found.kind, found.role
    ('panstarrs', 'g', 'kron', 'error')
    >>> meaning_of("petroRad_r") is None
    True
    """
    name = without_unit(name)
    if _is_known(name) and name not in (own or {}):
        return Meaning("value", name, "speclite", bare=True)
    curves = tuple((_plain(curve), curve) for curve in own or {})
    if NO_PHOTOMETRY.fullmatch(name):
        return None
    found = _meaning(_plain(name), curves)
    if found is None:
        return None
    style = next(((g, u) for pattern, g, u in STYLES if pattern.fullmatch(name)), None)
    if style and found.group != "own":
        found = replace(found, group=found.group or style[0], unit=found.unit or style[1])
    if found.band in NEEDS_SURVEY and not found.group:
        return None
    return found


def _plain(name: str) -> str:
    for pattern, new in CASES:
        name = pattern.sub(new, name)
    for sign, camera in ALIKE:
        name = sign.sub(camera, name)
    text = re.sub(r"[^a-z0-9]+", "_", name.lower().replace("'", "")).strip("_")
    for pattern, new in SPELLINGS:
        text = pattern.sub(new, text)
    return text


@lru_cache(maxsize=4096)
def _meaning(text: str, curves: tuple[tuple[str, str], ...]) -> Meaning | None:
    if len(text) > 60:
        return None
    tokens = _tokens(text, 0, curves)
    if tokens is None:
        return None
    slots: dict[str, list] = {}
    for slot, value in tokens:
        slots.setdefault(slot, []).append(value)
    if len(slots.get("band", ())) != 1 or len(slots.get("role", ())) > 1 or len(slots.get("survey", ())) > 1:
        return None
    (band,) = slots["band"]
    if not _is_dust_of_galaxy(slots):
        return None
    apertures = slots.get("aperture", [])
    kinds = slots.get("kind", []) + [("aperture", 0)] * len(apertures) or [("", 0)]
    kind, rank = next((k for k in kinds if k[0] == "cmodel"), kinds[-1])
    unit = next(iter(slots.get("unit", ())), "")
    quantities = slots.get("quantity", ["flux"] if unit else [""])
    quantity = "mag" if "mag" in quantities else quantities[0]
    extra = "_".join(map(str, [*slots.get("extra", ()), *apertures]))
    plain = not (quantity or kind or unit or extra or slots.get("dered"))
    if extra and not (quantity or kind or slots.get("survey")):
        return None  # z_mean is no magnitude
    return Meaning(
        slots.get("role", ["value"])[0], band, _survey(band, slots, curves), kind, rank, quantity, unit,
        bool(slots.get("dered")), extra, plain,
    )  # fmt: skip


def _is_dust_of_galaxy(slots: dict) -> bool:
    """Whether words such as ``gal`` stand beside extinction. ``ext`` without other words means it."""
    words = slots.pop("dust", [])
    if "ext" in words and not any(slots.get(s) for s in ("role", "quantity", "kind", "unit", "survey")):
        slots["role"] = ["extinction"]
    is_known = slots.get("role", [""])[0] in ("extinction", "transmission")
    return is_known or set(words) <= {"ext"}


def _survey(band: str, slots: dict, curves) -> str:
    if any(band == curve for _, curve in curves):
        return "own"
    if band[0] in "jf" and band[1:].isdigit():
        return "splus"
    for group in ("galex", "euclid"):
        if band in ("fuv", "nuv", "vis") and band in GROUPS[group]:
            return group
    return next(iter(slots.get("survey", ())), "")


def _tokens(text: str, start: int, curves) -> list | None:
    """Words of a name from `start` on, each with its slot; None if a part of it is no word."""
    while start < len(text) and text[start] == "_":
        start += 1
    if start == len(text):
        return []
    for end, token in _candidates(text, start, curves):
        rest = _tokens(text, end, curves)
        if rest is not None and not (token[0] == "band" and any(slot == "band" for slot, _ in rest)):
            return [token, *rest]
    return None


def _candidates(text: str, start: int, curves) -> Iterable[tuple[int, tuple]]:
    """Words that may begin at `start`, the longest one first."""
    found: list = [
        (start + len(plain), ("band", c)) for plain, c in curves if plain and text.startswith(plain, start)
    ]
    for pattern, slot in PATTERNS:
        match = pattern.match(text, start)
        if match:
            found.append((match.end(), ("band" if slot == "narrow" else slot, match[0])))
    for end in range(min(len(text), start + 20), start, -1):
        word = text[start:end]
        if word in WORDS:
            found.append((end, WORDS[word]))
        elif word in ALONE and text[start - 1 : start] in ("", "_") and text[end : end + 1] in ("", "_"):
            if start == 0 or word not in FIRST:
                found.append((end, ALONE[word]))
    return sorted(found, key=lambda pair: -pair[0])


def is_bare(name: str) -> bool:
    """Whether a name is one letter of the optical bands."""
    return len(name) == 1 and name.lower() in LETTERS


def filter_of(group: str, band: str) -> str | None:
    """Speclite's name of a band of a group; None if the group has no such band."""
    return band if group in ("own", "speclite") else GROUPS.get(group, {}).get(band)


def survey_of_table(names: Iterable[str], meanings: Iterable[Meaning]) -> str:
    """The survey of names that tell none: that of the table's other columns. "" if it cannot be known."""
    names, meanings = list(names), list(meanings)
    raw = {bare(name) for name in names}
    bands = {m.band for m in meanings if not m.group and m.role == "value" and m.band in LETTERS}
    if any(m.group == "splus" for m in meanings):
        return "splus"
    for pattern, survey in TABLES:
        if any(pattern.match(name) for name in names):
            return survey
    if raw & {"coadid", "coaddobjectid"}:
        return "decam"
    if raw & {"vpsf", "vpetro", "vpsfmag", "vpetromag"}:
        return "skymapper"
    if "y" in bands:
        named = {m.group for m in meanings if m.role == "value" and bands <= set(GROUPS.get(m.group, ()))}
        return named.pop() if len(named) == 1 else "lsst" if bands == set(LETTERS) else ""
    signs = any(m.role == "transmission" or (m.role == "ivar" and m.quantity == "flux") for m in meanings)
    fluxes = any(m.quantity == "flux" and not m.group for m in meanings)
    magnitudes = any(name.lower().startswith("dered_mag_") for name in names)  # of NOIRLab's Data Lab
    tractor = raw & LEGACY_IDS or magnitudes or (signs and fluxes)
    return "legacy" if tractor and "u" not in bands else "sdss"
