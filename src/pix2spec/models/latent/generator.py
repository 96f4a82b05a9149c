"""Generation with the default model: a flow over latent vectors, decoded to spectra."""

from dataclasses import dataclass

import numpy as np
import torch

from pix2spec.data.readers.picture_photometry import FROM_PICTURE, IMAGE_UNUSABLE
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.generator import Generator, Settings
from pix2spec.models.latent.conditions import centre, image_token, redshift_token
from pix2spec.models.latent.redshifts import MAX_SPECTROSCOPIC, draw_redshifts
from pix2spec.models.latent.sampler import sample_flow
from pix2spec.models.redshift.network import RedshiftModel
from pix2spec.models.shared.checks import check_image, fibre_photometry, has_photometry
from pix2spec.models.shared.inputs import photometry_token
from pix2spec.models.shared.settings import FLOW_SAMPLERS
from pix2spec.models.storage import find_model, load_model, model_id
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.selection import select
from pix2spec.products.units import PHYSICAL, RELATIVE
from pix2spec.runtime.random import candidate_generator

__all__ = ["FactorisedGenerator"]

MAX_BRIGHTNESS_ERROR = 0.2  # magnitudes; fluxes that share a larger one do not fix the amplitude
EVALUATIONS = 16  # default number of network evaluations per candidate


