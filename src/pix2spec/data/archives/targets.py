"""Make a dataset for positions or names: fetch cutouts and fibre photometry, and keep them in a cache."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import is_missing
from pix2spec.core.survey import Survey
from pix2spec.data.archives.urls import release_named
from pix2spec.data.crossmatch import in_survey_bands, is_in_bands
from pix2spec.data.dataset import Dataset, read_schema, write_dataset
from pix2spec.data.readers.catalogue_ids import given_ids
from pix2spec.data.readers.catalogue_rows import CatalogueRows
from pix2spec.data.readers.column_choices import Choices, group_of
from pix2spec.data.readers.column_roles import role_of
from pix2spec.data.readers.column_values import (
    MISSING_POSITION,
    declinations,
    numbers,
    redshifts,
    right_ascensions,
)
from pix2spec.data.readers.columns import Columns, read_columns
from pix2spec.data.readers.guards import fits_hdus, sniff
from pix2spec.data.readers.images import read_cutout
from pix2spec.data.readers.table_formats import read_table
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.provenance import run_provenance

__all__ = ["LAYERS", "Fetch", "TargetSet", "fetch_targets", "is_position_table"]

# Survey to its layer of the Legacy Surveys viewer. Other telescopes observed the Legacy Surveys north of
# declination 32.375 degrees in the northern galactic cap (www.legacysurvey.org/dr9/description).
LAYERS = {"sdss": "sdss", "legacy": "ls-dr10-south", "legacy-north": "ls-dr9-north"}
SIZE = 64  # pixels per side
MATCH_RADIUS = 3.0  # arcsec between a target and its object in the catalogue
MAX_UNANSWERED = 3  # After so many unanswered questions in a row, a server is not asked again.
NAMES = ("name", "object", "target", "object_name", "object_id")  # columns that hold names


@dataclass
class Fetch:
    """Sources of the data of targets.

    Parameters
    ----------
    services : pix2spec.data.archives.urls.Services
        Addresses.
    cache : path
        Folder that keeps downloaded files and answers.
    release : str
        SDSS data release of the photometry.
    sesame : str, optional
        Address of the name resolver. The default is CDS's.

    Raises
    ------
    InputError
        If the release is unknown.
    """

    services: Any
    cache: Path
    release: str = "dr17"
    sesame: str | None = None

    def __post_init__(self):
        release_named(self.release)


@dataclass
class TargetSet:
    """Result of `fetch_targets`.

    Attributes
    ----------
    dataset : Dataset
    failures : list of (object id, reason)
        Rows of the table that could not be used.
    extinction : dict of str to array (band,)
        Object id to SDSS's value of its Galactic extinction in the photometric bands, in magnitudes.
    n_photometry : int
        Number of objects with photometry.
    """

    dataset: Dataset
    failures: list[tuple[str, str]] = field(default_factory=list)
    extinction: dict[str, np.ndarray] = field(default_factory=dict)
    n_photometry: int = 0


@dataclass
class _Target:
    row: int  # number in the file, from 1
    galaxy: Galaxy  # without image
    name: str  # gives the position if the table has none


def is_position_table(path: str | Path) -> bool:
    """Whether a file is a table (text, FITS, VOTable, Parquet, HDF5) rather than a picture or a dataset."""
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
    return kind in ("text", "votable", "gzip", "bz2", "hdf5")


def fetch_targets(
    path: str | Path, survey: Survey, out: Path, fetch: Fetch, grid: SpectralGrid, progress: bool = True
) -> TargetSet:
    """Make a dataset of the targets in a table.

    A row that cannot be used is left out and reported; the others are used.

    Parameters
    ----------
    path : path
        A table with ``ra`` and ``dec`` in degrees, or with names that Sesame knows. It may also have ids,
        band fluxes and redshifts, as in `pix2spec.data.readers.catalogue_rows`.
    survey : Survey
        A survey with a layer in `LAYERS`.
    out : path
        Folder of the dataset. The dataset of an earlier run in it is replaced.
    fetch : Fetch
        Sources of the data.
    grid : SpectralGrid
        Wavelength grid of the spectra that will be generated.
    progress : bool
        Show progress bars on a terminal.

    Returns
    -------
    TargetSet

    Raises
    ------
    InputError
        If the table or the survey cannot be used, or none of the rows.
    """
    if survey.name not in LAYERS:
        hint = f"choose from {', '.join(LAYERS)}, or generate from your own cutouts"
        raise InputError("`survey`", f"cutouts of {survey.name} cannot be fetched", hint)
    failures: list[tuple[str, str]] = []
    targets = list(_with_positions(_read(path, survey, failures), fetch, failures, progress))
    extinction: dict[str, np.ndarray] = {}
    if survey.name == "sdss":
        targets = list(_with_photometry(targets, fetch, extinction, failures, progress))
        n_photometry = sum(target.galaxy.photometry is not None for target in targets)
    else:
        n_photometry = 0
    for shard in out.glob("pairs-*.parquet"):  # An earlier run left them that ended before the catalogue.
        shard.unlink()
    provenance = run_provenance() | {"targets": str(path), "cutouts": LAYERS[survey.name]}
    provenance |= {"photometry": f"SDSS {fetch.release}, fibre fluxes"} if n_photometry else {}
    info = DatasetInfo(grid=grid, survey=survey, image_size=SIZE, provenance=provenance)
    info = replace(info, as_measured=any(target.galaxy.filters for target in targets))
    write_dataset(out, _with_images(targets, survey, fetch, failures, progress), info)
    if not any(out.glob("pairs-*.parquet")):
        reasons = "; ".join(f"{where}: {why}" for where, why in failures[:3])
        raise InputError(path, f"none of its rows could be used ({len(failures)} failed)", reasons)
    return TargetSet(Dataset(out), failures, extinction, n_photometry)


def _ask(fetch: Fetch, question: str, answer=None):
    """The answer to a question: from the cache, or else the result of `answer()`, which is then cached.

    Raises `_Unanswered` if the cache does not have it and `answer` is None.
    """
    name = hashlib.blake2b(question.encode(errors="replace"), digest_size=16).hexdigest()
    path = fetch.cache / "answers" / f"{name}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # A missing or damaged file is asked for again.
        return json.loads(path.read_bytes())["answer"]
    if answer is None:
        raise _Unanswered("the server did not answer before, and was not asked again")
    kept = {"question": question, "answer": answer()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(kept)))
    return kept["answer"]


# ------------------------------------------------------------------------------ positions of the rows


def _read(path, survey: Survey, failures) -> Iterator[_Target]:
    """The rows of a table, with or without a position."""
    table = read_table(path)
    left_out = table.meta.get("bad_row_numbers", ())
    for row in left_out:
        failures.append((f"{Path(path).stem}-{row}", f"row {row}: it has too many or too few cells"))
    plain = [n for n in table.colnames if role_of(n) or n in ("z", "Z")]
    columns = read_columns(table[plain], str(path)) if plain else Columns(str(path), [], {})
    ids, (ra, dec) = given_ids(table, columns), _degrees(table, columns)
    lower = {name.lower().strip(): name for name in table.colnames}
    column = next((lower[name] for name in NAMES if name in lower), None)
    if not np.isfinite(ra).any() and column is None:
        raise InputError(
            path, "it has neither ra and dec in degrees nor names", f"its columns are {', '.join(lower)}"
        )
    own = list(_own_photometry(table, survey, path))
    seen: dict = {}
    for i, row in enumerate(_numbers(len(table), left_out)):
        name = "" if column is None else str(np.ma.filled(table[column][i], "")).strip()
        object_id = ids[i] or name or f"{Path(path).stem}-{row}"
        if object_id in seen:
            failures.append((object_id, f"row {row}: it repeats the id of row {seen[object_id]}"))
            continue
        seen[object_id] = row
        galaxy = replace(own[i], object_id=object_id, group_id=object_id)
        galaxy.ra, galaxy.dec = float(ra[i]), float(dec[i])
        yield _Target(row, galaxy, name)


def _degrees(table, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Right ascensions and declinations; numbers that are not on the sky stay, for the report."""
    found = []
    for role, read in (("ra", right_ascensions), ("dec", declinations)):
        name = columns.first(role)
        if not name:
            found.append(np.full(len(table), np.nan))
            continue
        raw = numbers(table[name])
        degrees = read(table[name], str(getattr(table[name], "unit", "") or ""))
        found.append(np.where(np.isnan(degrees) & ~is_missing(raw, MISSING_POSITION), raw, degrees))
    return found[0], found[1]


