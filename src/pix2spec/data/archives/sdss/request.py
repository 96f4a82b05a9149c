"""What a build is asked for, which files that takes, and what it will cost."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.archives.sdss.plan import DONE, Entry, Plan
from pix2spec.data.archives.sdss.select_sql import GALAXIES, SpecRow
from pix2spec.data.archives.urls import (
    Remote,
    Services,
    fits_cutout,
    frame,
    jpeg_cutout,
    plate_file,
    release_named,
    spec_lite,
)
from pix2spec.data.readers.tables import ERROR_FLOOR, ERROR_FRACTION
from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError

__all__ = ["IMAGES", "SPECTRA", "Estimate", "Order", "estimate"]

IMAGES = ("cutouts", "frames", "jpeg", "none")
SPECTRA = ("auto", "lite", "plates")
LAYER, LAYER_BANDS = "sdss", "gri"  # of the Legacy Surveys viewer, which has the SDSS in these bands alone
KIND = {"cutouts": "linear", "frames": "linear", "jpeg": "composite", "none": None}
IMAGE_SIZE = 64
LISTING_BYTES = 100_000  # of a folder of the archive, or of its checksums
UNITS_AT_ONCE = 4  # whose raw files lie on disk: two in the making, one arriving, one ahead
SOMEWHERE = SpecRow(1, 50_000, 1, "26", 0.0, 0.0, 0.0, 0.0, "GALAXY", 0, 1, 1, 1, 1, 301)


@dataclass(frozen=True)
class Order:
    """What a dataset of SDSS galaxies is to hold.

    Parameters
    ----------
    release : str
        ``dr16``, ``dr17`` or ``dr18``.
    n : int, optional
        Number of objects; all that the cut leaves if None.
    where : str, optional
        A further condition in SQL, on ``s`` (SpecObj) and ``p`` (PhotoObjAll).
    bands : str
        Bands of the images, some of ``ugriz``.
    images : str
        ``cutouts`` (FITS, from the Legacy Surveys viewer), ``frames`` (cut out of corrected frames), ``jpeg``
        (SkyServer's colour composites) or ``none``.
    spectra : str
        ``lite`` (a file a spectrum), ``plates`` (spPlate files), or ``auto``: whichever is fewer bytes.
    catalogue : path, optional
        A specObj FITS file to select from instead of SkyServer.
    photometry : path, optional
        The photoPosPlate FITS file that goes with `catalogue`, line by line: specObj has no fibre fluxes.

    Raises
    ------
    InputError
        If the options contradict each other.
    """

    release: str = "dr17"
    n: int | None = None
    where: str | None = None
    bands: str = "gri"
    images: str = "cutouts"
    spectra: str = "auto"
    catalogue: Path | None = None
    photometry: Path | None = None

    def __post_init__(self):
        release_named(self.release)
        for name, choices in (("images", IMAGES), ("spectra", SPECTRA)):
            if getattr(self, name) not in choices:
                raise InputError(f"`{name}`", f"{getattr(self, name)!r} is not one of {', '.join(choices)}")
        if not self.bands or len(set(self.bands)) < len(self.bands) or not set(self.bands) <= set("ugriz"):
            raise InputError("`bands`", f"{self.bands!r} is not a choice of the bands ugriz")
        if self.images == "cutouts" and not set(self.bands) <= set(LAYER_BANDS):
            what = f"the cutout service has the SDSS in {', '.join(LAYER_BANDS)} alone"
            raise InputError("`bands`", what, 'use `images="frames"` for other bands')
        if self.images == "jpeg" and self.bands != "gri":
            raise InputError(
                "`bands`", "colour pictures show g, r and i", "use frames or cutouts as `images`"
            )
        if self.where is not None and self.catalogue is not None:
            raise InputError("`where`", "it is SQL: a catalogue file cannot be asked", "give one of the two")
        if self.photometry is not None and self.catalogue is None:
            raise InputError("`photometry`", "it goes with a catalogue", "give `catalogue` too")
        for path in (self.catalogue, self.photometry):
            if path is not None and not Path(path).is_file():
                raise InputError(path, "no such file")

    def as_dict(self) -> dict:
        """Everything that decides what the dataset holds: the identity of the build."""
        values = asdict(self)
        for name in ("catalogue", "photometry"):
            if values[name] is not None:
                path = Path(values[name]).resolve()
                values[name] = f"{path} ({path.stat().st_size} bytes)"
        return values

    @property
    def cut(self) -> str:
        """The selection in words and SQL."""
        number = "all" if self.n is None else f"the first {self.n:,} (whole plates, in a fixed random order)"
        source = f"the file {self.catalogue}" if self.catalogue else "SkyServer"
        also = f" AND ({self.where})" if self.where else ""
        return f"{number} of {self.release} from {source} where {GALAXIES}{also}"

    @property
    def survey(self) -> Survey:
        """SDSS with the images' bands."""
        return replace(SDSS, image_bands=tuple(self.bands))

    def info(self) -> DatasetInfo:
        """Facts of the dataset, without provenance."""
        return DatasetInfo(survey=self.survey, image_kind=KIND[self.images], image_size=IMAGE_SIZE)

    def provenance(self, services: Services) -> dict:
        """Where the dataset's contents come from."""
        return {
            "survey": "SDSS",
            "release": self.release,
            "selection": self.cut,
            "services": asdict(services),
            "images": self.images,
            "spectra": self.spectra,
            "photometry": "CALIBFLUX of the spectra's files, or the selection's fibre fluxes",
            "photometry_errors": f"{ERROR_FRACTION:.0%} of the flux, {ERROR_FLOOR} nanomaggies and the "
            "pipeline's own error in quadrature",
        }

    def takes_whole_plate(self, run2d: str, count: int) -> bool:
        """Whether `count` spectra of a plate are fetched as one spPlate file.

        It is always fewer requests; it is chosen when it is not more bytes either.
        """
        if self.spectra != "auto":
            return self.spectra == "plates"
        return count * lite_bytes(self.release, run2d) >= plate_bytes(self.release, run2d)

    def files(self, services: Services, entry: Entry) -> tuple[Remote, dict[str, Remote]]:
        """The file with an object's spectrum, and those of its image: one a band, or one named ``""``."""
        row = entry.row
        if entry.whole:
            spectrum = plate_file(services, self.release, row.run2d, row.plate, row.mjd)
        else:
            spectrum = spec_lite(services, self.release, row.run2d, row.plate, row.mjd, row.fiber)
        return spectrum, self.image_files(services, row)

    def image_files(self, services: Services, row: SpecRow) -> dict[str, Remote]:
        """The files of an object's image: one a band, or one named ``""``."""
        if self.images == "none":
            return {}
        if self.images == "frames":
            if not row.run:
                raise InputError(
                    row.object_id, "the selection knows no imaging of it", 'use `images="cutouts"`'
                )
            where = (row.run, row.camcol, row.field)
            return {b: frame(services, self.release, *where, b, row.rerun) for b in self.bands}
        if self.images == "jpeg":
            return {"": jpeg_cutout(services, self.release, row.ra, row.dec, IMAGE_SIZE)}
        scale = self.survey.pixel_scale
        return {"": fits_cutout(services, LAYER, row.ra, row.dec, IMAGE_SIZE, scale, self.bands)}


@dataclass(frozen=True)
class Estimate:
    """What is left to do. Bytes are rough: every file is taken to have the typical size of its kind.

    `requests` are for the `files` and for the listings of their folders. `dataset` is what the whole dataset
    will take on disk, `raw` the raw files beside it while it grows (or for good, if they are kept).
    """

    objects: int
    done: int
    files: int
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
            f"  fetch     {self.requests:,} requests, about {_size(self.received)}",
            f"  on disk   about {_size(self.dataset)}, and {_size(self.raw)} of raw files",
            f"  time      at least {_duration(self.seconds)} at {self.rate:g} requests a second",
        ]


