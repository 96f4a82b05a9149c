"""Import files of spectra, cutouts and catalogues into a dataset."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from pix2spec.core.filters import Filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.crossmatch import Cutouts, ImportReport, PhotometryTables, Source, group_ids
from pix2spec.data.dataset import write_dataset
from pix2spec.data.readers.desi import DesiCoadd, is_coadd
from pix2spec.data.readers.guards import sniff
from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
from pix2spec.data.readers.spectra import SpectraBundle, native_spectrum, on_grid
from pix2spec.data.readers.tables import ERROR_FLOOR, ERROR_FRACTION
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.provenance import run_provenance

__all__ = ["ImportReport", "import_data"]

FITS_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.bz2")
TEXT_ENDINGS = (".txt", ".dat", ".csv", ".tsv", ".ecsv", ".ascii", ".asc", ".vot", ".txt.gz", ".csv.gz")


def import_data(
    out: str | Path,
    spectra: list,
    images: str | Path | None = None,
    tables: list | None = None,
    survey: Survey = SDSS,
    progress: bool = True,
    any_pixel_scale: bool = False,
    any_bands: bool = False,
    image_size: int = 64,
    grid: SpectralGrid | None = None,
    filters: Mapping[str, Filter] | None = None,
    fibre: float | None = None,
    columns: str | Mapping[str, str] | None = None,
    kind: str | None = None,
) -> ImportReport:
    """Make a dataset of spectra, cutouts and catalogue photometry.

    A source that cannot be used is left out and reported; the others are imported.

    Parameters
    ----------
    out : path
        Folder of the new dataset. The file ``import-report.csv`` in it lists the sources that were not used.
    spectra : list of path
        Spectra of any instrument (see `read_observed_spectrum`), DESI coadds, npz bundles, and folders, which
        are searched for FITS files, or for tables as text if they hold none. If the list is empty, the
        objects are the images, or without `images` the rows of `tables`.
    images : path, optional
        A folder of cutouts whose file names are object ids (``0266-51602-0013.jpg``,
        ``0266-51602-0013-g.fits`` ...), or an npz bundle of pictures.
    tables : list of path, optional
        Catalogues with photometry. Their rows are matched by object id or file name, or else by position
        (1 arcsec). Their photometry replaces that of the spectrum's file. Redshifts and positions that its
        file does not state come from them too; such tables need no photometry.
    survey : Survey
        The bands, pixel scale and pixel unit of the images, and the bands of the photometry. Images are
        converted to nanomaggies.
    progress : bool
        Show a progress bar on a terminal.
    any_pixel_scale, any_bands : bool
        Accept images of another pixel scale, or pictures of other bands.
    image_size : int
        Pixels per side of the dataset's images.
    grid : SpectralGrid, optional
        The wavelength grid of the dataset. The default is ``SpectralGrid()``.
    filters : mapping of str to Filter, optional
        The user's own transmission curves, as `pix2spec.data.readers.curves.read_curves` gives them. Columns
        of `tables` may have their names in place of a band's. The dataset then keeps photometry as measured.
    fibre : float, optional
        Measure the photometry of the images within a fibre of this diameter in arcsec, and in total. It
        becomes the photometry of objects without any, and the dataset keeps photometry as measured.
    columns, kind : optional
        What `tables` do not say; see `pix2spec.data.readers.column_choices.read_choices`.

    Returns
    -------
    ImportReport

    Raises
    ------
    InputError
        If `out` already holds a dataset, a path does not exist, or `images` or one of `tables` is not
        readable. Nothing is written in these cases.
    """
    out, grid = Path(out), grid or SpectralGrid()
    if not spectra and images is None and not tables:
        raise InputError("`spectra`", "nothing to import", "give spectra, `images` or `tables`")
    for path in (*spectra, *([] if images is None else [images]), *(tables or [])):
        if not Path(path).exists():
            raise InputError(path, "no such file or folder")
    if any(out.glob("*.parquet")):
        raise InputError(out, "it already holds a dataset", "choose another folder, or delete this one")
    report = ImportReport(out / "import-report.csv")
    cutouts = Cutouts(images, survey, image_size, any_pixel_scale, any_bands, report, fibre)
    catalogue = PhotometryTables(tables or [], survey, report, filters, bool(spectra), columns, kind)
    out.mkdir(parents=True, exist_ok=True)
    # The first pass reads headers only: the groups of repeats must be known before the first row is written.
    if spectra:
        headers = _spectrum_headers(spectra, grid, survey, report)
    else:
        headers = cutouts.sources() if images is not None else catalogue.sources()
    sources = list(progress_bar(headers, "reading headers", progress))
    for source, group in zip(sources, group_ids([source.header for source in sources])):
        source.header.group_id = group
    measures = fibre is not None and images is not None
    info = DatasetInfo(
        grid=grid,
        survey=survey,
        image_kind=cutouts.kind,
        image_size=image_size,
        provenance=_provenance(spectra, images, tables),
        as_measured=catalogue.as_measured or measures,
        of_pictures=measures,
        curves=filters or {},
        native=any(source.native for source in sources),
    )
    galaxies = _galaxies(sources, cutouts, catalogue, report)
    try:
        write_dataset(out, progress_bar(galaxies, "importing", progress, len(sources)), info)
    except BaseException:
        with suppress(OSError):  # a full disk must not hide the first error
            report.save()
        raise
    if spectra:
        cutouts.report_unused()
    report.save()
    return report


def _provenance(spectra, images, tables) -> dict:
    return {
        **run_provenance(),
        "spectra": [str(p) for p in spectra],
        "images": str(images) if images is not None else "",
        "tables": [str(p) for p in tables or []],
        "photometry_errors": f"{ERROR_FRACTION:.0%} of the flux and {ERROR_FLOOR} nanomaggies in quadrature "
        "where the source gives no error; with the pipeline's own error added for CALIBFLUX",
    }


def _spectrum_headers(paths, grid: SpectralGrid, survey: Survey, report: ImportReport) -> Iterator[Source]:
    for path in _expand(paths, report):
        try:
            if sniff(path) == "npz":
                yield from _bundle_headers(SpectraBundle(path, grid), report)
            elif is_coadd(path):
                yield from _bundle_headers(DesiCoadd(path, grid, survey), report)
            else:
                seen = read_observed_spectrum(path)
                report.note(path, seen.notes)
                loaded = partial(_load, path, grid, report)
                yield Source(str(path), seen.galaxy, loaded, native=not seen.on_lattice)
        except InputError as error:
            report.fail(error)


def _load(path: Path, grid: SpectralGrid, report: ImportReport) -> Galaxy:
    seen = read_observed_spectrum(path)
    galaxy, notes = on_grid(seen, grid, path)
    galaxy.native = None if seen.on_lattice else native_spectrum(seen, path)
    report.note(path, notes)
    return galaxy


def _bundle_headers(bundle: SpectraBundle | DesiCoadd, report: ImportReport) -> Iterator[Source]:
    for i in range(len(bundle)):
        try:
            yield Source(bundle.label(i), bundle.header(i), partial(bundle.galaxy, i))
            report.note(bundle.label(i), bundle.notes(i))
        except InputError as error:
            report.fail(error)


def _expand(paths, report: ImportReport) -> Iterator[Path]:
    """The files themselves and the FITS files in the folders: each once, in a stable order."""
    seen = set()
    for path in map(Path, paths):
        found = [path]
        if path.is_dir():
            # The reader of a coadd reads its redrock file.
            files = sorted(p for p in path.rglob("*") if not p.name.startswith(("redrock-", ".")))
            found = [p for p in files if p.name.lower().endswith(FITS_ENDINGS)]
            found = found or [p for p in files if p.name.lower().endswith(TEXT_ENDINGS)]
            if not found:
                report.fail(InputError(path, "the folder holds no FITS files and no tables of spectra"))
        for file in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _galaxies(
    sources, cutouts: "Cutouts", catalogue: "PhotometryTables", report: ImportReport
) -> Iterator[Galaxy]:
    """Read the galaxies one by one, add their photometry and images, and yield them."""
    written: dict = {}
    catalogue.match([source.header for source in sources])
    cutouts.match([source.header for source in sources])
    for i, source in enumerate(sources):
        try:
            first = written.get(source.header.object_id)
            if first is not None:
                what = f"duplicate of object id {source.header.object_id}"
                raise InputError(source.label, what, f"{first} was kept")
            galaxy = source.load() if source.load else replace(source.header)
        except InputError as error:
            report.fail(error)
            continue
        galaxy.group_id = source.header.group_id
        catalogue.add(i, galaxy)
        galaxy = cutouts.add(i, galaxy)
        if galaxy.flux is None and galaxy.image is None and galaxy.photometry is None:
            continue  # The image, its only content, was refused and reported.
        written[galaxy.object_id] = source.label
        report.n_written += 1
        report.n_spectra += galaxy.flux is not None
        report.n_images += galaxy.image is not None
        report.n_photometry += galaxy.photometry is not None
        yield galaxy
