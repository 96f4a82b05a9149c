"""Targets and templates for 4MOST's exposure-time calculator, 4FS ETC (qmostetc).

The columns of the target catalogue, their meaning and the file of settings are those of the calculator's
documentation: https://escience.aip.de/readthedocs/OpSys/etc/master/format.html
"""

from pathlib import Path

import numpy as np

from pix2spec.errors import InputError
from pix2spec.products.catalogue import Catalogue
from pix2spec.products.handover.templates import Template, extend, synthetic_magnitude, templates
from pix2spec.products.units import ascii_text
from pix2spec.runtime.atomic import safe_name, write_atomically

__all__ = ["write_fourmost"]

WAVE = np.arange(3600.0, 9800.0, 0.5)  # Angstrom: the low-resolution spectrographs see 3700 to 9500
MAG_TYPE, FILTER = "SDSS_r_AB", "sdss2010-r"
LOW_RESOLUTION = 1
FLAT, SERSIC = 1, 2  # EXTENT_FLAG
SETTINGS = """\
catalog: targets.fits
ruleset: rulesets.csv
rules: rules.csv
templates: templates
resultfile: result.fits
"""


def write_fourmost(
    catalogue: Catalogue,
    out: str | Path,
    ruleset: str = "pix2spec",
    radius: float | None = None,
    sersic: float = 1.0,
) -> list[Path]:
    """Write ``targets.fits``, a template for each target, and ``etc.yml``, which names them.

    Rulesets and rules are the survey's own: put its ``rulesets.csv`` and ``rules.csv`` beside them.

    Parameters
    ----------
    catalogue : Catalogue
        Noise-free spectra with physical fluxes.
    out : path
        New folder.
    ruleset : str
        Name of the ruleset of all targets.
    radius : float, optional
        Half-light radius of the targets in arcsec: they have Sersic profiles, and magnitudes of the whole
        galaxy. Without it, they are flat, with the mean surface brightness within the survey's fibre.
    sersic : float
        Sersic index.

    Raises
    ------
    InputError
        If the folder is not empty, or fluxes of more than the fibre need `radius`.
    """
    from astropy.table import Table

    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise InputError(out, "the folder is not empty", "choose another one")
    folder = out / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    area = np.pi / 4 * catalogue.survey.fibre_diameter**2
    rows, files = [], []
    for template in templates(catalogue):
        path = folder / f"{safe_name(template.name)}.fits"
        _write_template(template, path)
        files.append(path)
        row = _target(template, ruleset) | {"TEMPLATE": path.name}
        if radius is None:
            _check_fibre(template)
            row |= {"EXTENT_FLAG": FLAT, "EXTENT_PARAMETER": 0.0, "EXTENT_INDEX": 0.0}
            row["MAG"] += 2.5 * np.log10(area)  # per square arcsec
        else:
            row |= {"EXTENT_FLAG": SERSIC, "EXTENT_PARAMETER": float(radius), "EXTENT_INDEX": float(sersic)}
        rows.append(row)
    if not rows:
        raise InputError(catalogue.path, "no object in it has spectra")
    table = Table(rows)
    units = {"RA": "deg", "DEC": "deg", "MAG": "mag", "REDDENING": "mag", "EXTENT_PARAMETER": "arcsec"}
    for name, unit in units.items():
        table[name].unit = unit
    targets, settings = out / "targets.fits", out / "etc.yml"
    write_atomically(targets, lambda path: table.write(path, format="fits", overwrite=True))
    write_atomically(settings, lambda path: path.write_text(SETTINGS))
    return [targets, settings, *files]


def _check_fibre(template: Template) -> None:
    given = template.ensemble.measurements
    if given is not None and set(given.kinds) - {"fibre"}:
        kinds = ", ".join(sorted(set(given.kinds)))
        what = f"its fluxes are not those within the fibre ({kinds}), so its extent matters"
        raise InputError(template.name, what, "give the half-light radius of the targets as `radius`")


def _target(template: Template, ruleset: str) -> dict:
    ensemble = template.ensemble
    return {
        "NAME": ascii_text(template.name),
        "RA": ensemble.ra,
        "DEC": ensemble.dec,
        "RESOLUTION": LOW_RESOLUTION,
        "RULESET": ruleset,
        "MAG": synthetic_magnitude(template, FILTER),
        "MAG_TYPE": MAG_TYPE,
        "REDDENING": ensemble.ebv if np.isfinite(ensemble.ebv) else 0.0,
        "REDSHIFT_ESTIMATE": template.z,  # equal to the next: the template is already redshifted
        "TEMPLATE_REDSHIFT": template.z,
        "REDSHIFT_ERROR": template.z_error,
    }


def _write_template(template: Template, path: Path) -> None:
    from astropy import units as u
    from astropy.table import Table

    flux = 1e-17 * extend(template.wave, template.flux, WAVE)
    table = Table({"LAMBDA": WAVE * u.AA, "FLUX_DENSITY": flux * u.erg / u.s / u.cm**2 / u.AA})
    table.meta = {"REDSHIFT": template.z, "WAVESYS": "vacuum", "OBJECT": ascii_text(template.name)}
    table.meta |= {"ORIGIN": "pix2spec", "KNOWNMIN": template.wave[0], "KNOWNMAX": template.wave[-1]}
    write_atomically(path, lambda temporary: table.write(temporary, format="fits", overwrite=True))
