"""Generation with the method of Wu & Peek: one spectrum per galaxy."""

import numpy as np

from pix2spec.data.schema import Galaxy
from pix2spec.models.generator import Settings
from pix2spec.models.pixel.generator import PixelGenerator
from pix2spec.models.shared.inputs import scale_image, view
from pix2spec.products.ensemble import Ensemble

__all__ = [
    "WuPeekGenerator",
]


class WuPeekGenerator(PixelGenerator):
    """The method of Wu & Peek: one spectrum per galaxy, whatever the number of candidates in the settings."""

    no_selector = "this model makes one spectrum per galaxy, so there is nothing to rank"

    @classmethod
    def open(cls, folder, model, ids, config, device, selector=None):
        """Make the generator of a loaded model. It accepts no selector."""
        return super(PixelGenerator, cls).open(folder, model, ids, config, device, selector)

    @property
    def default_select(self) -> str:
        """``single``: there is only one spectrum to choose."""
        return "single"

    def _ensembles(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        data = self.model.preset.data
        images = np.stack([np.asarray(p.image) for p in galaxies])
        image = view(scale_image(images, image_kind, data.image), data.resize, data.crop, None)
        x = self.model.predict(image.to(self.device)).cpu().numpy()
        ensembles = []
        for galaxy, spectrum in zip(galaxies, x):
            values = self._in_flux(galaxy, image_kind, spectrum[None], self._has_zero_point)
            values["flags"] = [*values["flags"], "point-estimate"]
            ensembles.append(
                self._ensemble(
                    galaxy,
                    image_kind,
                    settings,
                    selected=np.array([0]),
                    **values,
                )
            )
        return ensembles
