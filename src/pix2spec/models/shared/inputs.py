"""From a batch of galaxies to the inputs of networks: scaling of images and spectra, augmentation."""

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
SOFTENING = 0.3  # nanomaggies, of asinh magnitudes: near the noise of an aperture sum
TOKENS = ("image", "photometry", "redshift")


def scale_image(image: np.ndarray, image_kind: str, wanted: str) -> torch.Tensor:
    """Turn images into the input of a network.

    A network for composites also takes linear g, r, i images: this function stretches them as the survey
    stretches its own pictures. A composite cannot be turned back into linear fluxes.

    Parameters
    ----------
    image : array (B, band, y, x)
        Nanomaggies per pixel, or composites from 0 to 255.
    image_kind : {"linear", "composite"}
        Kind of the images.
    wanted : {"linear", "composite"}
        Kind that the network was trained on.

    Returns
    -------
    tensor (B, band, y, x), float32
        asinh-scaled fluxes, or red, green and blue with ImageNet's normalisation.

    Raises
    ------
    InputError
        If the network needs linear fluxes and the images are composites, or if it needs composites and the
        images do not have three bands.
    """
    if wanted == "linear":
        if image_kind != "linear":
            raise InputError(
                "image",
                "this model needs linear fluxes in nanomaggies, but the input is a colour composite",
                "use FITS cutouts, or a model trained on composites",
            )
        return torch.from_numpy(asinh_image(image).astype(np.float32))
    if image.shape[1] != 3:
        what = f"a colour composite has three bands, but these images have {image.shape[1]}"
        raise InputError("data.image", what, "set data.image=linear in the preset")
    composite = lupton_rgb(image) if image_kind == "linear" else image
    # Images are stored as g, r, i. ImageNet's order is red, green, blue, that is i, r, g.
    rgb = torch.from_numpy(np.ascontiguousarray(composite[:, ::-1], dtype=np.float32)) / 255
    return (rgb - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def view(image: torch.Tensor, resize: int, crop: int, rng: BatchRng | None) -> torch.Tensor:
    """Resize images, crop them, and augment them if there is an `rng` (paper, section 3).

    Parameters
    ----------
    image : tensor (B, band, y, x)
        Images.
    resize : int
        Size after resizing in pixels, 71 in the paper.
    crop : int
        Size after cropping in pixels, 64 in the paper.
    rng : BatchRng or None
        Random numbers for a random crop and for two flips with probability 0.5 each. With None, the function
        crops the centre and does not flip.

    Returns
    -------
    tensor (B, band, crop, crop)
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
    """Scale and crop the images of a batch as the preset's section `data` says, and augment with an `rng`."""
    return view(scale_image(batch["image"], image_kind, data.image), data.resize, data.crop, rng)


def scale_spectra(flux: np.ndarray, ivar: np.ndarray, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale spectra for a network.

    Parameters
    ----------
    flux, ivar : array (B, L)
        Flux and its inverse variance, which is 0 where the flux is missing.
    kind : {"minmax", "robust"}
        The scaling; ``"minmax"`` is the paper's.

    Returns
    -------
    x : tensor (B, 1, L)
        Scaled spectra. Missing pixels are filled in.
    mask : tensor (B, 1, L)
        1 for valid pixels, 0 for missing ones, which the loss leaves out.
    """
    filled = fill_missing(flux, ivar)
    x = minmax(filled)[0] if kind == "minmax" else robust(filled, ivar)[0]
    mask = ((ivar > 0) & np.isfinite(flux)).astype(np.float32)
    return torch.from_numpy(x.astype(np.float32))[:, None], torch.from_numpy(mask)[:, None]


def photometry_token(flux: np.ndarray, ivar: np.ndarray) -> dict[str, torch.Tensor]:
    """Turn band fluxes into the input of a network.

    Parameters
    ----------
    flux, ivar : array (B, bands)
        Fluxes in nanomaggies and their inverse variances, which are 0 where the flux is missing.

    Returns
    -------
    dict of tensor
        ``photometry`` (B, 3 * bands): asinh magnitudes (without their factor), logarithms of relative
        errors, and 1 for each band with a flux. ``has_photometry`` (B,): 1 if any band has a flux.
    """
    good = (ivar > 0) & np.isfinite(flux)
    sigma = 1 / np.sqrt(np.where(good, ivar, 1))
    brightness = np.arcsinh(np.where(good, flux, 0) / (2 * SOFTENING))
    error = np.log(np.clip(sigma / np.hypot(np.where(good, flux, 0), SOFTENING), 1e-3, 10))
    columns = np.concatenate([brightness, np.where(good, error, 0), good], axis=1).astype(np.float32)
    return {
        "photometry": torch.from_numpy(columns),
        "has_photometry": torch.from_numpy(good.any(1).astype(np.float32)),
    }
