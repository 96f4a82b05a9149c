"""Damaged, odd and wrong inputs, made in code: what each is, who reads it, and what must be said of it.

``PYTHONPATH=tests python -m robustness.corpus`` prints how many of which kind there are. `scripts/fuzz.py`
starts from them. Each module holds the inputs of one format, and its import puts them into `CORPUS`.
"""

from robustness.corpus import (  # noqa: F401
    fits_cutouts,
    fits_spectra,
    hdf5,
    models,
    npz,
    parquet,
    pictures,
    tables,
    yaml_presets,
)
from robustness.corpus.good import good_inputs
from robustness.corpus.models import model
from robustness.corpus.parquet import rows, shard
from robustness.corpus.readers import READERS
from robustness.corpus.registry import CORPUS, put

__all__ = ["CORPUS", "READERS", "good_inputs", "model", "put", "rows", "shard", "table"]


def table() -> str:
    """How many bad inputs of each kind there are, as a Markdown table."""
    kinds = sorted({b.kind for b in CORPUS})
    lines = ["| kind | inputs | by the command line | by a reader |", "|---|---|---|---|"]
    for kind in [*kinds, None]:
        these = [b for b in CORPUS if kind in (b.kind, None)]
        commands = sum(b.reader not in READERS for b in these)
        lines.append(f"| {kind or 'all'} | {len(these)} | {commands} | {len(these) - commands} |")
    return "\n".join(lines)
