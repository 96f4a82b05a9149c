"""Damaged, odd and wrong inputs, made in code: what each is, who reads it, and what must be said of it.

``python tests/bad_inputs.py`` prints how many of which kind there are. `scripts/fuzz.py` starts from them.
"""

import bz2
import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from support.fake_desi import write_coadd
from support.fake_sdss import (
    cutout,
    spec_hdus,
    wcs_header,
    write_bundle,
    write_cube,
    write_picture,
    write_spec,
)
from support.tiny import GRID, tiny_galaxy

NAME = "spec-0266-51602-0013.fits"


@dataclass(frozen=True)
class Bad:
    """One bad input.

    `write` puts it into a folder and gives the path that is handed to `reader`, one of `READERS`, or a
    command line with ``{path}`` and ``{out}`` in it. `says` is a regular expression of what must be said.
    """

    name: str
    kind: str
    reader: str
    says: str
    write: Callable[[Path], Path]


CORPUS: list[Bad] = []


def bad(kind: str, reader: str, says: str, name: str | None = None):
    """Note the function as a bad input."""

    def note(write):
        CORPUS.append(Bad(name or write.__name__.replace("_", "-"), kind, reader, says, write))
        return write

    return note


# ------------------------------------------------------------------------------------------- who reads


def _cutout(path):
    from pix2spec.data.readers.images import read_cutout

    read_cutout(path)


def _pictures(path):
    from pix2spec.data.readers.images import ImageBundle

    bundle = ImageBundle(path)
    for i in range(len(bundle)):
        bundle.keys(i), bundle.image(i)


def _spectrum(path):
    from pix2spec.data.readers.spectra import read_spectrum

    read_spectrum(path)


def _spectra(path):
    from pix2spec.data.readers.spectra import read_spectra_bundle

    list(read_spectra_bundle(path))


def _coadd(path):
    from pix2spec.data.readers.desi import DesiCoadd
    from pix2spec.errors import InputError

    coadd = DesiCoadd(path)
    if not len(coadd):
        raise InputError(path, "it holds no targets")
    for i in range(len(coadd)):
        coadd.galaxy(i)


def _table(path):
    from pix2spec.data.readers.tables import photometry_from_table, read_table

    photometry_from_table(read_table(path))


def _universe(path):
    from pix2spec.data.mmu.read import read_rows

    for row in read_rows(Path(path), "spectrum", ("object_id", "ra", "dec")):
        for name in ("flux", "ivar", "lambda"):
            row.field(name)


def _dataset(path):
    from pix2spec.data.dataset import Dataset

    for _ in Dataset(path):
        pass


def _catalogue(path):
    from pix2spec.products.catalogue import open_catalogue

    list(open_catalogue(path))


def _predictions(path):
    from pix2spec.errors import InputError
    from pix2spec.evaluation.predictions.open import open_predictions

    predictions = open_predictions(path, GRID)
    for _ in predictions:
        pass
    for reason in predictions.failures.values():
        raise InputError(path, reason)


def _preset(path):
    from pix2spec.models.presets import load_preset

    load_preset(path)


def _model(path):
    from pix2spec.models.storage import load_model

    load_model(path)


READERS = {
    "cutout": _cutout, "pictures": _pictures, "spectrum": _spectrum, "spectra": _spectra, "coadd": _coadd,
    "table": _table, "universe": _universe, "dataset": _dataset, "catalogue": _catalogue,
    "predictions": _predictions, "preset": _preset, "model": _model,
}  # fmt: skip
GENERATE = "generate {path} --out {out} -n 1 --steps 1"
IMPORT = "data import {out} {path}"
IMPORT_TABLE = "data import {out} --table {path}"
CHECK = "data check {path}"
INFO = "info {path}"
TRAIN = "train {path} nowhere --out {out}"


# ---------------------------------------------------------------------------------------- FITS: cutouts


def put(folder: Path, name: str, content) -> Path:
    """Write bytes or text, or FITS HDUs."""
    path = folder / name
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.writeto(path)
    return path


def image(data, **cards) -> fits.HDUList:
    """A primary image with a WCS."""
    header = wcs_header(np.shape(data)[-1])
    header.update(cards)
    return fits.HDUList([fits.PrimaryHDU(np.asarray(data), header)])


def with_cards(hdus, **cards) -> bytes:
    """The bytes of a FITS file, with cards of the first header overwritten, whatever they then say."""
    stream = io.BytesIO()
    hdus.writeto(stream)
    raw = bytearray(stream.getvalue())
    for key, value in cards.items():
        at = raw.index(key.encode().ljust(8) + b"=")
        raw[at : at + 80] = f"{key:8s}= {value!s:>20s}".encode().ljust(80)
    return bytes(raw)


@bad("FITS", GENERATE, "the file is empty")
def empty_cutout(folder):
    return put(folder, "galaxy.fits", b"")


@bad("FITS", GENERATE, "the FITS file is truncated")
def truncated_cutout(folder):
    path = write_cube(folder / "galaxy.fits")
    return put(folder, "galaxy.fits", path.read_bytes()[:20000])


