"""Open files that may be damaged, truncated, hostile or of another format than their name says.

Unpacked data (of a gzip stream, a compressed image or an npz bundle) may take `MAX_FREE_BYTES` plus
`EXPANSION` times the size of the file. Larger data are refused before memory is allocated for them.
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
GET_COMPLETE_FILE = "download the complete file"
MAX_FREE_BYTES = 64 * 2**20
EXPANSION = 100  # real tables and images shrink by 1.5 to 20
UNPACKERS: dict = {"gzip": gzip.open, "bz2": bz2.open}


def spec_id(plate, mjd, fiber) -> str:
    """Object id of an SDSS spectrum, as SDSS's file names write it: ``"0266-51602-0013"``."""
    return f"{int(plate):04d}-{int(mjd):05d}-{int(fiber):04d}"


@contextmanager
def reading(path: str | Path, kind: str) -> Iterator[list]:
    """Turn every exception of a parser into an `InputError` that names the file.

    Parameters
    ----------
    path : str or Path
        The file that the block reads.
    kind : str
        Format for the message, with its article: ``"an npz bundle"``.

    Yields
    ------
    list
        The warnings that the block has raised so far. They are not shown to the user.

    Raises
    ------
    InputError
        If the file does not exist, may not be read, or the parser fails.
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
    except Exception as error:  # Parsers of damaged bytes raise exceptions of any type.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(path, f"it cannot be read as {kind}: {reason}", DOWNLOAD_AGAIN) from error


def sniff(path: str | Path) -> str:
    """Recognise the format of a file by its first bytes.

    Returns
    -------
    str
        ``"fits"``, ``"parquet"``, ``"hdf5"``, ``"npz"``, ``"jpeg"``, ``"png"``, ``"votable"``, ``"html"``,
        ``"gzip"``, ``"bz2"``, or ``"text"`` for everything else.

    Raises
    ------
    InputError
        If the file does not exist, is empty, or is a folder.
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
    """Refuse data that would take far more memory unpacked than packed.

    Parameters
    ----------
    path : str or Path
        The file that holds the data.
    n_bytes : int
        Size of the unpacked data.
    what : str
        Name of the data for the message.
    packed : int, optional
        Size of the packed data in bytes. The default is the size of the file.

    Raises
    ------
    InputError
        If `n_bytes` is above ``MAX_FREE_BYTES + EXPANSION * packed``.
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
    """Open a file for reading bytes. Files of the `kind` gzip or bz2 are unpacked first."""
    if kind not in UNPACKERS:
        with open(path, "rb") as stream:
            yield stream
        return
    with UNPACKERS[kind](path, "rb") as packed, tempfile.SpooledTemporaryFile(MAX_FREE_BYTES) as stream:
        while block := packed.read(2**20):
            stream.write(block)
            check_expansion(path, stream.tell(), "its unpacked content")
        stream.seek(0)
        yield stream


@contextmanager
def fits_hdus(path: str | Path) -> Iterator:
    """Open a FITS file (plain, gzip or bz2), read the headers of all HDUs and verify its length.

    Yields
    ------
    astropy.io.fits.HDUList

    Raises
    ------
    InputError
        If the file is damaged, expands too far (see `check_expansion`), or has table columns of variable
        length, whose cells could have any size. Exceptions inside the ``with`` block become `InputError`
        too.
    """
    from astropy.io import fits

    kind = sniff(path)
    if kind == "html":
        raise InputError(path, "it is a web page (HTML), not FITS: the download failed", DOWNLOAD_AGAIN)
    if kind not in ("fits", *UNPACKERS):
        raise InputError(path, "it is not a FITS file (it does not begin with SIMPLE)")
    with (
        reading(path, "FITS") as caught,
        opened(path, kind) as stream,  # astropy would not close a damaged file
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
    """Refuse gzip tiles of compressed images that unpack to more than one tile.

    astropy would unpack such a tile completely, whatever its size.
    """
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
                    if _unpacks_to_more(stream.read(count), tile):
                        raise InputError(
                            path, "a tile of its compressed image holds more than a tile", DOWNLOAD_AGAIN
                        )
    finally:
        hdus.close(closed=False)  # The caller still reads the stream.


def _unpacks_to_more(packed: bytes, size: int) -> bool:
    """Whether gzip bytes unpack to more than `size` bytes."""
    if not packed.startswith(b"\x1f\x8b"):  # Decoders of Rice and other codes stop at the end of the tile.
        return False
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    unpacker.decompress(packed, size + 1)
    return bool(unpacker.unconsumed_tail or unpacker.unused_data)


def load_arrays(path: str | Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict:
    """Read named arrays from an npz bundle. Pickled objects are refused.

    Parameters
    ----------
    path : str or Path
        The bundle.
    required : tuple of str
        Names of the arrays that must be there.
    optional : tuple of str
        Names of the arrays that are read if they are there.

    Returns
    -------
    dict of str to array
        The arrays that were found, by name.

    Raises
    ------
    InputError
        If the bundle is damaged, lacks a required array, or an array holds neither numbers nor texts.
    """
    from difflib import get_close_matches

    if sniff(path) != "npz":
        raise InputError(path, "it is not an npz bundle")
    with reading(path, "an npz bundle"):
        try:
            # np.load would not close a damaged file.
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
    """Refuse arrays that unpack to far more than the bundle's size, or are shorter than their headers say."""
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
    """Read the header of an .npy file: shape, whether the order is Fortran's, and dtype.

    The stream is left at the first value.
    """
    formats = np.lib.format
    reader = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    return reader[formats.read_magic(stream)](stream)


def column_names(hdu) -> dict[str, str]:
    """Column names of a table HDU: lower-case name to the name in the file. Empty for other HDUs."""
    columns = getattr(hdu, "columns", None)
    return {name.lower(): name for name in columns.names} if columns is not None else {}
