"""Parquet: shards of datasets, catalogues, predictions, tables."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robustness.corpus.registry import CHECK, GENERATE, bad, put
from support.tiny import GRID, tiny_galaxy


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


def measured_shard(folder: Path, change=lambda table: table) -> Path:
    """A shard of galaxies with measurements in filters of their own, changed."""
    from pix2spec.core.filters import Filter
    from pix2spec.data.dataset import write_dataset
    from pix2spec.data.schema import DatasetInfo, Galaxy

    curves = {"NB500": Filter("NB500", [4900, 5000, 5100], [0, 1, 0])}
    photometry = {"r": (30.0, 1.0), "NB500": (20.0, 3.0)}
    galaxies = [Galaxy(f"tiny-{i}", photometry=photometry, filters=curves) for i in range(3)]
    info = DatasetInfo(grid=GRID, image_kind=None, as_measured=True, curves=curves)
    (path,) = write_dataset(folder / "data", galaxies, info)
    pq.write_table(change(pq.read_table(path)), path)
    return path


def _replaced(name: str, values: list):
    """A change of a table: one column with other values."""

    def change(table):
        field = table.schema.field(name)
        column = pa.array(values * len(table), field.type)
        return table.set_column(table.schema.get_field_index(name), field, column)

    return change


@bad("Parquet", "measured", "its filter '../../etc/passwd'")
def shard_whose_filter_is_a_path(folder):
    return measured_shard(folder, _replaced("filters", [["../../etc/passwd", "NB500"]]))


@bad("Parquet", CHECK, "its filters, fluxes, inverse variances and kinds do not")
def shard_with_fewer_fluxes_than_filters(folder):
    return measured_shard(folder, _replaced("photometry", [[1.0]]))


@bad("Parquet", "measured", "metadata are damaged")
def shard_whose_curve_runs_backwards(folder):
    def change(table):
        facts = json.loads(table.schema.metadata[b"pix2spec"])
        facts["curves"]["NB500"]["wave"].reverse()
        return table.replace_schema_metadata({"pix2spec": json.dumps(facts)})

    return measured_shard(folder, change)


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


@bad("Parquet", "dataset", "schema version 99 is neither 1 nor 2")
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


@bad("Parquet", "predictions", "its footer is damaged: reading it ends the process")
def predictions_whose_footer_would_end_the_process(folder):
    return with_levels_too_many(rows(folder, {"object_id": ["a"], "flux": [[1.0] * GRID.size]}))


@bad("Parquet", "predictions", "its footer is damaged: reading it ends the process")
def predictions_whose_footer_is_read_in_two_ways(folder):
    """A list of texts that says it holds numbers, which Arrow overlooks."""
    path = with_levels_too_many(rows(folder, {"object_id": ["a"], "flux": [[1.0] * GRID.size]}))
    raw = path.read_bytes()
    at = raw.rindex(b"\x38\x04flux\x04list")  # three texts
    path.write_bytes(raw[:at] + b"\x36" + raw[at + 1 :])
    return path


@bad("Parquet", "predictions", "a row group declares 46013544063 rows, but 1 values")
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
