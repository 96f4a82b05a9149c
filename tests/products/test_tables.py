"""Tables of a catalogue: units and values by the programs that read them."""

import shutil
import subprocess
import warnings

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import QTable

from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError
from pix2spec.products import tables
from pix2spec.products.catalogue import CatalogueWriter, open_catalogue
from pix2spec.products.columns import Contents
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.tables import write_table

GRID = SpectralGrid(3.6, 1e-3, 300)
UNITS = {"ra": "deg", "ebv": "mag", "ew_halpha": "Angstrom", "sigma_v": "km / s", "z": None, "dn4000": None}
FILES = ("catalog.parquet", "catalog.fits", "catalog.vot")


@pytest.fixture(scope="module", params=[2, 1000], ids=["chunks of 2", "one chunk"])
def folder(request, tmp_path_factory):
    """A catalogue in three formats, written in chunks of some rows."""
    out = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    with CatalogueWriter(out, GRID, {"model": "default@1", "about": "λ"}) as writer:
        for k in range(7):
            flags = ["error-assumed", "faint"][: k % 3]
            own = Ensemble(
                "x" * (k + 1), GRID, rng.normal(10, 1, (5, GRID.size)), [0], redshifts=rng.uniform(0, 0.3, 5),
                z=0.1 * k, ra=10.0 + k, dec=-1.0, ebv=0.1, flags=flags,
            )  # fmt: skip
            writer.add(own, {"ew_halpha": 10.0 + k, "sigma_v": 100.0 + k})
        writer.add_failure("α", "no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROWS", request.param)
        for file_format in ("fits", "votable"):
            write_table(open_catalogue(out), out, file_format)
    return out


@pytest.mark.filterwarnings("ignore:No table..len:astropy.utils.exceptions.AstropyUserWarning")
@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
@pytest.mark.parametrize("name", FILES)
def test_qtables_have_values_and_units(folder, name):
    table = QTable.read(folder / name)
    assert len(table) == 8
    for column, unit in UNITS.items():
        assert str(getattr(table[column], "unit", None)) == str(unit), column
    np.testing.assert_allclose(table["ew_halpha"][:7].value, 10 + np.arange(7))
    np.testing.assert_allclose(table["ra"][:7].value, 10 + np.arange(7))
    np.testing.assert_allclose(np.asarray(table["z_given"])[:7], 0.1 * np.arange(7))
    catalogue = open_catalogue(folder)
    median = [np.median(e.redshifts) for e in catalogue]
    np.testing.assert_allclose(np.asarray(table["z"])[:7], median, rtol=1e-6)
    assert np.isnan(np.ma.filled(table["z"], np.nan)[7]) and table["status"][7] == "failed"
    ids = [str(text) for text in table["object_id"]]
    assert ids[:7] == ["x" * k for k in range(1, 8)] and ids[7] == ("\\u03b1" if "fits" in name else "α")
    flags = table["flags"][2]
    assert " ".join(flags) == "error-assumed faint" if name == FILES[0] else flags == "error-assumed faint"


def test_pandas_and_schema(folder):
    frame = pd.read_parquet(folder / "catalog.parquet")
    assert frame.ew_halpha[3] == 13 and list(frame["flags"][2]) == ["error-assumed", "faint"]
    fields = {field.name: field.metadata for field in pq.read_schema(folder / "catalog.parquet")}
    assert fields["ew_halpha"][b"unit"] == b"Angstrom" and fields["ra"][b"ucd"] == b"pos.eq.ra;meta.main"
    assert all(metadata and metadata[b"description"] for metadata in fields.values())


def test_fits_is_valid_and_described(folder):
    with fits.open(folder / "catalog.fits") as hdus:
        hdus.verify("exception")
        header = hdus["CATALOG"].header
        number = next(k for k in range(1, 200) if header[f"TTYPE{k}"] == "ew_halpha")
        assert "equivalent width of Halpha" in header[f"TCOMM{number}"] and "default@1" in header["PIX2SPEC"]
        assert (folder / "catalog.fits").stat().st_size % 2880 == 0


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts (TOPCAT's library) is not installed")
def test_topcat_reads_both_formats(folder):
    def stilts(*arguments):
        return subprocess.run(["stilts", *arguments], capture_output=True, text=True, check=True).stdout

    assert not stilts("votlint", str(folder / "catalog.vot"))
    for name in FILES[1:]:
        read = stilts("tpipe", f"in={folder / name}", "omode=out", "ofmt=csv", "cmd=keepcols 'ew_halpha ra'")
        assert read.split()[:3] == ["ew_halpha,ra", "10.0,10.0", "11.0,11.0"]
        meta = stilts("tpipe", f"in={folder / name}", "omode=meta")
        assert "ew_halpha(Float)/Angstrom" in meta and "dec(Double)/deg - declination" in meta


def test_catalogues_without_objects_are_tables_without_rows(tmp_path):
    with CatalogueWriter(tmp_path, GRID, {}, Contents(measured=False)):
        pass
    for file_format, name in (("fits", FILES[1]), ("votable", FILES[2])):
        write_table(open_catalogue(tmp_path), tmp_path, file_format)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(QTable.read(tmp_path / name)) == 0
    with pytest.raises(InputError, match="'csv' is unknown"):
        write_table(open_catalogue(tmp_path), tmp_path, "csv")
