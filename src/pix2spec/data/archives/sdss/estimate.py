"""What a build will cost, and how far it has come."""

import sys
from dataclasses import dataclass

from pix2spec.data.archives.sdss.manifest import DONE, Entry, Manifest
from pix2spec.data.archives.sdss.request import Order, lite_bytes, plate_bytes
from pix2spec.data.archives.urls import Services

__all__ = ["Estimate", "Progress", "estimate"]

LISTING_BYTES = 100_000  # of a folder of the archive, or of its checksums
UNITS_AT_ONCE = 4  # whose raw files lie on disk: two in the making, one arriving, one ahead


@dataclass(frozen=True)
class Estimate:
    """What is left to do. Bytes are rough: every file is taken to have the typical size of its kind.

    `dataset` is what the whole dataset will take on disk, `raw` the raw files beside it while it grows (or
    for good, if they are kept); `seconds` is the least time that the limit on requests allows.
    """

    objects: int
    done: int
    requests: int
    received: int
    dataset: int
    raw: int
    rate: float

    @property
    def seconds(self) -> float:
        """Least time at the rate limit."""
        return self.requests / self.rate

    def lines(self) -> list[str]:
        """The estimate in words."""
        already = f" ({self.done:,} are there already)" if self.done else ""
        if not self.objects:
            return [f"All {self.done:,} objects that can be had are there: nothing is left to fetch."]
        return [
            f"  objects   {self.objects:,}{already}",
            f"  fetch     {self.requests:,} requests, about {size(self.received)}",
            f"  on disk   about {size(self.dataset)}, and {size(self.raw)} of raw files",
            f"  time      at least {duration(self.seconds)} at {self.rate:g} requests a second",
        ]


def size(count: int) -> str:
    """Such as ``"1.3 GB"``."""
    from rich.filesize import decimal

    return decimal(int(count))


def duration(seconds: float) -> str:
    """Such as ``"2 h 05 min"``."""
    minutes = int(seconds / 60 + 0.5)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def estimate(
    manifest: Manifest, order: Order, services: Services, rate: float, keep: bool = False
) -> Estimate:
    """Count what is left to fetch."""
    left = manifest.waiting()
    requests = left.spectra + sum(left.plates.values())
    received = left.spectra * lite_bytes(order.release, "26")
    received += sum(count * plate_bytes(order.release, run2d) for run2d, count in left.plates.items())
    folders = left.folders + sum(left.plates.values())
    if left.example is not None:
        images = list(order.files(services, Entry(left.example))[1].values())
        times = left.fields if order.images == "frames" else left.objects
        folders += left.scans if order.images == "frames" else 0
        requests += times * len(images)
        received += times * sum(image.approx_bytes for image in images)
    # every folder of the archive has a listing and a file of checksums
    requests, received = requests + 2 * folders, received + 2 * folders * LISTING_BYTES
    done = manifest.counts()[DONE]
    info = order.info()
    pixels = 0
    if info.image_kind:
        pixels = len(info.survey.image_bands) * info.image_size**2
    each = 4 * (pixels + 2 * info.grid.size)  # the mask packs to next to nothing
    at_once = received if keep else min(received, UNITS_AT_ONCE * received // max(left.units, 1))
    return Estimate(left.objects, done, requests, received, (done + left.objects) * each, at_once, rate)


class Progress:
    """A bar on the terminal's error stream: files, objects, rate, errors, time and bytes left."""

    def __init__(self, estimate: Estimate, show: bool = True):
        self.estimate, self.bar = estimate, None
        if show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            texts = "{task.fields[objects]} objects", "{task.speed:.1f}/s", "{task.fields[errors]} errors"
            columns = [BarColumn(), *map(TextColumn, (texts[0], "{task.fields[rate]}", texts[2]))]
            columns += [TextColumn("{task.fields[left]} left"), TimeRemainingColumn()]
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True)

    def __enter__(self):
        if self.bar:
            self.bar.start()
            fields: dict = dict(objects=0, errors=0, rate="", left=size(self.estimate.received))
            self.task = self.bar.add_task("", total=max(self.estimate.requests, 1), **fields)
        return self

    def __exit__(self, *_):
        if self.bar:
            self.bar.stop()

    def update(self, report) -> None:
        """Show what a `BuildReport` counts by now."""
        if self.bar:
            speed = self.bar.tasks[0].speed
            self.bar.update(
                self.task,
                completed=min(report.requests, self.estimate.requests),
                objects=f"{report.n_written:,}/{self.estimate.objects:,}",
                errors=report.n_failed + report.n_later,
                rate=f"{speed:.1f} requests/s" if speed else "",
                left=size(max(self.estimate.received - report.received, 0)),
            )
