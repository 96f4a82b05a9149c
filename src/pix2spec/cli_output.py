"""What commands print."""

import sys

__all__ = ["print_failures", "print_text"]


def print_text(text: str = "") -> None:
    """Print a line as it is: paths and brackets are no markup."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def print_failures(failures, total: int) -> None:
    """Name the first ten of the (object, reason) that failed, on the error stream."""
    for where, why in failures[:10]:
        text = why if str(why).startswith(str(where)) else f"{where}: {why}"
        print(f"  failed: {text}", file=sys.stderr)
    if total > 10:
        print(f"  ... and {total - 10} more, all listed in the output", file=sys.stderr)
