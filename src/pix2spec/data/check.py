"""Verify a dataset on disk and summarise its contents."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pix2spec.core.photometry import magnitude
from pix2spec.data.arrow_rows import as_arrays, read_measurements
from pix2spec.data.dataset import read_schema, shard_paths, split_of
from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError

__all__ = ["CheckReport", "check_dataset"]

BATCH_ROWS = 128
BARS = " ▁▂▃▄▅▆▇█"
HISTOGRAM_BINS = 28


@dataclass
class CheckReport:
    """Result of `check_dataset`.

    Attributes
    ----------
    path : Path
        The dataset.
    problems : list of str
        The first `max_problems` problems. Each line begins with the object id or the name of the shard.
    n_problems : int
        Number of all problems.
    summary : dict
        Number of galaxies by split, class and content; grid and survey.
    values : dict of str to array
        ``"redshift"``, ``"r magnitude"`` and ``"S/N per pixel"`` of the galaxies that have them.
    """

    path: Path
    problems: list[str] = field(default_factory=list)
    n_problems: int = 0
    summary: dict = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return self.n_problems == 0

    def print(self, console=None) -> None:
        """Print the summary, histograms of `values`, and the problems."""
        from rich.console import Console
        from rich.table import Table

        console = console or Console()
        table = Table(show_header=False, box=None, pad_edge=False)
        for name, value in self.summary.items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
            table.add_row(name, str(value))
        console.print(table, highlight=False)
        for name, values in self.values.items():
            if len(values):
                console.print(_histogram(name, values), highlight=False, markup=False)
        for problem in self.problems:
            console.print(f"problem: {problem}", highlight=False, markup=False, style="red")
        hidden = self.n_problems - len(self.problems)
        if hidden:
            console.print(f"... and {hidden} more problems", style="red")
        console.print("no problems found" if self.ok else f"{self.n_problems} problems", style="bold")


def _histogram(name: str, values: np.ndarray) -> str:
    """Histogram in one line: name, 1st percentile, bars, 99th percentile, median."""
    low, high = np.percentile(values, [1, 99])
    high = high if high > low else low + 1
    counts, _ = np.histogram(np.clip(values, low, high), HISTOGRAM_BINS, (low, high))
    bars = "".join(BARS[int(np.ceil(8 * c / counts.max()))] for c in counts)
    return f"{name:<13} {low:7.3g} |{bars}| {high:<6.3g} median {np.median(values):.3g}"


def check_dataset(path: str | Path, max_problems: int = 100) -> CheckReport:
    """Verify the schema, the grid and every value of a dataset.

    The dataset is read in small batches. Only the ids and the values for the histograms stay in memory.

    Parameters
    ----------
    path : str or Path
        A folder of shards, or one shard.
    max_problems : int
        Number of problems to keep as text. All of them are counted.

    Returns
    -------
    CheckReport

    Raises
    ------
    InputError
        If `path` does not exist or holds no shard.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file or folder")
    checker = _Checker(CheckReport(path), max_problems)
    for leftover in sorted(path.glob("*.partial")) if path.is_dir() else []:
        what = "an interrupted run left this file; it was not read"
        checker.problem(leftover.name, what, "delete it")
    for shard in shard_paths(path):
        checker.shard(shard)
    return checker.finish()


