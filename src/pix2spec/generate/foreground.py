"""Galactic extinction: look it up, record it, and remove it from the inputs of a model."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pix2spec.core.extinction import (
    coefficients,
    deredden_image,
    find_maps,
    open_maps,
)
from pix2spec.core.survey import Survey
from pix2spec.data.schema import Galaxy, dereddened
from pix2spec.errors import InputError
from pix2spec.products.ensemble import Ensemble

__all__ = [
    "Dust",
    "Foreground",
    "check_extinction",
    "choose_foreground",
]

CORRECTED, KEPT, UNKNOWN = "extinction-corrected", "extinction-kept", "extinction-unknown"


@dataclass
class Foreground:
    """Extinction towards objects, and whether to remove it from the inputs of a model.

    Parameters
    ----------
    survey : Survey
        Of the data.
    correct : bool
        Remove the extinction; otherwise it is only recorded.
    maps : sfdmap2.sfdmap.SFDMap, optional
        From `pix2spec.core.extinction.open_maps`.
    known : dict of array (bands,)
        Extinction in magnitudes of the photometric bands, by object id. It takes precedence over `maps`.
    own : str
        What the objects say themselves: ``"columns"`` (of their table), ``"dereddened"`` or ``""``.
    """

    survey: Survey
    correct: bool = True
    maps: Any = None
    known: dict[str, np.ndarray] = field(default_factory=dict)
    own: str = ""

    def towards(self, galaxy: Galaxy) -> tuple[float, np.ndarray | None]:
        """Extinction of a galaxy's light.

        Returns
        -------
        ebv : float
            E(B-V) in magnitudes, NaN if unknown: the galaxy's own; else the value that fits best to the
            bands' extinction, if that is known; else that of the maps.
        extinction : array (bands,) or None
            Magnitudes in the photometric bands, None if unknown.
        """
        k = coefficients(self.survey.filters)
        if isinstance(galaxy.extinction, float):
            return galaxy.extinction, galaxy.extinction * k
        if isinstance(galaxy.extinction, tuple):
            stated, own = np.array(galaxy.extinction), coefficients(galaxy.filters, galaxy.curves)
            seen = stated > 0
            if seen.any():
                ebv = float(own[seen] @ stated[seen] / (own[seen] @ own[seen]))
                return ebv, ebv * k
        per_band = self.known.get(galaxy.object_id)
        if per_band is not None and np.isfinite(per_band).all():
            return float(k @ per_band / (k @ k)), np.asarray(per_band, float)
        if self.maps is None or not np.isfinite([galaxy.ra, galaxy.dec]).all():
            return np.nan, None
        ebv = self._read(galaxy)
        return ebv, ebv * k

    def _read(self, galaxy: Galaxy) -> float:
        try:
            return float(self.maps.ebv(galaxy.ra, galaxy.dec))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(self.maps.mapdir, f"its maps cannot be read: {error}") from error

    def apply(self, galaxy: Galaxy) -> tuple[Galaxy, float, list[str]]:
        """Correct a galaxy, whose image must be linear. Fluxes that are dereddened already stay as they are.

        Returns
        -------
        galaxy : Galaxy
            A corrected copy, or the galaxy itself if nothing was corrected.
        ebv : float
            E(B-V) in magnitudes, NaN if unknown.
        flags : list of str
            One flag that tells whether the extinction was corrected, kept or unknown.
        """
        ebv, extinction = self.towards(galaxy)
        if extinction is None:
            return galaxy, ebv, [CORRECTED if galaxy.extinction == "dereddened" else UNKNOWN]
        if not self.correct:
            return galaxy, ebv, [KEPT]
        changes: dict[str, Any] = {}
        if galaxy.photometry is not None:
            in_bands = not galaxy.filters or galaxy.filters == self.survey.filters
            if in_bands and isinstance(galaxy.extinction, str) and galaxy.extinction != "dereddened":
                galaxy = replace(galaxy, extinction=tuple(extinction))
            galaxy = dereddened(galaxy, self.survey, ebv)
        if galaxy.image is not None:
            by_band = dict(zip(self.survey.photometry_bands, extinction))
            changes["image"] = deredden_image(galaxy.image, [by_band[b] for b in self.survey.image_bands])
        return replace(galaxy, **changes), ebv, [CORRECTED]

    def as_dict(self) -> dict:
        """Facts for the provenance of results."""
        return {
            "corrected": self.correct and bool(self.known or self.own or self.maps is not None),
            "maps": f"SFD 1998, {self.maps.mapdir}" if self.maps is not None else None,
            "with_photometry": len(self.known),
            "coefficients": dict(zip(self.survey.filters, coefficients(self.survey.filters).tolist())),
        }

    def __str__(self) -> str:
        if self.own == "dereddened":
            return "the fluxes were dereddened already"
        sources = ["columns of the table"] * (self.own == "columns")
        sources += ["SkyServer's extinction"] * bool(self.known) + ["SFD's maps"] * (self.maps is not None)
        if not sources:
            return "nothing was corrected: no map of the dust is at hand (see `dust`)"
        done = "image and photometry were corrected by" if self.correct else "stated, not corrected: by"
        return f"{done} {' and '.join(sources)}"


def check_extinction(extinction: str | None = None, dust=None) -> None:
    """Check what a user asks for before the slow work; arguments as for `choose_foreground`.

    Raises
    ------
    InputError
        If `extinction` is none of the two words, or `dust` has no maps.
    """
    if extinction not in (None, "correct", "keep"):
        raise InputError("`extinction`", f"{extinction!r} is unknown", "correct or keep")
    if dust or extinction:
        _open_maps(dust)


def choose_foreground(
    survey: Survey,
    known: dict[str, np.ndarray] | None = None,
    extinction: str | None = None,
    dust=None,
    own: str | None = None,
) -> Foreground | None:
    """What to do about the Galactic extinction of a dataset.

    Parameters
    ----------
    survey : Survey
        Of the dataset.
    known : dict of array (bands,), optional
        Extinction in magnitudes by object id that came with a download; None where nothing was downloaded.
    extinction : {"correct", "keep"}, optional
        Remove the extinction from what the model sees, or only record it. By default, it is corrected for
        downloaded objects and where `dust` is given.
    dust : path, optional
        Folder with SFD's maps; by default the environment variable SFD_DIR names it.
    own : {"columns", "dereddened", ""}, optional
        What a table of magnitudes says about extinction; None for other objects. Its objects are corrected
        by default, with maps only where these and their reader are installed.

    Returns
    -------
    Foreground or None
        None leaves the objects as they are and records nothing.

    Raises
    ------
    InputError
        If a correction is asked for and no extinction is known.
    """
    if known is None and dust is None and extinction is None and own is None:
        return None
    try:
        maps = _open_maps(dust)
    except InputError:
        if dust or extinction or own is None:
            raise
        maps = None
    if extinction == "correct" and maps is None and not known and not own:
        hint = "give a folder with SFD's maps as `dust`"
        raise InputError('`extinction="correct"`', "no extinction is known", hint)
    return Foreground(survey, extinction != "keep", maps, known or {}, own or "")


def _open_maps(dust):
    folder = find_maps(dust)
    return None if folder is None else open_maps(folder)


class Dust:
    """Applies a foreground to the galaxies of a run, and records it in their ensembles.

    Parameters
    ----------
    foreground : Foreground, optional
        Without it, galaxies stay as they are.
    image_kind : {"linear", "composite"}, optional
        Of the dataset. Composites cannot be corrected: they are dropped.
    seen : set of str
        Inputs that the model uses.

    Raises
    ------
    InputError
        If the model uses images that would be dropped.
    """

    def __init__(self, foreground: Foreground | None, image_kind: str | None, seen: set[str]):
        self.foreground = foreground
        self.notes: dict = {}
        self.stated = {"corrected": False} if foreground is None else foreground.as_dict()
        self.drops_image = image_kind == "composite" and foreground is not None and foreground.correct
        if self.drops_image and "image" in seen:
            what = "8-bit colour pictures cannot be corrected for extinction"
            raise InputError("`extinction`", what, 'use linear images, or `extinction="keep"`')

    def before(self, galaxy: Galaxy) -> Galaxy:
        """Correct a galaxy before it goes to the model."""
        if self.foreground is None:
            return galaxy
        if self.drops_image:
            galaxy = replace(galaxy, image=None)
        corrected, ebv, flags = self.foreground.apply(galaxy)
        removed = _removed_extinction(galaxy, corrected, self.foreground.survey)
        self.notes[galaxy.object_id] = ebv, flags, removed
        return corrected

    def after(self, ensemble: Ensemble) -> None:
        """Record E(B-V) and the flags in the ensemble that the model made of a galaxy."""
        if ensemble.object_id in self.notes:
            ensemble.ebv, flags, ensemble.removed_extinction = self.notes.pop(ensemble.object_id)
            ensemble.flags = [*ensemble.flags, *flags]


def _removed_extinction(before: Galaxy, after: Galaxy, survey: Survey) -> np.ndarray | None:
    """Extinction in magnitudes (measurements,) that a correction took out of the fluxes; None if none was."""
    if before is after:
        return None
    given, corrected = (galaxy.measurements(survey) for galaxy in (before, after))
    if given is None or corrected is None:
        return None
    return 2.5 * np.log10(corrected.error / given.error)
