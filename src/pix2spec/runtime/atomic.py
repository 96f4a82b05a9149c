"""Atomic writing of files, and safe file names."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "safe_name",
    "write_atomically",
]


def safe_name(object_id: str) -> str:
    """Turn an object id into a file name that is valid on all file systems.

    A name that differs from the id ends in a hash, so that different ids have different names.
    """
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.+") else "_" for c in object_id)[:100]
    if safe == object_id and safe.strip("."):
        return safe
    return (
        f"{safe.lstrip('.')}-{hashlib.blake2b(object_id.encode(errors='replace'), digest_size=4).hexdigest()}"
    )


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary_path)`` and rename the temporary file to `path`.

    Readers never see an incomplete file: after an error or a kill, `path` is the old file or the new one.
    After an error, the temporary file is deleted.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors lets only the owner read its files.
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
