"""Opening files that may be damaged, truncated or not what their name says."""

import gzip
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pix2spec.errors import InputError

__all__ = ["column_names", "fits_hdus", "load_arrays", "reading", "sniff", "spec_id"]

AGAIN = "download it again"


def spec_id(plate, mjd, fiber) -> str:
    """Object id of an SDSS spectrum, in the form of SDSS's file names: ``"0266-51602-0013"``."""
    return f"{int(plate):04d}-{int(mjd):05d}-{int(fiber):04d}"


@contextmanager
def reading(path: str | Path, kind: str) -> Iterator[list]:
    """Turn whatever a parser raises on damaged bytes into an `InputError` that names the file.

    Yields the list of warnings met so far; none of them reaches the user by itself.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(path, "no such file") from error
    except PermissionError as error:
        raise InputError(path, "it may not be read: permission denied") from error
    except Exception as error:  # parsers of foreign bytes fail in every way there is
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(path, f"it cannot be read as {kind}: {reason}", AGAIN) from error


def sniff(path: str | Path) -> str:
    """Kind of file by its first bytes: fits, parquet, npz, jpeg, png, votable, html, gzip or text.

    Raises
    ------
    InputError
        If the file is missing, empty, or a folder.
    """
    if Path(path).is_dir():
        raise InputError(path, "it is a folder, not a file")
    with reading(path, "a file"), open(path, "rb") as stream:
        head = stream.read(1024)
    if not head:
        raise InputError(path, "the file is empty", AGAIN)
    magic = {
        b"SIMPLE  =": "fits",
        b"PAR1": "parquet",
        b"PK\x03\x04": "npz",
        b"\xff\xd8\xff": "jpeg",
        b"\x89PNG": "png",
        b"\x1f\x8b": "gzip",
    }
    for start, kind in magic.items():
        if head.startswith(start):
            return kind
    lower = head.lower()
    if b"<votable" in lower:
        return "votable"
    if b"<html" in lower or b"<!doctype" in lower:
        return "html"
    return "text"


@contextmanager
def fits_hdus(path: str | Path) -> Iterator:
    """Open a FITS file (gzipped or not) with every HDU's header read and its length verified.

    Yields an `astropy.io.fits.HDUList`. Anything that goes wrong inside the block on account of the
    file's contents becomes an `InputError`.
    """
    from astropy.io import fits

    kind = sniff(path)
    if kind == "html":
        raise InputError(path, "it is a web page (HTML), not FITS: the download failed", AGAIN)
    if kind not in ("fits", "gzip"):
        raise InputError(path, "it is not a FITS file (it does not begin with SIMPLE)")
    opener = gzip.open if kind == "gzip" else open
    with (
        reading(path, "FITS") as caught,
        opener(path, "rb") as stream,  # opened here, because astropy leaves a damaged file open
        fits.open(stream, memmap=False, lazy_load_hdus=False) as hdus,
    ):
        if any("truncated" in str(warning.message) for warning in caught):
            raise InputError(path, "the FITS file is truncated: it ends before its data do", AGAIN)
        yield hdus


def load_arrays(path: str | Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict:
    """Named arrays of an npz bundle; pickled objects are refused.

    Parameters
    ----------
    path : str or Path
        The bundle.
    required, optional : tuple of str
        Arrays to read; a missing required one is an error, a missing optional one is left out.

    Returns
    -------
    dict of str to array
    """
    from difflib import get_close_matches

    if sniff(path) != "npz":
        raise InputError(path, "it is not an npz bundle")
    with reading(path, "an npz bundle"):
        try:
            # opened here, because np.load leaves a damaged file open
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as bundle:
                for name in required:
                    if name not in bundle.files:
                        near = get_close_matches(name, bundle.files, 1)
                        hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(bundle.files)}"
                        raise InputError(path, f"it has no array {name!r}", hint)
                return {n: bundle[n] for n in (*required, *optional) if n in bundle.files}
        except zipfile.BadZipFile as error:
            raise InputError(path, "the npz bundle is truncated or damaged", AGAIN) from error


def column_names(hdu) -> dict[str, str]:
    """Columns of a table HDU: lower-case name to the name in the file."""
    columns = getattr(hdu, "columns", None)
    return {name.lower(): name for name in columns.names} if columns is not None else {}