@bad("FITS", "cutout", "it is a web page")
def web_page_named_fits(folder):
    return put(folder, "galaxy.fits", "<!DOCTYPE html><html><body>404 Not Found</body></html>")


@bad("FITS", "cutout", "it cannot be read as FITS")
def header_cut_off(folder):
    path = write_cube(folder / "galaxy.fits")
    return put(folder, "galaxy.fits", path.read_bytes()[:700])


@bad("FITS", "cutout", "does not begin with SIMPLE")
def bytes_of_nothing(folder):
    return put(folder, "galaxy.fits", bytes(5760))


@bad("FITS", "cutout", "cannot be read as FITS")
def negative_sizes(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), NAXIS1=-3, NAXIS2=-3))


@bad("FITS", "cutout", "cannot be read as FITS")
def sides_of_a_billion(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), NAXIS1=10**9, NAXIS2=10**9))


@bad("FITS", "cutout", "cannot be read as FITS: -33")
def unknown_bitpix(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), BITPIX=-33))


@bad("FITS", "cutout", "cannot be read as FITS")
def size_that_is_a_text(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), NAXIS1="'wide'"))


@bad("FITS", "cutout", "100% of the g pixels are NaN")
def nan_everywhere(folder):
    return put(folder, "galaxy.fits", image(np.full((3, 64, 64), np.nan, np.float32)))


@bad("FITS", "cutout", "100% of the g pixels are NaN")
def infinite_everywhere(folder):
    return put(folder, "galaxy.fits", image(np.full((3, 64, 64), np.inf, np.float32)))


@bad("FITS", "cutout", "the g image is zero everywhere")
def zero_everywhere(folder):
    return put(folder, "galaxy.fits", image(np.zeros((3, 64, 64), np.float32)))


@bad("FITS", "cutout", "it is 9 x 9 pixels, 64 x 64 are needed")
def stamp_too_small(folder):
    return put(folder, "galaxy.fits", image(cutout()[:, :9, :9]))


@bad("FITS", "cutout", "wrong band count: 2 planes")
def two_bands(folder):
    return put(folder, "galaxy.fits", image(cutout()[:2]))


@bad("FITS", "cutout", "wrong band count: it has 40 planes")
def forty_planes(folder):
    return put(folder, "galaxy.fits", image(np.ones((40, 64, 64), np.float32)))


@bad("FITS", "cutout", "holds no image")
def four_axes(folder):
    return put(folder, "galaxy.fits", image(np.ones((1, 3, 64, 64), np.float32)))


@bad("FITS", "cutout", "BUNIT is 'Jy/beam', not nanomaggy")
def unit_of_radio_maps(folder):
    return put(folder, "galaxy.fits", image(cutout(), BUNIT="Jy/beam"))


@bad("FITS", "cutout", "its pixel scale is 1 arcsec, 0.396 is expected")
def coarse_pixels(folder):
    return write_cube(folder / "galaxy.fits", scale=1.0)


@bad("FITS", "cutout", "cannot be read as FITS.*singular")
def wcs_without_a_direction(folder):
    raw = with_cards(image(cutout()), CD1_1="'east'")
    return put(folder, "galaxy.fits", raw)


@bad("FITS", "cutout", "holds no image")
def table_instead_of_image(folder):
    Table({"flux": [1.0, 2.0]}).write(folder / "galaxy.fits")
    return folder / "galaxy.fits"


@bad("FITS", "cutout", "a band comes twice")
def the_same_band_twice(folder):
    hdus = [fits.ImageHDU(cutout()[0], name=band) for band in "grig"]
    return put(folder, "galaxy.fits", fits.HDUList([fits.PrimaryHDU(), *hdus]))


@bad("FITS", "cutout", "its bands differ in size")
def bands_of_two_sizes(folder):
    hdus = [fits.ImageHDU(np.ones((64 + k, 70), np.float32), name=b) for k, b in enumerate("gri")]
    return put(folder, "galaxy.fits", fits.HDUList([fits.PrimaryHDU(), *hdus]))


