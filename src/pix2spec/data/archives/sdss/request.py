"""The order of a build (the contents of its dataset), the files for it, and an estimate of the download."""

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
LAYER, LAYER_BANDS = "sdss", "gri"  # of the Legacy Surveys viewer, which has SDSS in these bands only
KIND = {"cutouts": "linear", "frames": "linear", "jpeg": "composite", "none": None}
IMAGE_SIZE = 64
LISTING_BYTES = 100_000  # size of the listing of a folder, or of its checksum file
UNITS_ON_DISK = 4  # units with raw files on disk: two are made, two are fetched
EXAMPLE_ROW = SpecRow(1, 50_000, 1, "26", 0.0, 0.0, 0.0, 0.0, "GALAXY", 0, 1, 1, 1, 1, 301)


@dataclass(frozen=True)
class Order:
    """Contents of a dataset of SDSS galaxies.

    Parameters
    ----------
    release : str
        ``dr16``, ``dr17`` or ``dr18``.
    n : int, optional
        Number of objects. The default is all objects that pass the cut.
    where : str, optional
        A further condition in SQL, on ``s`` (SpecObj) and ``p`` (PhotoObjAll).
    bands : str
        Bands of the images, from ``ugriz``.
    images : str
        ``cutouts`` (FITS files from the Legacy Surveys viewer), ``frames`` (cutouts from corrected frames),
        ``jpeg`` (SkyServer's colour composites) or ``none``.
    spectra : str
        ``lite`` (one file per spectrum), ``plates`` (spPlate files), or ``auto`` (for each plate the choice
        with fewer bytes).
    catalogue : path, optional
        A specObj FITS file, from which objects are selected instead of from SkyServer.
    photometry : path, optional
        The photoPosPlate FITS file with the same rows as `catalogue`. It has the fibre fluxes, which specObj
        does not have.

    Raises
    ------
    InputError
        If an argument is unknown, arguments contradict each other, or a file does not exist.
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
            what = f"the cutout service has SDSS only in the bands {', '.join(LAYER_BANDS)}"
            raise InputError("`bands`", what, 'use `images="frames"` for other bands')
        if self.images == "jpeg" and self.bands != "gri":
            raise InputError(
                "`bands`", "colour pictures show g, r and i", "use frames or cutouts as `images`"
            )
        if self.where is not None and self.catalogue is not None:
            what = "SQL conditions need SkyServer and do not work with a catalogue file"
            raise InputError("`where`", what, "give either `where` or `catalogue`")
        if self.photometry is not None and self.catalogue is None:
            raise InputError("`photometry`", "it needs a catalogue", "give `catalogue` too")
        for path in (self.catalogue, self.photometry):
            if path is not None and not Path(path).is_file():
                raise InputError(path, "no such file")

    def as_dict(self) -> dict:
        """All settings that determine the dataset. They identify the build when it continues."""
        values = asdict(self)
        for name in ("catalogue", "photometry"):
            if values[name] is not None:
                path = Path(values[name]).resolve()
                values[name] = f"{path} ({path.stat().st_size} bytes)"
        return values

    @property
    def cut(self) -> str:
        """Description of the selection in words and SQL."""
        number = "all" if self.n is None else f"the first {self.n:,} (whole plates, in a fixed random order)"
        source = f"the file {self.catalogue}" if self.catalogue else "SkyServer"
        also = f" AND ({self.where})" if self.where else ""
        return f"{number} of {self.release} from {source} where {GALAXIES}{also}"

    @property
    def survey(self) -> Survey:
        """SDSS with the images' bands."""
        return replace(SDSS, image_bands=tuple(self.bands))

    def info(self) -> DatasetInfo:
        """Metadata of the dataset, without provenance."""
        return DatasetInfo(survey=self.survey, image_kind=KIND[self.images], image_size=IMAGE_SIZE)

    def provenance(self, services: Services) -> dict:
        """Origin of the dataset's contents."""
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

        A spPlate file always needs fewer requests. ``auto`` chooses it if it does not need more bytes either.
        """
        if self.spectra != "auto":
            return self.spectra == "plates"
        return count * lite_bytes(self.release, run2d) >= plate_bytes(self.release, run2d)

    def files(self, services: Services, entry: Entry) -> tuple[Remote, dict[str, Remote]]:
        """The file with an object's spectrum, and the files of its image (see `image_files`)."""
        row = entry.row
        if entry.whole:
            spectrum = plate_file(services, self.release, row.run2d, row.plate, row.mjd)
        else:
            spectrum = spec_lite(services, self.release, row.run2d, row.plate, row.mjd, row.fiber)
        return spectrum, self.image_files(services, row)

    def image_files(self, services: Services, row: SpecRow) -> dict[str, Remote]:
        """The files of an object's image: band to frame, or ``""`` to the only file."""
        if self.images == "none":
            return {}
        if self.images == "frames":
            if not row.run:
                what = "the selection has no imaging for this object"
                raise InputError(row.object_id, what, 'use `images="cutouts"`')
            where = (row.run, row.camcol, row.field)
            return {b: frame(services, self.release, *where, b, row.rerun) for b in self.bands}
        if self.images == "jpeg":
            return {"": jpeg_cutout(services, self.release, row.ra, row.dec, IMAGE_SIZE)}
        scale = self.survey.pixel_scale
        return {"": fits_cutout(services, LAYER, row.ra, row.dec, IMAGE_SIZE, scale, self.bands)}


