"""The Milky Way's dust before a galaxy: what is known of it, and taken out of what a model sees."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pix2spec.core.extinction import COEFFICIENTS, coefficients, deredden_fluxes, deredden_image
from pix2spec.core.survey import Survey
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.products.ensemble import Ensemble

__all__ = [
    "Dust",
    "Foreground",
]

CORRECTED, KEPT, UNKNOWN = "extinction-corrected", "extinction-kept", "extinction-unknown"


@dataclass
class Foreground:
    """What is known of the extinction towards objects, and whether it is taken out of what a model sees.

    Parameters
    ----------
    survey : Survey
        Of the data.
    correct : bool
        Take it out; otherwise it is only stated.
    maps : optional
        From `open_maps`.
    known : dict of array (bands,)
        Magnitudes in the photometric bands by object id, which came with the photometry and go before maps.
    """

    survey: Survey
    correct: bool = True
    maps: Any = None
    known: dict[str, np.ndarray] = field(default_factory=dict)

    def towards(self, galaxy: Galaxy) -> tuple[float, np.ndarray | None]:
        """E(B-V) and the extinction of each photometric band, in magnitudes; NaN and None if unknown.

        Where only the bands' extinction is known, E(B-V) is that which fits them best.
        """
        per_band = self.known.get(galaxy.object_id)
        if per_band is not None and np.isfinite(per_band).all():
            k = coefficients(self.survey.filters)
            return float(k @ per_band / (k @ k)), np.asarray(per_band, float)
        if self.maps is None or not np.isfinite([galaxy.ra, galaxy.dec]).all():
            return np.nan, None
        ebv = self._read(galaxy)
        return ebv, ebv * coefficients(self.survey.filters)

    def _read(self, galaxy: Galaxy) -> float:
        try:
            return float(self.maps.ebv(galaxy.ra, galaxy.dec))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(self.maps.mapdir, f"its maps cannot be read: {error}") from error

    def apply(self, galaxy: Galaxy) -> tuple[Galaxy, float, list[str]]:
        """The pair as a model is to see it, E(B-V), and the flag that says what was done.

        Its image must be linear.
        """
        ebv, extinction = self.towards(galaxy)
        if extinction is None:
            return galaxy, ebv, [UNKNOWN]
        if not self.correct:
            return galaxy, ebv, [KEPT]
        changes: dict[str, Any] = {}
        if galaxy.photometry is not None:
            flux, ivar = deredden_fluxes(galaxy.photometry, galaxy.photometry_ivar, extinction)
            changes = {"photometry": flux, "photometry_ivar": ivar}
        if galaxy.image is not None:
            by_band = dict(zip(self.survey.photometry_bands, extinction))
            changes["image"] = deredden_image(galaxy.image, [by_band[b] for b in self.survey.image_bands])
        return replace(galaxy, **changes), ebv, [CORRECTED]

    def as_dict(self) -> dict:
        """For the provenance of results."""
        return {
            "corrected": self.correct and bool(self.known or self.maps is not None),
            "maps": f"SFD 1998, {self.maps.mapdir}" if self.maps is not None else None,
            "with_photometry": len(self.known),
            "coefficients": {name: COEFFICIENTS.get(name) for name in self.survey.filters},
        }

    def __str__(self) -> str:
        sources = ["SkyServer's extinction"] * bool(self.known) + ["SFD's maps"] * (self.maps is not None)
        if not sources:
            return "nothing was corrected: no map of the dust is at hand (see `dust`)"
        done = "image and photometry were corrected by" if self.correct else "stated, not corrected: by"
        return f"{done} {' and '.join(sources)}"


class Dust:
    """Takes the foreground out of pairs on their way to a model, and notes it on what comes back."""

    def __init__(self, foreground: Foreground | None, image_kind: str | None, seen: set[str]):
        self.foreground = foreground
        self.notes: dict = {}
        self.stated = {"corrected": False} if foreground is None else foreground.as_dict()
        self.drops_image = image_kind == "composite" and foreground is not None and foreground.correct
        if self.drops_image and "image" in seen:
            what = "8-bit colour pictures cannot be corrected for extinction"
            raise InputError("`extinction`", what, 'use linear images, or `extinction="keep"`')

    def before(self, galaxy: Galaxy) -> Galaxy:
        """A pair as the model is to see it."""
        if self.foreground is None:
            return galaxy
        if self.drops_image:
            galaxy = replace(galaxy, image=None)
        galaxy, *self.notes[galaxy.object_id] = self.foreground.apply(galaxy)
        return galaxy

    def after(self, ensemble: Ensemble) -> None:
        """State E(B-V) and its flags on what was generated from a pair."""
        if ensemble.object_id in self.notes:
            ensemble.ebv, flags = self.notes.pop(ensemble.object_id)
            ensemble.flags = [*ensemble.flags, *flags]
