"""Files made to fill the memory or to reach outside themselves: refused at once, in one sentence.

All are read by one other process, whose peak memory is measured around each.
"""

import bz2
import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from pix2spec.data.readers.guards import EXPANSION, MAX_FREE_BYTES, check_expansion
from pix2spec.errors import InputError
from support import fake_universe as fake

ALLOWED = 150e6  # bytes above what was in use before: twice what any file may unfold to at once

READER = """
import json, resource, sys, time
from pathlib import Path
import h5py, numpy, pyarrow.parquet
from astropy.io import fits
from pix2spec.data.readers.desi import DesiCoadd
from pix2spec.data.readers.guards import load_arrays
from pix2spec.data.readers.images import read_cutout
from pix2spec.data.readers.spectra import read_spectrum
from pix2spec.data.mmu.read import read_rows
from pix2spec.errors import InputError

def universe(path):
    what = "image" if "image" in path else "spectrum"
    for row in read_rows(Path(path), what, ("object_id", "ra", "dec")):
        for name in ("flux", "scale" if what == "image" else "ivar"):
            row.field(name)

readers = {"cutout": read_cutout, "spec": read_spectrum, "coadd": lambda p: DesiCoadd(p).galaxy(0),
           "bundle": lambda p: load_arrays(p, ("flux",)), "universe": universe}
out = {}
for path in sys.argv[1:]:
    # the peak so far is reset, so that one file's does not hide the next one's
    Path("/proc/self/clear_refs").write_text("5")
    status = lambda key: int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) * 1024
    before, start = status("VmRSS"), time.perf_counter()
    try:
        readers[Path(path).name.split("-")[0]](path)
        says = ""
    except InputError as error:
        says = str(error)
    out[Path(path).name] = (says, status("VmHWM") - before, time.perf_counter() - start)
print(json.dumps(out))
"""


def image_file(path, **cards):
    """A FITS image whose header says what `cards` say."""
    fits.HDUList([fits.PrimaryHDU(np.ones((70, 70), np.float32))]).writeto(path)
    change_cards(path, **cards)


def change_cards(path, **cards):
    """Overwrite the last card of each name."""
    raw = path.read_bytes()
    for key, value in cards.items():
        start = raw.rindex(key.encode().ljust(8) + b"= ")
        raw = raw[:start] + f"{key:8s}= {value!s:>20s}".encode().ljust(80) + raw[start + 80 :]
    path.write_bytes(raw)


def huge_naxis(folder):
    image_file(folder / "cutout-naxis.fits", NAXIS1=10**9, NAXIS2=10**9)


def negative_naxis(folder):
    image_file(folder / "cutout-negative.fits", NAXIS1=-70, NAXIS2=-70)


def many_axes(folder):
    image_file(folder / "cutout-axes.fits", NAXIS=999)


def tiles_of_nothing(folder):
    """4 GiB of a constant take 50 kB as Rice tiles; made small, then the header is changed."""
    small = fits.CompImageHDU(np.zeros((64, 64), np.int16), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), small]).writeto(folder / "cutout-tiles.fits.fz")
    with fits.open(folder / "cutout-tiles.fits.fz", "update", disable_image_compression=True) as hdus:
        hdus[1].header["ZNAXIS1"] = hdus[1].header["ZNAXIS2"] = 65536


def gzip_tile(folder):
    """One tile that holds 1 GiB instead of 16 kB."""
    small = fits.CompImageHDU(np.zeros((64, 64), np.int32), compression_type="GZIP_1", tile_shape=(64, 64))
    fits.HDUList([fits.PrimaryHDU(), small]).writeto(folder / "cutout-tile.fits.fz")
    bomb = zeros(gzip)
    with fits.open(folder / "cutout-tile.fits.fz", disable_image_compression=True) as hdus:
        header = hdus[1].header
    table = fits.BinTableHDU.from_columns(
        [fits.Column("COMPRESSED_DATA", "PB()", array=np.array([np.frombuffer(bomb, np.uint8)], object))]
    )
    for card in header.cards:
        if card.keyword.startswith("Z"):
            table.header.append(card)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "cutout-tile.fits.fz", overwrite=True)