@dataclass(frozen=True)
class Estimate:
    """The rest of a build. Numbers of bytes are rough, from the typical size of each kind of file.

    Attributes
    ----------
    objects, done : int
        Objects that are still to be made, and that the dataset already holds.
    files : int
        Files to fetch.
    requests : int
        Requests for the files and for the listings of their folders.
    received : int
        Bytes to receive.
    dataset : int
        Bytes of the complete dataset.
    raw : int
        Largest number of bytes of raw files during the build; or after it, if they are kept.
    rate : float
        Requests per second.
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
        """Seconds that the requests take at least, at the rate limit."""
        return self.requests / self.rate

    def lines(self) -> list[str]:
        """The estimate in words."""
        already = f" ({self.done:,} are there already)" if self.done else ""
        if not self.objects:
            return [f"All {self.done:,} available objects are there: nothing is left to fetch."]
        return [
            f"  objects   {self.objects:,}{already}",
            f"  fetch     {self.requests:,} requests, about {_size(self.received)}",
            f"  on disk   about {_size(self.dataset)}, and {_size(self.raw)} of raw files",
            f"  time      at least {_duration(self.seconds)} at {self.rate:g} requests per second",
        ]


def estimate(plan: Plan, order: Order, services: Services, rate: float, keep: bool = False) -> Estimate:
    """Estimate the rest of a build.

    Parameters
    ----------
    plan : Plan
    order : Order
    services : Services
    rate : float
        Requests per second.
    keep : bool
        Whether raw files are kept.
    """
    left = plan.left
    lite, objects, done = left & ~plan.whole, int(left.sum()), plan.counts()[DONE]
    plates = Counter(plan.plates[i].split("/")[0] for i in np.unique(plan.plate[left & plan.whole]))
    images = list(order.image_files(services, EXAMPLE_ROW).values())
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
    # Every folder of the archive has a listing and a file of checksums.
    requests, received = files + 2 * folders, received + 2 * folders * LISTING_BYTES
    info = order.info()
    pixels = len(info.survey.image_bands) * info.image_size**2 if info.image_kind else 0
    each = 4 * (pixels + 2 * info.grid.size)  # The mask compresses to almost nothing.
    units = max(len(plan.units()), 1)
    raw = received if keep else min(received, UNITS_ON_DISK * received // units)
    return Estimate(objects, done, files, requests, received, (done + objects) * each, raw, rate)


def _size(count: int) -> str:
    """Text for a number of bytes: ``"1.3 GB"``."""
    from rich.filesize import decimal

    return decimal(int(count))


def _duration(seconds: float) -> str:
    """Text for a time: ``"2 h 05 min"``."""
    minutes = int(seconds / 60 + 0.5)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def lite_bytes(release: str, run2d: str) -> int:
    """Typical size of one spectrum's file in bytes."""
    return spec_lite(Services(), release, run2d, 1, 50_000, 1).approx_bytes


def plate_bytes(release: str, run2d: str) -> int:
    """Typical size of a spPlate file in bytes."""
    return plate_file(Services(), release, run2d, 1, 50_000).approx_bytes
