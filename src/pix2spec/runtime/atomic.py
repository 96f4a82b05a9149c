"""Files that appear whole or not at all, what made them, and progress bars for the long work."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "safe_name",
    "write_atomically",
]


def safe_name(object_id: str) -> str:
    """An object id as the name of a file, in characters and of a length that every file system takes.

    Ids that are changed for it end in a hash: no two ids have one name.
    """
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.+") else "_" for c in object_id)[:100]
    if safe == object_id and safe.strip("."):
        return safe
    return (
        f"{safe.lstrip('.')}-{hashlib.blake2b(object_id.encode(errors='replace'), digest_size=4).hexdigest()}"
    )


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary_path)`` and rename: a reader never meets half a file.

    Whatever goes wrong (a full disk, a kill), `path` is the old file or the new one, and no temporary
    file is left behind by an error.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