@bad("FITS", "cutout", "cannot be read as FITS")
def gzip_cut_off(folder):
    raw = gzip.compress(with_cards(image(cutout())))
    return put(folder, "galaxy.fits.gz", raw[: len(raw) // 2])


@bad("FITS", "cutout", "cannot be read as FITS")
def bz2_of_text(folder):
    return put(folder, "galaxy.fits.bz2", bz2.compress(b"not a FITS file"))


@bad("FITS", "cutout", "it is a folder, not a file")
def folder_named_as_a_file(folder):
    (folder / "galaxy.fits").mkdir()
    return folder / "galaxy.fits"


# ---------------------------------------------------------------------------------------- FITS: spectra


def spec(folder: Path, **options) -> Path:
    return write_spec(folder / NAME, **options)


@bad("FITS", IMPORT, "no SPECOBJ or SPALL row")
def spectrum_without_facts(folder):
    return put(folder, NAME, spec_hdus()[:2])


@bad("FITS", "spectrum", "its column 'ivar' is missing")
def no_ivar(folder):
    return spec(folder, columns={"ivar": None})


@bad("FITS", "spectrum", "no valid pixel on the grid")
def flux_of_nan(folder):
    return spec(folder, columns={"flux": np.full(3850, np.nan, np.float32)})


@bad("FITS", "spectrum", "no valid pixel on the grid")
def negative_ivar(folder):
    return spec(folder, columns={"ivar": np.full(3850, -1, np.float32)})


@bad("FITS", "spectrum", "wavelengths are missing or not finite")
def wavelengths_of_nan(folder):
    return spec(folder, columns={"loglam": np.full(3850, np.nan, np.float32)})


@bad("FITS", "spectrum", "do not fall on the grid")
def wavelengths_in_angstrom(folder):
    return spec(folder, columns={"loglam": np.linspace(3800, 9200, 3850).astype(np.float32)})


@bad("FITS", "spectrum", "does not hold one number a pixel")
def flux_of_texts(folder):
    return spec(folder, columns={"flux": np.array(["high"] * 3850)})


@bad("FITS", "spectrum", "are not a position")
def declination_of_a_thousand(folder):
    return spec(folder, dec=1000.0)


@bad("FITS", "spectrum", "are in air")
def air_wavelengths(folder):
    hdus = spec_hdus()
    hdus[0].header["VACUUM"] = False
    return put(folder, NAME, hdus)


@bad("FITS", "spectrum", "cannot be read as FITS")
def plate_that_is_a_name(folder):
    return spec(folder, PLATE=np.array(["north"]))


@bad("FITS", "spectrum", "not an SDSS spec file")
def image_instead_of_spectrum(folder):
    return put(folder, NAME, image(cutout()))


@bad("FITS", "coadd", "no extension FIBERMAP")
def coadd_without_fibermap(folder):
    return put(folder, "coadd-1.fits", image(cutout()))


@bad("FITS", "coadd", "FIBERMAP has no column TARGETID")
def coadd_without_targets(folder):
    hdu = fits.BinTableHDU.from_columns([fits.Column("Z", "D", array=[0.1])], name="FIBERMAP")
    return put(folder, "coadd-1.fits", fits.HDUList([fits.PrimaryHDU(), hdu]))


@bad("FITS", "coadd", "column COADD_FIBERSTATUS of FIBERMAP does not hold one number a row")
def coadd_whose_flags_are_words(folder):
    return write_coadd(folder, n=1, redrock=False, COADD_FIBERSTATUS=np.array(["good"]))


@bad("FITS", "coadd", "no targets")
def coadd_of_wild_bytes(folder):
    path = write_coadd(folder, n=1, redrock=False)
    return put(folder, path.name, path.read_bytes().replace(b"TGT\0\0\0", b"T\xf6T\0\0\0"))


# --------------------------------------------------------------------------------------- JPEG and PNG


@bad("JPEG", GENERATE, "cannot be read as a picture")
def truncated_jpeg(folder):
    path = write_picture(folder / "galaxy.jpg")
    return put(folder, "galaxy.jpg", path.read_bytes()[:300])


@bad("JPEG", "cutout", "cannot be read as a picture")
def jpeg_of_one_marker(folder):
    return put(folder, "galaxy.jpg", b"\xff\xd8\xff")


@bad("JPEG", "cutout", "wrong band count: a picture of mode L")
def grey_jpeg(folder):
    return write_picture(folder / "galaxy.jpg", mode="L")


@bad("JPEG", "cutout", "wrong band count: a picture of mode CMYK")
def jpeg_for_print(folder):
    return write_picture(folder / "galaxy.jpg", mode="CMYK")


@bad("JPEG", "cutout", "all its pixels are alike")
def black_jpeg(folder):
    Image.new("RGB", (64, 64)).save(folder / "galaxy.jpg")
    return folder / "galaxy.jpg"


@bad("JPEG", "cutout", "too large for a cutout")
def jpeg_that_claims_4_gigapixels(folder):
    raw = bytearray(write_picture(folder / "galaxy.jpg").read_bytes())
    at = raw.index(b"\xff\xc0") + 5
    raw[at : at + 4] = struct.pack(">HH", 65535, 65535)
    return put(folder, "galaxy.jpg", bytes(raw))


@bad("PNG", "cutout", "too large for a cutout")
def png_of_a_gigapixel_of_nothing(folder):
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10000))) + chunk(b"IEND", b"")
    return put(folder, "galaxy.png", b"\x89PNG\r\n\x1a\n" + data)


@bad("PNG", "cutout", "partly transparent")
def transparent_png(folder):
    Image.new("RGBA", (64, 64), (9, 8, 7, 100)).save(folder / "galaxy.png")
    return folder / "galaxy.png"


@bad("PNG", "cutout", "cannot be read as a picture")
def damaged_png(folder):
    raw = bytearray(write_picture(folder / "galaxy.png").read_bytes())
    raw[60:100] = bytes(40)
    return put(folder, "galaxy.png", bytes(raw))


@bad("PNG", "cutout", "it is 12 x 12 pixels")
def png_too_small(folder):
    return write_picture(folder / "galaxy.png", size=12)


# ------------------------------------------------------------------------------------------------ npz


