"""From a batch of pairs to what the networks see: image and spectrum scaling, the paper's augmentation."""

import numpy as np
import torch
import torch.nn.functional as F

from pix2spec.core.scaling import asinh_image, fill_missing, lupton_rgb, minmax, robust
from pix2spec.errors import InputError
from pix2spec.runtime.random import BatchRng

__all__ = [
    "image_views",
    "photometry_token",
    "scale_image",
    "scale_spectra",
    "view",
]

# ImageNet's channel statistics, which the authors' code applies to its colour composites.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SOFTENING = 0.3  # nanomaggies: near the noise of an aperture sum
TOKENS = ("image", "photometry", "redshift")


def scale_image(image: np.ndarray, image_kind: str, wanted: str) -> torch.Tensor:
    """Images (B, band, y, x) as `image_kind` turned into the network's input, float32.

    A network that wants ``"composite"`` also takes linear g, r, i images: they are stretched here as the
    survey's own pictures are. A composite cannot be turned back into linear fluxes.

    Raises
    ------
    InputError
        If the network needs linear fluxes and the images are composites, or composites and there are not
        three bands.
    """
    if wanted == "linear":
        if image_kind != "linear":
            raise InputError(
                "image",
                "this model needs linear fluxes in nanomaggies, the input is a colour composite",
                "use FITS cutouts, or a model trained on composites",
            )
        return torch.from_numpy(asinh_image(image).astype(np.float32))
    if image.shape[1] != 3:
        what = f"a colour composite has three bands, these images have {image.shape[1]}"
        raise InputError("data.image", what, "set data.image=linear in the preset")
    composite = lupton_rgb(image) if image_kind == "linear" else image
    # Stored g, r, i; ImageNet's order is red, green, blue, which is i, r, g.
    rgb = torch.from_numpy(np.ascontiguousarray(composite[:, ::-1], dtype=np.float32)) / 255
    return (rgb - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def view(image: torch.Tensor, resize: int, crop: int, rng: BatchRng | None) -> torch.Tensor:
    """Resize to `resize` pixels and crop `crop` of them (paper, section 3: 71 and 64).

    With draws: a random crop and random flips, each with probability 0.5. Without: the centre.
    """
    image = F.interpolate(image, size=(resize, resize), mode="bilinear", align_corners=False, antialias=True)
    n, margin = len(image), resize - crop
    if rng is None:
        return image[..., margin // 2 : margin // 2 + crop, margin // 2 : margin // 2 + crop]
    start = rng.integers(margin + 1, 2, n, 1, axis=1)
    flip = rng.uniform(2, n, 1, axis=1) < 0.5
    steps = torch.arange(crop)
    rows, columns = start + torch.where(flip, crop - 1 - steps, steps)
    picked = image[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)  # indexing put the bands last


def image_views(batch: dict, image_kind: str, data, rng: BatchRng | None = None) -> torch.Tensor:
    """Images of a batch as a network with the section `data` sees them; augmented when there is an `rng`."""
    return view(scale_image(batch["image"], image_kind, data.image), data.resize, data.crop, rng)


def scale_spectra(flux: np.ndarray, ivar: np.ndarray, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Spectra (B, L) as network input (B, 1, L), and the mask (B, 1, L) of the pixels that count.

    `kind` is ``"minmax"`` (the paper's) or ``"robust"``. Holes (ivar = 0) are filled for the network's
    eyes and masked out of the loss.
    """
    filled = fill_missing(flux, ivar)
    x = minmax(filled)[0] if kind == "minmax" else robust(filled, ivar)[0]
    mask = ((ivar > 0) & np.isfinite(flux)).astype(np.float32)
    return torch.from_numpy(x.astype(np.float32))[:, None], torch.from_numpy(mask)[:, None]


def photometry_token(flux: np.ndarray, ivar: np.ndarray) -> dict[str, torch.Tensor]:
    """Band fluxes (B, bands) in nanomaggies with their ivar, as asinh magnitudes, errors and presence."""
    good = (ivar > 0) & np.isfinite(flux)
    sigma = 1 / np.sqrt(np.where(good, ivar, 1))
    brightness = np.arcsinh(np.where(good, flux, 0) / (2 * SOFTENING))
    error = np.log(np.clip(sigma / np.hypot(np.where(good, flux, 0), SOFTENING), 1e-3, 10))
    columns = np.concatenate([brightness, np.where(good, error, 0), good], axis=1).astype(np.float32)
    return {
        "photometry": torch.from_numpy(columns),
        "has_photometry": torch.from_numpy(good.any(1).astype(np.float32)),
    }
