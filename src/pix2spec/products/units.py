"""Units, quantiles and column names that ensembles and their files share."""

import numpy as np

__all__ = [
    "PHYSICAL",
    "QUANTILES",
    "RELATIVE",
    "ascii_text",
    "candidate_quantiles",
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


def candidate_quantiles(candidates: np.ndarray, levels) -> np.ndarray:
    """Quantiles (level, L) of candidates (n, L) at each wavelength; `Ensemble.quantiles` describes them."""
    n = len(candidates)
    position = np.clip(np.asarray(levels, float) * (n + 1) - 1, 0, n - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, n - 1)
    ordered = np.sort(candidates, axis=0)
    fraction = (position - low).astype(np.float32)[:, None]
    return ordered[low] * (1 - fraction) + ordered[high] * fraction
