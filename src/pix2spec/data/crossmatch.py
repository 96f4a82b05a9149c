"""Match the parts of one object: its repeat spectra, its catalogue row and its image."""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from pix2spec.core.filters import Filter
from pix2spec.core.survey import Survey
from pix2spec.data.pictures import galaxy_of_frame
from pix2spec.data.readers.catalogue_pieces import NO_FLUX
from pix2spec.data.readers.catalogue_rows import CatalogueRows
from pix2spec.data.readers.column_choices import group_of, read_choices
from pix2spec.data.readers.fits_planes import BAND_LETTERS
from pix2spec.data.readers.guards import sniff
from pix2spec.data.readers.images import Frame, image_kind, read_frame
from pix2spec.data.readers.picture_bundle import ImageBundle
from pix2spec.data.readers.table_formats import read_table
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = [
    "Cutouts",
    "ImportReport",
    "PhotometryTables",
    "Source",
    "group_ids",
    "in_survey_bands",
    "is_in_bands",
    "link_groups",
]

MAX_REPEAT_ARCSEC = 2.0  # spectra closer than this are repeats of one object
MAX_MATCH_ARCSEC = 1.0  # a catalogue row or an image closer than this belongs to the object
PICTURES = (".jpg", ".jpeg", ".png")
IMAGE_ENDINGS = (*PICTURES, ".fits", ".fit", ".fits.gz", ".fits.fz")


@dataclass
class ImportReport:
    """Result of an import.

    Attributes
    ----------
    path : Path
        The CSV file with the failures.
    n_written : int
        Number of galaxies in the dataset.
    n_spectra, n_images, n_photometry : int
        Number of galaxies with a spectrum, an image, photometry.
    failures : list of (source, reason)
        Spectra that were left out, and images and catalogue rows that were not used.
    notes : list of (source, note)
        Repairs and doubts.
    """

    path: Path
    n_written: int = 0
    n_spectra: int = 0
    n_images: int = 0
    n_photometry: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The counts in one line."""
        return (
            f"{self.n_written} pairs written ({self.n_spectra} with a spectrum, "
            f"{self.n_images} with an image, {self.n_photometry} with photometry), "
            f"{len(self.failures)} failures"
        )

    def fail(self, error: InputError) -> None:
        """Record a source that could not be used."""
        self.failures.append((error.where, f"{error.what} ({error.hint})" if error.hint else error.what))

    def note(self, where, notes: list[str]) -> None:
        """Record sentences about a source."""
        self.notes += [(str(where), note) for note in notes]

    def save(self) -> None:
        """Write the CSV file: one line per failure, and the counts in the last line."""
        with open(self.path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("source", "reason"))
            writer.writerows(self.failures)
            writer.writerow(("(summary)", self.summary))


@dataclass
class Source:
    """One object to be imported."""

    label: str  # name for messages
    header: Galaxy  # the galaxy without flux and image
    load: Callable[[], Galaxy] | None = None  # reads the galaxy with its spectrum, if there is one
    native: bool = False  # whether that has pixels of its own besides those on the grid


def _sky(galaxies: list[Galaxy]):
    """Coordinates of the galaxies that have a position, and their indices."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    positions = np.array([(p.ra, p.dec) for p in galaxies], float).reshape(-1, 2)
    known = np.flatnonzero(np.isfinite(positions).all(1))
    return SkyCoord(*positions[known].T, unit=u.deg), known


def group_ids(galaxies: list[Galaxy]) -> list[str]:
    """Group id of each galaxy. Galaxies with the same photometric id, or within 2 arcsec, share it."""
    positions = np.array([(p.ra, p.dec) for p in galaxies], float).reshape(-1, 2)
    return link_groups([galaxy.group_id for galaxy in galaxies], *positions.T)