def zeros(packer):
    """A GiB of zero bytes: the same 16 MiB over and over."""
    return packer.compress(bytes(2**24)) * 64


def packed_image(folder, packer, name):
    header = fits.PrimaryHDU(np.zeros((2, 2), np.float32)).header
    header["NAXIS1"], header["NAXIS2"] = 2**14, 2**14
    (folder / name).write_bytes(packer.compress(header.tostring().encode()) + zeros(packer))


def gzip_bomb(folder):
    packed_image(folder, gzip, "cutout-bomb.fits.gz")


def bz2_bomb(folder):
    packed_image(folder, bz2, "cutout-bomb.fits.bz2")


def variable_length_column(folder):
    """A descriptor that says 2**30 values."""
    column = fits.Column("flux", "PE()", array=np.array([np.ones(3, np.float32)] * 5, object))
    table = fits.BinTableHDU.from_columns([column, fits.Column("loglam", "E", array=np.ones(5))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "spec-variable.fits")
    raw = (folder / "spec-variable.fits").read_bytes()
    at = raw.index(np.array([3, 0], ">i4").tobytes())
    raw = raw[:at] + np.array([2**30, 0], ">i4").tobytes() + raw[at + 8 :]
    (folder / "spec-variable.fits").write_bytes(raw)


def wide_column(folder):
    """A table of no rows, each of a GB."""
    table = fits.BinTableHDU.from_columns([fits.Column("flux", "E"), fits.Column("loglam", "E")])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "spec-wide.fits")
    change_cards(folder / "spec-wide.fits", NAXIS1=1_000_000_004, TFORM1="'250000000E'")


def bundle(folder, name, header, data=b""):
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file, file.open("flux.npy", "w") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for _ in range(len(data) and 6):
            out.write(data)


def bundle_that_lies(folder):
    bundle(folder, "bundle-lies.npz", {"shape": (10**10,), "fortran_order": False, "descr": "<f8"})


def bundle_of_zeros(folder):
    header = {"shape": (6 * 2**24,), "fortran_order": False, "descr": "|u1"}
    bundle(folder, "bundle-zeros.npz", header, bytes(2**24))


def pickled_bundle(folder):
    np.savez(folder / "bundle-pickle.npz", flux=np.array([{}], object))


def hdf5(folder, name, change, arrays=None):
    path = fake.write_hdf5(folder / name, arrays or fake.sdss(2))
    with h5py.File(path, "a") as file:
        change(file)


def external_link(folder):
    def change(file):
        del file["spectrum_flux"]
        file["spectrum_flux"] = h5py.ExternalLink("/etc/passwd", "/flux")

    hdf5(folder, "universe-external-link.hdf5", change)


def soft_link(folder):
    def change(file):
        file.move("spectrum_flux", "elsewhere")
        file["spectrum_flux"] = h5py.SoftLink("/elsewhere")

    hdf5(folder, "universe-soft-link.hdf5", change)


