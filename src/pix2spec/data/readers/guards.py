"""Opening files that may be damaged, truncated, hostile or not what their name says.

What a file unfolds to (a gzip stream, a compressed image, an array of an npz bundle) may take
`MAX_FREE_BYTES`, and beyond that at most `EXPANSION` times the file's size: more is refused before memory is
given to it.
"""

import bz2
import gzip
import math
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pix2spec.errors import InputError

__all__ = [
    "check_expansion",
    "column_names",
    "fits_hdus",
    "load_arrays",
    "npy_header",
    "opened",
    "reading",
    "sniff",
    "spec_id",
]

DOWNLOAD_AGAIN = "download it again"
MAX_FREE_BYTES = 64 * 2**20
EXPANSION = 100  # real tables and images shrink by 1.5 to 20
UNPACKERS: dict = {"gzip": gzip.open, "bz2": bz2.open}


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
        raise InputError(path, f"it cannot be read as {kind}: {reason}", DOWNLOAD_AGAIN) from error


def sniff(path: str | Path) -> str:
    """Kind of file by its first bytes.

    Returns
    -------
    str
        fits, parquet, hdf5, npz, jpeg, png, votable, html, gzip, bz2 or text.

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
        raise InputError(path, "the file is empty", DOWNLOAD_AGAIN)
    magic = {
        b"SIMPLE  =": "fits",
        b"PAR1": "parquet",
        b"PK\x03\x04": "npz",
        b"\xff\xd8\xff": "jpeg",
        b"\x89PNG": "png",
        b"\x1f\x8b": "gzip",
        b"BZh": "bz2",
        b"\x89HDF\r\n\x1a\n": "hdf5",
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


def check_expansion(path: str | Path, n_bytes: int, what: str, packed: int | None = None) -> None:
    """Refuse a file, or a part of `packed` bytes of one, that would unfold to far more than its size.

    Raises
    ------
    InputError
        Saying that `what` would take `n_bytes` of memory.
    """
    packed = os.path.getsize(path) if packed is None else packed
    if n_bytes > MAX_FREE_BYTES + EXPANSION * packed:
        raise InputError(
            path,
            f"{what} would take {n_bytes / 2**20:.0f} MiB of memory, from {packed / 2**20:.2f} MiB of file",
            "it is damaged or made to fill the memory: leave it out",
        )


@contextmanager
def opened(path: str | Path, kind: str) -> Iterator:
    """The bytes of a file, gzip and bz2 unpacked."""
    if kind not in UNPACKERS:
        with open(path, "rb") as stream:
            yield stream
        return
    with UNPACKERS[kind](path, "rb") as packed, tempfile.SpooledTemporaryFile(MAX_FREE_BYTES) as stream:
        while block := packed.read(2**20):
            stream.write(block)
            check_expansion(path, stream.tell(), "what is packed in it")
        stream.seek(0)
        yield stream


@contextmanager
def fits_hdus(path: str | Path) -> Iterator:
    """Open a FITS file (gzip, bz2 or plain) with every HDU's header read and its length verified.

    Yields an `astropy.io.fits.HDUList`. Anything that goes wrong inside the block on account of the
    file's contents becomes an `InputError`. Files that hide more than they show are refused: see the
    module, and tables with columns of variable length, whose cells could be of any size.
    """
    from astropy.io import fits

    kind = sniff(path)
    if kind == "html":
        raise InputError(path, "it is a web page (HTML), not FITS: the download failed", DOWNLOAD_AGAIN)
    if kind not in ("fits", *UNPACKERS):
        raise InputError(path, "it is not a FITS file (it does not begin with SIMPLE)")
    with (
        reading(path, "FITS") as caught,
        opened(path, kind) as stream,  # opened here, because astropy leaves a damaged file open
        fits.open(stream, memmap=False, lazy_load_hdus=False) as hdus,
    ):
        if any("truncated" in str(warning.message) for warning in caught):
            raise InputError(path, "the FITS file is truncated: it ends before its data do", DOWNLOAD_AGAIN)
        for hdu in hdus:
            _check_hdu(path, hdu)
        if any(isinstance(hdu, fits.CompImageHDU) for hdu in hdus):
            _check_tiles(path, stream)
        yield hdus


def _check_hdu(path, hdu) -> None:
    from astropy.io import fits

    if isinstance(hdu, fits.CompImageHDU):
        n_bytes = math.prod(hdu.shape) * abs(hdu.header["BITPIX"]) // 8
        check_expansion(path, n_bytes, f"its compressed image of {' x '.join(map(str, hdu.shape))} pixels")
    elif isinstance(hdu, fits.BinTableHDU):
        variable = [c.name for c in hdu.columns if str(c.format).lstrip("0123456789")[:1] in ("P", "Q")]
        if variable:
            what = f"its columns {', '.join(variable[:5])} are of variable length"
            raise InputError(path, what, "write columns of fixed length")


def _check_tiles(path, stream) -> None:
    """Refuse gzip tiles of compressed images that hold more than a tile: astropy would unfold them whole."""
    from astropy.io import fits

    hdus = fits.open(stream, memmap=False, disable_image_compression=True)
    try:
        for hdu in hdus[1:]:
            header = hdu.header
            if not header.get("ZIMAGE", False):
                continue
            sides = [
                header.get(f"ZTILE{i + 1}", header["ZNAXIS1"] if i == 0 else 1)
                for i in range(header["ZNAXIS"])
            ]
            tile = 8 * math.prod(sides)
            check_expansion(path, tile, "a tile of its compressed image")
            heap = hdu.fileinfo()["datLoc"] + header.get("THEAP", header["NAXIS1"] * header["NAXIS2"])
            rows = np.asarray(hdu.data).view(np.ndarray)
            for name in {"COMPRESSED_DATA", "GZIP_COMPRESSED_DATA"}.intersection(rows.dtype.names):
                for count, offset in rows[name].tolist():
                    if not 0 <= offset <= offset + count <= header["PCOUNT"]:
                        raise InputError(
                            path, "a tile of its compressed image lies outside the file", DOWNLOAD_AGAIN
                        )
                    stream.seek(heap + offset)
                    if _unfolds_beyond(stream.read(count), tile):
                        raise InputError(
                            path, "a tile of its compressed image holds more than a tile", DOWNLOAD_AGAIN
                        )
    finally:
        hdus.close(closed=False)  # the stream goes on being read


def _unfolds_beyond(packed: bytes, size: int) -> bool:
    if not packed.startswith(b"\x1f\x8b"):  # Rice and other codes know the size of their tile
        return False
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    unpacker.decompress(packed, size + 1)
    return bool(unpacker.unconsumed_tail or unpacker.unused_data)


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
                _check_npz(path, bundle)
                for name in required:
                    if name not in bundle.files:
                        near = get_close_matches(name, bundle.files, 1)
                        hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(bundle.files)}"
                        raise InputError(path, f"it has no array {name!r}", hint)
                arrays = {n: bundle[n] for n in (*required, *optional) if n in bundle.files}
        except zipfile.BadZipFile as error:
            raise InputError(path, "the npz bundle is truncated or damaged", DOWNLOAD_AGAIN) from error
    for name, array in arrays.items():
        if array.dtype.kind not in "biufSU":
            raise InputError(path, f"its array {name!r} is {array.dtype}, not numbers or texts")
    return arrays


def _check_npz(path, bundle) -> None:
    """Refuse arrays that take more memory than the bundle shows, or more than their own header says."""
    total = 0
    for member in bundle.zip.infolist():
        total += member.file_size
        if not member.filename.endswith(".npy"):
            continue
        with bundle.zip.open(member) as stream:
            shape, _, dtype = npy_header(stream)
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes > member.file_size:
            raise InputError(
                path, f"its array {member.filename[:-4]!r} is shorter than it says", DOWNLOAD_AGAIN
            )
    check_expansion(path, total, "the arrays in it")


def npy_header(stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype of an .npy file; its values come next in the stream."""
    formats = np.lib.format
    reader = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    return reader[formats.read_magic(stream)](stream)


def column_names(hdu) -> dict[str, str]:
    """Columns of a table HDU: lower-case name to the name in the file."""
    columns = getattr(hdu, "columns", None)
    return {name.lower(): name for name in columns.names} if columns is not None else {}