def link_groups(names: list[str], ra: np.ndarray, dec: np.ndarray) -> list[str]:
    """Group id of each object. Objects with the same name, or within 2 arcsec, share it.

    A repeat of a repeat belongs to the same group. Both kinds of links are needed, because the photometric id
    of an object changes between data releases.

    Parameters
    ----------
    names : list of str
        Photometric id of each of the N objects, or its object id if that is unknown.
    ra, dec : array (N,)
        Positions in degrees; NaN where unknown.

    Returns
    -------
    list of str
        The lowest photometric id of each object's group, or the lowest name if the group has none.
    """
    import astropy.units as u
    from astropy.coordinates import SkyCoord, search_around_sky
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not names:
        return []
    first: dict = {}
    links = np.array([(i, first.setdefault(name, i)) for i, name in enumerate(names)])
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if len(known) > 1:
        sky = SkyCoord(ra[known], dec[known], unit=u.deg)
        i, j, *_ = search_around_sky(sky, sky, MAX_REPEAT_ARCSEC * u.arcsec)
        links = np.concatenate([links, np.stack([known[i], known[j]], axis=1)])
    graph = coo_matrix((np.ones(len(links)), links.T), shape=(len(names), len(names)))
    _, labels = connected_components(graph, directed=False)
    # Photometric ids come first, because other imports that have one of these objects know them too.
    members = defaultdict(list)
    for label, name in zip(labels, names):
        members[label].append((not name.isdigit(), name))
    return [min(members[label])[1] for label in labels]


class PhotometryTables:
    """Photometry of catalogue rows. Object ids, photometric ids or positions match rows to galaxies."""

    def __init__(
        self,
        paths,
        survey: Survey,
        report: ImportReport,
        curves: Mapping[str, Filter] | None = None,
        has_spectra: bool = False,
        columns: str | Mapping[str, str] | None = None,
        kind: str | None = None,
    ):
        """With `has_spectra`, rows may have a redshift, a position or the name of a file alone."""
        self.report = report
        self.rows: list[Galaxy] = []
        choices = replace(read_choices(columns, kind, curves), group=group_of(survey))
        for path in paths:
            table = CatalogueRows(read_table(path), choices, str(path), has_spectra)
            report.note(path, table.lines())
            self._append(path, table)
        measured = [row for row in self.rows if row.photometry is not None]
        self.as_measured = bool(curves) or any(not is_in_bands(row, survey) for row in measured)
        if not self.as_measured:
            self.rows = [in_survey_bands(row, survey) for row in self.rows]
        self.found: dict[int, Galaxy] = {}

    def _append(self, path, table: CatalogueRows) -> None:
        bad_rows = table.table.meta.get("bad_rows", 0)
        if bad_rows:
            self.report.fail(InputError(path, f"{bad_rows} rows have too many or too few cells"))
        for i, row in enumerate(table.galaxies()):
            if not isinstance(row, Galaxy):
                self.report.fail(InputError(f"{path}, row {i + 1}", row[1]))
                continue
            self.rows.append(row)
            if row.photometry is None and table.columns.bands:
                self.report.fail(InputError(f"{path}, row {i + 1}", NO_FLUX))

    def sources(self) -> Iterator[Source]:
        """Each row as a separate object."""
        return (Source(f"{row.object_id} (catalogue)", row) for row in self.rows)

    def match(self, galaxies: list[Galaxy]) -> None:
        """Find the row of each galaxy."""
        if not self.rows or not galaxies:
            return
        by_id = {row.group_id: row for row in reversed(self.rows)}
        by_id |= {row.object_id: row for row in reversed(self.rows)}
        near = _nearest(galaxies, self.rows)
        for i, galaxy in enumerate(galaxies):
            row = by_id.get(galaxy.object_id) or by_id.get(galaxy.group_id)
            if row is None and i in near:
                row = self.rows[near[i]]
            if row is not None:
                self.found[i] = row

    def add(self, i: int, galaxy: Galaxy) -> None:
        """Set the photometry of galaxy number `i`, and its redshift and position if they are unknown."""
        row = self.found.get(i)
        if row is None:
            return
        if row.photometry is not None:
            for name in ("photometry", "photometry_ivar", "filters", "kind", "curves", "extinction"):
                setattr(galaxy, name, getattr(row, name))
        galaxy.flags = tuple(dict.fromkeys((*galaxy.flags, *row.flags)))
        galaxy.spec_class = galaxy.spec_class or row.spec_class
        if np.isnan(galaxy.z):
            galaxy.z, galaxy.z_err = row.z, row.z_err
        if np.isnan(galaxy.ra):
            galaxy.ra, galaxy.dec = row.ra, row.dec


