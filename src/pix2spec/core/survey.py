"""What distinguishes one imaging survey from another, as data.

Sources
-------
- SDSS: 0.396 arcsec a pixel, frames in nanomaggies, median seeing 1.3 arcsec in r, 3 arcsec fibres until 2008
  (Abazajian et al. 2009, ApJS 182:543; York et al. 2000, AJ 120:1579).
- Legacy Surveys: 0.262 arcsec a pixel, coadds in nanomaggies, ``fiberflux`` within 1.5 arcsec
  (www.legacysurvey.org/dr10/files and /dr10/catalogs); seeing in r: 1.18 arcsec for DECam, 1.47 for BASS
  (Dey et al. 2019, AJ 157:168, table 4). North of declination +32.375 degrees the filters are others.
- Pan-STARRS1: 0.25 arcsec a pixel, stacks in counts of zero point 25 + 2.5 log10(exposure time)
  (outerspace.stsci.edu, "PS1 Stack images", "PS1 Image Cutout Service"); seeing 1.19 arcsec in r
  (Chambers et al. 2016, arXiv:1612.05560). Catalogue apertures differ; the fibre here is SDSS's.
- HSC: 0.168 arcsec a pixel, coadds of zero point 27 (Aihara et al. 2018, PASJ 70:S8), seeing 0.6 arcsec in i
  (Aihara et al. 2019, PASJ 71:114), ``convolvedflux`` within 1.5 arcsec and larger.
- LSST: 0.2 arcsec a pixel, images in nJy, which is a zero point of 31.4 (RTN-095, Data Preview 1); expected
  seeing 0.83 arcsec in r (Ivezic et al. 2019, ApJ 873:111, table 2).
- Response curves: the packaged files of speclite (``sdss2010``: Doi et al. 2010; ``decam2014``, ``BASS``,
  ``MzLS``; ``panstarrs``: Tonry et al. 2012; ``hsc2017``; ``lsst2023``), all with an atmosphere.
"""

import re
from dataclasses import asdict, dataclass
from difflib import get_close_matches

from pix2spec.errors import InputError

__all__ = [
    "HSC",
    "LEGACY",
    "LEGACY_NORTH",
    "LSST",
    "PS1",
    "SDSS",
    "SURVEYS",
    "Survey",
    "check_same_survey",
    "differences",
    "survey_of",
]

INPUTS = ("image", "photometry")  # what a survey gives that a model can see
SCALE_TOLERANCE = 0.02  # of the pixel scale
FILTER = re.compile(r"\w+-\w+")  # how speclite calls a response curve


