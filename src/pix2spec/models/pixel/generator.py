"""Generation with the paper's models: diffusion over the pixels of spectra, given an image or fluxes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pix2spec.core.scaling import minmax, robust
from pix2spec.core.survey import check_same_survey
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.generator import Generator, Settings
from pix2spec.models.pixel.ranker import ContrastiveModel
from pix2spec.models.shared.checks import check_image, has_photometry
from pix2spec.models.shared.inputs import scale_image, view
from pix2spec.models.shared.settings import PIXEL_SAMPLERS
from pix2spec.models.storage import load_model, model_id
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.selection import select
from pix2spec.runtime.random import candidate_generator

__all__ = [
    "PixelGenerator",
]

CPU_ROWS = 13  # candidates in a pass on a CPU; 25 exceed its caches and take 1.2 to 1.8 times longer each


@dataclass(repr=False)
class PixelGenerator(Generator):
    """The paper's conditional diffusion model, with an optional contrastive network to rank candidates.

    Parameters
    ----------
    selector : ContrastiveModel, optional
        The contrastive network. The other parameters are those of `Generator`.
    """

    selector: ContrastiveModel | None = None

    @classmethod
    def open(cls, folder: Path, model, ids: dict, config: dict, device: str, selector=None):
        """Make the generator of a loaded model.

        Parameters
        ----------
        folder : Path
            Folder of the model.
        model, ids, config, device
            As for the class.
        selector : path, optional
            Folder of a contrastive network. The default is the folder ``selector`` in `folder`, if it exists.

        Raises
        ------
        InputError
            If the selector is not a contrastive network, or has another grid or survey than the model.
        """
        chosen = Path(selector) if selector else folder / "selector"
        if not selector and not chosen.is_dir():
            return cls(model, ids, config, device)
        ranker, _ = load_model(chosen)
        if not isinstance(ranker, ContrastiveModel):
            raise InputError(chosen, "not a contrastive network", "train one with paper-contrastive-small")
        hint = "train both on the same dataset"
        if ranker.grid != model.grid:
            raise InputError(chosen, "its wavelength grid differs from the model's", hint)
        check_same_survey(chosen, ranker.survey, "the model", model.survey, ("image",), hint)
        return cls(model, ids | {"selector": model_id(chosen)}, config, device, ranker)

    def __post_init__(self):
        super().__post_init__()
        if self.selector is not None:
            self.selector.to(self.device).eval()

    @property
    def _has_zero_point(self) -> bool:
        """Whether zero on the scale of the training spectra is zero flux."""
        return self.model.preset.data.spectrum != "minmax"

    @property
    def default_select(self) -> str:
        """The paper's rule, ``best``, if there is a contrastive network; else ``all``."""
        return "all" if self.selector is None else "best"

    @property
    def default_batch(self) -> int:
        """One on a CPU: results are then equal to the bit, whatever the other galaxies are."""
        return 1 if self.device == "cpu" else 16

    def inputs(self, settings: Settings) -> set[str]:
        """The photometry, and the image if the model or its selector uses it."""
        blind = self.model.columns[0] == "photometry" and self.selector is None
        return {"photometry"} if blind else {"image", "photometry"}

    def check_settings(self, settings: Settings) -> None:
        """Raise `InputError` for noise-free spectra, or if the sampler is for factorised models."""
        if settings.noise != "observed":
            raise InputError("`noise`", "models over pixels make observed spectra only", "leave it out")
        if settings.sampler not in PIXEL_SAMPLERS:
            known = ", ".join(PIXEL_SAMPLERS)
            raise InputError("`sampler`", f"{settings.sampler!r} is for factorised models", f"one of {known}")

    def check(self, galaxy: Galaxy, settings: Settings) -> None:
        """Raise `InputError` if `galaxy` lacks an input that the model or its selector needs."""
        if self.model.columns[0] == "photometry" and not has_photometry(galaxy):
            raise InputError(galaxy.object_id, "it has no photometry, but this model needs photometry")
        if self.model.columns[0] == "image" or self.selector is not None:
            check_image(galaxy, self.survey.image_bands)

    def _ensembles(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        x = self._candidates(galaxies, image_kind, settings)
        scores = self._scores(galaxies, image_kind, x)
        ensembles = []
        for i, galaxy in enumerate(galaxies):
            values = self._in_flux(galaxy, image_kind, x[i], self._has_zero_point)
            ranks = None if scores is None else scores[i]
            ensembles.append(
                self._ensemble(
                    galaxy,
                    image_kind,
                    settings,
                    selected=select(settings.select, settings.n, ranks),
                    scores=ranks,
                    **values,
                )
            )
        return ensembles

    def _candidates(self, galaxies, image_kind, settings) -> np.ndarray:
        """Draw scaled candidates (galaxies, n, L). The condition of a galaxy is encoded once."""
        n, object_ids = settings.n, [galaxy.object_id for galaxy in galaxies]
        batch = {name: np.stack([getattr(p, name) for p in galaxies]) for name in self.model.conditions}
        known = self.model.known(batch, image_kind, None)
        context = self.model.encode(known.to(self.device)).repeat_interleave(n, dim=0)
        sampler = settings.sampler
        steps = settings.steps or (self.model.preset.diffusion.timesteps if sampler == "ddpm" else 25)
        rows = CPU_ROWS if self.device == "cpu" else len(context)

        def denoise(x, t):
            parts = zip(*(values.split(rows) for values in (x, t, context)))
            return torch.cat([self.model.denoiser(*part) for part in parts])

        from pix2spec.models.pixel.diffusion import sample

        x = sample(
            denoise,
            (len(context), 1, self.grid.size),
            self.model.make_scheduler(sampler),
            steps,
            [candidate_generator(settings.seed, object_id, k) for object_id in object_ids for k in range(n)],
            self.device,
        )
        return x[:, 0].unflatten(0, (-1, n)).cpu().numpy()

    def _scores(self, galaxies, image_kind, x) -> np.ndarray | None:
        """Cosine similarity (galaxies, n) of each candidate x (galaxies, n, L) with the image."""
        if self.selector is None:
            return None
        data, images = self.selector.preset.data, np.stack([galaxy.image for galaxy in galaxies])
        image = view(scale_image(images, image_kind, data.image), data.resize, data.crop, None)
        scaled = minmax(x)[0] if data.spectrum == "minmax" else robust(x, np.ones_like(x))[0]
        candidates = torch.from_numpy(scaled.astype(np.float32))
        return self.selector.pair.scores(image.to(self.device), candidates.to(self.device)).cpu().numpy()
