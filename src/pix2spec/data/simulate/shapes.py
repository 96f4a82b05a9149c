"""Shapes of galaxies in unruly pictures: bars, arms, clumps, dust lanes, warps, lopsided discs, companions.

A shape changes where the light of a galaxy falls, not how much of it falls into the fibre, so that its
spectrum and its fluxes stay true.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.galaxies import EARLY, GREEN, LATE, STARBURST, Galaxies
from pix2spec.data.simulate.images import ARM_CONTRAST, PSF, render
from pix2spec.data.simulate.spectra import Components

__all__ = ["Frame", "light_of", "smooth_field"]

DUST = np.array([1.32, 1.0, 0.74])  # extinction in g, r, i relative to r (Cardelli et al. 1989)
CONTRAST = np.array(list(ARM_CONTRAST.values()))  # of star-forming regions in g, r, i
EDGE_ON = 0.45  # axis ratio below which a disc shows its dust lane
BARRED = 0.35  # share of spirals with a bar
# Change of the logarithms of g, r, i for each scale of the disc outwards: of early galaxies, and what discs
# that are seen from above have besides.
OUTWARDS = np.array([0.12, 0.0, 0.015]), np.array([0.045, 0.0, -0.055])
OUTWARDS_SPREAD = 0.2  # relative
FIBRE_CHANGE = 0.5, 2.0  # limits of the factor that restores the light in the fibre


@dataclass(frozen=True)
class Frame:
    """Pixels of a square picture.

    Parameters
    ----------
    size : int
        Pixels per side.
    pixel : float
        Arcsec.
    """

    size: int
    pixel: float

    @property
    def psf(self) -> tuple[tuple[float, float], ...]:
        """Blur of what is drawn, without which it could not be sampled."""
        return ((1.0, 0.6 * self.pixel),)

    def offsets(self, x0: float = 0.0, y0: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Arcsec (y, x) of the pixels from a position, which is in arcsec from the centre."""
        axis = (np.arange(self.size) - (self.size - 1) / 2) * self.pixel
        return np.meshgrid(axis - x0, axis - y0)


def smooth_field(rng, frame: Frame, scale: float) -> np.ndarray:
    """A Gaussian random field (y, x) of unit variance, smooth over `scale` arcsec."""
    size = frame.size
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    damped = np.exp(-2 * (np.pi * max(scale / frame.pixel, 0.3) * frequency) ** 2)
    damped[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * damped, (size, size))
    return field / field.std()


def light_of(rng, galaxies: Galaxies, parts: Components, row: int, frame: Frame, x, y) -> np.ndarray:
    """Light (3, y, x) in g, r, i of one galaxy, in nanomaggies per pixel, before the seeing.

    Parameters
    ----------
    rng : numpy.random.Generator
    galaxies, parts
        The galaxies and their components.
    row : int
        Number of the galaxy.
    frame : Frame
    x, y : array (y, x)
        Arcsec from its centre.
    """
    bulge, disc = (_profile(galaxies, row, name, frame, x, y) for name in ("bulge", "disc"))
    bands = [SDSS.photometry_bands.index(band) for band in SDSS.image_bands]
    old, young = (values[row, bands][:, None, None] for values in (parts.bulge_bands, parts.disc_bands))
    plain = old * bulge + young * disc
    u, v = _bent(rng, galaxies, row, x, y)
    bulge = _barred(rng, galaxies, row, frame, bulge, u, v)
    disc = _profile(galaxies, row, "disc", frame, u, v)
    light = old * bulge + young * disc * _texture(rng, galaxies, row, frame, u, v)
    light = light * np.exp(-_lane(rng, galaxies, row, frame, u, v) * DUST[:, None, None])
    light = light * _bluer_outside(rng, galaxies, row, u, v)
    return light * _restored(plain, light, frame, x, y)


def _profile(g: Galaxies, row: int, name: str, frame: Frame, x, y) -> np.ndarray:
    kind = {"bulge": "de Vaucouleurs", "disc": "exponential"}[name]
    which = slice(row, row + 1)
    size, flat = getattr(g, f"{name}_radius")[which], getattr(g, f"{name}_axis_ratio")[which]
    x, y = (values.reshape(1, -1).astype(np.float32) for values in (x, y))
    image = render(kind, size, flat, g.angle[which], x, y, frame.psf, frame.pixel)
    return image.reshape(frame.size, -1)


