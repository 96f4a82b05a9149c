"""Selection: choose the candidates that make the final spectrum (paper, section 2.2 and Table 1)."""

import re

import numpy as np

from pix2spec.errors import InputError

__all__ = ["parse_selection", "select"]


def parse_selection(rule: str) -> tuple[str, int]:
    """Parse a selection rule.

    Parameters
    ----------
    rule : str
        ``"single"``, ``"best"``, ``"mean:M"`` (as in ``"mean:5"``) or ``"all"``.

    Returns
    -------
    kind : str
        ``"single"``, ``"best"``, ``"mean"`` or ``"all"``.
    m : int
        Number of candidates that the rule keeps; 0 stands for all.

    Raises
    ------
    InputError
        If `rule` is none of these.
    """
    if rule in ("single", "best"):
        return rule, 1
    if rule == "all":
        return rule, 0
    match = re.fullmatch(r"mean:([1-9]\d*)", rule)
    if not match:
        raise InputError(
            "`select`", f"{rule!r} is not a selection", "use single, best, mean:M (as in mean:5) or all"
        )
    return "mean", int(match[1])


def select(rule: str, n: int, scores: np.ndarray | None) -> np.ndarray:
    """Choose candidates; the mean of their spectra is the final spectrum.

    Parameters
    ----------
    rule : str
        ``single``: the first candidate, whatever its score. ``best``: the candidate with the highest score.
        ``mean:M``: the M candidates with the highest scores, best first. ``all``: every candidate.
    n : int
        Number of candidates.
    scores : array (n,), optional
        Cosine similarities of the contrastive network. ``single`` and ``all`` do not need them.

    Returns
    -------
    array of int (m,)
        Indices of the chosen candidates.

    Raises
    ------
    InputError
        If the rule needs scores and there are none, or if M > n.

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
        raise InputError(
            "`select`", f"{rule!r} needs {m} candidates, but there are {n}", "draw more with `n`"
        )
    return np.argsort(-scores, kind="stable")[:m]
