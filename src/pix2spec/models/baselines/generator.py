"""Generation with the fitted methods: the mean spectrum, nearest neighbours (with ULISSE), regressors."""

from dataclasses import dataclass

import numpy as np

from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.generator import Generator, Settings
from pix2spec.models.shared.checks import check_image, has_photometry
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.selection import parse_selection

__all__ = ["FittedGenerator"]


@dataclass(repr=False)
class FittedGenerator(Generator):
    """One spectrum per galaxy, or the observed spectra of its nearest neighbours, nearest first."""

    no_selector = "this model leaves nothing to rank for a contrastive network"

    def __post_init__(self):
        super().__post_init__()
        self.uses_network = getattr(self.model.preset, "features", "") == "network"
        if self.uses_network:
            found = self.model.features.open(self.device)
            self.ids = self.ids | {"features": f"{found.arch}@{found.sha256[:12]}"}

    @property
    def default_select(self) -> str:
        """The nearest neighbour for ULISSE (arXiv:2211.05556, section 3), else the mean of all candidates."""
        return "best" if self.uses_network else "all"

    @property
    def default_batch(self) -> int:
        """Enough galaxies to make matrix products efficient."""
        return 256

    def inputs(self, settings: Settings) -> set[str]:
        """The inputs of the method, and the fluxes that scale its spectra."""
        return {*self.model.sees, "photometry"}

    def check_settings(self, settings: Settings) -> None:
        """Raise `InputError` for noise-free spectra, or if `use` lacks an input that the method needs."""
        if settings.noise != "observed":
            raise InputError("`noise`", "this method makes observed spectra only", "leave it out")
        unseen = set(self.model.sees) - set(settings.use)
        if unseen:
            raise InputError("`use`", f"{self.model.preset.name} needs {', '.join(sorted(unseen))}")

    def check(self, galaxy: Galaxy, settings: Settings) -> None:
        """Raise `InputError` if `galaxy` lacks an input that the method needs, or if it cannot be used."""
        if "image" in self.model.sees:
            check_image(galaxy, self.survey.image_bands)
        if "photometry" in self.model.sees and not has_photometry(galaxy):
            raise InputError(galaxy.object_id, "it has no photometry, but this method needs photometry")

    def _ensembles(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        spectra, scores = self.model.predict(self._batch(galaxies), image_kind, settings.n)
        ensembles = []
        for i, galaxy in enumerate(galaxies):
            x, ranks = spectra[i], None
            if scores is not None:
                others = np.isfinite(scores[i])  # leave out spectra of the galaxy itself
                x, ranks = x[others], scores[i][others]
            values = self._in_flux(galaxy, image_kind, x, has_zero_point=True)
            if self.model.is_point:
                values["flags"] = ["point-estimate", *values["flags"]]
            kept = parse_selection(settings.select)[1] or len(x)  # candidates are in order, best first
            ensembles.append(
                self._ensemble(
                    galaxy,
                    image_kind,
                    settings,
                    selected=np.arange(min(kept, len(x))),
                    scores=ranks,
                    **values,
                )
            )
        return ensembles

    def _batch(self, galaxies: list[Galaxy]) -> dict:
        """The galaxies as arrays; missing fluxes are NaN."""
        batch: dict = {"group_id": [galaxy.group_id for galaxy in galaxies]}
        if "image" in self.model.sees:
            batch["image"] = np.stack([np.asarray(galaxy.image) for galaxy in galaxies])
        if "photometry" in self.model.sees:
            batch["photometry"] = np.stack([np.asarray(galaxy.photometry) for galaxy in galaxies])
            ivar = np.stack([np.asarray(galaxy.photometry_ivar) for galaxy in galaxies])
            batch["photometry_ivar"] = np.nan_to_num(ivar)
        return batch
