"""Selection: which of the candidates is the guess (paper, section 2.2 and Table 1)."""

import re

import numpy as np

from pix2spec.errors import InputError

__all__ = ["parse_selection", "select"]


def parse_selection(rule: str) -> tuple[str, int]:
    """``"single"``, ``"best"``, ``"mean:5"`` or ``"all"`` as a kind and the number it keeps (0: all).

    Raises
    ------
    InputError
        For anything else.
    """
    if rule in ("single", "best"):
        return rule, 1
    if rule == "all":
        return rule, 0
    match = re.fullmatch(r"mean:([1-9]\d*)", rule)
    if not match:
        raise InputError(
            "`select`", f"{rule!r} is not a selection", "single, best, mean:M (as in mean:5) or all"
        )
    return "mean", int(match[1])


def select(rule: str, n: int, scores: np.ndarray | None) -> np.ndarray:
    """Indices of the candidates whose mean is the chosen spectrum.

    Parameters
    ----------
    rule : str
        ``single``: the first candidate, unselected. ``best``: the highest score. ``mean:M``: the M
        highest scores, best first. ``all``: the whole ensemble.
    n : int
        Number of candidates.
    scores : array (n,), optional
        Cosine similarities of the contrastive network. Not needed by ``single`` and ``all``.

    Raises
    ------
    InputError
        If scores are needed and there are none, or M > n.

    Examples
    --------
    >>> from pix2spec.products.selection import select
    >>> select("mean:2", 4, np.array([0.1, 0.7, 0.3, 0.9]))
    array([3, 1])
    """
    kind, m = parse_selection(rule)
    if kind == "single":
        return np.array([0])
    if kind == "all":
        return np.arange(n)
    if scores is None:
        raise InputError(
            "`select`",
            f"{rule!r} needs a contrastive network",
            "name one as `selector`, or choose single or all",
        )
    if m > n:
        raise InputError("`select`", f"{rule!r} of {n} candidates", "draw more with `n`")
    return np.argsort(-scores, kind="stable")[:m]