def is_in_bands(galaxy: Galaxy, survey: Survey) -> bool:
    """Whether the fluxes of a row are nothing but fibre fluxes in bands of a survey."""
    plain = set(galaxy.filters) <= set(survey.filters) and set(galaxy.kind) <= {"fibre"}
    return plain and galaxy.extinction == "observed" and not galaxy.flags


def in_survey_bands(galaxy: Galaxy, survey: Survey) -> Galaxy:
    """A galaxy with fibre fluxes as an array with the survey's bands; missing ones are NaN with ivar 0.

    A galaxy without photometry stays as it is.
    """
    if galaxy.photometry is None or galaxy.photometry_ivar is None:
        return galaxy
    flux, ivar = np.full(len(survey.filters), np.nan, np.float32), np.zeros(len(survey.filters), np.float32)
    given = zip(galaxy.filters, galaxy.photometry, np.asarray(galaxy.photometry_ivar))
    for name, value, weight in given:
        flux[survey.filters.index(name)], ivar[survey.filters.index(name)] = value, weight
    return replace(
        galaxy, photometry=flux, photometry_ivar=ivar, filters=(), kind="unknown", extinction="unknown"
    )


def _nearest(galaxies: list[Galaxy], others: list[Galaxy]) -> dict[int, int]:
    """Index of each galaxy to the index of its nearest neighbour in `others` within 1 arcsec."""
    import astropy.units as u

    sky, known = _sky(galaxies)
    other_sky, other_known = _sky(others)
    if not len(known) or not len(other_known):
        return {}
    index, distance, _ = sky.match_to_catalog_sky(other_sky)
    near = distance < MAX_MATCH_ARCSEC * u.arcsec
    return dict(zip(known[near].tolist(), other_known[index[near]].tolist()))


@dataclass
class _Picture:
    label: str
    kind: str
    header: Galaxy
    frame: Callable[[], Frame]


