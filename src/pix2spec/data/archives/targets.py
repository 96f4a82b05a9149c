"""From positions or names to a dataset: cutouts and fibre photometry, fetched once and kept in a cache."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.data.archives.urls import release_named
from pix2spec.data.dataset import Dataset, read_schema, write_dataset
from pix2spec.data.readers.guards import fits_hdus, sniff
from pix2spec.data.readers.images import read_cutout
from pix2spec.data.readers.tables import photometry_from_table, positions_from_table, read_table, redshift
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.provenance import run_provenance

__all__ = ["LAYERS", "Fetch", "TargetSet", "fetch_targets", "is_position_table"]

# Layers of the Legacy Surveys viewer: north of declination 32.375 degrees, in the northern galactic cap, the
# Legacy Surveys are of other telescopes (www.legacysurvey.org/dr9/description).
LAYERS = {"sdss": "sdss", "legacy": "ls-dr10-south", "legacy-north": "ls-dr9-north"}
SIZE = 64  # pixels a side
WITHIN = 3.0  # arcsec: the catalogue's object is the one that was meant
GIVE_UP = 3  # unanswered questions in a row, after which a server is left alone
NAMES = ("name", "object", "target", "object_name", "object_id")


@dataclass
class Fetch:
    """Where targets are fetched from.

    Parameters
    ----------
    services : pix2spec.data.archives.urls.Services
    cache : path
        Folder that keeps what was fetched.
    release : str
        Of SDSS, for its photometry.
    sesame : str, optional
        Address of the name resolver instead of CDS's.
    """

    services: Any
    cache: Path
    release: str = "dr17"
    sesame: str | None = None

    def __post_init__(self):
        release_named(self.release)


@dataclass
class TargetSet:
    """What became of a table of targets.

    `failures` holds (object id, reason) of the rows that could not be used; `extinction` what SDSS says of it
    by object id, in magnitudes of the photometric bands; `n_photometry` objects have photometry.
    """

    dataset: Dataset
    failures: list[tuple[str, str]] = field(default_factory=list)
    extinction: dict[str, np.ndarray] = field(default_factory=dict)
    n_photometry: int = 0


@dataclass
class _Target:
    row: int
    galaxy: Galaxy  # without image
    name: str  # to be resolved where there is no position


def is_position_table(path: str | Path) -> bool:
    """Whether a file is a table (CSV, FITS, VOTable, Parquet) rather than a picture or a dataset."""
    path = Path(path)
    if not path.is_file():
        return False
    kind = sniff(path)
    if kind == "parquet":
        return b"pix2spec" not in (read_schema(path).metadata or {})
    if kind == "fits" or (kind == "gzip" and ".fit" in path.name.lower()):
        with fits_hdus(path) as hdus:
            images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and len(hdu.shape) >= 2]
            return not images and any(hasattr(hdu, "columns") for hdu in hdus)
    return kind in ("text", "votable", "gzip")


def fetch_targets(
    path: str | Path, survey: Survey, out: Path, fetch: Fetch, grid: SpectralGrid, progress: bool = True
) -> TargetSet:
    """Make a dataset of the targets in a table; one bad row costs no other.

    Parameters
    ----------
    path : path
        A table with ``ra`` and ``dec`` in degrees, or names that Sesame knows; with ids, band fluxes and
        redshifts, if it has them, as in `pix2spec.data.readers.tables`.
    survey : Survey
        One of `LAYERS`.
    out : path
        Folder of the dataset; one that an earlier run left there is replaced.
    fetch : Fetch
    grid : SpectralGrid
        Of the spectra that will be generated.

    Raises
    ------
    InputError
        If the table or the survey cannot be used, or no row could.
    """
    if survey.name not in LAYERS:
        hint = f"choose from {', '.join(LAYERS)}, or generate from cutouts of your own"
        raise InputError("`survey`", f"cutouts of {survey.name} are not fetched", hint)
    failures: list[tuple[str, str]] = []
    targets = list(_placed(_read(path, survey, failures), fetch, failures, progress))
    extinction: dict[str, np.ndarray] = {}
    if survey.name == "sdss":
        targets = list(_with_photometry(targets, fetch, extinction, failures, progress))
        n_photometry = sum(target.galaxy.photometry is not None for target in targets)
    else:
        n_photometry = 0
    for shard in out.glob("pairs-*.parquet"):  # of an earlier run, which ended before the catalogue
        shard.unlink()
    provenance = run_provenance() | {"targets": str(path), "cutouts": LAYERS[survey.name]}
    provenance |= {"photometry": f"SDSS {fetch.release}, fibre fluxes"} if n_photometry else {}
    info = DatasetInfo(grid=grid, survey=survey, image_size=SIZE, provenance=provenance)
    write_dataset(out, _with_images(targets, survey, fetch, failures, progress), info)
    if not any(out.glob("pairs-*.parquet")):
        reasons = "; ".join(f"{where}: {why}" for where, why in failures[:3])
        raise InputError(path, f"none of its rows could be used ({len(failures)} failed)", reasons)
    return TargetSet(Dataset(out), failures, extinction, n_photometry)


def _ask(fetch: Fetch, question: str, answer=None):
    """The answer to a small question: from its file in the cache, else what `answer()` gives, which is kept.

    Raises `_Unanswered` if it is not in the cache and there is no `answer`.
    """
    name = hashlib.blake2b(question.encode(errors="replace"), digest_size=16).hexdigest()
    path = fetch.cache / "answers" / f"{name}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # not there, or damaged: asked again
        return json.loads(path.read_bytes())["answer"]
    if answer is None:
        raise _Unanswered("it did not answer before, and was not asked again")
    kept = {"question": question, "answer": answer()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(kept)))
    return kept["answer"]


# ------------------------------------------------------------------------------ rows to positions


def _read(path, survey: Survey, failures) -> Iterator[_Target]:
    """The rows of a table, numbered from 1, whether they have a position or not."""
    table = read_table(path)
    left_out = table.meta.get("bad_row_numbers", ())
    for row in left_out:
        failures.append((f"{Path(path).stem}-{row}", f"row {row}: it has too many or too few cells"))
    ids, ra, dec = positions_from_table(table)
    lower = {name.lower().strip(): name for name in table.colnames}
    column = next((lower[name] for name in NAMES if name in lower), None)
    if not np.isfinite(ra).any() and column is None:
        raise InputError(
            path, "it has neither ra and dec in degrees nor names", f"its columns are {', '.join(lower)}"
        )
    flux, ivar = _own_photometry(table, survey)
    z, numbers = redshift(table), _numbers(len(table), left_out)
    seen: dict = {}
    for i, row in enumerate(numbers):
        name = "" if column is None else str(np.ma.filled(table[column][i], "")).strip()
        object_id = ids[i] or name or f"{Path(path).stem}-{row}"
        if object_id in seen:
            failures.append((object_id, f"row {row}: it repeats the id of row {seen[object_id]}"))
            continue
        seen[object_id] = row
        galaxy = Galaxy(object_id, ra=float(ra[i]), dec=float(dec[i]), z=float(z[i]))
        if flux is not None and (ivar[i] > 0).any():
            galaxy.photometry, galaxy.photometry_ivar = flux[i], ivar[i]
        yield _Target(row, galaxy, name)


def _numbers(n: int, left_out) -> list[int]:
    """Numbers in the file of the `n` rows of a table."""
    skipped = set(left_out)
    return [row for row in range(1, n + len(skipped) + 1) if row not in skipped]


def _own_photometry(table, survey: Survey):
    """Fluxes and inverse variances that the table itself has, or None."""
    try:
        *_, flux, ivar = photometry_from_table(table, survey)
    except InputError:  # no set of columns with the survey's bands
        return None, None
    return flux, ivar


def _placed(targets, fetch: Fetch, failures, progress: bool) -> Iterator[_Target]:
    """Targets with a position on the sky."""
    unanswered = 0
    for target in progress_bar(targets, "finding positions", progress):
        galaxy = target.galaxy
        where = f"row {target.row}"
        if np.isfinite(galaxy.ra) and np.isfinite(galaxy.dec):
            if 0 <= galaxy.ra <= 360 and abs(galaxy.dec) <= 90:
                yield target
            else:
                what = f"ra {galaxy.ra:g}, dec {galaxy.dec:g} is not on the sky"
                failures.append((galaxy.object_id, f"{where}: {what} (degrees, ra from 0 to 360)"))
            continue
        if not target.name:
            failures.append((galaxy.object_id, f"{where}: it has neither a position in degrees nor a name"))
            continue
        try:
            if unanswered >= GIVE_UP:
                raise _Unanswered("the name resolver did not answer before, and was not asked again")
            galaxy.ra, galaxy.dec = _ask(
                fetch, f"name {target.name}", partial(_resolve, target.name, fetch.sesame)
            )
            unanswered = 0
            yield target
        except _Unanswered as error:
            unanswered += 1
            failures.append((galaxy.object_id, f"{where}: {error}"))
        except InputError as error:
            unanswered = 0
            failures.append((galaxy.object_id, f"{where}: {error.what} ({error.hint})"))


class _Unanswered(Exception):
    """A server that is not there, which says nothing about the row."""


def _resolve(name: str, address: str | None) -> list[float]:
    """ICRS position of a named object in degrees, from Sesame (SIMBAD, NED, VizieR)."""
    from astropy.coordinates import SkyCoord, name_resolve

    addresses = [address] if address else name_resolve.sesame_url.get()
    try:
        with name_resolve.sesame_url.set(addresses):
            sky = SkyCoord.from_name(name)
    except name_resolve.NameResolveError as error:
        if str(error).startswith("Unable to find coordinates"):
            raise InputError(name, f"no object is known as {name!r}", "give ra and dec in degrees") from error
        raise _Unanswered(f"the name resolver did not answer for {name!r}") from error
    return [float(sky.ra.deg), float(sky.dec.deg)]


# ------------------------------------------------------------------- positions to what was observed


def _with_photometry(targets, fetch: Fetch, extinction: dict, failures, progress: bool) -> Iterator[_Target]:
    """Targets with SDSS's fibre fluxes where it has an object there; they stay without where it has none."""
    unanswered = 0
    for target in progress_bar(targets, "asking for photometry", progress, len(targets)):
        galaxy = target.galaxy
        question = f"photometry {fetch.release} {galaxy.ra:.7f} {galaxy.dec:.7f}"
        try:
            answer = partial(_photometry, fetch, galaxy.ra, galaxy.dec)
            row = _ask(fetch, question, answer if unanswered < GIVE_UP else None)
            unanswered = 0
        except _Unanswered as error:
            what = f"{fetch.services.skyserver}: {error}"
            failures.append((galaxy.object_id, f"row {target.row}: no photometry: {what}"))
            continue
        except InputError as error:
            unanswered += 1
            failures.append((galaxy.object_id, f"row {target.row}: no photometry: {error}"))
            continue
        if row is not None:
            flux, ivar, extinction[galaxy.object_id] = (np.array(values, float) for values in row)
            if galaxy.photometry is None:
                galaxy.photometry, galaxy.photometry_ivar = flux.astype(np.float32), ivar.astype(np.float32)
        yield target


