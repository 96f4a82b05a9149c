"""How good is a generated spectrum: metrics, simple comparisons, the report."""

from pix2spec.evaluate.report import evaluate, print_report

__all__ = ["evaluate", "print_report"]
