"""Make galaxies from raw files. Worker processes run this module."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pix2spec.data.archives.sdss.frames import cut_field
from pix2spec.data.archives.sdss.plan import DONE, FAILED, LATER, Entry, Outcome
from pix2spec.data.archives.sdss.plates import read_plate
from pix2spec.data.readers.guards import DOWNLOAD_AGAIN
from pix2spec.data.readers.images import read_cutout
from pix2spec.data.readers.spectra import read_spectrum
from pix2spec.data.readers.tables import assumed_ivar
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError

__all__ = ["Job", "Made", "make_galaxies"]


@dataclass
class Job:
    """One object and its files."""

    entry: Entry
    spectrum: Path
    images: dict[str, Path] = field(default_factory=dict)  # band to frame, or "" to the only file
    image_problem: str = ""  # reason if there is no image to read


@dataclass
class Made:
    """Result for one object."""

    outcome: Outcome
    galaxy: Galaxy | None = None
    unreadable: list[Path] = field(default_factory=list)  # files that must be fetched again


def make_galaxies(jobs: list[Job], info: DatasetInfo) -> list[Made]:
    """Make the galaxies of `jobs`. Each plate and each frame is opened once.

    An object whose spectrum cannot be used fails. An image that cannot be used is left out. If a file is
    damaged, the next run fetches it and tries the object again.

    Returns
    -------
    list of Made
        In the order of `jobs`.
    """
    spectra, images = _spectra(jobs, info), _images(jobs, info)
    return [_made(job, *both) for job, *both in zip(jobs, spectra, images)]


def _made(job: Job, galaxy: Galaxy | InputError, image) -> Made:
    name = job.entry.object_id
    broken = [e for e in (galaxy, image) if isinstance(e, InputError) and e.hint == DOWNLOAD_AGAIN]
    if broken:
        paths = [job.spectrum, *job.images.values()]
        unreadable = [p for p in paths if any(str(p) == e.where for e in broken)]
        return Made(Outcome(name, LATER, str(broken[0])), unreadable=unreadable)
    if isinstance(galaxy, InputError):
        return Made(Outcome(name, FAILED, str(galaxy)))
    if galaxy.object_id != name:
        return Made(Outcome(name, FAILED, f"{job.spectrum}: it is the spectrum of {galaxy.object_id}"))
    galaxy.group_id = job.entry.group_id
    _add_photometry(galaxy, job.entry.row)
    if isinstance(image, InputError):
        return Made(Outcome(name, DONE, str(image)), galaxy)
    galaxy.image = image
    return Made(Outcome(name, DONE, job.image_problem), galaxy)


def _add_photometry(galaxy: Galaxy, row) -> None:
    """Set the photometry to the fibre fluxes of the selection if the spectrum's file has none."""
    usable = galaxy.photometry is not None and (np.asarray(galaxy.photometry_ivar) > 0).any()
    if not usable:
        galaxy.photometry = galaxy.photometry_ivar = None
        if row.photometry is not None:
            flux = np.array(row.photometry, np.float32)
            ivar = assumed_ivar(flux, np.array(row.photometry_ivar))
            if (ivar > 0).any():
                galaxy.photometry, galaxy.photometry_ivar = flux, ivar


def _spectra(jobs: list[Job], info: DatasetInfo) -> list[Galaxy | InputError]:
    plates = defaultdict(list)
    for i, job in enumerate(jobs):
        plates[job.spectrum if job.entry.whole else i].append(i)
    found: list = [None] * len(jobs)
    for members in plates.values():
        job = jobs[members[0]]
        try:
            if job.entry.whole:
                galaxies = read_plate(job.spectrum, [jobs[i].entry.row for i in members], info.grid)
            else:
                galaxies = [read_spectrum(job.spectrum, info.grid)]
        except InputError as error:
            galaxies = [error] * len(members)
        for i, galaxy in zip(members, galaxies):
            found[i] = galaxy
    return found


def _images(jobs: list[Job], info: DatasetInfo) -> list:
    """Image (band, y, x) of each job; None if it has no files, an `InputError` if they cannot be used."""
    groups = defaultdict(list)
    for i, job in enumerate(jobs):
        if job.images:
            groups[tuple(job.images.values())].append(i)
    found: list = [None] * len(jobs)
    for members in groups.values():
        files = jobs[members[0]].images
        images: list
        try:
            if "" in files:
                image, kind, _ = read_cutout(files[""], info.survey, info.image_size)
                if kind != info.image_kind:
                    raise InputError(files[""], f"it is a {kind} image, not a {info.image_kind} one")
                images = [image]
            else:
                positions = [(jobs[i].entry.row.ra, jobs[i].entry.row.dec) for i in members]
                images = cut_field(files, positions, info.survey, info.image_size)
        except InputError as error:
            images = [error] * len(members)
        for i, image in zip(members, images):
            found[i] = image
    return found
