"""`pix2spec data sdss`: from a selection of galaxies to a dataset of their spectra and images.

Everything that is finished is in the manifest; whatever was cut off is done again by the next run.
"""

import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

from pix2spec.data.archives.download import Downloader
from pix2spec.data.archives.sdss.estimate import Progress, estimate
from pix2spec.data.archives.sdss.manifest import DONE, FAILED, LATER, Manifest, Outcome
from pix2spec.data.archives.sdss.request import Order
from pix2spec.data.archives.sdss.select_catalogue import select_from_specobj
from pix2spec.data.archives.sdss.select_sql import select_by_sql
from pix2spec.data.archives.sdss.work import BuildReport, Work
from pix2spec.data.archives.urls import Services
from pix2spec.errors import InputError
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.workers import worker_pool

__all__ = ["SHARD", "BuildReport", "build_sdss"]

SHARD = 256  # objects of a unit of work and of a shard
PAGE = 5000  # rows of the selection that are stored at a time
FIRST_ADDRESSES = 12


def build_sdss(
    out: str | Path,
    order: Order,
    mirror: str | None = None,
    keep: bool = False,
    dry_run: bool = False,
    workers: int = 8,
    rate: float = 10.0,
    processes: int | None = None,
    progress: bool = True,
    announce: Callable[[str], object] = lambda text: None,
    **downloading,
) -> BuildReport:
    """Make, or go on with, a dataset of SDSS spectra and images.

    Parameters
    ----------
    out : path
        Folder of the dataset, of its manifest and, while it grows, of the raw files.
    order : Order
        What the dataset is to hold. It must be the same whenever a build goes on.
    mirror : str, optional
        Address with the folders ``sas``, ``skyserver`` and ``viewer`` instead of the real services.
    keep : bool
        Keep the raw files in ``out/.cache``.
    dry_run : bool
        Select, estimate, and stop.
    workers, rate : int, float
        Connections at a time, requests a second.
    processes : int, optional
        Worker processes that make pairs; the default is one a core.
    progress : bool
        Show progress on a terminal.
    announce : callable
        Called with lines of text: the cut and the estimate, before anything but the selection is fetched.
    **downloading
        Further arguments of `Downloader`.

    Returns
    -------
    BuildReport

    Raises
    ------
    InputError
        If the folder holds something else or a build with other options, the selection cannot be made, or the
        options contradict each other.
    """
    out = Path(out)
    services = Services.at(mirror) if mirror else Services()
    if any(out.glob("*.parquet")) and not (out / "manifest.sqlite").exists():
        raise InputError(out, "it already holds a dataset", "choose another folder, or delete this one")
    out.mkdir(parents=True, exist_ok=True)
    with Manifest(out / "manifest.sqlite") as manifest:
        manifest.settle(order.as_dict())
        announce(f"Selecting {order.cut}")
        rejected = _select(manifest, order, services, progress)
        for leftover in out.glob("*.parquet.partial"):
            leftover.unlink()  # a killed run's: nobody else holds the manifest
        cache = out / ".cache"
        manifest.sweep(cache)
        if not dry_run:
            manifest.retry(SHARD)
        report = BuildReport(out, estimate(manifest, order, services, rate, keep))
        for object_id, reason in rejected:
            report.count(Outcome(object_id, FAILED, reason))
        for line in report.estimate.lines():
            announce(line)
        if dry_run:
            report.addresses = _first_addresses(manifest, order, services)
            return report
        if manifest.pending_units():
            _run(manifest, order, services, report, keep, processes, progress,
                 dict(folder=cache, workers=workers, rate=rate, **downloading))  # fmt: skip
        counts = manifest.counts()
        report.n_total, report.n_left_out = counts[DONE], counts[FAILED]
        manifest.write_failures(report.failures)
        if not keep and not counts[LATER]:
            shutil.rmtree(cache, ignore_errors=True)
    return report


def _select(manifest: Manifest, order: Order, services: Services, progress: bool) -> list[tuple[str, str]]:
    """Store the selection plate by plate, from where an earlier run got to, and plan the work.

    Returns
    -------
    list of (object id, reason)
        Rows of the catalogue that make no sense.
    """
    rejected: list[tuple[str, str]] = []
    if manifest.selected:
        return rejected
    left = None if order.n is None else order.n - sum(manifest.counts().values())
    go_on: dict = {
        "n": left,
        "after": manifest.fact("plate") and tuple(manifest.fact("plate")),
        "rejected": lambda object_id, reason: rejected.append((object_id, reason)),
    }
    if order.catalogue:
        rows = select_from_specobj(order.catalogue, photometry=order.photometry, **go_on)
    else:
        rows = select_by_sql(services, order.release, where=order.where, page=PAGE, **go_on)
    page: list = []

    def store() -> None:
        last = (page[-1].plate, page[-1].mjd) if page else manifest.fact("plate")
        manifest.add(page, rejected, last)
        page.clear()

    for row in progress_bar(rows, "selecting", progress, left):
        if len(page) >= PAGE and (row.plate, row.mjd) != (page[-1].plate, page[-1].mjd):
            store()
        page.append(row)
    store()
    if not sum(manifest.counts().values()):
        raise InputError("selection", f"no object is left by the cut: {order.cut}", "change `where`")
    manifest.plan(SHARD, order.takes_whole_plate)
    return rejected


def _first_addresses(manifest: Manifest, order: Order, services: Services) -> list[str]:
    urls: dict[str, None] = {}
    for unit in manifest.pending_units()[:1]:
        for entry in manifest.entries(unit):
            spectrum, images = order.files(services, entry)
            urls |= dict.fromkeys(remote.url for remote in (spectrum, *images.values()))
    return list(urls)[:FIRST_ADDRESSES]


def _run(
    manifest: Manifest, order: Order, services: Services, report: BuildReport, keep: bool,
    processes: int | None, progress: bool, downloading: dict,
) -> None:  # fmt: skip
    processes = processes or len(os.sched_getaffinity(0))
    # starting processes takes seconds: not for one unit
    few = len(manifest.pending_units()) == 1
    # Ctrl-C reaches every process of a terminal; the workers end with their parent
    deaf = (signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with (
        Progress(report.estimate, progress) as shown,
        Downloader(**downloading) as downloader,
        ThreadPoolExecutor(1) if few else worker_pool(processes, *deaf) as pool,
    ):
        work = Work(manifest, order, services, report, keep, downloader, pool)
        try:
            for fetched in downloader.fetch(work.remotes()):
                work.arrived(fetched)
                shown.update(report)
            work.write(wait=True)
        except BrokenExecutor as error:
            raise OSError("a worker process died (out of memory?): run again, it goes on") from error