@dataclass(repr=False)
class FactorisedGenerator(Generator):
    """The default model: from any of image, photometry and redshift to spectra in physical flux."""

    redshifts: RedshiftModel | None = None

    takes_redshift = True
    measures_pictures = True
    no_selector = "this model has a contrastive network of its own"

    @classmethod
    def open(cls, folder, model, ids, config, device, selector=None):
        """Make the generator of a loaded model, with the redshift model that its preset names."""
        made = super().open(folder, model, ids, config, device, selector)
        if model.preset.redshift:
            other = find_model(model.preset.redshift)
            made.redshifts = load_model(other)[0]
            made.ids = ids | {"redshift_model": model_id(other)}
        return made

    def __post_init__(self):
        super().__post_init__()
        self.flow = self.model.flow
        self.autocast = torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda"))
        if self.device.startswith("cuda"):
            self.flow = torch.compile(self.flow, dynamic=True)

    @property
    def default_select(self) -> str:
        """The whole ensemble, because any other rule would narrow its distribution."""
        return "all"

    @property
    def default_batch(self) -> int:
        """Enough galaxies to make matrix products efficient, with less than 1 GB of memory."""
        return 32 if self.device == "cpu" else 256

    def takes_any_filter(self) -> bool:
        """The redshift model does."""
        return self.redshifts is not None

    def inputs(self, settings: Settings) -> set[str]:
        """Photometry that the settings allow to use. A redshift is not photometry."""
        return set(settings.use) & {"image", "photometry"}

    def check_settings(self, settings: Settings) -> None:
        """Raise `InputError` if the sampler is for models over pixels."""
        if settings.sampler not in FLOW_SAMPLERS:
            known = ", ".join(FLOW_SAMPLERS)
            raise InputError(
                "`sampler`", f"{settings.sampler!r} is for models over pixels", f"one of {known}"
            )

    def check(self, galaxy: Galaxy, settings: Settings) -> None:
        """Raise `InputError` if `galaxy` has none of the inputs in `use`, or z is out of range."""
        if "redshift" in settings.use and not (
            np.isnan(galaxy.z) or -0.001 <= galaxy.z <= self.model.basis.z_max
        ):
            z_range = f"beyond the model's range, 0 to {self.model.basis.z_max}"
            raise InputError(galaxy.object_id, f"its redshift {galaxy.z:.3f} is {z_range}")
        if (
            self._has_photometry(galaxy, settings)
            or self._is_measured(galaxy, settings)
            or ("redshift" in settings.use and np.isfinite(galaxy.z))
        ):
            return
        if "image" in settings.use:
            check_image(galaxy, self.survey.image_bands)
            return
        raise InputError(galaxy.object_id, f"it has none of: {', '.join(settings.use)}", "see `use`")

    @staticmethod
    def _may_use_fluxes(galaxy: Galaxy, settings: Settings) -> bool:
        """Whether the settings allow the galaxy's fluxes; those of a picture belong to the image."""
        return "photometry" in settings.use or ("image" in settings.use and FROM_PICTURE in galaxy.flags)

    def _has_photometry(self, galaxy: Galaxy, settings: Settings) -> bool:
        return self._may_use_fluxes(galaxy, settings) and has_photometry(galaxy)

    def _is_measured(self, galaxy: Galaxy, settings: Settings) -> bool:
        """Whether the redshift model can use fluxes that the flow cannot."""
        filters = galaxy.measured.filters if galaxy.measured else ()
        return self.redshifts is not None and self._may_use_fluxes(galaxy, settings) and len(filters) > 0

    def _ensembles(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        n, originals = settings.n, galaxies
        seen, flags = zip(*(self._restrict(galaxy, image_kind, settings) for galaxy in galaxies))
        galaxies = list(seen)
        generators = [candidate_generator(settings.seed, p.object_id, k) for p in galaxies for k in range(n)]
        draws = draw_redshifts(self.redshifts, galaxies, originals, settings, self.model.basis.z_max)
        drawn = torch.from_numpy(draws.z.astype(np.float32)).clamp(0, self.model.basis.z_max).to(self.device)
        with self.autocast:
            tokens = self._tokens(galaxies, image_kind)
            condition = self.model.condition(tokens)
            latents = self._latents(self._per_candidate(condition, tokens, drawn), settings, generators)
        latents, condition = latents.float(), condition.float()
        exact = [p.z if p.z_err < MAX_SPECTROSCOPIC else np.nan for p in galaxies]
        known = torch.tensor(exact, dtype=torch.float32).repeat_interleave(n)
        known = torch.where(drawn.flatten().isfinite(), drawn.flatten(), known.to(self.device))
        amplitudes = [self._amplitude(*pair, image_kind) for pair in zip(galaxies, originals)]
        r = torch.tensor([a for a, _, _ in amplitudes], device=self.device).repeat_interleave(n).log10()
        latents[:, 1] = torch.where(torch.isfinite(r), r, latents[:, 1])
        spectra, z = self.model.spectra(latents, known)
        observed = spectra + self.model.noise.sample(spectra, generators)[0]
        scores = self.model.ranker.scores(condition, observed.unflatten(0, (-1, n))).cpu().numpy()
        candidates = (spectra if settings.noise == "none" else observed).unflatten(0, (-1, n)).cpu().numpy()
        z = z.unflatten(0, (-1, n)).cpu().numpy()
        z = np.where(np.isfinite(draws.z), draws.z, z).astype(np.float32)
        noise_free = spectra.unflatten(0, (-1, n)).cpu().numpy()
        beyond = z > self.model.basis.z_max + 1e-3
        if beyond.any():
            noise_free = np.where(beyond[..., None], np.float32(np.nan), noise_free)
        return [
            self._ensemble(
                galaxy,
                image_kind,
                settings,
                candidates=candidates[i],
                redshifts=z[i],
                noise_free=noise_free[i],
                selected=select(settings.select, n, scores[i]),
                scores=scores[i],
                unit=amplitudes[i][1],
                flags=flags[i] + draws.flags[i] + amplitudes[i][2],
            )
            for i, galaxy in enumerate(originals)
        ]

    @torch.no_grad()
    def queries(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> np.ndarray:
        """Ranker's codes (galaxies, D) of the inputs of each galaxy, to compare with its codes of spectra."""
        seen = [self._restrict(galaxy, image_kind, settings)[0] for galaxy in galaxies]
        condition = self.model.condition(self._tokens(seen, image_kind)).float()
        return self.model.ranker.query(condition).cpu().numpy()

    def _restrict(self, galaxy: Galaxy, image_kind: str, settings: Settings) -> tuple[Galaxy, list[str]]:
        """Remove inputs that the settings exclude and an unusable image. Return flags for the latter.

        The flow sees either a picture or the fluxes that were measured in it. Beside fluxes that were given
        it sees no colour picture: it learnt from simulated ones, and real ones mislead it.
        """
        image, flags = galaxy.image, []
        has_photometry = self._has_photometry(galaxy, settings)
        if "image" in settings.use and image is not None:
            try:
                check_image(galaxy, self.survey.image_bands)
            except InputError:
                image, flags = None, [IMAGE_UNUSABLE]
        is_measured = FROM_PICTURE in galaxy.flags
        if IMAGE_UNUSABLE in galaxy.flags or (
            image_kind == "composite" and has_photometry and not is_measured
        ):
            image = None
        if is_measured and image is not None and "image" in settings.use:
            has_photometry = False
        known_z = "redshift" in settings.use and np.isfinite(galaxy.z)
        seen = Galaxy(
            galaxy.object_id,
            ra=galaxy.ra,
            dec=galaxy.dec,
            z=galaxy.z if known_z else np.nan,
            z_err=np.nan_to_num(galaxy.z_err) if known_z else np.nan,
            image=image if "image" in settings.use else None,
            photometry=galaxy.photometry if has_photometry else None,
            photometry_ivar=galaxy.photometry_ivar if has_photometry else None,
        )
        return seen, flags

    def _tokens(self, galaxies: list[Galaxy], image_kind: str) -> dict:
        size, bands = self.model.preset.condition.image_size, len(self.survey.image_bands)
        images = np.full((len(galaxies), bands, size, size), np.nan, np.float32)
        fluxes = np.zeros((len(galaxies), len(self.survey.photometry_bands)), np.float32)
        ivar = np.zeros_like(fluxes)
        for i, galaxy in enumerate(galaxies):
            if galaxy.image is not None:
                images[i] = centre(galaxy.image, size)
            if galaxy.photometry is not None and galaxy.photometry_ivar is not None:
                fluxes[i], ivar[i] = galaxy.photometry, np.nan_to_num(galaxy.photometry_ivar)
        tokens = (
            image_token(images, image_kind)
            | photometry_token(fluxes, ivar)
            | redshift_token(np.array([p.z for p in galaxies]), np.array([p.z_err for p in galaxies]))
        )
        return {name: tensor.to(self.device) for name, tensor in tokens.items()}

    def _per_candidate(self, condition, tokens: dict, z: torch.Tensor) -> torch.Tensor:
        """Conditions (galaxies * n, C) of candidates, with the redshifts `z` (galaxies, n) where finite."""
        repeated = condition.repeat_interleave(z.shape[1], dim=0)
        rows = z.isfinite().all(1)
        if rows.any():
            some = {name: values[rows] for name, values in tokens.items()}
            where = rows.repeat_interleave(z.shape[1])
            repeated[where] = self.model.condition.at_redshifts(some, z[rows]).to(repeated.dtype)
        return repeated

    def _latents(self, repeated, settings: Settings, generators) -> torch.Tensor:
        """Draw latent vectors (candidates, D) from the flow, given their conditions (candidates, C)."""
        velocity = self.flow
        if settings.guidance != 1:
            nothing = self.model.condition.nothing(len(repeated))

            def velocity(x, sigma, c):
                free = self.flow(x, sigma, nothing)
                return free + settings.guidance * (self.flow(x, sigma, c) - free)

        shape = (len(repeated), self.model.dimension)
        x = sample_flow(
            lambda x, sigma: velocity(x, sigma, repeated),
            shape,
            settings.sampler,
            settings.steps or EVALUATIONS,
            generators,
            self.device,
        )
        # Keep latents within the range of the training set: photometry with large errors can lead beyond it.
        limit = self.model.normal.MAX_SIGMAS
        return self.model.normal.inverse(x.float().clamp(-limit, limit))

    def _amplitude(self, galaxy: Galaxy, original: Galaxy, image_kind: str) -> tuple[float, str, list[str]]:
        """The r flux in nanomaggies to scale spectra to (NaN if unknown), the unit of spectra, and flags."""
        if galaxy.photometry is not None and original.brightness_error > MAX_BRIGHTNESS_ERROR:
            return np.nan, RELATIVE, ["relative-flux"]
        r = self.survey.photometry_bands.index("r")
        usable = np.arange(len(self.survey.photometry_bands)) == r
        own, ivar = galaxy.photometry, galaxy.photometry_ivar
        if own is not None and ivar is not None and np.isfinite(own[r]) and np.nan_to_num(ivar)[r] > 0:
            is_measured = FROM_PICTURE in original.flags
            flux, origin = own[r], "amplitude-from-image" if is_measured else "amplitude-from-photometry"
        else:
            fluxes, _, _ = fibre_photometry(Galaxy("", image=galaxy.image), image_kind, self.survey, usable)
            flux, origin = (np.nan if fluxes is None else fluxes[r]), "amplitude-from-image"
        if not flux > 0:
            return np.nan, RELATIVE, ["relative-flux"]
        return float(flux), PHYSICAL, [origin]