def _photometry(fetch: Fetch, ra: float, dec: float) -> list | None:
    """Fluxes, inverse variances and extinction of the primary object there, each of five bands."""
    from pix2spec.data.archives.sdss.select_sql import photometry_near

    row = photometry_near(fetch.services, fetch.release, ra, dec, WITHIN)
    return [list(row.photometry), list(row.photometry_ivar), list(row.extinction)] if row else None


def _with_images(targets, survey: Survey, fetch: Fetch, failures, progress: bool) -> Iterator[Galaxy]:
    """Pairs with a cutout, in the order of the table."""
    from pix2spec.data.archives.download import Downloader
    from pix2spec.data.archives.urls import fits_cutout

    layer, bands = LAYERS[survey.name], "".join(survey.image_bands)
    remotes = [
        fits_cutout(fetch.services, layer, t.galaxy.ra, t.galaxy.dec, SIZE, survey.pixel_scale, bands)
        for t in targets
    ]
    different = {remote.name: remote for remote in remotes}
    with Downloader(fetch.cache, workers=4, rate=5.0, max_bytes=2**24) as downloader:
        results = progress_bar(
            downloader.fetch(different.values()), "fetching cutouts", progress, len(different)
        )
        arrived = {result.remote.name: result for result in results}
    for target, remote in zip(targets, remotes):
        result = arrived[remote.name]
        try:
            if result.path is None:
                raise InputError(remote.url, result.error)
            yield _with_image(target.galaxy, result.path, survey)
        except InputError as error:
            what = f"no cutout: {error.what}; is it outside {survey.name}?"
            failures.append((target.galaxy.object_id, f"row {target.row}: {what}"))


def _with_image(galaxy: Galaxy, path: Path, survey: Survey) -> Galaxy:
    try:
        galaxy.image, _, _ = read_cutout(path, survey, SIZE)
    except InputError:
        path.unlink(missing_ok=True)  # so that the next run asks for it again
        raise
    return galaxy