def external_storage(folder):
    def change(file):
        del file["spectrum_flux"]
        (folder / "outside.bin").write_bytes(bytes(2 * 3850 * 4))
        place = [(str(folder / "outside.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("spectrum_flux", (2, 3850), "f4", external=place)

    hdf5(folder, "universe-external-storage.hdf5", change)


def virtual(folder):
    def change(file):
        del file["spectrum_flux"]
        layout = h5py.VirtualLayout((10**9, 3850), "f4")
        layout[:2] = h5py.VirtualSource(".", "spectrum_ivar", (2, 3850))
        file.create_virtual_dataset("spectrum_flux", layout)

    hdf5(folder, "universe-virtual.hdf5", change)


def unwritten(folder):
    def change(file):
        for name in list(file):
            shape = (10**9, *file[name].shape[1:])
            kind = file[name].dtype
            del file[name]
            file.create_dataset(name, shape, kind)

    hdf5(folder, "universe-unwritten.hdf5", change)


def huge_chunk(folder):
    def change(file):
        del file["spectrum_flux"]
        made = file.create_dataset("spectrum_flux", (2, 3850), "f4", chunks=(2, 3850), maxshape=(None, None))
        made[:] = 1
        del file["spectrum_flux"]
        file.create_dataset(
            "spectrum_flux", (2, 3850), "f4", chunks=(10**5, 3850), maxshape=(None, None), compression="gzip"
        )

    hdf5(folder, "universe-chunk.hdf5", change)


def objects(folder):
    def change(file):
        del file["object_id"]
        file.create_dataset("object_id", data=["a" * 2**20] * 2, dtype=h5py.string_dtype())

    hdf5(folder, "universe-objects.hdf5", change)


def wide_row(folder):
    def change(file):
        del file["spectrum_flux"]
        file.create_dataset("spectrum_flux", (2, 10**9), "f4", chunks=(1, 1000))

    hdf5(folder, "universe-wide.hdf5", change)


def parquet(folder, name, columns, **options):
    pq.write_table(pa.table(columns), folder / name, **options)


def spectra(n, pixels):
    """`n` constant spectra, made without memory for each."""
    values = pa.array(np.zeros(n * pixels, np.float32))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * pixels), values)
    return pa.StructArray.from_arrays([lists] * 3, ["flux", "ivar", "lambda"])


def constant_parquet(folder):
    """70 MB of zeros a column in a few kB."""
    parquet(folder, "universe-constant.parquet", {"spectrum": spectra(180, 100_000)}, compression="zstd")


def one_long_row(folder):
    parquet(folder, "universe-long.parquet", {"spectrum": spectra(1, 18_000_000)}, compression="zstd")


def nested_nulls(folder):
    """Twenty million nulls in lists of lists."""
    n = 20_000_000
    nulls = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.nulls(n, pa.float32()))
    other = pa.array([[1.0]], pa.list_(pa.float32()))
    struct = pa.StructArray.from_arrays([nulls, other, other], ["flux", "ivar", "lambda"])
    parquet(folder, "universe-nulls.parquet", {"spectrum": struct})


def null_rows(folder):
    n = 20_000_000
    one = pa.list_(pa.float32())
    kind = pa.struct([("flux", one), ("ivar", one), ("lambda", one)])
    parquet(folder, "universe-null-rows.parquet", {"spectrum": pa.nulls(n, kind)}, row_group_size=n)


def long_text(folder):
    """One id of 10 MB that stands for a thousand rows."""
    rows = spectra(1000, 4)
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), ["x" * 10_000_000])
    parquet(folder, "universe-text.parquet", {"object_id": ids, "spectrum": rows}, store_schema=False)


def binary_fluxes(folder):
    blob = pa.array([[b"\x80\x04."]] * 3, pa.list_(pa.binary()))
    struct = pa.StructArray.from_arrays([blob] * 3, ["flux", "ivar", "lambda"])
    parquet(folder, "universe-binary.parquet", {"spectrum": struct})


def ragged_image(folder):
    image = {"flux": [[[1.0] * 4, [1.0] * 3]], "band": ["des-g"], "scale": [0.262]}
    parquet(folder, "universe-image-ragged.parquet", {"image": [image]})


