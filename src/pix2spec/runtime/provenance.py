"""What made a file: version and command."""

import shlex
import sys

__all__ = [
    "run_provenance",
]


def run_provenance() -> dict[str, str]:
    """Version and command line, which every output records."""
    import pix2spec

    return {"version": pix2spec.__version__, "command": shlex.join(["pix2spec", *sys.argv[1:]])}
