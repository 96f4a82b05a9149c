"""Pictures without what photometry knows: brightness, mean colours, place, orientation, apparent size.

The galaxy is centred, turned with its major axis along x, brought to one size, and each band is divided by
its own mean brightness. The size is the Petrosian radius (Petrosian 1976, ApJ 209:L1).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["NUMBERS", "SIDE", "ShapeView", "shape_view"]

SIDE = 32  # pixels of the view
REACH = 1.5  # half the side of the view in Petrosian radii
RINGS = torch.exp(torch.linspace(math.log(0.7), math.log(31.0), 32, device="cpu"))  # radii in pixels
ANGLES = 32  # points on a ring
PETROSIAN = 0.2  # brightness on a ring, relative to the mean inside, that defines the radius (SDSS)
LEAST_RADIUS, MOST_RADIUS = 2.5, 21.0  # pixels: others are seen as if they had these radii
CENTRE_REACH, CENTRE_SHIFT = 4.0, 2.0  # pixels: where the centroid is measured, and how far it may be
KNOTS = (0.15, 0.3, 0.5, 0.75, 1.0, 1.3)  # radii, in Petrosian radii, at which profiles are told
NUMBERS = 4 + 3 + 3 * len(KNOTS)


@dataclass
class ShapeView:
    """Shapes of N galaxies."""

    image: torch.Tensor  # (N, 3, SIDE, SIDE): light of all bands, and the two colours relative to the mean
    numbers: torch.Tensor  # (N, NUMBERS): size, concentration, axis ratio, asymmetry, profiles

    def __getitem__(self, rows) -> "ShapeView":
        return ShapeView(self.image[rows], self.numbers[rows])


def _sampled(images: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Values (N, C, H, W) of images (N, C, y, x) at positions (N, H, W) in pixels from the centre."""
    half_x, half_y = images.shape[-1] / 2, images.shape[-2] / 2
    grid = torch.stack([x / half_x, y / half_y], -1)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="zeros")


def _sky(images: torch.Tensor) -> torch.Tensor:
    """Sky (N, C) of images: the mean of the two faintest of the medians of their four sides."""
    sides = images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]
    medians = torch.stack([side.median(-1).values for side in sides], -1)
    return medians.sort(-1).values[..., :2].mean(-1)


def _centres(light: torch.Tensor) -> torch.Tensor:
    """Centroids (N, 2), x and y in pixels from the centre, of the light (N, 1, y, x) in the middle."""
    y, x = (torch.arange(n, device=light.device) - (n - 1) / 2 for n in light.shape[-2:])
    inside = (torch.hypot(y[:, None], x[None]) < CENTRE_REACH).float()
    weight = light[:, 0].clamp(min=0) * inside
    total = weight.sum((1, 2)).clamp(min=1e-12)
    centre = torch.stack([(weight * x).sum((1, 2)), (weight * y[:, None]).sum((1, 2))], 1) / total[:, None]
    return centre.clamp(-CENTRE_SHIFT, CENTRE_SHIFT)


