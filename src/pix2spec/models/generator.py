"""Base class of all generators: from the photometry of galaxies to ensembles of spectra."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pix2spec.core.filters import FLOOR
from pix2spec.core.photometry import filter_matrix, fit_amplitude
from pix2spec.data.measurements import check_not_magnitudes
from pix2spec.data.pictures import read_picture, with_picture_photometry
from pix2spec.data.readers.images import read_cutout
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.redshift.prior import read_prior
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
    """How to draw candidates and how to choose among them.

    Parameters
    ----------
    n : int
        Number of candidates per galaxy.
    select : str
        ``single``, ``best``, ``mean:M`` or ``all``; see `pix2spec.products.selection`.
    sampler : str
        ``dpm++`` for all models. Models over pixels also have ``ddpm`` (the paper's) and ``ddim``;
        factorised models also have ``euler`` and ``heun``.
    steps : int, optional
        Network evaluations per candidate. The default is all timesteps for ``ddpm``, 25 for the other
        samplers of models over pixels, and 16 for factorised models.
    seed : int
        Candidate k of a galaxy depends on (seed, object id, k) alone.
    noise : str
        ``observed``: candidates have noise as in spectra of the survey. ``none``: candidates are noise-free.
        Models over pixels make observed spectra only.
    use : tuple of str
        Inputs that the model may use: any of ``image``, ``photometry`` and ``redshift``. Models over pixels
        use the image alone.
    guidance : float
        Scale of the classifier-free guidance of factorised models; 1 turns it off.
    floor : float
        Least error of fluxes in magnitudes, which is added to the stated errors in quadrature where redshifts
        are drawn.
    prior : str, optional
        File with the user's own weights of redshifts, or n(z); see `pix2spec.models.redshift.prior`.
    reweigh : bool
        Keep candidates of the default model as often as their fluxes agree with those that were given.
    shape : bool
        Let the default model see more of colour pictures than their fluxes: its network sees them, and it
        keeps candidates as often as their lines agree with the shape of the galaxy.
    """

    n: int = 25
    select: str = "all"
    sampler: str = "dpm++"
    steps: int | None = None
    seed: int = 0
    noise: str = "observed"
    use: tuple[str, ...] = ("image", "photometry")
    guidance: float = 1.0
    floor: float = FLOOR
    prior: str | None = None
    reweigh: bool = False
    shape: bool = False

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
        if not 0 <= self.floor < 1:
            raise InputError("`floor`", f"{self.floor} magnitudes", "0.01, or another number from 0 to 1")
        if self.prior is not None:
            read_prior(self.prior)
        if self.steps is not None and self.steps < 1:
            raise InputError("`steps`", f"{self.steps} steps", "take at least one")
        _, m = parse_selection(self.select)
        if m > self.n:
            what = f"{self.select!r} needs {m} candidates, but there are {self.n}"
            raise InputError("`select`", what, "draw more with `n`")


@dataclass(repr=False)
class Generator(ABC):
    """A trained model that turns photometry into ensembles of spectra. `pix2spec.load` makes one.

    Parameters
    ----------
    model : Network
        The network, with its preset, wavelength grid and survey.
    ids : dict
        Names and content hashes of the model and its parts, for the provenance.
    config : dict
        The content of the model's ``config.json``.
    device : str
        torch's name of the device.
    """

    model: nn.Module
    ids: dict
    config: dict
    device: str = "cpu"

    no_selector = "this model does not use a contrastive network"
    takes_redshift = False
    measures_pictures = False  # whether the photometry of pictures is an input besides the pictures

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
        """Make the generator of a loaded model.

        Parameters
        ----------
        folder : Path
            Folder of the model.
        model, ids, config, device
            As for the class.
        selector : path, optional
            Folder of a contrastive network, which ranks candidates.

        Raises
        ------
        InputError
            If there is a selector and this kind of model does not use one.
        """
        if selector:
            raise InputError(selector, cls.no_selector, "leave out `selector`")
        return cls(model, ids, config, device)

    def __post_init__(self):
        self.model.to(self.device).eval()
        self.grid, self.survey = self.model.grid, self.model.survey
        self.weights = filter_matrix(self.grid.wave, self.survey.filters, min_coverage=0.99)

    @property
    @abstractmethod
    def default_select(self) -> str:
        """Selection rule if the user names none."""

    @property
    @abstractmethod
    def default_batch(self) -> int:
        """Number of galaxies of a catalogue that share a pass through the networks."""

    def takes_any_filter(self) -> bool:
        """Whether fluxes that are in none of the survey's bands are of use."""
        return False

    def inputs(self, settings: Settings) -> set[str]:
        """Inputs that affect the result under these settings: ``"image"``, ``"photometry"`` or both.

        Catalogue fluxes affect it even if the model sees the image alone: they fix the amplitude.
        """
        return {"image", "photometry"}

    @abstractmethod
    def check_settings(self, settings: Settings) -> None:
        """Raise `InputError` if this kind of model does not support the settings."""

    @abstractmethod
    def check(self, galaxy: Galaxy, settings: Settings) -> None:
        """Raise `InputError` if the model cannot generate spectra of `galaxy`."""

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
            ``"linear"`` or ``"composite"``, for arrays and galaxies.
        **settings
            See `Settings`: n, select, sampler, steps, seed, noise, use, guidance.

        Returns
        -------
        Ensemble

        Raises
        ------
        InputError
            If the input cannot be used. The error states the reason.

        Examples
        --------
        From fluxes in nanomaggies and a known redshift, make candidates without noise:

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
        if self.measures_pictures:
            galaxy = with_picture_photometry(galaxy, kind, self.survey)
        if galaxy.photometry is not None and not galaxy.filters:
            check_not_magnitudes(galaxy.photometry, galaxy.object_id)
        return self.generate_batch([galaxy], kind, Settings(**settings))[0]

    def _as_galaxy(self, source, image_kind: str | None) -> tuple[Galaxy, str]:
        if isinstance(source, Galaxy):
            return source, image_kind or "linear"
        if isinstance(source, str | Path):
            if self.measures_pictures:
                galaxy, kind, _ = read_picture(source, self.survey)
                return galaxy, kind
            image, kind, info = read_cutout(source, self.survey)
            return Galaxy(Path(source).stem, ra=info["ra"], dec=info["dec"], image=image), kind
        return galaxy_of_array(source, image_kind)

    def generate_batch(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        """Generate ensembles of several galaxies. All their candidates share the passes through the network.

        Parameters
        ----------
        galaxies : list of Galaxy
            The galaxies.
        image_kind : str
            ``"linear"`` or ``"composite"``.
        settings : Settings
            How to draw and choose.

        Raises
        ------
        InputError
            For the first galaxy that cannot be used. `check` finds such galaxies beforehand.
        """
        galaxies = [self._prepared(galaxy, image_kind) for galaxy in galaxies]
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
        """Ensembles of galaxies that passed `check`; an error replaces an ensemble that is not finite."""
        self.check_settings(settings)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # `is_finite` checks the result
            made = self._ensembles(galaxies, image_kind, settings)
        return [
            ensemble if ensemble.is_finite else InputError(ensemble.object_id, *NOT_FINITE)
            for ensemble in made
        ]

    def provenance(self, settings: Settings) -> dict:
        """Record of all that reproduces a result: model and its hash, version, command, settings."""
        normalisation = getattr(self.model.preset, "data", None)
        scale = normalisation.spectrum if normalisation else "flux"
        return self.ids | run_provenance() | {"normalisation": scale, **asdict(settings)}

    def _prepared(self, galaxy: Galaxy, image_kind: str) -> Galaxy:
        """The galaxy with its fluxes in the order of the model's bands; invalid fluxes become missing.

        The photometry of colour pictures is measured, if that was not done before.
        """
        if self.measures_pictures and image_kind == "composite":
            galaxy = with_picture_photometry(galaxy, image_kind, self.survey)
        return mask_invalid_fluxes(in_bands_of(galaxy, self.survey, self.takes_any_filter()))

    def _ensemble(self, galaxy: Galaxy, image_kind: str, settings: Settings, **values) -> Ensemble:
        """An ensemble with the galaxy's data and flags, and with the provenance."""
        values["flags"] = [*galaxy.flags, *values.get("flags", ())]
        if "provenance" not in values:
            values["provenance"] = self.provenance(settings)
        return Ensemble(
            object_id=galaxy.object_id,
            grid=self.grid,
            select=settings.select,
            image=galaxy.image,
            image_kind=image_kind,
            photometry=galaxy.photometry,
            photometry_ivar=galaxy.photometry_ivar,
            measurements=galaxy.measured,
            z=galaxy.z,
            ra=galaxy.ra,
            dec=galaxy.dec,
            **values,
        )

    def _in_flux(self, galaxy: Galaxy, image_kind: str, x: np.ndarray, has_zero_point: bool) -> dict:
        """Scale candidates x (n, L) to physical flux if the galaxy has photometry that fixes the amplitude.

        If zero does not mean zero flux on the scale of x, the fit includes an offset. Returns the fields
        candidates, unit, amplitude and flags of an `Ensemble`.
        """
        unknown = {"candidates": x, "unit": RELATIVE, "flags": ["relative-flux"]}
        usable = np.isfinite(self.weights).all(0)
        fluxes, ivar, flags = fibre_photometry(galaxy, image_kind, self.survey, usable)
        if fluxes is None:
            return unknown
        offset, scale = fit_amplitude(x, self.weights, fluxes, ivar, fit_offset=not has_zero_point)
        failed = ~np.isfinite(scale[:, 0])
        if not has_zero_point and failed.any():
            # The fit of two parameters has a negative scale. Fit one parameter: -1 of x is zero flux.
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
        """Generate ensembles of many galaxies, in order.

        Parameters
        ----------
        galaxies : iterable of Galaxy
            The galaxies.
        image_kind : str
            ``"linear"`` or ``"composite"``.
        settings : Settings
            How to draw and choose.
        batch : int, optional
            Number of galaxies that share a pass through the network, by default `default_batch`. Results
            depend on it only by rounding.

        Yields
        ------
        Ensemble or (Galaxy, str)
            The ensemble, or a galaxy that cannot be used with the reason.
        """
        size = batch or self.default_batch
        source = iter(galaxies)
        while group := list(islice(source, size)):
            yield from self._run_batch(group, image_kind, settings)

    def _run_batch(self, group: list[Galaxy], image_kind: str, settings: Settings) -> list:
        """Ensembles of galaxies that share a pass; (galaxy, reason) replaces each unusable galaxy."""
        results: list = []
        for galaxy in group:
            try:
                prepared = self._prepared(galaxy, image_kind)
                self.check(prepared, settings)
                results.append(prepared)
            except InputError as error:
                results.append((galaxy, str(error)))
        usable = [k for k, result in enumerate(results) if isinstance(result, Galaxy)]
        if not usable:
            return results
        # A usable galaxy fills the place of an unusable one: the batch keeps its size, and so its rounding.
        filled = [results[k] if k in usable else results[usable[0]] for k in range(len(results))]
        made = self._finite(filled, image_kind, settings)
        for k in usable:
            failed = isinstance(made[k], InputError)
            results[k] = (results[k], str(made[k])) if failed else made[k]
        return results
