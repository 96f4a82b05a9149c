"""Generate a galaxy's optical spectrum from its survey photometry, with calibrated uncertainty.

>>> import pix2spec
>>> model = pix2spec.load()
>>> galaxy = pix2spec.Galaxy("mine", photometry=[15, 33, 41, 50, 52], photometry_ivar=[1, 1, 1, 1, 1])
>>> model.generate(galaxy, n=25)
<Ensemble mine: 25 candidates, select all, 1e-17 erg/s/cm2/Angstrom>
"""

from importlib import import_module
from importlib.metadata import version

__version__ = version("pix2spec")

# Public name -> module that defines it. Loaded on first use, so that `import pix2spec` and
# `pix2spec --help` do not pay for torch and astropy.
_PUBLIC = {
    "load": "pix2spec.generate.load",
    "Generator": "pix2spec.models.generator",
    "Ensemble": "pix2spec.products.ensemble",
    "SpectralGrid": "pix2spec.core.grid",
    "Survey": "pix2spec.core.survey",
    "Galaxy": "pix2spec.data.schema",
    "Dataset": "pix2spec.data.dataset",
    "InputError": "pix2spec.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pix2spec' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted(__all__)