CASES = [
    (huge_naxis, "truncated|cannot be read as FITS"),
    (negative_naxis, "it is -70 x -70 pixels"),
    (many_axes, "cannot be read"),
    (tiles_of_nothing, "compressed image of 65536 x 65536 pixels would take 8192 MiB"),
    (gzip_tile, "holds more than a tile"),
    (gzip_bomb, "unpacked content would take"),
    (bz2_bomb, "unpacked content would take"),
    (variable_length_column, "columns flux are of variable length"),
    (wide_column, "wavelengths are missing, not finite or not increasing"),
    (bundle_that_lies, "'flux' is shorter than it says"),
    (bundle_of_zeros, "arrays in it would take 96 MiB"),
    (pickled_bundle, "Object arrays cannot be loaded"),
    (external_link, "'spectrum_flux' is a link to other data"),
    (soft_link, "'spectrum_flux' is a link to other data"),
    (external_storage, "'spectrum_flux' is stored in other files"),
    (virtual, "'spectrum_flux' is stored in other files"),
    (unwritten, "spectrum_flux would take"),
    (huge_chunk, "a row or chunk of its array 'spectrum_flux' takes"),
    (objects, "'object_id' holds object, not numbers or texts of fixed length"),
    (wide_row, "a row or chunk of its array 'spectrum_flux' takes"),
    (constant_parquet, "of row group 0 would take"),
    (one_long_row, "of row group 0 would take"),
    (nested_nulls, "of row group 0 would take"),
    (null_rows, "of row group 0 would take"),
    (long_text, "ids or names of bands with more than 256 characters"),
    (binary_fluxes, "is BYTE_ARRAY, not numbers"),
    (ragged_image, "differ in length"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What reading each file said, took in memory and in time."""
    names = {}
    for make, _ in CASES:
        folder = tmp_path_factory.mktemp(make.__name__)
        make(folder)
        names[make.__name__] = next(p for p in folder.iterdir() if p.suffix != ".bin")
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory of one call can be measured on Linux alone")
    command = [sys.executable, "-c", READER, *map(str, names.values())]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    read = json.loads(result.stdout)
    return {name: (*read[path.name], path) for name, path in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "says"), CASES, ids=[make.__name__ for make, _ in CASES])
def test_refused_before_memory_is_given_to_it(outcomes, make, says):
    import re

    said, peak, _, path = outcomes[make.__name__]
    assert said.startswith(str(path)) and re.search(says, said), said
    assert peak < ALLOWED, f"{peak / 1e6:.0f} MB"


def test_expansion_is_measured_against_the_file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(1000))
    check_expansion(path, MAX_FREE_BYTES + EXPANSION * 1000, "it")
    with pytest.raises(InputError, match=r"it would take 64 MiB of memory, from 0\.00 MiB"):
        check_expansion(path, MAX_FREE_BYTES + EXPANSION * 1000 + 1, "it")


def test_packed_files_that_are_honest_are_read(tmp_path):
    from pix2spec.data.readers.spectra import read_spectrum
    from support.fake_sdss import spec_hdus

    spec_hdus().writeto(tmp_path / "spec.fits")
    plain = read_spectrum(tmp_path / "spec.fits")
    for packer, ending in ((gzip, "gz"), (bz2, "bz2")):
        with packer.open(tmp_path / f"spec.fits.{ending}", "wb") as stream:
            stream.write((tmp_path / "spec.fits").read_bytes())
        np.testing.assert_array_equal(read_spectrum(tmp_path / f"spec.fits.{ending}").flux, plain.flux)


@pytest.mark.parametrize("code", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_tiles_that_are_honest_are_read(tmp_path, code):
    from pix2spec.data.readers.images import read_cutout

    planes = np.random.default_rng(0).normal(1, 0.1, (3, 80, 80)).astype(np.float32)
    hdus = [fits.PrimaryHDU()]
    for band, plane in zip("gri", planes):
        hdus.append(fits.CompImageHDU(plane, compression_type=code, name=band))
    fits.HDUList(hdus).writeto(tmp_path / "galaxy.fits.fz")
    image, _, _ = read_cutout(tmp_path / "galaxy.fits.fz")
    np.testing.assert_allclose(image, planes[:, 8:72, 8:72], atol=0.05)