def _numbers(n: int, left_out) -> list[int]:
    """Positions in the file (from 1) of the `n` rows of a table, without those in `left_out`."""
    skipped = set(left_out)
    return [row for row in range(1, n + len(skipped) + 1) if row not in skipped]


def _own_photometry(table, survey: Survey, path) -> Iterator[Galaxy]:
    """The rows of a table with their photometry and redshifts, if it has any."""
    try:
        rows = CatalogueRows(table, Choices(group=group_of(survey)), str(path))
    except InputError:  # no magnitudes, or some that cannot be known: the servers have others
        plain = [n for n in table.colnames if role_of(n) or n == "z"]
        name = read_columns(table[plain], str(path)).first("redshift") if plain else ""
        z = redshifts(numbers(table[name])) if name else np.full(len(table), np.nan)
        yield from (Galaxy("", z=float(value)) for value in z)
        return
    for row in rows.galaxies():
        if isinstance(row, Galaxy):
            yield in_survey_bands(row, survey) if is_in_bands(row, survey) else row
        else:
            yield Galaxy(row[0])


def _with_positions(targets, fetch: Fetch, failures, progress: bool) -> Iterator[_Target]:
    """Find the positions of targets. Those without a position on the sky are left out and reported."""
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
            if unanswered >= MAX_UNANSWERED:
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
    """A server did not answer. The row may be right."""