@bad("npz", IMPORT, "it has no array 'flux'")
def bundle_without_flux(folder):
    return write_bundle(folder / "b.npz", flux=None)


@bad("npz", "spectra", "did you mean 'ivars'")
def bundle_with_a_typo(folder):
    return write_bundle(folder / "b.npz", ivar=None, ivars=np.ones((4, 3598), np.float32))


@bad("npz", "spectra", "its array 'flux' has shape")
def bundle_of_wrong_shape(folder):
    return write_bundle(folder / "b.npz", flux=np.ones((4, 7), np.float32))


@bad("npz", "spectra", "its array 'plate' is float64, not integer")
def bundle_of_real_plates(folder):
    return write_bundle(folder / "b.npz", plate=np.full(4, 266.5))


@bad("npz", "spectra", r"not \(1, 3598\)")
def bundle_of_one_number(folder):
    return write_bundle(folder / "b.npz", plate=np.int64(3))


@bad("npz", "spectra", "no valid pixel")
def bundle_of_nan(folder):
    return write_bundle(folder / "b.npz", flux=np.full((4, 3598), np.nan, np.float32))


@bad("npz", "spectra", "is .*, not numbers")
def bundle_of_texts(folder):
    return write_bundle(folder / "b.npz", flux=np.full((4, 3598), "a"))


@bad("npz", "spectra", "is complex")
def bundle_of_complex_numbers(folder):
    return write_bundle(folder / "b.npz", flux=np.ones((4, 3598), np.complex64))


@bad("npz", "spectra", "is .*, not numbers")
def bundle_of_named_redshifts(folder):
    return write_bundle(folder / "b.npz", z=np.array(["low"] * 4))


@bad("npz", "spectra", "truncated or damaged")
def truncated_bundle(folder):
    raw = write_bundle(folder / "b.npz").read_bytes()
    return put(folder, "b.npz", raw[: len(raw) // 3])


@bad("npz", "pictures", "image64 is float32")
def pictures_of_floats(folder):
    np.savez(folder / "p.npz", image64=np.ones((2, 3, 64, 64), np.float32), object_id=np.array(["a", "b"]))
    return folder / "p.npz"


@bad("npz", "pictures", "neither plate, mjd, fiber nor object_id")
def pictures_of_nobody(folder):
    np.savez(folder / "p.npz", image64=np.ones((2, 3, 64, 64), np.uint8))
    return folder / "p.npz"


@bad("npz", "pictures", "'object_id' has 1 values, not 2")
def pictures_with_one_name(folder):
    np.savez(folder / "p.npz", image64=np.ones((2, 3, 64, 64), np.uint8), object_id=np.array("a"))
    return folder / "p.npz"


@bad("npz", "pictures", "its array 'mjd' is float64, not integers")
def pictures_of_half_a_name(folder):
    ids = {"plate": np.array([1, 2]), "mjd": np.array([np.nan, 1]), "fiber": np.array([1, 2])}
    picture = np.arange(2 * 3 * 64 * 64, dtype=np.uint8).reshape(2, 3, 64, 64)
    np.savez(folder / "p.npz", image64=picture, **ids)
    return folder / "p.npz"


@bad("npz", "predictions", "for 3 objects")
def predictions_of_other_objects(folder):
    np.savez(folder / "p.npz", object_id=np.array(["a", "b", "c"]), flux=np.ones((2, GRID.size)))
    return folder / "p.npz"


# --------------------------------------------------------------------------------------------- Parquet


def rows(folder: Path, columns: dict, metadata: dict | None = None) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), folder / "rows.parquet")
    return folder / "rows.parquet"


def shard(folder: Path, change=lambda table: table, facts: dict | None = None) -> Path:
    """A shard of a dataset, changed."""
    from pix2spec.data.dataset import write_dataset
    from pix2spec.data.schema import DatasetInfo

    (path,) = write_dataset(folder / "data", [tiny_galaxy(i) for i in range(3)], DatasetInfo(grid=GRID))
    table = pq.read_table(path)
    if facts is not None:
        known = json.loads(table.schema.metadata[b"pix2spec"])
        table = table.replace_schema_metadata({"pix2spec": json.dumps(known | facts)})
    pq.write_table(change(table), path)
    return path


@bad("Parquet", CHECK, "truncated, damaged or not Parquet")
def parquet_of_four_bytes(folder):
    return put(folder, "pairs-00000.parquet", b"PAR1")


@bad("Parquet", GENERATE, "truncated, damaged or not Parquet")
def truncated_shard(folder):
    path = shard(folder)
    return put(path.parent, path.name, path.read_bytes()[:-100])


@bad("Parquet", CHECK, "its object_id comes more than once")
def shard_with_an_id_twice(folder):
    return shard(folder, lambda table: pa.concat_tables([table, table.slice(0, 1)]))


@bad("Parquet", CHECK, "image has NaN or infinite pixels")
def shard_of_nan_images(folder):
    def change(table):
        size = table.schema.field("image").type.list_size
        values = pa.array(np.full(len(table) * size, np.nan, np.float32))
        images = pa.FixedSizeListArray.from_arrays(values, size)
        return table.set_column(table.column_names.index("image"), "image", images)

    return shard(folder, change)


