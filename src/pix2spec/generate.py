"""From photometry to ensembles of spectra: one galaxy in three lines, a catalogue in one call."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from pix2spec.data.augment import scale_image, view
from pix2spec.data.schema import Pair
from pix2spec.diffusion import SAMPLERS, sample
from pix2spec.ensemble import PHYSICAL, RELATIVE, Ensemble
from pix2spec.errors import InputError
from pix2spec.files import made_by
from pix2spec.models.storage import load_model, model_id
from pix2spec.models.trainable import ContrastiveModel, PixelDiffusion
from pix2spec.normalise import minmax, robust
from pix2spec.photometry import aperture_weights, filter_matrix, fit_amplitude
from pix2spec.select import parse_selection, select

__all__ = ["Generator", "Settings", "find_model", "load", "shipped_models"]

DEFAULT_MODEL = "demo"


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
        ``ddpm`` (the paper's), ``ddim`` or ``dpm++``.
    steps : int, optional
        Network evaluations a candidate; by default all timesteps for ``ddpm``, 25 for the others.
    seed : int
        Candidate k of object i depends on (seed, object id, k) alone.
    """

    n: int = 25
    select: str = "best"
    sampler: str = "dpm++"
    steps: int | None = None
    seed: int = 0

    def __post_init__(self):
        if self.n < 1:
            raise InputError("-n", f"{self.n} candidates", "draw at least one")
        if self.sampler not in SAMPLERS:
            raise InputError("--sampler", f"{self.sampler!r} is unknown", f"one of {', '.join(SAMPLERS)}")
        if self.steps is not None and self.steps < 1:
            raise InputError("--steps", f"{self.steps} steps", "take at least one")
        _, m = parse_selection(self.select)
        if m > self.n:
            raise InputError("--select", f"{self.select!r} of {self.n} candidates", "draw more with -n")


def load(model: str | Path = DEFAULT_MODEL, selector: str | Path | None = None, device: str | None = None):
    """Load a generator of spectra.

    Parameters
    ----------
    model : str or path
        A run folder of `pix2spec train`, or the name of a model that ships with the package
        (``"demo"``).
    selector : path, optional
        Run folder of a contrastive network. By default the ``selector`` folder inside the model's, if
        there is one.
    device : str, optional
        A torch device; a GPU where there is one.

    Returns
    -------
    Generator

    Raises
    ------
    InputError
        If a folder holds no model, a damaged one, or one of another kind.
    """
    folder = find_model(model)
    denoiser, config = load_model(folder)
    if not isinstance(denoiser, PixelDiffusion):
        raise InputError(
            folder, "a contrastive network ranks spectra, it does not make them", "use --selector"
        )
    chosen = Path(selector) if selector else folder / "selector"
    network, selector_id = None, None
    if selector or chosen.is_dir():
        network, selector_config = load_model(chosen)
        if not isinstance(network, ContrastiveModel):
            raise InputError(chosen, "not a contrastive network", "train one with paper-contrastive-small")
        for what in ("grid", "survey"):
            if selector_config[what] != config[what]:
                raise InputError(chosen, f"its {what} is not the model's", "train both on one dataset")
        selector_id = model_id(chosen)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    ids = {"model": model_id(folder)} | ({"selector": selector_id} if selector_id else {})
    return Generator(denoiser, network, ids, config, device)


def shipped_models() -> dict[str, Path]:
    """Names and folders of the models that come with the package."""
    weights = Path(str(resources.files("pix2spec") / "weights"))
    return {p.name: p for p in sorted(weights.iterdir()) if (p / "config.json").is_file()}


def find_model(model: str | Path) -> Path:
    """Folder of a model, given as a path or as the name of one that ships with the package."""
    shipped = shipped_models()
    if Path(model).is_dir():
        return Path(model)
    if str(model) in shipped:
        return shipped[str(model)]
    raise InputError(model, "no such model", f"give a run folder, or one of: {', '.join(shipped)}")


