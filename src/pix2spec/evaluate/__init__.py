"""How good is a generated spectrum: metrics, simple comparisons, the report."""

from pix2spec.evaluate.report import compare, evaluate, print_report

__all__ = ["compare", "evaluate", "print_report"]
