"""Tables of `benchmarks/peers.py`."""

import re

from peering.programs import PUBLISHED
from peering.running import Peer

REDSHIFT_HEADINGS = (
    "program", "learns from", "galaxies a second", "start, s", "memory, GB", "sigma_NMAD",
    "off by > 0.05", "CRPS(z)", "in 68 %", "bias",
)  # fmt: skip
RUN_HEADINGS = ("program", "version", "how", "wall, s", "load of the machine")
SPECTRUM_HEADINGS = ("program", "spectra a second", "memory, GB", "what")


def table(headings, rows) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def rate(count: int, seconds: float) -> str:
    """Things a second, with three digits."""
    value = count / max(seconds, 1e-9)
    return f"{float(f'{value:.3g}'):,g}"


def redshift_row(peer: Peer, cost: dict, scores: dict, n: int) -> list[str]:
    """The row of a program that gives redshifts of N galaxies."""
    learnt = peer.learns
    if cost["learnt"]:
        learnt += f", {cost['learnt']:,}"
    return [
        peer.name, learnt, rate(n, cost["processor"]["answer"]),
        f"{cost['processor']['fit']:.1f}",
        f"{cost['peak_bytes'] / 1e9:.2f}", f"{scores['sigma_nmad']:.4f}", f"{100 * scores['off']:.2f} %",
        f"{scores['crps']:.4f}", f"{100 * scores['inside']:.1f} %", f"{scores['bias']:.4f}",
    ]  # fmt: skip


def spectrum_row(peer: Peer, cost: dict) -> list[str]:
    """The row of a program that makes spectra."""
    made = rate(cost["spectra"], cost["processor"]["answer"])
    return [peer.name, made, f"{cost['peak_bytes'] / 1e9:.2f}", peer.about]


def run_row(peer: Peer, cost: dict, record: dict) -> list[str]:
    """How a program was run: versions, seconds from start to end by the wall, the load of the machine."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    known = versions or cost.get("version", "")
    return [peer.name, known, peer.about, f"{record['seconds']:.0f}", f"{record['load']:.1f}"]


def tables(redshifts, spectra, runs, failures) -> dict[str, str]:
    """All tables by name, in Markdown."""
    return {
        "redshifts": table(REDSHIFT_HEADINGS, redshifts),
        "spectra": table(SPECTRUM_HEADINGS, spectra),
        "published": table(("program", "a galaxy", "source"), PUBLISHED),
        "runs": table(RUN_HEADINGS, runs),
        "failures": table(("not measured", "reason"), failures or [["none", ""]]),
    }


def fill(page: str, found: dict[str, str]) -> str:
    """A page whose tables, each after a comment ``<!-- table: NAME -->``, are replaced."""
    for name, text in found.items():
        old = rf"(<!-- table: {name} -->\n)(?:\|.*\n)*"
        page = re.sub(old, lambda match, text=text: f"{match[1]}{text}\n", page)
    return page