@bad("Parquet", "dataset", "not a pix2spec dataset")
def somebody_elses_parquet(folder):
    return rows(folder, {"a": [1, 2]})


@bad("Parquet", "dataset", "metadata are damaged")
def metadata_that_are_no_json(folder):
    return shard(folder, lambda t: t.replace_schema_metadata({"pix2spec": "{"}))


@bad("Parquet", "dataset", "metadata are damaged")
def metadata_that_are_a_list(folder):
    return shard(folder, lambda t: t.replace_schema_metadata({"pix2spec": "[1]"}))


@bad("Parquet", "dataset", "metadata are damaged.*size")
def grid_of_no_pixels(folder):
    return shard(folder, facts={"grid": {"start": 3.6, "step": 1e-3, "size": -5}})


@bad("Parquet", "dataset", "metadata are damaged.*step")
def grid_that_goes_nowhere(folder):
    return shard(folder, facts={"grid": {"start": 3.6, "step": 0.0, "size": 200}})


@bad("Parquet", "dataset", "metadata are damaged.*size")
def grid_of_a_billion_pixels(folder):
    return shard(folder, facts={"grid": {"start": 3.6, "step": 1e-3, "size": 10**9}})


@bad("Parquet", "dataset", "schema version 99 is not 1")
def shard_of_the_future(folder):
    return shard(folder, facts={"schema_version": 99})


@bad("Parquet", GENERATE, "its columns are not those of its schema version.*image")
def shard_without_images(folder):
    return shard(folder, lambda t: t.drop_columns(["image"]))


@bad("Parquet", "dataset", "its columns are not those of its schema version.*flux")
def shard_whose_flux_is_text(folder):
    def change(table):
        texts = pa.array(["bright"] * len(table))
        return table.set_column(table.column_names.index("flux"), "flux", texts)

    return shard(folder, change)


@bad("Parquet", "dataset", "metadata are damaged: value too large")
def shard_whose_images_are_larger(folder):
    return shard(folder, facts={"image_size": 10**6})


@bad("Parquet", "dataset", "metadata are damaged: survey")
def shard_of_no_survey(folder):
    return shard(folder, facts={"survey": ["sdss"]})


@bad("Parquet", "table", "no rows")
def table_without_rows(folder):
    return rows(folder, {f"flux_{b}": pa.array([], pa.float32()) for b in "ugriz"})


@bad("Parquet", "universe", "it has no spectrum.flux")
def universe_without_spectra(folder):
    return rows(folder, {"object_id": ["a"], "ra": [1.0]})


@bad("Parquet", "predictions", "no object_id")
def predictions_of_nobody(folder):
    return rows(folder, {"flux": [[1.0] * GRID.size]})


@bad("Parquet", "predictions", "0 % of the grid's pixels")
def predictions_of_nan(folder):
    return rows(folder, {"object_id": ["a"], "flux": [[float("nan")] * GRID.size]})