@dataclass(frozen=True)
class Survey:
    """An imaging survey and the spectra that go with it.

    Parameters
    ----------
    name : str
        Short name, as in file headers.
    image_bands : tuple of str
        Bands of the cutouts, in the order of the image axis.
    pixel_scale : float
        Arcsec per pixel of the cutouts.
    photometry_bands : tuple of str
        Bands of the catalogue fluxes, in order.
    filters : tuple of str
        speclite names of the photometric bands' response curves, in the same order.
    fibre_diameter : float
        Arcsec; the aperture that the spectrum and the catalogue fluxes refer to.
    psf_fwhm : float
        Arcsec; typical seeing. It describes the survey and is not compared.
    zero_point : float
        AB magnitude of one unit of the survey's own pixel values; 22.5 is nanomaggies. Datasets always hold
        nanomaggies: cutouts are converted when they are read.
    pixel_unit : str
        Of the survey's own pixel values: ``"nanomaggy"``, ``"nJy"`` or ``"count"``.
    per_second : bool
        Whether `zero_point` is that of counts a second, and pixel values are counts of the exposure.
    """

    name: str = "sdss"
    image_bands: tuple[str, ...] = ("g", "r", "i")
    pixel_scale: float = 0.396
    photometry_bands: tuple[str, ...] = ("u", "g", "r", "i", "z")
    filters: tuple[str, ...] = ("sdss2010-u", "sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z")
    fibre_diameter: float = 3.0
    psf_fwhm: float = 1.3
    # Fields that came later: the defaults are SDSS's, so that older datasets and models still load.
    zero_point: float = 22.5
    pixel_unit: str = "nanomaggy"
    per_second: bool = False

    def __post_init__(self):
        self._check_kinds()
        if len(self.filters) != len(self.photometry_bands):
            raise InputError(
                f"survey {self.name}",
                f"{len(self.filters)} response curves for {len(self.photometry_bands)} bands",
                "name one of speclite's filters for each photometric band",
            )

    def _check_kinds(self) -> None:
        """Refuse what cannot be meant: surveys also come from the headers of files."""
        for name in ("image_bands", "photometry_bands", "filters"):
            words = getattr(self, name)
            if not isinstance(words, tuple) or not all(isinstance(w, str) for w in words) or len(words) > 16:
                raise InputError("survey", f"{name} is {str(words)[:80]}", "it is at most 16 texts")
        for name in self.filters:
            if not FILTER.fullmatch(name):  # speclite would take another text for a file
                raise InputError("survey", f"no response curve is called {name[:80]!r}", "as in sdss2010-g")
        for name in ("pixel_scale", "fibre_diameter", "psf_fwhm"):
            if not isinstance(value := getattr(self, name), int | float) or not 0 < value < 1e6:
                raise InputError("survey", f"{name} is {str(value)[:40]}", "it is arcsec, and positive")
        if not isinstance(self.zero_point, int | float) or not abs(self.zero_point) < 100:
            raise InputError("survey", f"zero_point is {str(self.zero_point)[:40]}", "it is a magnitude")
        if self.pixel_unit not in ("nanomaggy", "nJy", "count"):
            what = f"pixel_unit is {str(self.pixel_unit)[:40]}"
            raise InputError("survey", what, "nanomaggy, nJy or count")

    @property
    def image_filters(self) -> dict[str, str]:
        """Response curve of each band of the cutouts that has one."""
        curves = dict(zip(self.photometry_bands, self.filters))
        return {band: curves[band] for band in self.image_bands if band in curves}

    def as_dict(self) -> dict:
        """Plain dictionary for JSON headers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Survey":
        """Inverse of `as_dict` (JSON turns tuples into lists)."""
        if not isinstance(values, dict):
            raise InputError("survey", f"it is {str(values)[:40]!r}", "it is a mapping of its facts")
        facts: dict = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**facts)

    def __str__(self) -> str:
        return f'{self.name} ({"".join(self.image_bands)} images of {self.pixel_scale}"/pixel)'


def _bands(bands: str, filters: str) -> dict:
    """Fields of a survey that images the bands of its catalogue, with one family of curves."""
    curves = tuple(f"{filters}-{band}" for band in bands)
    return {"image_bands": tuple(bands), "photometry_bands": tuple(bands), "filters": curves}


SDSS = Survey()
LEGACY = Survey("legacy", **_bands("grz", "decam2014"), pixel_scale=0.262, fibre_diameter=1.5, psf_fwhm=1.18)
LEGACY_NORTH = Survey(
    "legacy-north",
    **_bands("grz", "BASS") | {"filters": ("BASS-g", "BASS-r", "MzLS-z")},
    pixel_scale=0.262,
    fibre_diameter=1.5,
    psf_fwhm=1.47,
)
PS1 = Survey(
    "ps1",
    **_bands("grizy", "panstarrs"),
    pixel_scale=0.25,
    psf_fwhm=1.19,
    zero_point=25.0,
    pixel_unit="count",
    per_second=True,
)
HSC = Survey(
    "hsc",
    **_bands("grizy", "hsc2017"),
    pixel_scale=0.168,
    fibre_diameter=1.5,
    psf_fwhm=0.6,
    zero_point=27.0,
    pixel_unit="count",
)
LSST = Survey(
    "lsst",
    **_bands("ugrizy", "lsst2023"),
    pixel_scale=0.2,
    psf_fwhm=0.83,
    zero_point=31.4,
    pixel_unit="nJy",
)
SURVEYS = {survey.name: survey for survey in (SDSS, LEGACY, LEGACY_NORTH, PS1, HSC, LSST)}


def survey_of(name: str) -> Survey:
    """The survey called `name`; `InputError` with the nearest name where there is none.

    Examples
    --------
    >>> from pix2spec.core.survey import survey_of
    >>> survey_of("legacy").image_bands
    ('g', 'r', 'z')
    """
    key = str(name).strip().lower().replace("_", "-")
    if key in SURVEYS:
        return SURVEYS[key]
    near = get_close_matches(key, SURVEYS, 1, 0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError("`survey`", f"{name!r} is unknown", f"{hint}known are {', '.join(SURVEYS)}")


def differences(one: Survey, other: Survey, seen=INPUTS) -> list[str]:
    """What keeps data of one survey from standing in for the other's, in words.

    Parameters
    ----------
    seen : collection of str
        ``"image"``: bands, their response curves and pixel scale count. ``"photometry"``: bands, curves and
        aperture count. Names, seeing and the units of the original pixels do not.

    Returns
    -------
    list of str
        Such as ``'pixel scale 0.396" and 0.262"'``; empty if nothing differs.
    """
    found = []

    def compare(what: str, a, b, unit: str = "", tolerance: float = 0.0):
        same = abs(a / b - 1) <= tolerance if tolerance else a == b
        if not same:
            found.append(f"{what} {_format_value(a)}{unit} and {_format_value(b)}{unit}")

    if "image" in seen:
        compare("image bands", one.image_bands, other.image_bands)
        compare("pixel scale", one.pixel_scale, other.pixel_scale, '"', SCALE_TOLERANCE)
        if one.image_bands == other.image_bands:
            compare("filters", tuple(one.image_filters.values()), tuple(other.image_filters.values()))
    if "photometry" in seen:
        compare("photometric bands", one.photometry_bands, other.photometry_bands)
        if one.photometry_bands == other.photometry_bands:
            compare("filters", one.filters, other.filters)
        compare("aperture", one.fibre_diameter, other.fibre_diameter, '"')
    return list(dict.fromkeys(found))


def _format_value(value) -> str:
    if isinstance(value, tuple):
        return ("" if all(len(word) == 1 for word in value) else ", ").join(value) or "none"
    return f"{value:g}"


def check_same_survey(where, survey: Survey, whose: str, wanted: Survey, seen=INPUTS, hint: str = "") -> None:
    """Raise `InputError` if `survey`, that of `where`, cannot stand in for `wanted`, that of `whose`."""
    found = differences(survey, wanted, seen)
    if found:
        names = f"its survey is {survey.name}, that of {whose} is {wanted.name}"
        raise InputError(where, f"{names}: {'; '.join(found)}", hint)
