"""Generate a galaxy's optical spectrum from its survey photometry, with calibrated uncertainty.

>>> import pix2spec
>>> from astropy import units as u
>>> model = pix2spec.load()
>>> galaxy = pix2spec.Galaxy("mine", photometry={"g": 18.7 * u.ABmag, "r": 18.2 * u.ABmag})
>>> model.generate(galaxy, n=25)
<Ensemble mine: 25 candidates, select all, 1e-17 erg/s/cm2/Angstrom>
"""

from importlib import import_module

# Public name -> module that defines it, and its name there. Loaded on first use, so that `import pix2spec`
# and `pix2spec --help` do not wait for torch and astropy. No module at the root has the name of a verb:
# importing it would replace the function.
_PUBLIC = {
    # Verbs
    "load": ("pix2spec.generate.load", "load"),
    "generate_catalogue": ("pix2spec.generate.catalogue", "generate_catalogue"),
    "open_catalogue": ("pix2spec.products.catalogue", "open_catalogue"),
    "train": ("pix2spec.training.loop", "train"),
    "evaluate": ("pix2spec.evaluation.compare", "evaluate"),
    "measure_ensemble": ("pix2spec.measure.ensembles", "measure_ensemble"),
    "simulate": ("pix2spec.data.simulate.survey", "simulate"),
    "rank": ("pix2spec.ranking.ranking", "rank"),
    # Nouns
    "Galaxy": ("pix2spec.data.schema", "Galaxy"),
    "Ensemble": ("pix2spec.products.ensemble", "Ensemble"),
    "Settings": ("pix2spec.models.generator", "Settings"),
    "Generator": ("pix2spec.models.generator", "Generator"),
    "Catalogue": ("pix2spec.products.catalogue", "Catalogue"),
    "Dataset": ("pix2spec.data.dataset", "Dataset"),
    "Survey": ("pix2spec.core.survey", "Survey"),
    "SpectralGrid": ("pix2spec.core.grid", "SpectralGrid"),
    "InputError": ("pix2spec.errors", "InputError"),
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version  # which takes as long to import as all the rest

        globals()[name] = version("pix2spec")
        return globals()[name]
    if name == "models":
        return import_module("pix2spec.models")  # pix2spec.models.register
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pix2spec' has no attribute {name!r}")
    from pix2spec.runtime.imports import quick_imports

    module, attribute = _PUBLIC[name]
    with quick_imports():
        return getattr(import_module(module), attribute)


def __dir__():
    return sorted(__all__)
