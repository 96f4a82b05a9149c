"""Import spectra and images of the Multimodal Universe. Ids or positions match the images to spectra."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import LEGACY, SDSS, Survey
from pix2spec.data.crossmatch import ImportReport, link_groups
from pix2spec.data.dataset import write_dataset
from pix2spec.data.mmu.read import Row, read_rows, universe_files
from pix2spec.data.readers.desi import flux_columns, set_photometry, set_spectrum
from pix2spec.data.readers.guards import spec_id
from pix2spec.data.readers.images import prepare_plane
from pix2spec.data.readers.spectrum_headers import HARMLESS_ZWARNING, trusted_redshift
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.provenance import run_provenance

__all__ = ["import_universe"]

KEYS = ("object_id", "ra", "dec", "BESTOBJID")
SDSS_COLUMNS = ("Z_ERR", "ZWARNING", "CLASS")
DESI_COLUMNS = ("ZERR", "ZWARN", "SPECTYPE", "PHOTSYS")
SCALE_TOLERANCE = 0.02  # relative
SURVEY_HINT = "give the survey of the images as `survey`"


def import_universe(
    out: str | Path,
    spectra: list,
    images: list | None = None,
    match: float = 1.0,
    limit: int | None = None,
    survey: Survey | None = None,
    image_size: int = 64,
    grid: SpectralGrid | None = None,
    progress: bool = True,
) -> ImportReport:
    """Make a dataset of the Multimodal Universe's Parquet, HDF5 or HATS files.

    The positions and ids of all objects are read first. Then the images that belong to a spectrum are copied
    to a temporary file in `out`, and last the spectra are read. A few hundred bytes per object stay in
    memory. A row that cannot be used is left out and reported; the others are imported.

    Parameters
    ----------
    out : path
        Folder of the new dataset. The file ``import-report.csv`` in it lists the rows that were not used.
    spectra, images : list of path
        Files, or folders that are searched for them.
    match : float
        Largest distance in arcsec between an image and its spectrum, if they do not have the same object id.
    limit : int, optional
        Largest number of spectra to read.
    survey : Survey, optional
        Bands and pixel scale of the images, and bands of the photometry. The default is the southern part of
        the Legacy Surveys if there are images or DESI spectra, and SDSS otherwise.
    image_size : int
        Pixels per side of the dataset's images. Larger images are cropped about their centre.
    grid : SpectralGrid, optional
        The wavelength grid of the dataset. Spectra on other pixels are resampled (`pix2spec.core.resample`).
        The default is ``SpectralGrid()``.
    progress : bool
        Show progress bars on a terminal.

    Returns
    -------
    ImportReport

    Raises
    ------
    InputError
        If `out` already holds a dataset, a path does not exist, or images and spectra cannot be matched
        because they have neither common ids nor positions.
    """
    out, grid = Path(out), grid or SpectralGrid()
    if any(out.glob("*.parquet")):
        raise InputError(out, "it already holds a dataset", "choose another folder, or delete this one")
    spectrum_files, image_files = universe_files(spectra), universe_files(images or [])
    report = ImportReport(out / "import-report.csv")
    out.mkdir(parents=True, exist_ok=True)
    sky = _read_keys(spectrum_files, "spectrum", report, progress, limit)
    survey = survey or (LEGACY if image_files or sky.is_desi else SDSS)
    if not sky.is_desi:
        survey = replace(survey, fibre_diameter=SDSS.fibre_diameter)
    cutouts = _Cutouts(out / "cutouts.partial", survey, image_size, report)
    info = DatasetInfo(
        grid=grid,
        survey=survey,
        image_kind="linear" if image_files else None,
        image_size=image_size,
        provenance=run_provenance()
        | {"spectra": [str(p) for p in spectra], "images": [str(p) for p in images or []]},
    )
    try:
        if image_files:
            cutouts.match(sky, _read_keys(image_files, "image", report, progress), match)
            cutouts.read(image_files, progress)
        galaxies = _galaxies(spectrum_files, sky, cutouts, grid, report)
        write_dataset(out, progress_bar(galaxies, "reading spectra", progress, len(sky)), info)
    finally:
        cutouts.close()
        with suppress(OSError):  # a full disk must not hide the first error
            report.save()
    return report


class _Keys:
    """Ids and positions of all rows of some files. `rows` is the number of rows that each file gave."""

    def __init__(self):
        self.ids, self.groups, self.rows = [], [], []
        self.ra: Any = []
        self.dec: Any = []
        self.is_desi = False

    def __len__(self) -> int:
        return len(self.ids)


def _read_keys(files, what: str, report: ImportReport, progress: bool, limit: int | None = None) -> _Keys:
    keys = _Keys()
    columns = (*KEYS, *SDSS_COLUMNS, *DESI_COLUMNS) if what == "spectrum" else KEYS
    for path in progress_bar(files, f"reading positions ({what})", progress):
        before, left = len(keys), None if limit is None else limit - len(keys)
        try:
            for row in islice(read_rows(path, what, columns, arrays=False), left):
                ra, dec = row.number("ra"), row.number("dec")
                on_sky = 0 <= ra <= 360 and -90 <= dec <= 90
                keys.ids.append(_object_id(row))
                keys.groups.append(row.text("BESTOBJID").lstrip("0") or keys.ids[-1])
                keys.ra.append(ra if on_sky else np.nan)
                keys.dec.append(dec if on_sky else np.nan)
                keys.is_desi |= "ZWARN" in row.scalars
        except InputError as error:
            report.fail(error)
        keys.rows.append(len(keys) - before)
    keys.ra, keys.dec = np.array(keys.ra, float), np.array(keys.dec, float)
    return keys


def _object_id(row: Row) -> str:
    """Object id of a row: plate-mjd-fiber for SDSS's SPECOBJID, else the file's id, else the row's label.

    SPECOBJID has the plate in bits 50 to 63, the fibre in 38 to 49, the MJD less 50000 in 24 to 37
    (https://www.sdss4.org/dr17/help/glossary/#specobj).
    """
    name = row.text("object_id")
    if "ZWARNING" in row.scalars and name.isdigit() and int(name) >> 50:
        number = int(name)
        return spec_id(number >> 50, 50000 + (number >> 24 & 0x3FFF), number >> 38 & 0xFFF)
    return name or row.label


class _Cutouts:
    """Images that belong to a spectrum. They are cropped and stored in a temporary file."""

    def __init__(self, path: Path, survey: Survey, size: int, report: ImportReport):
        self.path, self.survey, self.size, self.report = path, survey, size, report
        self.slots: dict[int, int] = {}  # number of an image to its index in the temporary file
        self.of_spectrum: dict[int, int] = {}  # number of a spectrum to the number of its image
        self.counts: list = []  # rows of each image file
        self.images: Any = None  # array (slot, band, y, x)

    def match(self, spectra: _Keys, images: _Keys, radius: float) -> None:
        """Find the image of each spectrum: the one with its id, else the nearest within `radius` arcsec."""
        by_id = {name: i for i, name in reversed(list(enumerate(images.ids)))}
        shared = {i: by_id[name] for i, name in enumerate(spectra.ids) if name in by_id}
        near = _nearest(spectra, images, radius)
        if len(spectra) and len(images) and near is None and not shared:
            raise InputError(
                "`images`",
                "images and spectra have no object id in common, and one of them has no positions (ra, dec)",
                "use the HATS or HDF5 files, which have positions",
            )
        self.of_spectrum = (near or {}) | shared
        self.slots = {image: k for k, image in enumerate(sorted(set(self.of_spectrum.values())))}
        self.counts = images.rows
        unused = len(images) - len(self.slots)
        if unused:
            self.report.notes.append(("images", f"{unused} of {len(images)} belong to no spectrum"))

    def read(self, files, progress: bool) -> None:
        """Fill the temporary file. Images that cannot be used are reported."""
        if not self.slots:
            return
        shape = (len(self.slots), len(self.survey.image_bands), self.size, self.size)
        self.images = np.memmap(self.path, np.float32, "w+", shape=shape)
        start = 0
        for path, count in progress_bar(list(zip(files, self.counts)), "reading images", progress):
            wanted = {i - start for i in range(start, start + count) if i in self.slots}
            if wanted:
                self._read_file(path, start, wanted)
            start += count

    def _read_file(self, path: Path, start: int, wanted: set[int]) -> None:
        unread = set(wanted)
        try:
            for row in read_rows(path, "image", (), only=wanted):
                try:
                    self.images[self.slots[start + row.index]] = self._image(row)
                    unread.discard(row.index)
                except InputError as error:
                    self.report.fail(error)
        except InputError as error:
            self.report.fail(error)
        for i in unread:
            del self.slots[start + i]

    def _image(self, row: Row) -> np.ndarray:
        flux, band, scale = (row.field(name) for name in ("flux", "band", "scale"))
        if flux is None or band is None or scale is None or flux.ndim != 3 or len(band) != len(flux):
            raise InputError(row.label, "its image is missing or does not have one plane per band")
        if flux.dtype.kind not in "iuf":
            raise InputError(row.label, f"its image holds {flux.dtype}, not numbers")
        if np.abs(np.asarray(scale, float) / self.survey.pixel_scale - 1).max() > SCALE_TOLERANCE:
            what = f"its pixel scale is {np.max(scale):.4g} arcsec, {self.survey.pixel_scale:.4g} is expected"
            raise InputError(row.label, what, SURVEY_HINT)
        names = [(b.decode("utf-8", "replace") if isinstance(b, bytes) else str(b)).strip() for b in band]
        planes = dict(zip((name.rpartition("-")[2].lower() for name in names), flux))
        absent = [b for b in self.survey.image_bands if b not in planes]
        if absent:
            what = f"wrong band count: {', '.join(absent)} missing, only {', '.join(names)} found"
            raise InputError(row.label, what, SURVEY_HINT)
        return np.stack(
            [
                prepare_plane(planes[b], row.label, b, self.size, {"notes": []})
                for b in self.survey.image_bands
            ]
        )

    def of(self, i: int) -> np.ndarray | None:
        """Image (band, y, x) of spectrum number `i`, or None."""
        slot = self.slots.get(self.of_spectrum.get(i, -1))
        return None if slot is None or self.images is None else np.array(self.images[slot])

    def close(self) -> None:
        """Delete the temporary file."""
        self.images = None
        self.path.unlink(missing_ok=True)


def _nearest(spectra: _Keys, images: _Keys, radius: float) -> dict[int, int] | None:
    """Number of each spectrum to that of its nearest image within `radius` arcsec.

    None if the spectra or the images have no positions.
    """
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    known = [np.flatnonzero(np.isfinite(keys.ra) & np.isfinite(keys.dec)) for keys in (spectra, images)]
    if not len(known[0]) or not len(known[1]):
        return None
    ours, theirs = (
        SkyCoord(keys.ra[i], keys.dec[i], unit=u.deg) for keys, i in zip((spectra, images), known)
    )
    index, distance, _ = ours.match_to_catalog_sky(theirs)
    near = distance < radius * u.arcsec
    return dict(zip(known[0][near].tolist(), known[1][index[near]].tolist()))


def _galaxies(
    files, sky: _Keys, cutouts: _Cutouts, grid: SpectralGrid, report: ImportReport
) -> Iterator[Galaxy]:
    """Read the spectra one by one, add their images, and yield the galaxies."""
    groups = link_groups(sky.groups, sky.ra, sky.dec)
    written: dict = {}
    columns = (*KEYS, "Z", *SDSS_COLUMNS, *DESI_COLUMNS, *flux_columns(cutouts.survey))
    start = 0
    for path, count in zip(files, sky.rows):
        rows = islice(read_rows(path, "spectrum", columns), count) if count else ()
        try:
            for i, row in enumerate(rows, start):
                try:
                    if sky.ids[i] in written:
                        what = f"duplicate of object id {sky.ids[i]}"
                        raise InputError(row.label, what, f"{written[sky.ids[i]]} was kept")
                    galaxy = _galaxy(row, sky, i, grid, cutouts.survey)
                    report.note(row.label, [note for note in _redshift(row)[2:] if note])
                except InputError as error:
                    report.fail(error)
                    continue
                written[galaxy.object_id] = row.label
                galaxy.group_id, galaxy.image = groups[i], cutouts.of(i)
                report.n_written += 1
                report.n_spectra += 1
                report.n_images += galaxy.image is not None
                report.n_photometry += galaxy.photometry is not None
                yield galaxy
        except InputError as error:
            report.fail(error)
        start += count


def _galaxy(row: Row, sky: _Keys, i: int, grid: SpectralGrid, survey: Survey) -> Galaxy:
    z, z_err, _ = _redshift(row)
    galaxy = Galaxy(
        object_id=sky.ids[i],
        ra=float(sky.ra[i]),
        dec=float(sky.dec[i]),
        z=z,
        z_err=z_err,
        spec_class=row.text("CLASS") or row.text("SPECTYPE"),
    )
    if "ZWARN" in row.scalars:
        fluxes = {name: row.number(name) for name in flux_columns(survey)}
        set_photometry(galaxy, fluxes | {"PHOTSYS": row.text("PHOTSYS")}, survey)
    wave, flux, ivar, mask = (row.field(name) for name in ("lambda", "flux", "ivar", "mask"))
    if wave is None or flux is None or ivar is None:
        raise InputError(row.label, "its flux, ivar or lambda is missing")
    if any(a.dtype.kind not in "biuf" or a.ndim != 1 for a in (wave, flux, ivar)):
        raise InputError(row.label, "its flux, ivar or lambda is not one number per pixel")
    mask = np.zeros(len(flux), np.int32) if mask is None else mask
    if not len(wave) == len(flux) == len(ivar) == len(mask):
        raise InputError(row.label, "its flux, ivar, lambda and mask differ in length")
    real = ~(wave <= 0)  # Files pad shorter spectra with -1.
    set_spectrum(galaxy, row.label, grid, [(wave[real].astype(float), flux[real], ivar[real], mask[real])])
    return galaxy


def _redshift(row: Row) -> tuple[float, float, str]:
    """As `trusted_redshift`."""
    z_err = row.number("ZERR" if "ZERR" in row.scalars else "Z_ERR")
    warned = {"zwarning" if "ZWARNING" in row.scalars else "zwarn": int(_doubtful(row))}
    return trusted_redshift(row.number("Z"), z_err, **warned)


def _doubtful(row: Row) -> bool:
    """Whether the redshift's warning flag is set.

    HDF5 files hold SDSS's ZWARNING and DESI's ZWARN as integers. Parquet files hold booleans that say whether
    the flag is set. DESI's files of the `datasets` form, which have no positions, hold the opposite: whether
    ZWARN is *not* set (desi.py: "if flag is 0, then no problem").
    """
    name = "ZWARNING" if "ZWARNING" in row.scalars else "ZWARN"
    flag = row.scalars.get(name, 0)
    if isinstance(flag, bool):
        return flag != (name == "ZWARN" and "ra" not in row.scalars)
    return not isinstance(flag, int) or bool(flag & ~(HARMLESS_ZWARNING if name == "ZWARNING" else 0))
