"""From photometry to ensembles of spectra: one galaxy in three lines, a catalogue in one call."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pix2spec.core.photometry import aperture_weights, filter_matrix, fit_amplitude
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.latent.preset import FLOW_SAMPLERS
from pix2spec.models.pixel.preset import SAMPLERS
from pix2spec.models.shared.inputs import TOKENS
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.selection import parse_selection
from pix2spec.products.units import PHYSICAL, RELATIVE
from pix2spec.runtime.provenance import run_provenance

__all__ = [
    "Generator",
    "Settings",
    "check_image",
    "fibre_photometry",
    "has_photometry",
]

MAX_NANOMAGGIES = 1e9  # nanomaggies: magnitude 0
NOT_FINITE = "the model makes NaN or infinite values of it", "is its photometry in nanomaggies?"


@dataclass(frozen=True)
class Settings:
    """How to draw and choose.

    Parameters
    ----------
    n : int
        Candidates an object.
    select : str
        ``single``, ``best``, ``mean:M`` or ``all``; see `pix2spec.select`.
    sampler : str
        ``dpm++`` or, for models over pixels, ``ddpm`` (the paper's) and ``ddim``; for factorised models,
        ``euler`` and ``heun``.
    steps : int, optional
        Network evaluations a candidate; by default all timesteps for ``ddpm``, 25 for the other samplers
        of pixels, 16 for factorised models.
    seed : int
        Candidate k of object i depends on (seed, object id, k) alone.
    noise : str
        ``observed``: candidates as the survey would record them; ``none``: noise-free. Models over pixels
        know observed spectra only.
    use : tuple of str
        What the model may know of an object: any of ``image``, ``photometry`` and ``redshift``. Models
        over pixels see the image alone.
    guidance : float
        Classifier-free guidance scale of factorised models; 1 is none.
    """

    n: int = 25
    select: str = "all"
    sampler: str = "dpm++"
    steps: int | None = None
    seed: int = 0
    noise: str = "observed"
    use: tuple[str, ...] = ("image", "photometry")
    guidance: float = 1.0

    def __post_init__(self):
        if self.n < 1:
            raise InputError("-n", f"{self.n} candidates", "draw at least one")
        known = sorted({*SAMPLERS, *FLOW_SAMPLERS})
        if self.sampler not in known:
            raise InputError("--sampler", f"{self.sampler!r} is unknown", f"one of {', '.join(known)}")
        if self.noise not in ("observed", "none"):
            raise InputError("--noise", f"{self.noise!r} is unknown", "observed or none")
        if not self.use or set(self.use) - set(TOKENS):
            raise InputError("--use", f"{','.join(self.use)!r}", f"some of {', '.join(TOKENS)}")
        if self.steps is not None and self.steps < 1:
            raise InputError("--steps", f"{self.steps} steps", "take at least one")
        _, m = parse_selection(self.select)
        if m > self.n:
            raise InputError("--select", f"{self.select!r} of {self.n} candidates", "draw more with -n")


@dataclass(repr=False)
class Generator(ABC):
    """A trained model that turns photometry into ensembles of spectra; made by `load`."""

    model: nn.Module
    ids: dict
    config: dict
    device: str = "cpu"

    no_selector = "this model has no use for a contrastive network"
    takes_redshift = False

    def __repr__(self) -> str:
        record, wave = self.config["record"], self.grid.wave
        inputs = self.inputs(Settings())
        seen = [f"image ({', '.join(self.survey.image_bands)})"] if "image" in inputs else []
        seen += [f"photometry ({', '.join(self.survey.photometry_bands)})"] if "photometry" in inputs else []
        seen += ["redshift"] if self.takes_redshift else []
        lines = (
            f"{self.ids['model']}: {self.model.preset.about}",
            f"trained on {record.get('trained_on', 'data that were not recorded')}"
            + (f", {record['steps']} steps" if "steps" in record else ""),
            f"inputs: {', '.join(seen)}; grid: {len(wave)} pixels, {wave[0]:.0f} to {wave[-1]:.0f} Angstrom",
        )
        return "\n".join(" ".join(line.split()) for line in lines)

    @classmethod
    def open(cls, folder: Path, model: nn.Module, ids: dict, config: dict, device: str, selector=None):
        """The generator of the loaded model of a folder; `selector` is the folder of a contrastive network.

        Raises
        ------
        InputError
            If there is a selector, and this kind of model has no use for it.
        """
        if selector:
            raise InputError(selector, cls.no_selector, "leave out selector")
        return cls(model, ids, config, device)

    def __post_init__(self):
        self.model.to(self.device).eval()
        self.grid, self.survey = self.model.grid, self.model.survey
        self.weights = filter_matrix(self.grid.wave, self.survey.filters, min_coverage=0.99)

    @property
    @abstractmethod
    def default_select(self) -> str:
        """Selection rule where the user names none."""

    @property
    @abstractmethod
    def default_batch(self) -> int:
        """Objects that share a pass through the networks in a catalogue."""

    def inputs(self, settings: Settings) -> set[str]:
        """What counts of an object by these settings: ``"image"``, ``"photometry"`` or both.

        Catalogue fluxes count even where the model sees the image alone: they fix the amplitude.
        """
        return {"image", "photometry"}

    @abstractmethod
    def check_settings(self, settings: Settings) -> None:
        """Raise `InputError` if this kind of model cannot follow the settings."""

    @abstractmethod
    def check(self, galaxy: Galaxy, settings: Settings) -> None:
        """Raise `InputError` if nothing can be generated for a pair."""

    @abstractmethod
    def _ensembles(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]: ...

    def generate(self, source, image_kind: str | None = None, **settings) -> Ensemble:
        """Generate an ensemble of spectra for one galaxy.

        Parameters
        ----------
        source : path, array or Galaxy
            A cutout (FITS, JPEG, PNG); an image (band, y, x), in nanomaggies unless `image_kind` is
            ``"composite"``; or a `Galaxy` with image, photometry, or both.
        image_kind : str, optional
            ``"linear"`` or ``"composite"``, for arrays and pairs.
        **settings
            See `Settings`: n, select, sampler, steps, seed, noise, use, guidance.

        Returns
        -------
        Ensemble

        Raises
        ------
        InputError
            If the input cannot be used, with the reason.

        Examples
        --------
        Fluxes in nanomaggies and a redshift that is known; candidates without noise:

        >>> galaxy = pix2spec.Galaxy("m", z=0.05, z_err=1e-4, photometry=[15, 33, 41, 50, 52],
        ...                        photometry_ivar=[1, 1, 1, 1, 1])
        >>> ensemble = pix2spec.load().generate(galaxy, n=4, use=("photometry", "redshift"), noise="none")
        >>> ensemble.candidates.shape, ensemble.flux.shape
        ((4, 3598), (3598,))
        >>> ensemble.redshifts.round(3)
        array([0.05, 0.05, 0.05, 0.05], dtype=float32)
        """
        settings.setdefault("select", self.default_select)
        galaxy, kind = self._as_galaxy(source, image_kind)
        return self.generate_batch([galaxy], kind, Settings(**settings))[0]

    def _as_galaxy(self, source, image_kind: str | None) -> tuple[Galaxy, str]:
        if isinstance(source, Galaxy):
            return source, image_kind or "linear"
        if isinstance(source, str | Path):
            from pix2spec.data.readers.images import read_cutout

            image, kind, info = read_cutout(source, self.survey)
            return Galaxy(Path(source).stem, ra=info["ra"], dec=info["dec"], image=image), kind
        return Galaxy("galaxy", image=np.asarray(source, np.float32)), image_kind or "linear"

    def generate_batch(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        """Ensembles of several galaxies; all candidates run through the network together.

        Raises
        ------
        InputError
            For the first pair that cannot be used; `check` tells beforehand.
        """
        galaxies = [mask_invalid_fluxes(galaxy) for galaxy in galaxies]
        for galaxy in galaxies:
            self.check(galaxy, settings)
        made = self._finite(galaxies, image_kind, settings)
        for result in made:
            if isinstance(result, InputError):
                raise result
        return made

    @torch.inference_mode()
    def _finite(
        self, galaxies: list[Galaxy], image_kind: str, settings: Settings
    ) -> list[Ensemble | InputError]:
        """Ensembles of pairs that were checked; an error in place of one that has NaN or infinite values."""
        self.check_settings(settings)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what comes of it is looked at
            made = self._ensembles(galaxies, image_kind, settings)
        return [
            ensemble if ensemble.is_finite else InputError(ensemble.object_id, *NOT_FINITE)
            for ensemble in made
        ]

    def provenance(self, settings: Settings) -> dict:
        """What brings a result back: model and its hash, version, command, settings."""
        normalisation = getattr(self.model.preset, "data", None)
        scale = normalisation.spectrum if normalisation else "flux"
        return self.ids | run_provenance() | {"normalisation": scale, **asdict(settings)}

    def _ensemble(self, galaxy: Galaxy, image_kind: str, settings: Settings, **values) -> Ensemble:
        """An ensemble with the input's facts and the provenance."""
        return Ensemble(
            object_id=galaxy.object_id,
            grid=self.grid,
            select=settings.select,
            image=galaxy.image,
            image_kind=image_kind,
            photometry=galaxy.photometry,
            photometry_ivar=galaxy.photometry_ivar,
            z=galaxy.z,
            ra=galaxy.ra,
            dec=galaxy.dec,
            provenance=self.provenance(settings),
            **values,
        )

    def _in_flux(self, galaxy: Galaxy, image_kind: str, x: np.ndarray, has_zero_point: bool) -> dict:
        """Candidates x (n, L) in physical flux where photometry fixes their amplitude.

        Without a zero point, an offset is fitted too. Returns the candidates, unit, amplitude and flags of
        an `Ensemble`.
        """
        unknown = {"candidates": x, "unit": RELATIVE, "flags": ["relative-flux"]}
        usable = np.isfinite(self.weights).all(0)
        fluxes, ivar, flags = fibre_photometry(galaxy, image_kind, self.survey, usable)
        if fluxes is None:
            return unknown
        offset, scale = fit_amplitude(x, self.weights, fluxes, ivar, fit_offset=not has_zero_point)
        failed = ~np.isfinite(scale[:, 0])
        if not has_zero_point and failed.any():
            # The colours disagree so much that the fit wants a negative scale: let -1 be zero flux.
            _, one = fit_amplitude(x[failed] + 1, self.weights, fluxes, ivar, fit_offset=False)
            offset[failed], scale[failed] = one, one
            flags = [*flags, "amplitude-from-one-parameter"]
        if not np.isfinite(scale).all():
            return unknown
        amplitude = np.hstack([offset, scale])
        return {"candidates": offset + scale * x, "unit": PHYSICAL, "flags": flags, "amplitude": amplitude}

    def run(
        self, galaxies: Iterable[Galaxy], image_kind: str, settings: Settings, batch: int | None = None
    ) -> Iterator[Ensemble | tuple[Galaxy, str]]:
        """Ensembles of many galaxies, in order; a pair that cannot be used comes back with the reason.

        `batch` objects share a pass through the network, by default `default_batch`: results depend on
        it by rounding alone.
        """
        waiting: list[Galaxy] = []

        def flush():
            good, made = [], {}
            for galaxy in waiting:
                try:
                    self.check(galaxy, settings)
                    good.append(galaxy)
                except InputError as error:
                    made[id(galaxy)] = galaxy, str(error)
            # What cannot be used leaves its place to another: batches, and so roundings, stay as they were.
            filled = [good[0] if id(galaxy) in made else galaxy for galaxy in waiting] if good else []
            for galaxy, result in zip(filled, self._finite(filled, image_kind, settings) if good else ()):
                made.setdefault(
                    id(galaxy), (galaxy, str(result)) if isinstance(result, InputError) else result
                )
            yield from (made[id(galaxy)] for galaxy in waiting)
            waiting.clear()

        for galaxy in galaxies:
            waiting.append(mask_invalid_fluxes(galaxy))
            if len(waiting) == (batch or self.default_batch):
                yield from flush()
        yield from flush()


def check_image(galaxy: Galaxy, bands: tuple[str, ...]) -> None:
    """Raise `InputError` if the image of a pair cannot be used."""
    if galaxy.image is None or not np.isfinite(galaxy.image).any():
        raise InputError(galaxy.object_id, "it has no image, and this model needs one")
    if galaxy.image.ndim != 3 or len(galaxy.image) != len(bands):
        wanted = f"{len(bands)} bands ({', '.join(bands)}), then y, x"
        raise InputError(galaxy.object_id, f"image of shape {galaxy.image.shape}", f"it must have {wanted}")
    if not np.isfinite(galaxy.image).all():
        raise InputError(galaxy.object_id, "its image has NaN or inf pixels", "fill or cut them out")
    if not galaxy.image.any():
        raise InputError(galaxy.object_id, "its image is zero everywhere")


def mask_invalid_fluxes(galaxy: Galaxy) -> Galaxy:
    """The pair, in whose photometry what is no flux of a galaxy, or has no error, is missing."""
    if galaxy.photometry is None or galaxy.photometry_ivar is None:
        return (
            replace(galaxy, photometry=None, photometry_ivar=None)
            if galaxy.photometry is not None
            else galaxy
        )
    flux, ivar = np.asarray(galaxy.photometry), np.asarray(galaxy.photometry_ivar)
    sane = np.isfinite(flux) & (np.abs(flux) < MAX_NANOMAGGIES) & np.isfinite(ivar) & (ivar > 0)
    if (sane | (ivar == 0)).all():
        return galaxy
    return replace(galaxy, photometry=np.where(sane, flux, np.nan), photometry_ivar=np.where(sane, ivar, 0))


def has_photometry(galaxy: Galaxy) -> bool:
    """Whether a pair has a band flux with an error."""
    if galaxy.photometry is None or galaxy.photometry_ivar is None:
        return False
    return bool((np.isfinite(galaxy.photometry) & (np.nan_to_num(galaxy.photometry_ivar) > 0)).any())


def fibre_photometry(galaxy: Galaxy, image_kind: str, survey, usable: np.ndarray):
    """Band fluxes in the spectrum's aperture: the catalogue's, else the linear image's own.

    Parameters
    ----------
    usable : array (bands,), bool
        Bands that matter, of which there must be two with an error.

    Returns
    -------
    flux, ivar : array (bands,) or None
        In nanomaggies.
    flags : list of str
        Where they come from.
    """
    if galaxy.photometry is not None and galaxy.photometry_ivar is not None:
        ivar = np.nan_to_num(galaxy.photometry_ivar)
        if (ivar[usable] > 0).sum() >= 2:
            return galaxy.photometry, ivar, ["amplitude-from-photometry"]
    if image_kind != "linear" or galaxy.image is None:
        return None, None, []
    fluxes = np.full(len(survey.photometry_bands), np.nan)
    fibre = aperture_weights(galaxy.image.shape[1:], survey.pixel_scale, survey.fibre_diameter)
    for band, plane in zip(survey.image_bands, galaxy.image):
        fluxes[survey.photometry_bands.index(band)] = (plane * fibre).sum()
    bright = fluxes > 0
    error = 0.05 * np.where(bright, fluxes, 1)  # as good as one aperture in one seeing
    ivar = np.where(bright, 1 / np.square(error), 0.0)
    return fluxes, np.nan_to_num(ivar), ["amplitude-from-image"]
