"""Provenance of output files."""

import shlex
import sys

__all__ = [
    "run_provenance",
]


def run_provenance() -> dict[str, str]:
    """Version of pix2spec and command line, for the metadata of output files."""
    import pix2spec

    return {"version": pix2spec.__version__, "command": shlex.join(["pix2spec", *sys.argv[1:]])}