def _bent(rng, g: Galaxies, row: int, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Offsets for a disc whose axis turns with radius, and which is heavier on one side."""
    radius = np.hypot(x, y)
    turn = 0.03 * rng.standard_normal() * np.clip(radius / g.disc_radius[row] - 0.7, 0, 3)
    cos, sin = np.cos(turn), np.sin(turn)
    side = 0.028 * rng.standard_normal(2) * (2 if g.kind[row] == STARBURST else 1)
    return x * cos - y * sin + side[0] * radius, x * sin + y * cos + side[1] * radius


def _plane(g: Galaxies, row: int, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Offsets within the plane of the disc, along its major and its minor axis."""
    cos, sin = np.cos(g.angle[row]), np.sin(g.angle[row])
    return x * cos + y * sin, (y * cos - x * sin) / g.disc_axis_ratio[row]


def _barred(rng, g: Galaxies, row: int, frame: Frame, bulge: np.ndarray, x, y) -> np.ndarray:
    """The bulge, some of whose light lies in a bar."""
    chance, share, length, flat, angle = rng.random(5)
    if g.kind[row] not in (GREEN, LATE, STARBURST) or chance > BARRED or g.disc_axis_ratio[row] < EDGE_ON:
        return bulge
    along, across = _plane(g, row, x, y)
    cos, sin, least = np.cos(np.pi * angle), np.sin(np.pi * angle), 3.0 * frame.pixel
    half = max((0.35 + 0.5 * length) * g.disc_radius[row], least)
    u, v = along * cos + across * sin, across * cos - along * sin
    bar = np.exp(-((np.hypot(u, v / (0.2 + 0.2 * flat)) / half) ** 3))
    share = 0.2 + 0.5 * share
    light = max(bar.sum(), 1e-30)  # a bar may lie beyond the frame
    return (1 - share) * bulge + share * bulge.sum() * bar / light


def _texture(rng, g: Galaxies, row: int, frame: Frame, x, y) -> np.ndarray:
    """Relative brightness (3, y, x) of a disc with arms and star-forming regions; its mean is about 1."""
    kind = g.kind[row]
    strength, pitch, hand, phase, clumps, grain = rng.random(6)
    arms = int(rng.choice([2, 2, 2, 3, 4, 5]))
    late = kind in (LATE, STARBURST)
    amplitude = 0.9 * strength if late else 0.35 * strength if kind == GREEN else 0.0
    amplitude *= np.clip((g.disc_radius[row] - 0.6) / 1.2, 0, 1)
    clumps = (0.05 + 0.3 * clumps) * (1.0 if late else 0.4 if kind == GREEN else 0.0)
    seen = np.clip(
        (g.disc_axis_ratio[row] - 0.15) / 0.35, 0, 1
    )  # towards the edge, arms lie before one another
    amplitude, clumps = amplitude * seen, clumps * (0.2 + 0.8 * seen)
    along, across = _plane(g, row, x, y)
    radius = np.hypot(along, across) + 0.1
    scale = g.disc_radius[row]
    wander = 0.8 * smooth_field(rng, frame, 0.6 * scale)
    angle = np.arctan2(across, along) - np.log(radius) / np.tan(np.radians(8 + 22 * pitch))
    wave = np.cos(arms * angle * (-1 if hand < 0.5 else 1) + 2 * np.pi * phase + wander)
    wave = np.exp(1.5 * (wave - 1)) / 0.367 - 1  # arms are narrower than the gaps; 0.367 is the mean
    wave = wave * np.clip(radius / (0.5 * scale) - 0.5, 0, 1)
    field = smooth_field(rng, frame, 0.25 + 0.12 * grain * scale)
    log = clumps * field * (1 + 0.5 * wave.clip(-1, 1)) - clumps**2 / 2
    contrast = CONTRAST[:, None, None]
    return np.clip(1 + contrast * amplitude * wave, 0.1, None) * np.exp(contrast * log)


def _lane(rng, g: Galaxies, row: int, frame: Frame, x, y) -> np.ndarray | float:
    """Optical depth (y, x) in r of the dust lane of a disc that is seen from its edge."""
    depth, offset = rng.random(), rng.standard_normal()
    if g.kind[row] == EARLY or g.disc_axis_ratio[row] > EDGE_ON:
        return 0.0
    along, across = _plane(g, row, x, y)
    across = across * g.disc_axis_ratio[row]
    thick = 0.25 * g.disc_axis_ratio[row] * g.disc_radius[row]
    lane = np.exp(-0.5 * ((across - 0.8 * offset * thick) / thick) ** 2)
    lane = lane * np.exp(-0.5 * (along / g.disc_radius[row]) ** 2)
    return 1.6 * depth * g.av[row] * lane


def _bluer_outside(rng, g: Galaxies, row: int, x, y) -> np.ndarray:
    """Relative brightness (3, y, x) by which colours change from the centre outwards."""
    early, disc = OUTWARDS
    seen = 0.0 if g.kind[row] == EARLY else np.clip((g.disc_axis_ratio[row] - 0.15) / 0.35, 0, 1)
    slope = (early + seen * disc) * (1 + OUTWARDS_SPREAD * rng.standard_normal())
    radius = np.minimum(np.hypot(*_plane(g, row, x, y)) / g.disc_radius[row], 2.5)
    return np.exp(slope[:, None, None] * radius)


def _restored(plain: np.ndarray, light: np.ndarray, frame: Frame, x, y) -> np.ndarray:
    """Factor (3, 1, 1) by which the light in the fibre becomes that of the plain galaxy."""
    middle = np.unravel_index(np.argmin(np.hypot(x, y)), x.shape)
    half = int(np.ceil(3 * SDSS.fibre_diameter / frame.pixel / 2))
    window = tuple(slice(max(k - half, 0), k + half + 1) for k in middle)
    radius = np.hypot(x[window], y[window])
    aperture = np.clip((SDSS.fibre_diameter / 2 - radius) / frame.pixel + 0.5, 0, 1)
    sums = []
    for image in (plain, light):
        core = image[(slice(None), *window)]
        blurred = sum(s * gaussian_filter(core, (0, sd / frame.pixel, sd / frame.pixel)) for s, sd in PSF)
        sums.append((blurred * aperture).sum((1, 2)))
    return np.clip(sums[0] / np.maximum(sums[1], 1e-12), *FIBRE_CHANGE)[:, None, None]
