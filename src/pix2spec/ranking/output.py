"""A list on disk: Parquet, CSV, FITS and VOTable, each with what it is and where it comes from."""

import json
from functools import partial
from pathlib import Path

import pyarrow as pa

from pix2spec.data.dataset import write_table_atomically
from pix2spec.ranking.ranking import Ranking
from pix2spec.runtime.atomic import write_atomically

__all__ = ["write_tables"]


def write_tables(ranking: Ranking, out: str | Path) -> list[Path]:
    """Write ``ranking.parquet``, ``.csv``, ``.fits`` and ``.vot`` in the folder `out`, made if need be.

    Facts of the ranking are in the Parquet metadata and in the FITS header as ``pix2spec``, in the VOTable as
    an INFO of that name, and in the comment lines above the CSV's rows, which is an ECSV file.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_table_atomically(_arrow(ranking), out / "ranking.parquet")
    writers = {".csv": _write_csv, ".fits": _write_fits, ".vot": _write_votable}
    for suffix, write in writers.items():
        write_atomically(out / f"ranking{suffix}", partial(write, ranking))
    return [out / f"ranking{suffix}" for suffix in (".parquet", *writers)]


def _arrow(ranking: Ranking) -> pa.Table:
    table = ranking.table
    columns = {name: pa.array(table[name].tolist()) for name in table.colnames}
    described = {name: table[name].description for name in table.colnames}
    units = {name: str(table[name].unit) for name in table.colnames if table[name].unit}
    metadata = json.dumps(ranking.metadata | {"columns": described, "units": units}, default=str)
    return pa.table(columns).replace_schema_metadata({"pix2spec": metadata})


def _write_csv(ranking: Ranking, path: Path) -> None:
    ranking.table.write(path, format="ascii.ecsv", delimiter=",", overwrite=True)


def _write_fits(ranking: Ranking, path: Path) -> None:
    from astropy.io import fits

    # A FITS table has ASCII text alone.
    table = ranking.table.copy()
    table["object_id"] = [name.encode("ascii", "backslashreplace").decode() for name in table["object_id"]]
    table["object_id"].description = ranking.table["object_id"].description
    metadata = table.meta.pop("pix2spec")
    hdu = fits.table_to_hdu(table)
    hdu.name = "RANKING"
    hdu.header["PIX2SPEC"] = metadata
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


def _write_votable(ranking: Ranking, path: Path) -> None:
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    votable = from_table(ranking.table)
    votable.infos.append(Info(name="pix2spec", value=ranking.table.meta["pix2spec"]))
    # As text, astropy's writer in C puts a byte behind its buffer where a row just fills it (seen in
    # 8.0.2), which ends the process sooner or later.
    votable.to_xml(str(path), tabledata_format="binary2")
