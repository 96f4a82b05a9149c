"""Redshifts of candidates: from the redshift model, from pictures, or as they were given."""

from dataclasses import dataclass

import numpy as np

from pix2spec.data.measurements import Measurements
from pix2spec.data.schema import Galaxy
from pix2spec.models.latent.redshifts import (
    BEYOND_SHARE,
    BEYOND_SPECTRA,
    MAX_SPECTROSCOPIC,
    OUTSIDE_TRAINING,
    conditioned,
)
from pix2spec.models.redshift.brightness import answer as answer_of
from pix2spec.models.redshift.posterior import RedshiftPosterior
from pix2spec.models.shared.device import to_device, to_host
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.draw import Stack
from pix2spec.models.spectrum.evidence import many_narrow, sharpened
from pix2spec.models.spectrum.inputs import Seen
from pix2spec.models.spectrum.model import SpectrumModel

__all__ = ["Redshifts", "draw_redshifts"]

Z_MIN = 1e-4


@dataclass
class Redshifts:
    """Redshifts (N, n) of the candidates of N galaxies, and flags of the galaxies."""

    z: np.ndarray
    flags: list[list[str]]


def draw_redshifts(
    model: SpectrumModel, redshifts, stack: Stack, tables: BandTables, seen: Seen, galaxies: list[Galaxy],
    light: list[Measurements | None], settings, fold: int = -1,
) -> Redshifts:  # fmt: skip
    """Draw the redshifts of candidates.

    A redshift that is given without an error is taken as exact. Otherwise fluxes decide, by the redshift
    model. Of linear pictures like those of the simulated survey, with fluxes in the fibre, what the model
    learnt from simulated pictures decides, the more the more a picture is like these.

    Parameters
    ----------
    model : SpectrumModel
    redshifts : RedshiftModel
    stack : Stack
        The networks in use.
    tables : BandTables
        Of these.
    seen : Seen
        The galaxies.
    galaxies : list of Galaxy
        With the inputs that the model may use.
    light : list of Measurements or None
        Their fluxes.
    settings : Settings
        `n`, `seed` and `prior` matter.
    fold : int
        Only networks that never saw this fold of the real galaxies answer; -1: all.
    """
    n, z_max, ids = settings.n, model.z_max, [galaxy.object_id for galaxy in galaxies]
    made = Redshifts(np.full((len(galaxies), n), np.nan), [[] for _ in galaxies])
    given, error = (np.array([getattr(g, name) for g in galaxies], float) for name in ("z", "z_err"))
    exact = np.isfinite(given) & (np.nan_to_num(error) < MAX_SPECTROSCOPIC)
    measured = np.array([some is not None for some in light])
    in_fibre = np.array([some is not None and set(some.kinds) == {"fibre"} for some in light])
    pictured = seen.has_picture.numpy() & (~measured | (in_fibre & seen.linear & ~many_narrow(seen.tokens)))
    made.z[exact] = given[exact, None]
    for rows, answer in (
        (np.flatnonzero(~exact & measured & ~pictured), _by_light),
        (np.flatnonzero(~exact & pictured), _by_picture),
        (np.flatnonzero(~exact & ~measured & ~pictured), _anywhere),
    ):
        if not len(rows):
            continue
        posterior, odd = answer(
            model, redshifts, stack, tables, seen, rows, [light[i] for i in rows], fold, settings
        )
        posterior = conditioned(posterior, [galaxies[i] for i in rows], settings, redshifts)
        found = posterior.sample(n, settings.seed, [ids[i] for i in rows])
        for i, z, is_odd in zip(rows, found, odd):
            made.z[i] = z
            made.flags[i] += [OUTSIDE_TRAINING] * bool(is_odd)
            made.flags[i] += [BEYOND_SPECTRA] * bool(np.mean(z > z_max) > BEYOND_SHARE)
    return made


def _by_light(model, redshifts, stack, tables, seen: Seen, rows, light, fold: int, settings):
    which = slice(None) if len(rows) == len(seen.light) else rows
    fold_or_none, tokens = None if fold < 0 else fold, seen.tokens[which]
    if all(seen.light[row] is some for row, some in zip(rows, light)):
        prepared = None
        if not tables.flux.is_cuda:  # else the other networks prepare their own elsewhere
            prepared = tuple(values[which] for values in seen.prepared(stack.network.galaxy.measured))
        posterior, odd = answer_of(redshifts, light, settings.floor, fold_or_none, tokens, prepared)
    else:
        posterior, odd = answer_of(redshifts, light, settings.floor, fold_or_none)
    narrow = many_narrow(tokens)
    if narrow.any():
        some = np.flatnonzero(narrow)
        there, own = seen.on(tables.flux.device), to_device(np.asarray(rows)[some], tables.flux.device)
        sharp = sharpened(posterior[some], there.tokens[own], there.index[own], stack, tables)
        mass = posterior.on_grid()
        mass[some] = sharp.mass
        posterior = RedshiftPosterior(posterior.weight, posterior.mean, posterior.sd, mass)
    return posterior, odd


def _by_picture(model, redshifts, stack, tables, seen: Seen, rows, light, fold: int, settings):
    judge, there = model.judge, seen.on(tables.flux.device)
    own = to_device(rows, tables.flux.device)
    condition = judge.galaxy(there.tokens[own], there.picture[own], there.has_picture[own])
    told = *judge.mixture(condition), model.likeness(there.picture[own])
    weight, mean, log_sd, like = to_host(*(part.double() for part in told))
    picture, odd = RedshiftPosterior(np.exp(weight), mean, np.exp(log_sd)), np.zeros(len(rows), bool)
    known = np.flatnonzero([some is not None for some in light])
    if not len(known):
        return picture, odd
    some = [light[k] for k in known]
    fluxes, unlike = _by_light(model, redshifts, stack, tables, seen, rows[known], some, fold, settings)
    odd[known] = unlike & (like[known] < 0.5)
    return _joined(picture, fluxes, known, like), odd


def _joined(picture: RedshiftPosterior, fluxes: RedshiftPosterior, known: np.ndarray, share: np.ndarray):
    """Mixtures of what pictures say, with shares (N,), and of what the fluxes of the galaxies `known` say."""
    first, shape = picture.weight.shape[1], (len(picture), fluxes.weight.shape[1])
    weight, mean, sd = (
        np.hstack([values, np.full(shape, fill)])
        for values, fill in ((picture.weight, 0.0), (picture.mean, 0.0), (picture.sd, 1.0))
    )
    weight[known, :first] *= share[known, None]
    weight[known, first:] = (1 - share[known, None]) * fluxes.weight
    mean[known, first:], sd[known, first:] = fluxes.mean, fluxes.sd
    return RedshiftPosterior(weight, mean, sd)


def _anywhere(model, redshifts, stack, tables, seen: Seen, rows, light, fold: int, settings):
    """Where nothing is known but perhaps a redshift with an error: all redshifts of the surveys."""
    n = len(rows)
    flat = RedshiftPosterior(np.ones((n, 1)), np.zeros((n, 1)), np.full((n, 1), 1.5))
    return flat, np.zeros(n, bool)