@dataclass
class Generator:
    """A trained model that turns photometry into ensembles of spectra; made by `load`."""

    model: PixelDiffusion
    selector: ContrastiveModel | None
    ids: dict
    config: dict = field(repr=False)
    device: str = "cpu"

    def __post_init__(self):
        self.model.to(self.device).eval()
        if self.selector is not None:
            self.selector.to(self.device).eval()
        self.grid, self.survey = self.model.grid, self.model.survey
        self.weights = filter_matrix(self.grid.wave, self.survey.filters, min_coverage=0.99)

    def generate(self, source, image_kind: str | None = None, **settings) -> Ensemble:
        """Generate an ensemble of spectra for one galaxy.

        Parameters
        ----------
        source : path, array or Pair
            A cutout (FITS, JPEG, PNG); an image (band, y, x), in nanomaggies unless `image_kind` is
            ``"composite"``; or a `Pair`, whose photometry fixes the amplitude.
        image_kind : str, optional
            ``"linear"`` or ``"composite"``, for arrays and pairs.
        **settings
            See `Settings`: n, select, sampler, steps, seed. Without a selector, `select` is ``all``.

        Returns
        -------
        Ensemble

        Raises
        ------
        InputError
            If the input cannot be used, with the reason.
        """
        if self.selector is None:
            settings.setdefault("select", "all")
        pair, kind = self._as_pair(source, image_kind)
        return self.generate_batch([pair], kind, Settings(**settings))[0]

    def _as_pair(self, source, image_kind: str | None) -> tuple[Pair, str]:
        if isinstance(source, Pair):
            return source, image_kind or "linear"
        if isinstance(source, str | Path):
            from pix2spec.data.readers.images import read_cutout

            image, kind, info = read_cutout(source, self.survey)
            return Pair(Path(source).stem, ra=info["ra"], dec=info["dec"], image=image), kind
        return Pair("galaxy", image=np.asarray(source, np.float32)), image_kind or "linear"

    @torch.no_grad()
    def generate_batch(self, pairs: list[Pair], image_kind: str, settings: Settings) -> list[Ensemble]:
        """Ensembles of several galaxies; all candidates run through the network together.

        Raises
        ------
        InputError
            For the first pair whose image cannot be used; `check` tells beforehand.
        """
        for pair in pairs:
            self.check(pair)
        images = np.stack([p.image for p in pairs])
        x = self._candidates(images, image_kind, [p.object_id for p in pairs], settings)
        scores = self._scores(images, image_kind, x)
        return [
            self._ensemble(p, image_kind, x[i], None if scores is None else scores[i], settings)
            for i, p in enumerate(pairs)
        ]

    def provenance(self, settings: Settings) -> dict:
        """What brings a result back: model and its hash, version, command, settings."""
        return (
            self.ids
            | made_by()
            | {
                "normalisation": self.model.preset.data.spectrum,
                **asdict(settings),
            }
        )

    def check(self, pair: Pair) -> None:
        """Raise `InputError` if the image of a pair cannot be used."""
        bands = len(self.survey.image_bands)
        if pair.image is None or not np.isfinite(pair.image).any():
            raise InputError(pair.object_id, "it has no image, and this model needs one")
        if pair.image.ndim != 3 or len(pair.image) != bands:
            wanted = f"{bands} bands ({', '.join(self.survey.image_bands)}), then y, x"
            raise InputError(pair.object_id, f"image of shape {pair.image.shape}", f"it must have {wanted}")
        if not np.isfinite(pair.image).all():
            raise InputError(pair.object_id, "its image has NaN or inf pixels", "fill or cut them out")
        if not pair.image.any():
            raise InputError(pair.object_id, "its image is zero everywhere")

    def _candidates(self, images, image_kind, object_ids, settings) -> np.ndarray:
        """Scaled candidates (objects, n, L); the condition is encoded once an object."""
        data, n = self.model.preset.data, settings.n
        image = view(scale_image(images, image_kind, data.image), data.resize, data.crop, None)
        context = self.model.encode(image.to(self.device)).repeat_interleave(n, dim=0)
        sampler = settings.sampler
        steps = settings.steps or (self.model.preset.diffusion.timesteps if sampler == "ddpm" else 25)
        x = sample(
            lambda x, t: self.model.denoiser(x, t, context),
            (len(context), 1, self.grid.size),
            self.model.make_scheduler(sampler),
            steps,
            [_generator(settings.seed, object_id, k) for object_id in object_ids for k in range(n)],
            self.device,
        )
        return x[:, 0].unflatten(0, (-1, n)).cpu().numpy()

    def _scores(self, images, image_kind, x) -> np.ndarray | None:
        """Cosine similarity (objects, n) of each candidate with its image."""
        if self.selector is None:
            return None
        data = self.selector.preset.data
        image = view(scale_image(images, image_kind, data.image), data.resize, data.crop, None)
        scaled = minmax(x)[0] if data.spectrum == "minmax" else robust(x, np.ones_like(x))[0]
        candidates = torch.from_numpy(scaled.astype(np.float32))
        return self.selector.pair.scores(image.to(self.device), candidates.to(self.device)).cpu().numpy()

    def _ensemble(self, pair: Pair, image_kind, x, scores, settings) -> Ensemble:
        candidates, unit, flags = self._in_flux(pair, image_kind, x)
        return Ensemble(
            object_id=pair.object_id,
            grid=self.grid,
            candidates=candidates,
            selected=select(settings.select, settings.n, scores),
            scores=scores,
            unit=unit,
            select=settings.select,
            image=pair.image,
            image_kind=image_kind,
            photometry=pair.photometry,
            photometry_ivar=pair.photometry_ivar,
            z=pair.z,
            ra=pair.ra,
            dec=pair.dec,
            flags=flags,
            provenance=self.provenance(settings),
        )

    def _in_flux(self, pair: Pair, image_kind: str, x: np.ndarray) -> tuple[np.ndarray, str, list[str]]:
        """Candidates in physical flux where photometry fixes their amplitude, and how it was fixed."""
        fluxes, ivar, flags = self._fibre_photometry(pair, image_kind)
        if fluxes is None:
            return x, RELATIVE, ["relative-flux"]
        is_minmax = self.model.preset.data.spectrum == "minmax"
        offset, scale = fit_amplitude(x, self.weights, fluxes, ivar, fit_offset=is_minmax)
        failed = ~np.isfinite(scale[:, 0])
        if is_minmax and failed.any():
            # The colours disagree so much that the fit wants a negative scale: let -1 be zero flux.
            _, one = fit_amplitude(x[failed] + 1, self.weights, fluxes, ivar, fit_offset=False)
            offset[failed], scale[failed] = one, one
            flags = [*flags, "amplitude-from-one-parameter"]
        if not np.isfinite(scale).all():
            return x, RELATIVE, ["relative-flux"]
        return offset + scale * x, PHYSICAL, flags

    def _fibre_photometry(self, pair: Pair, image_kind: str):
        """Band fluxes in the spectrum's aperture: the catalogue's, else the linear image's own."""
        usable = np.isfinite(self.weights).all(0)
        if pair.photometry is not None and (np.nan_to_num(pair.photometry_ivar)[usable] > 0).sum() >= 2:
            return pair.photometry, np.nan_to_num(pair.photometry_ivar), ["amplitude-from-photometry"]
        if image_kind != "linear":
            return None, None, []
        fluxes = np.full(len(self.survey.photometry_bands), np.nan)
        fibre = aperture_weights(pair.image.shape[1:], self.survey.pixel_scale, self.survey.fibre_diameter)
        for band, plane in zip(self.survey.image_bands, pair.image):
            fluxes[self.survey.photometry_bands.index(band)] = (plane * fibre).sum()
        ivar = np.where(
            fluxes > 0, 1 / np.square(0.05 * fluxes), 0.0
        )  # as good as one aperture in one seeing
        return fluxes, np.nan_to_num(ivar), ["amplitude-from-image"]

    def run(
        self, pairs: Iterable[Pair], image_kind: str, settings: Settings, batch: int = 1
    ) -> Iterator[Ensemble | tuple[Pair, str]]:
        """Ensembles of many galaxies, in order; a pair that cannot be used comes back with the reason.

        `batch` objects share a pass through the network. One (the default) keeps each result bitwise
        independent of its neighbours; a GPU likes more, which changes results by rounding alone.
        """
        waiting: list[Pair] = []

        def flush():
            good, reasons = [], {}
            for pair in waiting:
                try:
                    self.check(pair)
                    good.append(pair)
                except InputError as error:
                    reasons[id(pair)] = str(error)
            results = iter(self.generate_batch(good, image_kind, settings)) if good else iter(())
            for pair in waiting:
                yield (pair, reasons[id(pair)]) if id(pair) in reasons else next(results)
            waiting.clear()

        for pair in pairs:
            waiting.append(pair)
            if len(waiting) == batch:
                yield from flush()
        yield from flush()


def _generator(seed: int, object_id: str, candidate: int) -> torch.Generator:
    """Random numbers of one candidate: a pure function of (seed, object id, candidate)."""
    key = hashlib.blake2b(f"{seed}\0{object_id}\0{candidate}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