def estimate(plan: Plan, order: Order, services: Services, rate: float, keep: bool = False) -> Estimate:
    """Count what is left to fetch."""
    left = plan.left
    lite, objects, done = left & ~plan.whole, int(left.sum()), plan.counts()[DONE]
    plates = Counter(plan.plates[i].split("/")[0] for i in np.unique(plan.plate[left & plan.whole]))
    images = list(order.image_files(services, SOMEWHERE).values())
    folders = len(np.unique(plan.plate[lite])) + sum(plates.values())
    times = objects
    if order.images == "frames":
        fields = np.unique(plan.field[left])
        times = len(fields)
        folders += len({plan.fields[i].rsplit("/", 1)[0] for i in fields})
    files = int(lite.sum()) + sum(plates.values()) + times * len(images)
    received = int(lite.sum()) * lite_bytes(order.release, "26")
    received += sum(count * plate_bytes(order.release, run2d) for run2d, count in plates.items())
    received += times * sum(image.approx_bytes for image in images)
    # every folder of the archive has a listing and a file of checksums
    requests, received = files + 2 * folders, received + 2 * folders * LISTING_BYTES
    info = order.info()
    pixels = len(info.survey.image_bands) * info.image_size**2 if info.image_kind else 0
    each = 4 * (pixels + 2 * info.grid.size)  # the mask packs to next to nothing
    units = max(len(plan.units()), 1)
    raw = received if keep else min(received, UNITS_AT_ONCE * received // units)
    return Estimate(objects, done, files, requests, received, (done + objects) * each, raw, rate)


def _size(count: int) -> str:
    """Such as ``"1.3 GB"``."""
    from rich.filesize import decimal

    return decimal(int(count))


def _duration(seconds: float) -> str:
    """Such as ``"2 h 05 min"``."""
    minutes = int(seconds / 60 + 0.5)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def lite_bytes(release: str, run2d: str) -> int:
    """Size of one spectrum's file, roughly."""
    return spec_lite(Services(), release, run2d, 1, 50_000, 1).approx_bytes


def plate_bytes(release: str, run2d: str) -> int:
    """Size of a spPlate file, roughly."""
    return plate_file(Services(), release, run2d, 1, 50_000).approx_bytes