def _resolve(name: str, address: str | None) -> list[float]:
    """ICRS position of a named object in degrees, from Sesame (SIMBAD, NED, VizieR)."""
    from astropy.coordinates import SkyCoord, name_resolve

    addresses = [address] if address else name_resolve.sesame_url.get()
    try:
        with name_resolve.sesame_url.set(addresses):
            sky = SkyCoord.from_name(name)
    except name_resolve.NameResolveError as error:
        if str(error).startswith("Unable to find coordinates"):
            what = f"no object is known as {name!r}"
            raise InputError(name, what, "give ra and dec in degrees") from error
        raise _Unanswered(f"the name resolver did not answer for {name!r}") from error
    return [float(sky.ra.deg), float(sky.dec.deg)]


# -------------------------------------------------------------- photometry and images at the positions


def _with_photometry(targets, fetch: Fetch, extinction: dict, failures, progress: bool) -> Iterator[_Target]:
    """Add SDSS's fibre fluxes to targets. Targets without an object in SDSS stay without photometry."""
    unanswered = 0
    for target in progress_bar(targets, "asking for photometry", progress, len(targets)):
        galaxy = target.galaxy
        question = f"photometry {fetch.release} {galaxy.ra:.7f} {galaxy.dec:.7f}"
        try:
            answer = partial(_photometry, fetch, galaxy.ra, galaxy.dec)
            row = _ask(fetch, question, answer if unanswered < MAX_UNANSWERED else None)
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
    """Fluxes, inverse variances and extinctions (each (5,)) of the primary object at a position, or None."""
    from pix2spec.data.archives.sdss.select_sql import photometry_near

    row = photometry_near(fetch.services, fetch.release, ra, dec, MATCH_RADIUS)
    return [list(row.photometry), list(row.photometry_ivar), list(row.extinction)] if row else None


def _with_images(targets, survey: Survey, fetch: Fetch, failures, progress: bool) -> Iterator[Galaxy]:
    """Galaxies with a cutout, in the order of the table."""
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
            what = f"no cutout: {error.what} (check that the position lies inside {survey.name})"
            failures.append((target.galaxy.object_id, f"row {target.row}: {what}"))


def _with_image(galaxy: Galaxy, path: Path, survey: Survey) -> Galaxy:
    try:
        galaxy.image, _, _ = read_cutout(path, survey, SIZE)
    except InputError:
        path.unlink(missing_ok=True)  # The next run then fetches it again.
        raise
    return galaxy
