"""Filters by name, and the typical errors of fluxes whose error is unknown."""

from functools import cache
from importlib.resources import files

from pix2spec.core.survey import Survey
from pix2spec.errors import InputError

__all__ = ["KINDS", "OWN_CURVE_ERROR", "filter_name", "typical_error"]

# What a flux encloses. A fibre flux is that within the aperture of the spectrograph's fibre.
KINDS = ("fibre", "psf", "model", "cmodel", "petrosian", "kron", "aperture", "total", "unknown")

# Typical error of a galaxy's flux, as a fraction of it. SDSS: the median errors of model magnitudes of the
# main galaxy sample (Strauss et al. 2002, AJ 124:1810) with the calibration errors of Padmanabhan et al.
# (2008, ApJ 674:1217).
_TYPICAL = dict(zip([f"sdss2010-{band}" for band in "ugriz"], (0.06, 0.012, 0.01, 0.01, 0.022)))
ANY_FILTER_ERROR, OWN_CURVE_ERROR = 0.05, 0.1


def typical_error(name: str) -> float:
    """Typical error of a flux in the filter `name`, as a fraction of the flux."""
    return _TYPICAL.get(name, ANY_FILTER_ERROR)


@cache
def _is_known(name: str) -> bool:
    """Whether speclite has a response curve of this name."""
    return (files("speclite") / "data" / "filters" / f"{name}.ecsv").is_file()


def filter_name(key: str, survey: Survey, where="photometry") -> str:
    """Speclite's name of a filter that a user calls `key`.

    Parameters
    ----------
    key : str
        A band of `survey`, such as ``"g"``, or speclite's own name, such as ``"sdss2010-g"``.
    survey : Survey
        Whose filters single letters mean.
    where : str
        The object, for the error.

    Raises
    ------
    InputError
        If neither the survey nor speclite has such a filter.
    """
    bands = dict(zip(survey.photometry_bands, survey.filters))
    if key in bands:
        return bands[key]
    if "-" in key and key.replace("-", "").replace("_", "").isalnum() and _is_known(key):
        return key
    known = f"bands of {survey.name} ({', '.join(survey.photometry_bands)}) or speclite's names"
    raise InputError(
        where, f"photometry: no filter is called {str(key)[:40]!r}", f"{known}, as in sdss2010-g"
    )
