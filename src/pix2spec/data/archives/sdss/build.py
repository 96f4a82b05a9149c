"""Build a dataset of SDSS spectra and images for a selection of galaxies (`pix2spec data sdss`).

A build that was interrupted continues in the next run. Finished units of work are not repeated.
"""

import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

from pix2spec.data.archives.download import Downloader
from pix2spec.data.archives.sdss.plan import DONE, FAILED, LATER, Outcome, Plan
from pix2spec.data.archives.sdss.request import Order, estimate
from pix2spec.data.archives.sdss.select_catalogue import select_from_specobj
from pix2spec.data.archives.sdss.select_sql import select_by_sql
from pix2spec.data.archives.sdss.work import BuildReport, Work
from pix2spec.data.archives.urls import Services
from pix2spec.errors import InputError
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.resumable import RUN_FILE, Resumable
from pix2spec.runtime.workers import worker_pool

__all__ = ["SHARD", "BuildReport", "build_sdss"]

SHARD = 256  # objects per unit of work, which is a shard
FORMAT = 2  # version of the files of the plan
PAGE = 5000  # rows of the selection that are stored at a time
MAX_ADDRESSES = 12  # that a dry run shows


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
    """Make a dataset of SDSS spectra and images, or continue an interrupted build.

    Parameters
    ----------
    out : path
        Folder of the dataset. It also holds the plan (``build``) and, during the build, the raw files.
    order : Order
        Contents of the dataset. They must not change when a build continues.
    mirror : str, optional
        Address with the folders ``sas``, ``skyserver`` and ``viewer``, instead of the real services.
    keep : bool
        Keep the raw files in ``out/.cache``.
    dry_run : bool
        Only select the objects and estimate the download.
    workers : int
        Largest number of connections at a time.
    rate : float
        Largest number of requests per second.
    processes : int, optional
        Number of worker processes that make galaxies. The default is one per core.
    progress : bool
        Show progress bars on a terminal.
    announce : callable
        Called with lines of text that describe the selection and the estimate. Only the selection is fetched
        before.
    **downloading
        Further arguments of `Downloader`.

    Returns
    -------
    BuildReport

    Raises
    ------
    InputError
        If the folder holds other data or a build with another `order`, or the selection cannot be made.
    OSError
        If a file cannot be written or a worker process dies.
    """
    out = Path(out)
    services = Services.at(mirror) if mirror else Services()
    if (out / "manifest.sqlite").exists():
        what = "an older version of pix2spec began the dataset in it, and this version cannot continue it"
        raise InputError(out, what, "start again in another folder")
    if not (out / RUN_FILE).exists() and any(out.glob("*.parquet")):
        raise InputError(out, "it already holds a dataset", "choose another folder, or delete this one")
    job = Resumable(out, order.as_dict() | {"format": FORMAT}, "a dataset")
    with job.locked():
        plan = Plan(job)
        if not plan.begun:  # Nothing was selected yet, so that `order` may differ from that of the last run.
            (out / RUN_FILE).unlink(missing_ok=True)
        job.claim(resume=True)
        announce(f"Selecting {order.cut}")
        rejected = _select(plan, order, services, progress)
        plan.clean()
        report = BuildReport(out, estimate(plan, order, services, rate, keep))
        for object_id, reason in rejected:
            report.count(Outcome(object_id, FAILED, reason))
        for line in report.estimate.lines():
            announce(line)
        if dry_run:
            report.addresses = _first_addresses(plan, order, services)
            return report
        cache = out / ".cache"
        if report.estimate.objects:
            _run(plan, order, services, report, keep, processes, progress,
                 dict(folder=cache, workers=workers, rate=rate, **downloading))  # fmt: skip
        counts = plan.counts()
        report.n_total, report.n_left_out = counts[DONE], counts[FAILED]
        plan.write_failures(report.failures)
        if not keep and not counts[LATER]:
            shutil.rmtree(cache, ignore_errors=True)
    return report


def _select(plan: Plan, order: Order, services: Services, progress: bool) -> list[tuple[str, str]]:
    """Make or continue the selection, store it page by page, and form the units of work.

    Returns
    -------
    list of (object id, reason)
        Invalid rows of the catalogue.
    """
    rejected: list[tuple[str, str]] = []
    if plan.selected:
        return rejected
    known, after = plan.position()
    left = None if order.n is None else order.n - known
    there: dict = {
        "n": left,
        "after": after,
        "rejected": lambda object_id, reason: rejected.append((object_id, reason)),
    }
    if order.catalogue:
        rows = select_from_specobj(order.catalogue, photometry=order.photometry, **there)
    else:
        rows = select_by_sql(services, order.release, where=order.where, page=PAGE, **there)
    page: list = []
    for row in progress_bar(rows, "selecting", progress, left):
        if len(page) >= PAGE and (row.plate, row.mjd) != (page[-1].plate, page[-1].mjd):
            plan.add(page, rejected)
            page = []
        page.append(row)
    plan.add(page, rejected)
    if not plan.cut(SHARD, order.takes_whole_plate):
        shutil.rmtree(plan.folder)
        raise InputError("selection", f"no object passes the cut: {order.cut}", "change `where`")
    return rejected


def _first_addresses(plan: Plan, order: Order, services: Services) -> list[str]:
    urls: dict[str, None] = {}
    for rows in list(plan.units().values())[:1]:
        for entry in plan.entries(rows):
            spectrum, images = order.files(services, entry)
            urls |= dict.fromkeys(remote.url for remote in (spectrum, *images.values()))
    return list(urls)[:MAX_ADDRESSES]


def _run(
    plan: Plan, order: Order, services: Services, report: BuildReport, keep: bool,
    processes: int | None, progress: bool, downloading: dict,
) -> None:  # fmt: skip
    processes = processes or len(os.sched_getaffinity(0))
    few = len(plan.units()) == 1  # One unit does not need processes, which take seconds to start.
    # Ctrl-C reaches every process of a terminal. Workers ignore it: they end with their parent.
    ignore_interrupts = (signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with (
        Downloader(**downloading) as downloader,
        ThreadPoolExecutor(1) if few else worker_pool(processes, *ignore_interrupts) as pool,
    ):
        work = Work(plan, order, services, report, keep, downloader, pool)
        try:
            arriving = downloader.fetch(work.remotes())
            for fetched in progress_bar(arriving, "fetching", progress, report.estimate.files):
                work.arrived(fetched)
            work.write(wait=True)
        except BrokenExecutor as error:
            what = "a worker process died (check that there is enough memory): run again to continue"
            raise OSError(what) from error
