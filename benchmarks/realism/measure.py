"""Numbers that describe colour pictures: of the galaxy, and of the camera.

Pictures are arrays (n, 3, y, x), 0 to 255, channels g, r, i. Sizes are in pixels of 0.08
Petrosian R90.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, label, laplace

from pix2spec.core.stretches import STRETCHES

BORDER = 5  # pixels at the edge that show the sky
RADII = np.arange(1, 31.0)
OF_GALAXY = ("brightness", "size", "concentration", "asymmetry", "colour gradient")


def numbers_of(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """All numbers (n,) of pictures, by name."""
    rows = [_galaxy(picture) | _camera(picture) for picture in np.asarray(pictures, np.float32)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _galaxy(picture: np.ndarray) -> dict[str, float]:
    """Brightness, size, concentration, asymmetry about the brightest pixel (Conselice 2003, ApJS 147:1)."""
    flux = STRETCHES["sdss"].linear(picture)
    flux = flux - np.median(_edge(flux), 1)[:, None, None]
    y, x = _centre(gaussian_filter(flux[1], 1))
    radius = np.hypot(*(np.indices(flux.shape[1:]) - np.array([y, x])[:, None, None]))
    growth = np.array([flux[:, radius < r].sum(1) for r in RADII]).T  # (band, radius)
    total = max(float(growth[1].max()), 1e-3)
    r20, half, r80 = (
        float(np.interp(s * total, np.maximum.accumulate(growth[1]), RADII)) for s in (0.2, 0.5, 0.8)
    )
    inner, outer = radius < half, (radius >= half) & (radius < 2 * half)
    colours = [[_colour(flux[k : k + 2], where) for k in (0, 1)] for where in (inner, outer)]
    turned = _turned(flux[1], y, x)
    inside = radius < 2 * half
    smooth = gaussian_filter(flux[1], 0.25 * half)
    return {
        "brightness": 22.5 - 2.5 * np.log10(total),
        "size": half,
        "concentration": 5 * np.log10(max(r80, 1) / max(r20, 0.3)),
        "asymmetry": float(np.abs(flux[1] - turned)[inside].sum() / np.abs(flux[1])[inside].sum()),
        "colour gradient": colours[1][0] - colours[0][0],
        "g - r": colours[0][0],
        "r - i": colours[0][1],
        "gradient of r - i": colours[1][1] - colours[0][1],
        "clumpiness": float(np.abs(flux[1] - smooth)[inside].sum() / np.abs(flux[1])[inside].sum()),
        "axis ratio": _axis_ratio(flux[1], y, x, inside),
        "off centre": float(np.hypot(y - 31.5, x - 31.5)),
        "peak": float(picture[1].max()),
    }


def _edge(image: np.ndarray) -> np.ndarray:
    """Pixels (..., P) at the edge."""
    inner = np.zeros(image.shape[-2:], bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    return image[..., ~inner]


def _centre(light: np.ndarray) -> tuple[int, int]:
    """Pixel (y, x) of the brightest light near the middle."""
    middle = light.shape[0] // 2
    part = light[middle - 8 : middle + 8, middle - 8 : middle + 8]
    y, x = np.unravel_index(np.argmax(part), part.shape)
    return int(y) + middle - 8, int(x) + middle - 8


def _turned(light: np.ndarray, y: int, x: int) -> np.ndarray:
    """Light turned by 180 degrees about a pixel."""
    return np.roll(light[::-1, ::-1], (2 * y + 1 - light.shape[0], 2 * x + 1 - light.shape[1]), (0, 1))


def _colour(flux: np.ndarray, where: np.ndarray) -> float:
    blue, red = np.maximum(flux[:, where].sum(1), 1e-3)
    return float(-2.5 * np.log10(blue / red))


def _axis_ratio(light: np.ndarray, y: int, x: int, inside: np.ndarray) -> float:
    rows, columns = np.nonzero(inside)
    weight = np.maximum(light[inside], 0)
    offsets = np.array([rows - y, columns - x])
    low, high = np.linalg.eigvalsh((offsets * weight) @ offsets.T / weight.sum())
    return float(np.sqrt(max(low, 0) / max(high, 1e-6)))


def _camera(picture: np.ndarray) -> dict[str, float]:
    """Sky, noise, its correlation, other objects."""
    sky = _edge(picture)
    level, spread = np.median(sky, 1), sky.std(1)
    low = np.abs(sky - level[:, None]).mean(1)
    fine = np.abs(_edge(laplace(picture[1]))).mean() / max(low[1], 0.1)
    noise = _quiet(picture[1])
    lags = [
        float((noise[:, k:] * noise[:, : noise.shape[1] - k]).mean() / max((noise**2).mean(), 0.01))
        for k in (1, 2)
    ]
    bright = gaussian_filter(picture[1], 1) > 40
    count = label(bright)[1]
    colour = np.corrcoef(sky - level[:, None] + 1e-6 * np.arange(sky.shape[1]))
    corners = [
        picture[1][a, b].mean()
        for a in (slice(0, 8), slice(-8, None))
        for b in (slice(0, 8), slice(-8, None))
    ]
    return {
        "sky g": float(level[0]), "sky r": float(level[1]), "sky i": float(level[2]),
        "noise g": float(low[0]), "noise r": float(low[1]), "noise i": float(low[2]),
        "spread r": float(spread[1]), "dark": float((sky[1] < 2).mean()), "fine noise": float(fine),
        "correlation by 1": lags[0], "correlation by 2": lags[1],
        "g with r": float(colour[0, 1]), "r with i": float(colour[1, 2]),
        "objects": float(count), "uneven sky": float(np.ptp(corners)),
    }  # fmt: skip


def _quiet(channel: np.ndarray) -> np.ndarray:
    """The two strips above and below, clipped, about their level."""
    strip = np.concatenate([channel[:BORDER], channel[-BORDER:]])
    middle = np.median(strip)
    return np.clip(strip - middle, -15, 15)
