"""From photometry to ensembles of spectra: one galaxy in three lines, a catalogue in one call."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pix2spec.core.photometry import filter_matrix, fit_amplitude
from pix2spec.data.measurements import check_not_magnitudes
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.shared.checks import fibre_photometry, galaxy_of_array, in_bands_of, mask_invalid_fluxes
from pix2spec.models.shared.inputs import TOKENS
from pix2spec.models.shared.settings import FLOW_SAMPLERS, PIXEL_SAMPLERS
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.selection import parse_selection
from pix2spec.products.units import PHYSICAL, RELATIVE
from pix2spec.runtime.provenance import run_provenance

__all__ = [
    "Generator",
    "Settings",
]

NOT_FINITE = "the model output is NaN or infinite for this object", "check that the fluxes are in nanomaggies"


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
            raise InputError("`n`", f"{self.n} candidates", "draw at least one")
        known = sorted({*PIXEL_SAMPLERS, *FLOW_SAMPLERS})
        if self.sampler not in known:
            raise InputError("`sampler`", f"{self.sampler!r} is unknown", f"one of {', '.join(known)}")
        if self.noise not in ("observed", "none"):
            raise InputError("`noise`", f"{self.noise!r} is unknown", "observed or none")
        if not self.use or set(self.use) - set(TOKENS):
            raise InputError("`use`", f"{','.join(self.use)!r}", f"some of {', '.join(TOKENS)}")
        if self.steps is not None and self.steps < 1:
            raise InputError("`steps`", f"{self.steps} steps", "take at least one")
        _, m = parse_selection(self.select)
        if m > self.n:
            what = f"{self.select!r} needs {m} candidates, but there are {self.n}"
            raise InputError("`select`", what, "draw more with `n`")


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
        if galaxy.photometry is not None and not galaxy.filters:
            check_not_magnitudes(galaxy.photometry, galaxy.object_id)
        return self.generate_batch([galaxy], kind, Settings(**settings))[0]

    def _as_galaxy(self, source, image_kind: str | None) -> tuple[Galaxy, str]:
        if isinstance(source, Galaxy):
            return source, image_kind or "linear"
        if isinstance(source, str | Path):
            from pix2spec.data.readers.images import read_cutout

            image, kind, info = read_cutout(source, self.survey)
            return Galaxy(Path(source).stem, ra=info["ra"], dec=info["dec"], image=image), kind
        return galaxy_of_array(source, image_kind)

    def generate_batch(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        """Ensembles of several galaxies; all candidates run through the network together.

        Raises
        ------
        InputError
            For the first pair that cannot be used; `check` tells beforehand.
        """
        galaxies = [self._prepared(galaxy) for galaxy in galaxies]
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

    def _prepared(self, galaxy: Galaxy) -> Galaxy:
        """The galaxy with its fluxes in the order of the model's bands, and what is no flux missing."""
        return mask_invalid_fluxes(in_bands_of(galaxy, self.survey))

    def _ensemble(self, galaxy: Galaxy, image_kind: str, settings: Settings, **values) -> Ensemble:
        """An ensemble with what is known of the galaxy, its flags and the provenance."""
        values["flags"] = [*galaxy.flags, *values.get("flags", ())]
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
        size = batch or self.default_batch
        source = iter(galaxies)
        while group := list(islice(source, size)):
            yield from self._run_batch(group, image_kind, settings)

    def _run_batch(self, group: list[Galaxy], image_kind: str, settings: Settings) -> list:
        """Ensembles of galaxies that share a pass, and (galaxy, reason) in the place of unusable ones."""
        results: list = []
        for galaxy in group:
            try:
                prepared = self._prepared(galaxy)
                self.check(prepared, settings)
                results.append(prepared)
            except InputError as error:
                results.append((galaxy, str(error)))
        usable = [k for k, result in enumerate(results) if isinstance(result, Galaxy)]
        if not usable:
            return results
        # An unusable galaxy leaves its place to a usable one: the size of the batch, and so its roundings,
        # stay as they were.
        filled = [results[k] if k in usable else results[usable[0]] for k in range(len(results))]
        made = self._finite(filled, image_kind, settings)
        for k in usable:
            failed = isinstance(made[k], InputError)
            results[k] = (results[k], str(made[k])) if failed else made[k]
        return results
