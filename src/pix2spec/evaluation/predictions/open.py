"""Spectra that any generator wrote, read as the ensembles that an evaluation needs."""

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.resample import resample
from pix2spec.data.readers.guards import sniff
from pix2spec.errors import InputError
from pix2spec.evaluation.predictions.fits import FITS_NAME, FitsFolder, fits_files
from pix2spec.evaluation.predictions.tables import NpzRows, ParquetRows, Part, is_catalogue
from pix2spec.products.catalogue import FILE_NAME, SHARDS, Catalogue, open_catalogue
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL, RELATIVE

__all__ = ["Predictions", "open_predictions"]

ACCEPTED = (
    "accepted are a folder of `pix2spec generate`, a folder of FITS spectra (one object a file), "
    "a Parquet file and an .npz file"
)
MIN_COVERAGE = 0.5
HELD_BYTES = 2**28  # rows of unfinished objects that are in memory at a time
MINMAX = "minmax"


def open_predictions(
    path: str | Path, grid: SpectralGrid, unit: str | None = None
) -> "Catalogue | Predictions":
    """Open spectra that are to be evaluated, whoever made them.

    ``docs/reference/evaluate-formats.md`` has examples.

    Parameters
    ----------
    path : str or Path
        A generated catalogue (folder or file), a folder of FITS spectra, a Parquet or an npz file; files
        are recognised by their content.
    grid : SpectralGrid
        Wavelengths of the truth. Spectra with other wavelengths are brought to it, flux conserved; a
        catalogue keeps its own.
    unit : str, optional
        Unit of spectra that state none: one that astropy converts to erg/s/cm2/Angstrom (or per Hz),
        ``"relative"`` (the default: amplitudes mean nothing) or ``"minmax"`` (the scale [-1, 1]).

    Returns
    -------
    Catalogue or Predictions

    Raises
    ------
    InputError
        If there is nothing to read at `path`, or it is of another kind, or names no objects.
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
        raise InputError(path, "an .npy file does not say which objects its spectra are of", hint)
    if kind == "fits" or FITS_NAME.search(path.name):
        raise InputError(path, "it is one FITS file", "give the folder: one object a file")
    raise InputError(path, f"a file {path.suffix or 'of this kind'} is not known here", ACCEPTED)


class Predictions:
    """Ensembles from files that `pix2spec` did not need to write; see `open_predictions`.

    Iterating gives the ensembles of the objects that can be used. In memory are the spectra of a few
    objects, or 256 MiB where the rows of one object are scattered over the file (which is then read
    more than once).

    Attributes
    ----------
    path : Path
        The file or folder.
    grid : SpectralGrid
        Wavelengths of all ensembles.
    ids : list of str
        All object ids, each once, those that cannot be used included.
    has_candidates : bool
        Whether ensembles hold candidates, or chosen spectra whose candidates were not kept.
    failures : dict of str to str
        Reason by id of the objects that cannot be used: complete after an iteration.
    provenance : dict
        What the files say of their making, and their kind.
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
        """Each object with all of its parts, as soon as the last one is read."""
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
            raise InputError(object_id, f"its candidates differ in unit: {', '.join(sorted(set(scales)))}")
        candidates = np.concatenate([self._on_grid(object_id, *x) for x in zip(parts, scales)])
        fields: dict = {"selected": np.arange(len(candidates))}
        fields |= {"select": "all" if len(candidates) > 1 else "single"}
        fields |= {"unit": PHYSICAL if _is_physical(scales[0]) else RELATIVE} | parts[0].fields
        if scales[0] == MINMAX:
            fields["provenance"] = fields.get("provenance", {}) | {"normalisation": MINMAX}
        fields["scores"] = _scores(object_id, [part.scores for part in parts])
        return Ensemble(object_id, self.grid, candidates, **fields)

    def _on_grid(self, object_id: str, part: Part, scale: str) -> np.ndarray:
        """Candidates (n, L), float32: NaN where the part has no value."""
        flux, wave = np.atleast_2d(part.flux), _wavelengths(object_id, part, self.grid)
        flux = flux if flux.dtype.kind == "f" else flux.astype(float)
        if wave[0] > wave[-1]:
            flux, wave = flux[:, ::-1], wave[::-1]
        with np.errstate(over="ignore", invalid="ignore"):
            if _is_physical(scale):
                factor = _to_physical(scale, wave)
                flux = flux if np.allclose(factor, 1, rtol=1e-9, atol=0) else flux * factor
            candidates = resample(flux, wave, self.grid).astype(np.float32)
        candidates[~np.isfinite(candidates)] = np.nan
        covered = np.isfinite(candidates).mean(1).min() if len(candidates) else 0
        if covered < MIN_COVERAGE:
            raise InputError(
                object_id,
                f"{100 * covered:.0f} % of the grid's pixels have a finite value, {100 * MIN_COVERAGE:.0f} % "
                f"are needed; it reaches from {wave[0]:.6g} to {wave[-1]:.6g} Angstrom",
                "wavelengths are observed-frame, in Angstrom",
            )
        return candidates


