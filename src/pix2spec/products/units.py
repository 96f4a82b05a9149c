"""Units, quantiles and column names that ensembles and their files share."""

__all__ = [
    "PHYSICAL",
    "QUANTILES",
    "RELATIVE",
    "ascii_text",
]

PHYSICAL = "1e-17 erg/s/cm2/Angstrom"
RELATIVE = "relative"
QUANTILES = (0.05, 0.16, 0.5, 0.84, 0.95)
PER_CANDIDATE = ("scores", "redshifts", "amplitude")
QUANTILE_NAMES = tuple(f"q{round(100 * level):02d}" for level in QUANTILES)


def ascii_text(text: str) -> str:
    """Replace all but printable ASCII characters, because FITS headers hold nothing else."""
    text = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in text)
