"""How good is a generated spectrum: metrics, simple comparisons, the report."""

from importlib import import_module

__all__ = ["compare", "evaluate", "print_report"]


def __getattr__(name: str):
    """Those of the report, on first use: what measures spectra alone need not wait for the models."""
    if name not in __all__:
        raise AttributeError(f"module 'pix2spec.evaluate' has no attribute {name!r}")
    return getattr(import_module("pix2spec.evaluate.report"), name)