def _profile(images: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Medians (N, C, rings) of images on circles of the radii `RINGS`."""
    angle = torch.arange(ANGLES, device=images.device) * (2 * math.pi / ANGLES)
    radius = RINGS.to(images.device)[:, None]
    x = centre[:, 0, None, None] + radius * angle.cos()
    y = centre[:, 1, None, None] + radius * angle.sin()
    return _sampled(images, x, y).median(-1).values


def _areas() -> torch.Tensor:
    edges = torch.cat([torch.zeros(1, device="cpu"), (RINGS[1:] * RINGS[:-1]).sqrt(), RINGS[-1:] * 1.05])
    return math.pi * (edges[1:] ** 2 - edges[:-1] ** 2)


def _first_below(values: torch.Tensor, level: float) -> torch.Tensor:
    """Radii (N,) at which values (N, rings) first fall below a level; the last ring if they do not."""
    below = values < level
    below[:, :2] = False
    below[:, -1] = True
    k = below.int().argmax(1, keepdim=True)
    high, low = values.gather(1, k - 1)[:, 0], values.gather(1, k)[:, 0]
    share = ((high - level) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    log_r = RINGS.to(values.device).log()
    return (log_r[k - 1][:, 0] * (1 - share) + log_r[k][:, 0] * share).exp()


@torch.no_grad()
def shape_view(images: torch.Tensor, scale: torch.Tensor) -> ShapeView:
    """Shapes of galaxies, without their brightness and mean colours.

    Parameters
    ----------
    images : tensor (N, 3, y, x)
        Linear fluxes per pixel, in any unit; galaxies within 2 pixels of the centre.
    scale : tensor (N,)
        Arcsec per pixel; NaN where it is not known.
    """
    images = torch.nan_to_num(images.float(), nan=0.0, posinf=0.0, neginf=0.0)
    images = images - _sky(images)[:, :, None, None]
    light = images.mean(1, keepdim=True)
    centre = _centres(light)
    area = _areas().to(images.device)
    rings = _profile(images, centre)  # (N, 3, rings)
    total = rings.mean(1)
    inside = (total * area).cumsum(1) / area.cumsum(0)
    radius = _first_below(total / inside.clamp(min=1e-9), PETROSIAN).clamp(LEAST_RADIUS, MOST_RADIUS)
    within = (RINGS.to(images.device) <= radius[:, None]).float()
    flux = (rings * area * within[:, None]).sum(2)
    mean = (flux / (area * within).sum(1, keepdim=True)).clamp(min=1e-9)  # (N, 3)
    angle, axis_ratio = _ellipse(light, centre, radius)
    step = torch.linspace(-REACH, REACH, SIDE, device=images.device)
    u, v = step[None, None, :] * radius[:, None, None], step[None, :, None] * radius[:, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    view = _sampled(images, centre[:, 0, None, None] + u * cos - v * sin,
                    centre[:, 1, None, None] + u * sin + v * cos)  # fmt: skip
    view = torch.asinh(view / mean[:, :, None, None] / 0.3) / 2
    all_light = view.mean(1)
    image = torch.stack([all_light, view[:, 0] - view[:, 1], view[:, 1] - view[:, 2]], 1)
    growth = (total * area * within).cumsum(1)
    growth = growth / growth[:, -1:].clamp(min=1e-9)
    r20, r50, r80 = (_first_below(-growth, -level) / radius for level in (0.2, 0.5, 0.8))
    odd = (all_light - all_light.flip((1, 2))).abs().mean((1, 2))
    odd = odd / all_light.abs().mean((1, 2)).clamp(min=1e-3)
    size = torch.log((radius * scale / 4).clamp(0.2, 8))
    known = torch.isfinite(size)
    knots = _at_knots(rings / mean[:, :, None], radius)  # (N, 3, knots)
    shade = torch.asinh(knots / 0.1) / 3
    profile = torch.stack([shade.mean(1), shade[:, 0] - shade[:, 1], shade[:, 1] - shade[:, 2]], 1)
    numbers = torch.stack([torch.where(known, size, 0), known.float(), axis_ratio, odd, r20, r50, r80], 1)
    return ShapeView(image, torch.cat([numbers, profile.flatten(1)], 1))


def _ellipse(light: torch.Tensor, centre: torch.Tensor, radius: torch.Tensor):
    """Angles (N,) of the major axes, and axis ratios (N,), from second moments within a circle."""
    y, x = (torch.arange(n, device=light.device) - (n - 1) / 2 for n in light.shape[-2:])
    dx, dy = x[None, None, :] - centre[:, 0, None, None], y[None, :, None] - centre[:, 1, None, None]
    inside = (dx**2 + dy**2 < (radius[:, None, None]) ** 2).float()
    weight = light[:, 0].clamp(min=0).sqrt() * inside  # the root tempers the centre
    total = weight.sum((1, 2)).clamp(min=1e-12)
    xx, yy, xy = ((weight * a * b).sum((1, 2)) / total for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    difference = torch.hypot(xx - yy, 2 * xy)
    ratio = ((xx + yy - difference) / (xx + yy + difference).clamp(min=1e-9)).clamp(0.01, 1).sqrt()
    return 0.5 * torch.atan2(2 * xy, xx - yy), ratio


def _at_knots(rings: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Profiles (N, C, rings) at the radii `KNOTS` times `radius`: (N, C, knots)."""
    log_r = RINGS.to(rings.device).log()
    wanted = (torch.tensor(KNOTS, device=rings.device) * radius[:, None]).log()
    place = ((wanted - log_r[0]) / (log_r[1] - log_r[0])).clamp(0, len(RINGS) - 1.001)
    k = place.long()[:, None].expand(-1, rings.shape[1], -1)
    share = (place - place.floor())[:, None]
    return rings.gather(2, k) * (1 - share) + rings.gather(2, k + 1) * share
