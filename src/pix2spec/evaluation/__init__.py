"""How good is a generated spectrum: metrics, simple comparisons, the report."""
