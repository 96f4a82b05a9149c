"""Write a ranking as Parquet, CSV, FITS and VOTable, each with the ranking's metadata."""

import json
from functools import partial
from pathlib import Path

import pyarrow as pa

from pix2spec.data.dataset import write_table_atomically
from pix2spec.ranking.ranking import Ranking
from pix2spec.runtime.atomic import write_atomically

__all__ = ["write_tables"]


def write_tables(ranking: Ranking, out: str | Path) -> list[Path]:
    """Write ``ranking.parquet``, ``.csv``, ``.fits`` and ``.vot`` into a folder.

    Each file holds the ranking's metadata as JSON: under ``pix2spec`` in the metadata of the Parquet file and
    in the FITS header, as the INFO ``pix2spec`` in the VOTable, and in the comment lines of the CSV file,
    whose format is ECSV.

    Parameters
    ----------
    ranking : Ranking
        The ranking.
    out : path
        The folder. The function creates it if it does not exist.

    Returns
    -------
    list of Path
        The files.
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

    # Strings in a FITS table must be ASCII.
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
    # Write binary data: for text, astropy's writer in C writes a byte beyond its buffer if a row exactly
    # fills the buffer (seen in 8.0.2). This corrupts memory and may crash the process.
    votable.to_xml(str(path), tabledata_format="binary2")