def with_levels_too_many(path: Path) -> Path:
    """A footer with one more number of definition levels than there are: pyarrow would end the process."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[-8:-4], "little")
    footer = raw[-8 - size : -8]
    four = b"\x19\x46\x00\x00\x00"  # a list of four 64-bit numbers, in the field after the last
    assert footer.count(four) == 1
    footer = footer.replace(four, b"\x19\x56\x00\x00\x00\x00")
    path.write_bytes(raw[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


@bad("Parquet", "predictions", "flux.list.element has 5 numbers of 4 levels")
def predictions_whose_footer_would_end_the_process(folder):
    return with_levels_too_many(rows(folder, {"object_id": ["a"], "flux": [[1.0] * GRID.size]}))


@bad("Parquet", "predictions", "its footer is damaged: its list 3 is of kind 6, not 8")
def predictions_whose_footer_is_read_in_two_ways(folder):
    """A list of texts that says it holds numbers, which Arrow overlooks."""
    path = with_levels_too_many(rows(folder, {"object_id": ["a"], "flux": [[1.0] * GRID.size]}))
    raw = path.read_bytes()
    at = raw.rindex(b"\x38\x04flux\x04list")  # three texts
    path.write_bytes(raw[:at] + b"\x36" + raw[at + 1 :])
    return path


@bad("Parquet", "predictions", "a row group has 46013544063 rows of 1 values")
def predictions_of_many_rows_that_are_not_there(folder):
    path = rows(folder, {"object_id": ["a"], "flux": [[1.0] * GRID.size]})
    raw = path.read_bytes()
    size = int.from_bytes(raw[-8:-4], "little")
    footer = raw[-8 - size : -8]
    at = footer.rindex(b"\x16\x02\x26")  # one row, before the offset of the row group's data
    footer = footer[:at] + b"\x16\xfe\xd9\xf7\xe9\xd6\x02" + footer[at + 2 :]
    path.write_bytes(raw[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


@bad("Parquet", "catalogue", "not a generated catalogue")
def catalogue_of_something_else(folder):
    return rows(folder, {"a": [1]}, {"pix2spec": "{}"})


@bad("Parquet", "catalogue", "it is not a Parquet file, or it is damaged")
def catalogue_with_a_column_of_wild_bytes(folder):
    path = rows(folder, {"name": [1]}, {"pix2spec": "{}"})
    return put(folder, path.name, path.read_bytes().replace(b"name", b"\xb9ame"))


@bad("Parquet", "catalogue", "Invalid UTF8")
def catalogue_with_a_reason_in_wild_bytes(folder):
    from pix2spec.products.catalogue import CatalogueWriter

    with CatalogueWriter(folder, GRID, {}) as writer:
        writer.add_failure("a", "wild bytes")
    path = folder / "catalog.parquet"
    return put(folder, path.name, path.read_bytes().replace(b"wild", b"wil\xca"))


@bad("Parquet", "catalogue", "damaged")
def catalogue_with_half_a_fact(folder):
    return rows(folder, {"a": [1]}, {"pix2spec": '{"catalogue_version": 1, "grid": '})


@bad("Parquet", "catalogue", "damaged")
def catalogue_without_a_grid(folder):
    return rows(folder, {"a": [1]}, {"pix2spec": '{"catalogue_version": 1}'})


# ----------------------------------------------------------------------------- CSV, VOTable and tables

MAGNITUDES = "name,ra,dec,u,g,r,i,z\n"


@bad("CSV", IMPORT_TABLE, "the file is empty")
def empty_csv(folder):
    return put(folder, "targets.csv", "")


@bad("CSV", "table", "the table has no rows")
def csv_of_a_header(folder):
    return put(folder, "targets.csv", MAGNITUDES)


@bad("CSV", "table", "it has no column")
def csv_without_a_band(folder):
    return put(folder, "targets.csv", "name,ra,dec,u,g,r,i\na,1,2,3,4,5,6\n")


@bad("CSV", IMPORT_TABLE, "is 'mag_zz' meant for 'mag_z'")
def csv_with_a_typo(folder):
    return put(folder, "targets.csv", "mag_u,mag_g,mag_r,mag_i,mag_zz\n20,19,18,17,16\n")


@bad("CSV", IMPORT_TABLE, "row 1: no usable flux or magnitude")
def csv_of_words(folder):
    return put(folder, "targets.csv", MAGNITUDES + "a,1,2,faint,faint,faint,faint,faint\n")


@bad("CSV", "table", "it has no column u, g, r, i, z")
def csv_of_random_bytes(folder):
    return put(folder, "targets.csv", np.random.default_rng(0).bytes(3000))


@bad("CSV", "table", "not text of one byte a letter")
def csv_in_utf16(folder):
    return put(folder, "targets.csv", (MAGNITUDES + "a,1,2,20,19,18,17,16\n").encode("utf-16"))


@bad("CSV", IMPORT_TABLE, "no rows")
def csv_with_one_endless_cell(folder):
    return put(folder, "targets.csv", MAGNITUDES + '"' + "a" * 2_000_000)


@bad("CSV", "table", "its column 'r' comes more than once")
def csv_with_a_column_twice(folder):
    return put(folder, "targets.csv", "name,ra,dec,u,g,r,i,z,r\na,1,2,20,19,18,17,16,15\n")


@bad("CSV", IMPORT_TABLE, "duplicate of object id a")
def csv_with_an_id_twice(folder):
    return put(folder, "targets.csv", MAGNITUDES + 2 * "a,1,2,20,19,18,17,16\n")


@bad("CSV", "generate {path} --out {out}", "nothing is fetched unasked")
def csv_handed_to_generate(folder):
    return put(folder, "targets.csv", MAGNITUDES + "a,1,2,20,19,18,17,16\n")


@bad("CSV", "generate {path} --survey sdss --out {out}", "neither ra and dec in degrees nor names")
def targets_without_place_or_name(folder):
    return put(folder, "targets.csv", "u,g\n1,2\n")


@bad("CSV", "generate {path} --survey sdss --out {out} --mirror http://127.0.0.1:9", "is not on the sky")
def targets_off_the_sky(folder):
    return put(folder, "targets.csv", "ra,dec\n400,95\n-3,10\n")


@bad("VOTable", "table", "cannot be read as a table")
def votable_cut_off(folder):
    return put(folder, "t.xml", '<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE><TABLE>')


@bad("VOTable", "table", "Unknown datatype")
def votable_of_an_unknown_type(folder):
    field = '<FIELD name="u" datatype="quaternion"/>'
    data = "<DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA>"
    text = f'<VOTABLE version="1.4"><RESOURCE><TABLE>{field}{data}</TABLE></RESOURCE></VOTABLE>'
    return put(folder, "t.xml", text)


@bad("FITS", "table", "the FITS file holds no table")
def fits_table_that_is_an_image(folder):
    return put(folder, "t.fits", image(cutout()))


@bad("FITS", "table", "truncated")
def fits_table_cut_off(folder):
    Table({f"mag_{b}": np.full(500, 20.0) for b in "ugriz"}).write(folder / "t.fits")
    return put(folder, "t.fits", (folder / "t.fits").read_bytes()[:9000])


# ------------------------------------------------------------------------------------------------ HDF5


def hdf5(folder: Path, change) -> Path:
    import h5py

    from support import fake_universe

    path = fake_universe.write_hdf5(folder / "rows.hdf5", fake_universe.sdss(2))
    with h5py.File(path, "a") as file:
        change(file)
    return path


@bad("HDF5", "universe", "cannot be read as hdf5")
def hdf5_cut_off(folder):
    path = hdf5(folder, lambda file: None)
    return put(folder, path.name, path.read_bytes()[:2000])


@bad("HDF5", "universe", "no array 'spectrum_flux'")
def hdf5_without_flux(folder):
    return hdf5(folder, lambda file: file.pop("spectrum_flux"))


@bad("HDF5", "universe", "its array ivar has 7 rows, not 2")
def hdf5_of_unequal_columns(folder):
    def change(file):
        del file["spectrum_ivar"]
        file["spectrum_ivar"] = np.ones((7, 3850), np.float32)

    return hdf5(folder, change)


@bad("HDF5", "universe", "is no array")
def hdf5_whose_flux_is_a_group(folder):
    def change(file):
        del file["spectrum_flux"]
        file.create_group("spectrum_flux")

    return hdf5(folder, change)


@bad("HDF5", "universe", "it is a text file, not Parquet or HDF5")
def text_named_hdf5(folder):
    return put(folder, "rows.hdf5", "flux 1 2 3")


# ------------------------------------------------------------------------------------------------ YAML


@bad("YAML", TRAIN, "not valid YAML")
def yaml_with_an_open_bracket(folder):
    return put(folder, "p.yaml", "task: [diffusion")


@bad("YAML", "preset", "a preset is a mapping of sections")
def empty_yaml(folder):
    return put(folder, "p.yaml", "")


@bad("YAML", "preset", "a preset is a mapping of sections")
def yaml_list(folder):
    return put(folder, "p.yaml", "- a\n- b\n")


@bad("YAML", TRAIN, "unknown key 'stepz'")
def yaml_with_an_unknown_key(folder):
    return put(folder, "p.yaml", "task: mean\nname: a\nabout: b\nstepz: 3\n")


@bad("YAML", "preset", "not valid YAML")
def yaml_in_latin1(folder):
    return put(folder, "p.yaml", "task: mean\nname: a\nabout: Stra\xdfe\n".encode("latin1"))


@bad("YAML", "preset", "nested too deep")
def yaml_nested_too_deep(folder):
    return put(folder, "p.yaml", "a: " + "[" * 16_000)


@bad("YAML", "preset", "nested too deep")
def yaml_list_of_lists(folder):
    return put(folder, "p.yaml", "- " * 8000)


@bad("YAML", "preset", "not valid YAML")
def yaml_with_an_impossible_date(folder):
    return put(folder, "p.yaml", "task: 2020-99-99\n")


@bad("YAML", "preset", "not valid YAML")
def yaml_with_an_unhashable_key(folder):
    return put(folder, "p.yaml", "? [a, b]\n: 1\n{a: 1}: 2\n")


@bad("YAML", "preset", "limit")
def yaml_with_a_negative_size(folder):
    return put(folder, "p.yaml", "task: mean\nname: a\nabout: b\nlimit: -5\n")


@bad("YAML", "preset", "seed")
def yaml_with_nan_for_a_whole_number(folder):
    return put(folder, "p.yaml", "task: regressor\nname: a\nabout: b\nseed: .nan\n")


@bad("YAML", TRAIN, "task")
def yaml_of_an_unknown_task(folder):
    return put(folder, "p.yaml", "task: teleportation\nname: a\nabout: b\n")


# ----------------------------------------------------------------------- config.json and safetensors


def model(folder: Path, change=lambda config: config, weights=None) -> Path:
    """The folder of a mean spectrum, a whole model in a few kB, changed."""
    from pix2spec.core.survey import SDSS
    from pix2spec.models.presets import validate_preset
    from pix2spec.models.registry import build_model
    from pix2spec.models.storage import save_model

    preset = validate_preset({"task": "mean", "name": "m", "about": "of nothing"})
    save_model(folder / "run", build_model(preset, GRID, SDSS), {})
    config = folder / "run" / "config.json"
    changed = change(json.loads(config.read_text()))
    config.write_bytes(changed if isinstance(changed, bytes) else json.dumps(changed).encode())
    if weights is not None:
        (folder / "run" / "model.safetensors").write_bytes(weights)
    return folder / "run"


@bad("config.json", INFO, "damaged")
def config_cut_off(folder):
    return model(folder, lambda c: json.dumps(c)[:100].encode())


@bad("config.json", "model", "damaged")
def config_that_is_a_list(folder):
    return model(folder, lambda c: [c])


@bad("config.json", "model", "damaged")
def config_in_wild_bytes(folder):
    return model(folder, lambda c: b"\xff\xfe{}")


@bad("config.json", "model", "damaged")
def config_nested_too_deep(folder):
    return model(folder, lambda c: b"[" * 200_000)


@bad("config.json", "model", "damaged.*grid")
def config_without_a_grid(folder):
    return model(folder, lambda c: {k: v for k, v in c.items() if k != "grid"})


@bad("config.json", GENERATE + " --model {path}", "size")
def config_with_a_huge_grid(folder):
    return model(folder, lambda c: c | {"grid": c["grid"] | {"size": 10**12}})


@bad("config.json", "model", "damaged: grid: start is nan")
def config_with_a_grid_of_nan(folder):
    return model(folder, lambda c: c | {"grid": c["grid"] | {"start": float("nan")}})


@bad("config.json", "model", "damaged: survey")
def config_whose_survey_is_a_word(folder):
    return model(folder, lambda c: c | {"survey": "sdss"})


@bad("config.json", "model", "pixel_scale")
def config_whose_pixels_have_no_size(folder):
    return model(folder, lambda c: c | {"survey": c["survey"] | {"pixel_scale": -1}})


@bad("config.json", "model", "its format 9 is not 1")
def config_of_the_future(folder):
    return model(folder, lambda c: c | {"format": 9})


@bad("config.json", INFO, "damaged: .*preset")
def config_without_a_preset(folder):
    return model(folder, lambda c: c | {"preset": None})


@bad("config.json", INFO, "no config.json")
def folder_that_is_no_model(folder):
    return folder


@bad("safetensors", GENERATE + " --model {path}", "damaged weights")
def weights_of_nothing(folder):
    return model(folder, weights=b"")


@bad("safetensors", "model", "damaged weights")
def weights_cut_off(folder):
    path = model(folder)
    return model(folder, weights=(path / "model.safetensors").read_bytes()[:-40])


@bad("safetensors", "model", "damaged weights")
def weights_with_a_header_of_10_gigabytes(folder):
    return model(folder, weights=struct.pack("<Q", 10 * 10**9) + b"{}")


@bad("safetensors", "model", "damaged weights")
def weights_whose_header_is_no_json(folder):
    return model(folder, weights=struct.pack("<Q", 8) + b"not json")


def tensors(**arrays) -> bytes:
    from safetensors.numpy import save

    return save(arrays)


@bad("safetensors", "model", "weights of another architecture")
def weights_of_another_model(folder):
    return model(folder, weights=tensors(something=np.ones(3, np.float32)))


@bad("safetensors", "model", "weights of another architecture")
def weights_of_another_size(folder):
    wrong = np.ones(7, np.float32)
    return model(folder, weights=tensors(spectrum=wrong, minmax_spectrum=wrong))


@bad("safetensors", "model", "'minmax_spectrum' has NaN or infinite values")
def weights_of_nan(folder):
    nan = np.full(GRID.size, np.nan, np.float32)
    return model(folder, weights=tensors(spectrum=nan, minmax_spectrum=nan))


@bad("safetensors", "model", "no weights there")
def model_without_weights(folder):
    path = model(folder)
    (path / "model.safetensors").unlink()
    return path


def good_inputs(folder: Path) -> dict[str, Path]:
    """A small good input of each reader, in a folder of its own."""
    from pix2spec.products.catalogue import CatalogueWriter
    from pix2spec.products.ensemble import Ensemble

    places = {name: folder / name for name in READERS}
    for place in places.values():
        place.mkdir(parents=True)
    picture = np.arange(3 * 64 * 64, dtype=np.uint8).reshape(1, 3, 64, 64)
    np.savez(places["pictures"] / "p.npz", image64=picture, object_id=np.array(["a"]))
    lines = "name,ra,dec,u,g,r,i,z\na,1,2,20,19,18,17,16\nb,1,3,21,19,18,17,16\n"
    found = {
        "cutout": put(places["cutout"], "galaxy.fits", image(cutout())),
        "pictures": places["pictures"] / "p.npz",
        "spectrum": spec(places["spectrum"]),
        "spectra": write_bundle(places["spectra"] / "b.npz", n=1),
        "coadd": write_coadd(places["coadd"], n=1, redrock=False),
        "table": put(places["table"], "t.csv", lines),
        "universe": hdf5(places["universe"], lambda file: None),
        "dataset": shard(places["dataset"]),
        "predictions": rows(places["predictions"], {"object_id": ["a"], "flux": [[1.0] * GRID.size]}),
        "preset": put(places["preset"], "p.yaml", "task: mean\nname: a\nabout: b\nlimit: 5\n"),
        "model": model(places["model"]),
    }
    with CatalogueWriter(places["catalogue"], GRID, {}) as writer:
        writer.add(Ensemble("a", GRID, np.ones((2, GRID.size), np.float32), [0, 1], provenance={}))
    return found | {"catalogue": places["catalogue"] / "catalog.parquet"}


def table() -> str:
    """How many bad inputs of each kind there are, as a Markdown table."""
    kinds = sorted({b.kind for b in CORPUS})
    lines = ["| kind | inputs | by the command line | by a reader |", "|---|---|---|---|"]
    for kind in [*kinds, None]:
        these = [b for b in CORPUS if kind in (b.kind, None)]
        commands = sum(b.reader not in READERS for b in these)
        lines.append(f"| {kind or 'all'} | {len(these)} | {commands} | {len(these) - commands} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
