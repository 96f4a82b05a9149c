"""Names of columns, rows and extensions of spectra, and the quantities that they hold."""

import re

import numpy as np

__all__ = ["column_roles", "inverse_variance", "masked", "role_of", "split_unit", "unit_of_size"]

# Lower-case names of columns, the preferred ones first. Words of names are joined by "_".
COLUMNS = {
    "loglam": "loglam log_lam log_lambda loglambda log_wave logwave log10_wave",
    "wave": "wavelength wavelengths wave waves lambda lam wl wav spectral_axis wavelength_vac wave_vac "
    "wavelength_vacuum lambda_vac wavelength_air wave_air lambda_air awav lambda_obs wave_obs wavelength_obs",
    "flux": "flux fluxes flam f_lambda flux_lambda flux_density fluxdensity f_lam flambda fnu f_nu flux_nu "
    "flux_reduced flux_cal fluxcal flux_calibrated flux_obs spflux spec spectrum intensity counts data",
    "error": "error err errors sigma uncertainty flux_error flux_err fluxerr fluxerror ferr err_flux e_flux "
    "error_flux fluxes_err err_reduced err_flux_reduced noise fluxes_noise flux_noise flux_unc unc "
    "flux_sigma sigma_flux std stdev stddev flux_std dflux eflux sig flux_uncertainty rms",
    "ivar": "ivar flux_ivar ivar_flux inverse inverse_variance invvar inv_var weight",
    "variance": "variance var flux_var var_flux flux_variance varflux stat",
    "bits": "and_mask andmask",
    "mask": "mask qual quality dq flags badpix bpm pixmask",
}
NAMES = {role: tuple(names.split()) for role, names in COLUMNS.items()}
# Names of columns with errors that are made of the name of the flux
OF_ERRORS = {
    "error": "{}_err {}err {}_error {}error e_{} e{} err_{} error_{} sigma_{} {}_sigma {}_unc {}_std d{}",
    "ivar": "{}_ivar {}ivar ivar_{}",
    "variance": "{}_var {}var var_{}",
}
WAVE_UNITS = ("angstroms", "angstrom", "ang", "aa", "a", "nm", "um", "micron", "microns")
WITH_UNIT = re.compile(r"\s*([^\[(]+?)\s*[\[(]\s*(.+?)\s*[\])]\s*$")
OTHER = "other"
WORDS = (  # of names of rows and extensions, in the order of the tests
    (
        OTHER,
        r"noss|no[ _-]?cal|uncal|without|unreduced|\braw\b|continuum|model|template|sens|resol|disp|\bfit\b",
    ),
    ("ivar", r"ivar|invers|inv_?var|weight"),
    ("loglam", r"log_?(lam|wave)"),
    ("wave", r"wave|lambda|\blam\b"),
    ("bits", r"and_?mask"),
    ("mask", r"mask|flag|qual|\bdq\b|badpix"),
    (OTHER, r"sky|background"),
    ("error", r"err|sigma|noise|std|stdev|uncert|rms"),
    ("variance", r"var|^stat$"),
    ("flux", r"flux|spec|sci|data|count|object|intens"),
)
# (smallest, largest, unit): sizes of the wavelengths of optical and near-infrared spectra
SIZES = ((1e-8, 1e-5, "m"), (0.05, 30.0, "um"), (90.0, 1900.0, "nm"))
MAX_MASKED = 0.5  # A mask that marks more of the pixels has the opposite meaning, or another one.


def split_unit(name: str) -> tuple[str, str | None]:
    """Split ``wave (nm)`` or ``flux[erg/s/cm2/A]`` into the name, in lower case, and the unit."""
    match = WITH_UNIT.match(name)
    base, unit = match.groups() if match else (name, None)
    return re.sub(r"[\s.-]+", "_", base.strip().lower().lstrip("#").strip()), unit


def column_roles(names) -> dict[str, str]:
    """Find the columns of a spectrum by their names.

    Returns
    -------
    dict of str to str
        Role (``wave``, ``loglam``, ``flux``, ``error``, ``ivar``, ``variance``, ``bits``, ``mask``) to the
        column's name. Roles without a column are left out.
    """
    known: dict[str, str] = {}
    for name in names:
        base, _ = split_unit(name)
        known.setdefault(base, name)
        head, _, tail = base.rpartition("_")
        if tail in WAVE_UNITS and head in NAMES["wave"]:
            known.setdefault(head, name)
    found = {role: next((known[n] for n in options if n in known), None) for role, options in NAMES.items()}
    if found["flux"] and not any(found[role] for role in OF_ERRORS):
        base = split_unit(found["flux"])[0]
        for role, forms in OF_ERRORS.items():
            found[role] = next((known[n] for f in forms.split() if (n := f.format(base)) in known), None)
    return {role: name for role, name in found.items() if name is not None}


def role_of(label: str) -> str:
    """Role of a row or extension from its label, ``"other"`` if it is none of a spectrum, "" if unknown."""
    low = re.sub(r"sky[ _-]*sub\w*", "", str(label).strip().lower()).split(" - ")[0]
    return next((role for role, words in WORDS if re.search(words, low)), "")


def inverse_variance(found: dict[str, np.ndarray]) -> np.ndarray | None:
    """Inverse variance of each pixel from arrays by role; 0 where a pixel is missing.

    None if there is neither an error nor an inverse variance nor a variance.
    """
    with np.errstate(all="ignore"):
        if "error" in found:
            error = np.asarray(found["error"], float)
            ivar = np.where(error > 0, 1 / error**2, 0)
        elif "ivar" in found:
            ivar = found["ivar"]
        elif "variance" in found:
            variance = np.asarray(found["variance"], float)
            ivar = np.where(variance > 0, 1 / variance, 0)
        else:
            return None
        return np.where(np.isfinite(ivar) & (ivar > 0), ivar, 0)


def masked(mask: np.ndarray, notes: list[str]) -> np.ndarray:
    """Pixels that a mask marks as bad. None is, with a note, if the mask marks more than half of them."""
    bad = np.asarray(mask) != 0
    if bad.mean() > MAX_MASKED:
        notes.append(f"its mask marks {100 * bad.mean():.0f} % of the pixels, and was not used")
        return np.zeros(bad.shape, bool)
    return bad


def unit_of_size(values: np.ndarray) -> str | None:
    """The unit of length that wavelengths of this size are in, if they are not in Angstrom."""
    finite = np.asarray(values, float)[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = finite.min(), finite.max()
    return next((unit for a, b, unit in SIZES if a <= low and high <= b), None)
