"""Open predictions of any generator as ensembles, to evaluate them."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.resample import resample
from pix2spec.data.readers.guards import sniff
from pix2spec.data.readers.spectrum_units import FLUX_UNIT, air_to_vacuum, is_flux_density, parse_unit
from pix2spec.errors import InputError
from pix2spec.evaluation.predictions.fits import FITS_NAME, FitsFolder, fits_files
from pix2spec.evaluation.predictions.tables import NpzRows, ParquetRows, Part, is_catalogue
from pix2spec.products.catalogue import FILE_NAME, SHARDS, Catalogue, open_catalogue
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL, RELATIVE

__all__ = ["Predictions", "open_predictions"]

ACCEPTED = (
    "accepted are a folder of `pix2spec generate`, a folder of FITS spectra (one file per object), "
    "a Parquet file and an .npz file"
)
MIN_COVERAGE = 0.5  # fraction of the grid's pixels that need a finite value
MAX_HELD_BYTES = 2**28  # maximum memory for rows of objects whose other rows are not yet read
MINMAX = "minmax"


def open_predictions(
    path: str | Path, grid: SpectralGrid, unit: str | None = None
) -> "Catalogue | Predictions":
    """Open predicted spectra of pix2spec or of another program, to evaluate them.

    ``docs/reference/evaluate-formats.md`` has examples.

    Parameters
    ----------
    path : str or Path
        A generated catalogue (folder or file), a folder of FITS spectra, a Parquet file or an npz file. The
        content of a file determines its format.
    grid : SpectralGrid
        Wavelengths of the truth. Spectra with other wavelengths are resampled to it with conservation of
        flux. A catalogue keeps its own grid.
    unit : str, optional
        Unit of spectra that state none: a unit that astropy can convert to erg/s/cm2/Angstrom, or
        ``"relative"`` (the default: amplitudes have no meaning), or ``"minmax"`` (the scale [-1, 1]).

    Returns
    -------
    Catalogue or Predictions

    Raises
    ------
    InputError
        If `path` does not exist, has another format, or does not name its objects.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file or folder", ACCEPTED)
    if path.is_dir():
        if (path / FILE_NAME).exists() or (path / SHARDS).is_dir():
            return open_catalogue(path)
        files = fits_files(path)
        if not files:
            raise InputError(path, f"the folder holds neither {FILE_NAME} nor FITS files", ACCEPTED)
        return Predictions(FitsFolder(path, files), grid, unit)
    kind = sniff(path)
    if kind == "parquet":
        return (
            open_catalogue(path)
            if is_catalogue(path)
            else Predictions(ParquetRows(path, grid.size), grid, unit)
        )
    if kind == "npz":
        return Predictions(NpzRows(path), grid, unit)
    if path.suffix == ".npy":
        hint = "save np.savez(file, object_id=ids, flux=flux) instead"
        raise InputError(path, "an .npy file does not name the objects of its spectra", hint)
    if kind == "fits" or FITS_NAME.search(path.name):
        raise InputError(path, "this is a single FITS file", "give the folder, with one file per object")
    raise InputError(path, f"the file type {path.suffix or 'of this file'} is not known here", ACCEPTED)


class Predictions:
    """Ensembles from files of any program; see `open_predictions`.

    Iteration yields the ensembles of the objects that can be used. It holds the spectra of a few objects in
    memory. If the rows of an object are scattered over the file, it holds up to 256 MiB of rows, and reads a
    larger file more than once.

    Parameters
    ----------
    source : ParquetRows, NpzRows or FitsFolder
        Reader of the files.
    grid, unit
        As for `open_predictions`.

    Attributes
    ----------
    path : Path
        The file or folder.
    grid : SpectralGrid
        Wavelengths of all ensembles.
    ids : list of str
        All object ids without repetition, including those of objects that cannot be used.
    has_candidates : bool
        Whether the ensembles hold candidates. If not, they hold only chosen spectra.
    failures : dict of str to str
        Reason by id of the objects that cannot be used. It is complete after an iteration.
    provenance : dict
        Provenance in the files, or their format.
    """

    def __init__(self, source, grid: SpectralGrid, unit: str | None = None):
        self._source, self._unit = source, unit
        self.path, self.grid = source.path, grid
        self.ids = list(dict.fromkeys(source.row_ids))
        self.has_candidates, self.provenance = source.has_candidates, source.provenance
        self.failures = dict(source.refused)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Ensemble]:
        for object_id, parts in self._gathered():
            try:
                yield self._ensemble(object_id, parts)
            except InputError as error:
                self.failures[object_id] = str(error)

    def _gathered(self) -> Iterator[tuple[str, list]]:
        """Yield each object with all of its parts as soon as the last part is read."""
        left = Counter(i for i in self._source.row_ids if i not in self._source.refused)
        for wanted in _passes(self._source.row_ids, left, self._source.row_bytes):
            held: dict = {}
            for object_id, part in self._source.parts(wanted):
                held.setdefault(object_id, []).append(part)
                if len(held[object_id]) == left[object_id]:
                    yield object_id, held.pop(object_id)

    def _ensemble(self, object_id: str, parts: list) -> Ensemble:
        bad = next((part for part in parts if isinstance(part, InputError)), None)
        if bad is not None:
            raise bad
        scales = [_scale_of(object_id, part.unit or self._unit or RELATIVE) for part in parts]
        if len(set(scales)) > 1:
            what = f"its candidates differ in unit: {', '.join(sorted(set(scales)))}"
            raise InputError(object_id, what)
        candidates = np.concatenate([self._on_grid(object_id, *x) for x in zip(parts, scales)])
        fields: dict = {"selected": np.arange(len(candidates))}
        fields |= {"select": "all" if len(candidates) > 1 else "single"}
        fields |= {"unit": PHYSICAL if is_flux_density(scales[0]) else RELATIVE} | parts[0].fields
        if scales[0] == MINMAX:
            fields["provenance"] = fields.get("provenance", {}) | {"normalisation": MINMAX}
        fields["scores"] = _scores(object_id, [part.scores for part in parts])
        return Ensemble(object_id, self.grid, candidates, **fields)

    def _on_grid(self, object_id: str, part: Part, scale: str) -> np.ndarray:
        """Resample the candidates of a part to the grid: (n, L), float32, NaN without a value."""
        flux, wave = np.atleast_2d(part.flux), _wavelengths(object_id, part, self.grid)
        flux = flux if flux.dtype.kind == "f" else flux.astype(float)
        if wave[0] > wave[-1]:
            flux, wave = flux[:, ::-1], wave[::-1]
        with np.errstate(over="ignore", invalid="ignore"):
            if is_flux_density(scale):
                factor = _to_physical(scale, wave)
                flux = flux if np.allclose(factor, 1, rtol=1e-9, atol=0) else flux * factor
            candidates = resample(flux, wave, self.grid).astype(np.float32)
        candidates[~np.isfinite(candidates)] = np.nan
        covered = np.isfinite(candidates).mean(1).min() if len(candidates) else 0
        if covered < MIN_COVERAGE:
            raise InputError(
                object_id,
                f"{100 * covered:.0f} % of the grid's pixels have a finite value, but "
                f"{100 * MIN_COVERAGE:.0f} % are needed; the spectrum reaches from {wave[0]:.6g} to "
                f"{wave[-1]:.6g} Angstrom",
                "wavelengths must be observed-frame, in Angstrom",
            )
        return candidates