def _passes(row_ids: list[str], left: Counter, row_bytes: int) -> Iterator[set[str]]:
    """Objects to gather in one reading of the file: all, or as many as fit in memory if scattered."""
    runs = sum(a != b for a, b in pairwise(row_ids)) + 1
    if runs == len(set(row_ids)):
        yield set(left)
        return
    wanted: set[str] = set()
    held = 0
    for object_id, count in left.items():
        if wanted and held + count * row_bytes > HELD_BYTES:
            yield wanted
            wanted, held = set(), 0
        wanted.add(object_id)
        held += count * row_bytes
    yield wanted


def _wavelengths(object_id: str, part: Part, grid: SpectralGrid) -> np.ndarray:
    """Vacuum wavelengths in Angstrom of a part's pixels."""
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
        raise InputError(object_id, f"{wave.size} wavelengths for {size} values of flux")
    step = np.diff(wave) if np.isfinite(wave).all() and (wave > 0).all() else np.zeros(1)
    if not ((step > 0).all() or (step < 0).all()):
        raise InputError(object_id, "its wavelengths do not increase from pixel to pixel, or are not numbers")
    return _air_to_vacuum(object_id, wave) if part.air else wave


def _air_to_vacuum(object_id: str, wave: np.ndarray) -> np.ndarray:
    """Convert as SDSS does: Ciddor (1996)."""
    from astropy import units as u
    from specutils.utils.wcs_utils import air_to_vac

    try:
        return air_to_vac(wave * u.AA, method="Ciddor1996").to_value(u.AA)
    except ValueError as error:
        raise InputError(object_id, "its air wavelengths begin below 2000 Angstrom") from error


def _scores(object_id: str, scores: list) -> np.ndarray | None:
    """Scores of all candidates; None where none has one."""
    known = [s is not None and np.isfinite(s).any() for s in scores]
    if not any(known):
        return None
    with np.errstate(over="ignore"):
        values = np.concatenate(
            [np.atleast_1d(np.nan if s is None else s).astype(np.float32) for s in scores]
        )
    if not np.isfinite(values).all():
        raise InputError(object_id, "only some of its candidates have a score that is a number")
    return values


def _scale_of(object_id: str, unit: str) -> str:
    """What `unit` says: a unit that converts to `PHYSICAL`, ``"minmax"`` or ``"relative"``."""
    if unit.strip().lower() == MINMAX:
        return MINMAX
    if _is_logarithmic(unit):
        raise InputError(object_id, f"its unit {unit!r} is logarithmic", "convert it to flux densities")
    return unit if _is_physical(unit) else RELATIVE


def _is_logarithmic(unit: str) -> bool:
    from astropy import units as u

    parsed = _parsed(unit)
    return parsed is not None and (hasattr(parsed, "function_unit") or parsed.is_equivalent(u.mag))


@lru_cache(maxsize=64)
def _is_physical(unit: str) -> bool:
    from astropy import units as u

    parsed = _parsed(unit)
    return parsed is not None and parsed.is_equivalent(
        u.Unit("erg / (s cm2 Angstrom)"), u.spectral_density(5000 * u.AA)
    )


def _to_physical(unit: str, wave: np.ndarray) -> np.ndarray:
    """Factor of each pixel from `unit` to 1e-17 erg/s/cm2/Angstrom."""
    from astropy import units as u

    one, target = np.ones(len(wave)) * _parsed(unit), u.Unit("1e-17 erg / (s cm2 Angstrom)")
    return one.to_value(target, u.spectral_density(wave * u.AA))


@lru_cache(maxsize=64)
def _parsed(text: str):
    """Parse a unit as people write it: ``A``, ``Ang`` and ``ergs`` mean the obvious. None: no unit."""
    from astropy import units as u

    for spelling in (text, text.lower()):
        spelling = re.sub(r"(?<![A-Za-z])(A|[Aa]ngs?|[Aa]ngstroms)(?![A-Za-z])", "Angstrom", spelling)
        spelling = re.sub(r"\bergs\b", "erg", spelling)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return u.Unit(spelling)
        except (ValueError, TypeError, ArithmeticError):
            continue
    return None