class Cutouts:
    """Images of a folder or bundle, all of one kind. Their names or positions match them to galaxies.

    With `fibre`, the diameter in arcsec of a spectrograph's fibre, their photometry is measured.
    """

    def __init__(self, path, survey: Survey, size: int, any_scale: bool, any_bands: bool, report, fibre=None):
        self.survey, self.size, self.report, self.fibre = survey, size, report, fibre
        self.scale = None if any_scale else survey.pixel_scale
        self.pictures: list[_Picture] = []
        self.found: dict[int, int] = {}
        if path is not None:
            path = Path(path)
            if path.is_dir():
                self.pictures = list(self._files(sorted(path.rglob("*")), path))
            elif path.name.lower().endswith(IMAGE_ENDINGS):
                self.pictures = list(self._files([path], path))
            else:
                bundle = ImageBundle(path, survey, size, any_bands)
                self.pictures = [self._bundled(bundle, i) for i in range(len(bundle))]
        self.kind = self._one_kind()

    def _files(self, paths: list[Path], source: Path) -> Iterator[_Picture]:
        files = defaultdict(list)
        for path in paths:
            name = path.name.lower()
            longest_first = sorted(IMAGE_ENDINGS, key=len, reverse=True)
            ending = next((e for e in longest_first if name.endswith(e)), None)
            if ending is None or not path.is_file():
                continue
            stem, kind = path.name[: -len(ending)], "composite" if ending in PICTURES else "linear"
            base, _, band = stem.replace("_", "-").rpartition("-")
            if kind == "linear" and base and len(band) == 1 and band.lower() in BAND_LETTERS:
                stem = stem[:-2]  # one file per band
            files[stem, kind].append(path)
        if not files:
            raise InputError(source, "the folder holds no images (FITS, JPEG, PNG)")
        for (stem, _), paths in files.items():
            try:
                kind, content = image_kind(paths[0]), sniff(paths[0])
                if content not in ("fits", "gzip", "jpeg", "png"):
                    what = f"its content is {content}, not an image"
                    raise InputError(paths[0], what, "download it again")
            except InputError as error:
                self.report.fail(error)
                continue
            yield _Picture(str(paths[0]), kind, Galaxy(stem), partial(read_frame, paths, self.survey))

    def _bundled(self, bundle: ImageBundle, i: int) -> _Picture:
        keys = bundle.keys(i)
        header = Galaxy(keys["object_id"], keys["photo_id"], keys["ra"], keys["dec"])
        label, bands = bundle.label(i), self.survey.image_bands

        def frame() -> Frame:
            return Frame(Path(label), "composite", bundle.image(i)[0], bands, notes=bundle.notes(i))

        return _Picture(label, "composite", header, frame)

    def _one_kind(self) -> str | None:
        """The kind of most images. Images of the other kind are refused: a dataset holds one kind."""
        counts = Counter(picture.kind for picture in self.pictures).most_common()
        if not counts:
            return None
        kind = counts[0][0]
        for picture in self.pictures:
            if picture.kind != kind:
                what = f"it is a {picture.kind} image, but most images are {kind}"
                self.report.fail(InputError(picture.label, what, "import it into a separate dataset"))
        self.pictures = [picture for picture in self.pictures if picture.kind == kind]
        return kind

    def sources(self) -> Iterator[Source]:
        """Each image as a separate object without a spectrum. FITS images give their own position."""
        for picture in self.pictures:
            if picture.kind == "linear":
                try:
                    ra, dec = picture.frame().position()
                except InputError as error:
                    self.report.fail(error)
                    continue
                picture.header = replace(picture.header, ra=ra, dec=dec)
            yield Source(picture.label, replace(picture.header))

    def match(self, galaxies: list[Galaxy]) -> None:
        """Find the image of each galaxy by object id, by photometric id, or else by position."""
        by_object = {p.header.object_id: k for k, p in enumerate(self.pictures)}
        by_photo = {p.header.group_id: k for k, p in enumerate(self.pictures)}
        near = _nearest(galaxies, [p.header for p in self.pictures]) if self.pictures and galaxies else {}
        for i, galaxy in enumerate(galaxies):
            places = (by_object.get(galaxy.object_id), by_photo.get(galaxy.group_id), near.get(i))
            k = next((k for k in places if k is not None), None)
            if k is not None:
                self.found[i] = k

    def add(self, i: int, galaxy: Galaxy) -> Galaxy:
        """Galaxy number `i` with its image, unless there is none, or it cannot be used, which is reported."""
        if i not in self.found:
            return galaxy
        picture = self.pictures[self.found[i]]
        try:
            frame = picture.frame()
            if self.fibre is None:
                galaxy = replace(galaxy, image=frame.cutout(self.size, self.scale))
            else:
                galaxy = galaxy_of_frame(galaxy, frame, self.survey, self.size, self.scale, self.fibre)
        except InputError as error:
            self.report.fail(error)
            return galaxy
        self.report.notes += [(picture.label, note) for note in frame.notes]
        return galaxy

    def report_unused(self) -> None:
        """Report the images that belong to no spectrum."""
        used = set(self.found.values())
        for k, picture in enumerate(self.pictures):
            if k not in used:
                what = f"no spectrum has the object id {picture.header.object_id!r}"
                self.report.fail(InputError(picture.label, what, "use object ids as the names of images"))