def _passes(row_ids: list[str], left: Counter, row_bytes: int) -> Iterator[set[str]]:
    """Yield the objects to gather in each pass over the file.

    One pass gathers all objects if the rows of each object are adjacent. Otherwise a pass gathers as many
    objects as fit in `MAX_HELD_BYTES`.
    """
    runs = sum(a != b for a, b in pairwise(row_ids)) + 1
    if runs == len(set(row_ids)):
        yield set(left)
        return
    wanted: set[str] = set()
    held = 0
    for object_id, count in left.items():
        if wanted and held + count * row_bytes > MAX_HELD_BYTES:
            yield wanted
            wanted, held = set(), 0
        wanted.add(object_id)
        held += count * row_bytes
    yield wanted


def _wavelengths(object_id: str, part: Part, grid: SpectralGrid) -> np.ndarray:
    """Vacuum wavelengths (M,) in Angstrom of a part's pixels."""
    size = np.shape(part.flux)[-1]
    if part.wave is None:
        if size != grid.size:
            raise InputError(
                object_id,
                f"{size} values, but the truth's grid has {grid.size} pixels and no wavelengths are given",
                "add wavelength or loglam",
            )
        return grid.wave
    wave = np.asarray(part.wave, float)
    if wave.shape != (size,) or size < 2:
        raise InputError(object_id, f"{wave.size} wavelengths do not match {size} values of flux")
    step = np.diff(wave) if np.isfinite(wave).all() and (wave > 0).all() else np.zeros(1)
    if not ((step > 0).all() or (step < 0).all()):
        raise InputError(object_id, "its wavelengths do not increase from pixel to pixel, or are not finite")
    return air_to_vacuum(object_id, wave) if part.air else wave


def _scores(object_id: str, scores: list) -> np.ndarray | None:
    """Scores (n,) of all candidates of an object, or None if no candidate has a score."""
    known = [s is not None and np.isfinite(s).any() for s in scores]
    if not any(known):
        return None
    with np.errstate(over="ignore"):
        values = np.concatenate(
            [np.atleast_1d(np.nan if s is None else s).astype(np.float32) for s in scores]
        )
    if not np.isfinite(values).all():
        raise InputError(object_id, "only some of its candidates have a finite score")
    return values


def _scale_of(object_id: str, unit: str) -> str:
    """Scale of a spectrum: `unit` if it converts to `PHYSICAL`, else ``"minmax"`` or ``"relative"``."""
    if unit.strip().lower() == MINMAX:
        return MINMAX
    if _is_logarithmic(unit):
        raise InputError(object_id, f"its unit {unit!r} is logarithmic", "convert it to flux densities")
    return unit if is_flux_density(unit) else RELATIVE


def _is_logarithmic(unit: str) -> bool:
    from astropy import units as u

    parsed = parse_unit(unit)
    return parsed is not None and (hasattr(parsed, "function_unit") or parsed.is_equivalent(u.mag))


def _to_physical(unit: str, wave: np.ndarray) -> np.ndarray:
    """Factors (M,) of the pixels at `wave` (M,) in Angstrom from `unit` to 1e-17 erg/s/cm2/Angstrom."""
    from astropy import units as u

    one = np.ones(len(wave)) * parse_unit(unit)
    return one.to_value(u.Unit(FLUX_UNIT), u.spectral_density(wave * u.AA))
