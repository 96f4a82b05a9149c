"""Redshifts of the candidates of a factorised model, drawn from the redshift model.

The flow learnt redshifts from simulated galaxies, in fluxes within the fibre. The redshift model learnt them
from the sky, in any photometry. Each candidate's redshift is a draw from the latter; the flow then makes the
spectrum for that redshift.
"""

from dataclasses import dataclass, field

import numpy as np

from pix2spec.data.readers.picture_photometry import FROM_PICTURE
from pix2spec.data.schema import Galaxy
from pix2spec.models.redshift.brightness import answer
from pix2spec.models.redshift.network import RedshiftModel
from pix2spec.models.redshift.posterior import RedshiftPosterior
from pix2spec.models.redshift.prior import read_prior

__all__ = ["OUTSIDE_TRAINING", "RedshiftDraws", "conditioned", "draw_redshifts"]

OUTSIDE_TRAINING = "outside-training"
BEYOND_SPECTRA = "redshift-beyond-spectra"
MAX_SPECTROSCOPIC = 1e-3  # error of a redshift that is taken as exact
BEYOND_SHARE = 0.05  # of the draws


@dataclass
class RedshiftDraws:
    """Redshifts of the candidates of a batch of galaxies."""

    z: np.ndarray  # (galaxies, n); NaN where the flow is to draw the redshift itself
    flags: list[list[str]] = field(default_factory=list)


def draw_redshifts(
    model: RedshiftModel | None, seen: list[Galaxy], originals: list[Galaxy], settings, z_max: float
) -> RedshiftDraws:
    """Draw redshifts for galaxies whose photometry decides about them.

    Parameters
    ----------
    model : RedshiftModel or None
    seen : list of Galaxy
        The galaxies with the inputs that the settings allow.
    originals : list of Galaxy
        The same with `Galaxy.measured`.
    settings : Settings
        `n`, `seed`, `floor` and `prior` matter.
    z_max : float
        Largest redshift of the model's spectra.
    """
    draws = RedshiftDraws(np.full((len(seen), settings.n), np.nan), [[] for _ in seen])
    rows = [i for i, (s, o) in enumerate(zip(seen, originals)) if model and _decides(s, o)]
    if not rows or model is None:
        return draws
    measured = [m for i in rows if (m := originals[i].measured)]
    posterior, outside = answer(model, measured, settings.floor)
    posterior = conditioned(posterior, [seen[i] for i in rows], settings, model)
    found = posterior.sample(settings.n, settings.seed, [originals[i].object_id for i in rows])
    for i, z, odd in zip(rows, found, outside):
        draws.z[i] = z
        draws.flags[i] += [OUTSIDE_TRAINING] * bool(odd)
        draws.flags[i] += [BEYOND_SPECTRA] * bool(np.mean(z > z_max) > BEYOND_SHARE)
    return draws


def _decides(seen: Galaxy, original: Galaxy) -> bool:
    """Whether the redshift model answers for a galaxy.

    It does not know images, which tell more about simulated galaxies than their fluxes, and it is not asked
    where the redshift is known. It answers for colour pictures, by the fluxes that were measured in them.
    """
    known = np.isfinite(seen.z) and seen.z_err < MAX_SPECTROSCOPIC
    measured = original.measured
    if known or measured is None or not measured.filters:
        return False
    if FROM_PICTURE in original.flags and original.brightness_error:
        return True  # Its colours are measured; the network would read them off simulated pixels.
    has_photometry = seen.photometry is not None or "spectrum-from-redshift-alone" in original.flags
    return has_photometry and (seen.image is None or set(measured.kinds) != {"fibre"})


def conditioned(posterior: RedshiftPosterior, galaxies: list[Galaxy], settings, model) -> RedshiftPosterior:
    """The distributions, times the user's prior and the redshifts that are known with an error."""
    if settings.prior:
        prior, counts = read_prior(settings.prior), model.counts.cpu().numpy()
        posterior = posterior.times(lambda z: prior.weights(z, counts)[None])
    given = np.array([[g.z, g.z_err] for g in galaxies], float)
    if np.isfinite(given[:, 0]).any():
        known = np.isfinite(given[:, 0])[:, None]

        def likelihood(z):
            error = np.where(known[:, 0], np.maximum(given[:, 1], MAX_SPECTROSCOPIC), 1)[:, None]
            deviation = (z - np.where(known, given[:, :1], 0)) / error
            return np.where(known, np.exp(-0.5 * deviation**2), 1)

        posterior = posterior.times(likelihood)
    return posterior