class _Checker:
    """Checks shards one after another and collects the counts of the report."""

    def __init__(self, report: CheckReport, max_problems: int):
        self.report, self.max_problems = report, max_problems
        self.info: DatasetInfo | None = None
        self.schema: pa.Schema | None = None
        self.seen: Counter = Counter()
        self.members: dict[str, str] = {}
        self.splits: Counter = Counter()
        self.classes: Counter = Counter()
        self.has: Counter = Counter()
        self.values: defaultdict[str, list] = defaultdict(list)
        self.shards = 0

    def problem(self, where, what: str, hint: str = "") -> None:
        self.report.n_problems += 1
        if len(self.report.problems) < self.max_problems:
            self.report.problems.append(f"{where}: {what}" + (f" ({hint})" if hint else ""))

    def shard(self, shard: Path) -> None:
        """Check one shard. A shard that cannot be read is one problem."""
        try:
            schema = read_schema(shard)
            info = DatasetInfo.from_schema(schema, where=shard)
        except InputError as error:
            self.problem(shard.name, error.what, error.hint)
            return
        if self.info is None:
            self.info, self.schema = info, schema
        if not schema.equals(info.arrow_schema()):
            self.problem(shard.name, "its columns are not those of its schema version")
            return
        if not schema.equals(self.schema) or (info.grid, info.survey) != (self.info.grid, self.info.survey):
            self.problem(shard.name, "its columns, grid or survey differ from the first shard's")
            return
        self.shards += 1
        try:
            with pq.ParquetFile(shard) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    self._rows(pa.Table.from_batches([batch]), info)
        except (pa.ArrowException, OSError, ValueError) as error:
            self.problem(shard.name, f"it is damaged: {str(error).splitlines()[0]}", "make the dataset again")

    def _rows(self, table: pa.Table, info: DatasetInfo) -> None:
        rows = as_arrays(table, info)
        present = {n: table[n].is_valid().to_numpy() for n in ("image", "photometry", "flux", "ivar")}
        for name, flags in present.items():
            self.has[name] += int(flags.sum())
        ids, groups = rows["object_id"], rows["group_id"]
        self._identities(ids, groups)
        self.classes.update(c or "unknown" for c in rows["spec_class"])
        checks = _row_checks(rows, present, info)
        for error in read_measurements(table, info) if info.as_measured else ():
            if isinstance(error, InputError):
                self.problem(error.where, error.what, error.hint)
        for what, bad in checks:
            for i in np.flatnonzero(bad):
                self.problem(ids[i], what)
        self._collect(rows, present, info)

    def _identities(self, ids, groups) -> None:
        for name, group in zip(ids, groups):
            self.seen[name] += 1
            if not name or not group:
                self.problem(name or "(no object_id)", "its object_id or group_id is empty")
                continue
            if self.seen[name] == 2:
                self.problem(name, "its object_id comes more than once")
            # A group is always in one split, but an object with two group ids may be in two splits.
            split = split_of(group)
            if self.members.setdefault(name, split) != split:
                self.problem(name, "it has two group ids and is therefore in two splits")
            self.splits[split] += 1

    def _collect(self, rows: dict, present: dict, info: DatasetInfo) -> None:
        self.values["redshift"].append(rows["z"][np.isfinite(rows["z"])])
        if "r" in info.survey.photometry_bands:
            band = info.survey.photometry_bands.index("r")
            flux = rows["photometry"][:, band]
            good = present["photometry"] & (rows["photometry_ivar"][:, band] > 0) & (flux > 0)
            self.values["r magnitude"].append(magnitude(flux[good]))
        good = (rows["ivar"] > 0) & np.isfinite(rows["flux"])
        noise = np.where(good, rows["flux"], 0) * np.sqrt(np.where(good, rows["ivar"], 0))
        usable = good.any(1)
        if usable.any():
            ratio = np.nanmedian(np.where(good, noise, np.nan)[usable], axis=1)
            self.values["S/N per pixel"].append(ratio)

    def finish(self) -> CheckReport:
        report = self.report
        report.values = {name: np.concatenate(parts) for name, parts in self.values.items()}
        if self.info is not None:
            grid = self.info.grid
            report.summary = {
                "pairs": sum(self.seen.values()),
                "shards": self.shards,
                "splits": {name: self.splits[name] for name in ("train", "val", "test")},
                "classes": dict(self.classes.most_common()),
                "with spectrum": self.has["flux"],
                "with image": self.has["image"],
                "with photometry": self.has["photometry"],
                "image kind": self.info.image_kind or "none",
                "grid": f"{grid.size} pixels of {grid.step:g} dex from log10 lambda = {grid.start:g}",
                "survey": f"{self.info.survey.name}, {self.info.survey.pixel_scale} arcsec per pixel",
            }
        if not self.seen and report.ok:
            self.problem(report.path, "it holds no galaxies")
        return report


def _row_checks(rows: dict, present: dict, info: DatasetInfo) -> list[tuple[str, np.ndarray]]:
    """List of (problem, bad (n,), bool) for the n rows of one batch."""
    flux, ivar, image = rows["flux"], rows["ivar"], rows["image"]
    band_flux, band_ivar = rows["photometry"], rows["photometry_ivar"]
    spectrum, photometry, picture = present["flux"], present["photometry"], present["image"]
    # Comparisons with NaN are False. A negated condition that describes good values therefore finds NaN.
    pixels = picture[:, None] & np.isfinite(image.reshape(len(image), -1))
    composite = info.image_kind == "composite"
    ra, dec = rows["ra"], rows["dec"]
    nowhere = np.isnan(ra) & np.isnan(dec)
    return [
        ("flux without ivar, or ivar without flux", spectrum != present["ivar"]),
        ("flux is NaN or infinite where ivar > 0", spectrum & (~np.isfinite(flux) & (ivar > 0)).any(1)),
        ("ivar is negative, NaN or infinite", spectrum & ~(np.isfinite(ivar) & (ivar >= 0)).all(1)),
        ("ivar is zero everywhere: no valid pixel", spectrum & (ivar == 0).all(1)),
        ("image has NaN or infinite pixels", picture & ~pixels.all(1)),
        ("image is constant: empty", picture & (np.ptp(image.reshape(len(image), -1), axis=1) == 0)),
        (
            "composite image has values outside 0 to 255",
            picture & composite & ((image < 0) | (image > 255)).any((1, 2, 3)),
        ),
        ("image in a dataset without images", picture & (info.image_kind is None)),
        (
            "photometry is not finite where its ivar > 0",
            photometry & (~np.isfinite(band_flux) & (band_ivar > 0)).any(1),
        ),
        (
            "photometry_ivar is negative or NaN",
            photometry & ~(np.isfinite(band_ivar) & (band_ivar >= 0)).all(1),
        ),
        ("photometry has no usable band", photometry & ~info.as_measured & ~(band_ivar > 0).any(1)),
        (
            "photometry is brighter than magnitude 0 (check that its unit is nanomaggies)",
            photometry & (band_flux > 1e9).any(1),
        ),
        ("neither image, photometry nor spectrum", ~(spectrum | photometry | picture)),
        (
            "ra, dec are not a position on the sky",
            ~(nowhere | ((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90))),
        ),
        ("z is below -0.1 or above 20", ~(np.isnan(rows["z"]) | ((rows["z"] > -0.1) & (rows["z"] < 20)))),
    ]
