"""Imaging surveys: their bands, pixel scales, apertures and units.

Sources
-------
- SDSS: 0.396 arcsec per pixel, frames in nanomaggies, median seeing 1.3 arcsec in r, 3 arcsec fibres until
  2008 (Abazajian et al. 2009, ApJS 182:543; York et al. 2000, AJ 120:1579).
- Legacy Surveys: 0.262 arcsec per pixel, coadds in nanomaggies, ``fiberflux`` within 1.5 arcsec
  (www.legacysurvey.org/dr10/files and /dr10/catalogs); seeing in r: 1.18 arcsec for DECam, 1.47 for BASS
  (Dey et al. 2019, AJ 157:168, table 4). Other filters are used north of declination +32.375 degrees.
- Pan-STARRS1: 0.25 arcsec per pixel, stacks in counts with zero point 25 + 2.5 log10(exposure time)
  (outerspace.stsci.edu, "PS1 Stack images", "PS1 Image Cutout Service"); seeing 1.19 arcsec in r
  (Chambers et al. 2016, arXiv:1612.05560). Catalogues have other apertures; the fibre here is SDSS's.
- HSC: 0.168 arcsec per pixel, coadds with zero point 27 (Aihara et al. 2018, PASJ 70:S8), seeing 0.6 arcsec
  in i (Aihara et al. 2019, PASJ 71:114), ``convolvedflux`` within 1.5 arcsec and larger.
- LSST: 0.2 arcsec per pixel, images in nJy, which is a zero point of 31.4 (RTN-095, Data Preview 1); expected
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

INPUTS = ("image", "photometry")  # data of a survey that can be inputs of a model
SCALE_TOLERANCE = 0.02  # relative difference of pixel scales
FILTER = re.compile(r"\w+-\w+")  # speclite's names of response curves


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
        Diameter in arcsec of the aperture of the spectra and the catalogue fluxes.
    psf_fwhm : float
        Typical seeing in arcsec. Comparisons of surveys ignore it.
    zero_point : float
        AB magnitude of one unit of the pixel values in the survey's files; 22.5 for nanomaggies. Readers
        convert cutouts to nanomaggies, and datasets always hold nanomaggies.
    pixel_unit : str
        Unit of the pixel values in the survey's files: ``"nanomaggy"``, ``"nJy"`` or ``"count"``.
    per_second : bool
        Whether `zero_point` is for counts per second, while pixel values are counts of the exposure.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    name: str = "sdss"
    image_bands: tuple[str, ...] = ("g", "r", "i")
    pixel_scale: float = 0.396
    photometry_bands: tuple[str, ...] = ("u", "g", "r", "i", "z")
    filters: tuple[str, ...] = ("sdss2010-u", "sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z")
    fibre_diameter: float = 3.0
    psf_fwhm: float = 1.3
    # Older datasets and models have no such fields. The defaults, which are SDSS's, apply to them.
    zero_point: float = 22.5
    pixel_unit: str = "nanomaggy"
    per_second: bool = False

    def __post_init__(self):
        self._check_kinds()
        if len(self.filters) != len(self.photometry_bands):
            raise InputError(
                f"survey {self.name}",
                f"{len(self.filters)} response curves for {len(self.photometry_bands)} bands",
                "give one of speclite's filters for each photometric band",
            )

    def _check_kinds(self) -> None:
        """Refuse values of wrong types or ranges, which headers of damaged files may hold."""
        for name in ("image_bands", "photometry_bands", "filters"):
            words = getattr(self, name)
            if not isinstance(words, tuple) or not all(isinstance(w, str) for w in words) or len(words) > 16:
                hint = "it must be at most 16 texts"
                raise InputError("survey", f"{name} is {str(words)[:80]}", hint)
        for name in self.filters:
            if not FILTER.fullmatch(name):  # speclite would open a file of another name.
                hint = "give a name such as sdss2010-g"
                raise InputError("survey", f"no response curve is called {name[:80]!r}", hint)
        for name in ("pixel_scale", "fibre_diameter", "psf_fwhm"):
            if not isinstance(value := getattr(self, name), int | float) or not 0 < value < 1e6:
                hint = "it must be a positive number of arcsec"
                raise InputError("survey", f"{name} is {str(value)[:40]}", hint)
        if not isinstance(self.zero_point, int | float) or not abs(self.zero_point) < 100:
            what = f"zero_point is {str(self.zero_point)[:40]}"
            raise InputError("survey", what, "it must be a magnitude")
        if self.pixel_unit not in ("nanomaggy", "nJy", "count"):
            what = f"pixel_unit is {str(self.pixel_unit)[:40]}"
            raise InputError("survey", what, "it must be nanomaggy, nJy or count")

    @property
    def image_filters(self) -> dict[str, str]:
        """Band of the cutouts to its response curve. Bands without photometry have no curve."""
        curves = dict(zip(self.photometry_bands, self.filters))
        return {band: curves[band] for band in self.image_bands if band in curves}

    def as_dict(self) -> dict:
        """Dictionary for JSON headers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Survey":
        """Inverse of `as_dict`. Lists, which JSON makes of tuples, become tuples again."""
        if not isinstance(values, dict):
            hint = "it must be a dictionary of its fields"
            raise InputError("survey", f"it is {str(values)[:40]!r}", hint)
        fields: dict = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)

    def __str__(self) -> str:
        return f'{self.name} ({"".join(self.image_bands)} images of {self.pixel_scale}"/pixel)'


def _bands(bands: str, filters: str) -> dict:
    """Fields of a survey with the same bands in cutouts and catalogue, and one family of response curves."""
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
    """The survey called `name`.

    Raises
    ------
    InputError
        If there is no such survey. The error suggests the nearest name.

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
    """Describe the differences for which data of one survey cannot replace data of the other.

    Names, seeing and the units of the original pixels are not compared.

    Parameters
    ----------
    one, other : Survey
        The surveys to compare.
    seen : collection of str
        The data that matter. For ``"image"``, bands, response curves and pixel scale are compared; for
        ``"photometry"``, bands, response curves and aperture.

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
    """Raise an error if data of one survey cannot replace data of another.

    Parameters
    ----------
    where : str or Path
        Name of the data for the message.
    survey : Survey
        Their survey.
    whose : str
        Name of the data or model that needs the survey `wanted`, for the message.
    wanted : Survey
        The survey that is needed.
    seen : collection of str
        The data that matter, as in `differences`.
    hint : str
        The hint of the error.

    Raises
    ------
    InputError
        If `differences` finds any.
    """
    found = differences(survey, wanted, seen)
    if found:
        names = f"its survey is {survey.name}, that of {whose} is {wanted.name}"
        raise InputError(where, f"{names}: {'; '.join(found)}", hint)
