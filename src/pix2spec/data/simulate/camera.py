"""An unruly camera: pictures of simulated galaxies that are as spoilt as those of the sky.

The steady camera of `pix2spec.data.simulate.images` has one seeing, white noise and neighbours at a distance.
This one draws, for each picture, its seeing with wings, sky, correlated noise, what overlaps the galaxy,
trails, bad columns, centring and pixel scale; `composite` adds the losses of colour pictures.
"""

import io
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from PIL import Image
from scipy.ndimage import gaussian_filter

from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.galaxies import Galaxies
from pix2spec.data.simulate.images import PIXEL, SIZE
from pix2spec.data.simulate.noise import ELECTRONS, SKY_NOISE, image_bands
from pix2spec.data.simulate.shapes import Frame, light_of, smooth_field
from pix2spec.data.simulate.spectra import Components

__all__ = ["UNRULY", "Camera", "Picture", "composite", "moffat"]

STAR_RANGE = 13.0, 22.4  # r magnitudes of stars and small galaxies
BAND_NOISE = 0.07
NEAREST = 2.0  # arcsec between the galaxy and other objects
SPOT = (0.4, 0.4), (0.6, 1.4)  # shares of the light of small galaxies, and their sizes
STRETCHED = STRETCHES["sdss"]
BALANCE = np.array([0.94, 0.98, 1.035])[:, None, None]  # of pictures to `STRETCHED`, which lacks `BLACK`
BLACK = np.array([0.049, 0.027, 0.041])  # what they take off scaled g, r, i before they stretch them
SOFT_BEFORE, SOFT_AFTER = 0.55, (0.3, 0.55)  # pixels by which they are smoothed before and after that
COLOUR_SOFT = 4.3, 3.0  # the same for the colours Cb and Cr of faint parts, which compression removes
FAINT, DARKEST = 60.0, 1.0  # of 255
QUALITY = 70, 85  # of JPEG files


@dataclass(frozen=True)
class Camera:
    """What is drawn at random for each picture. Ranges are uniform if nothing else is said.

    Parameters
    ----------
    seeing : (float, float)
        Least and largest FWHM in arcsec, log-normal about `median_seeing` between them.
    wings : (float, float)
        Moffat's beta (Moffat 1969, A&A 3:455).
    scale_error : float
        Relative range of the true pixel scale about the one that is stated.
    unknown_scale : float
        The same for pictures whose scale is not known.
    unknown : float
        Share of such pictures.
    centring : float
        Rms error of the galaxy's position in each axis, pixels.
    noise : (float, float)
        Noise relative to SDSS's; that of each band scatters by `BAND_NOISE` besides.
    correlation : float
        Largest dispersion in pixels of the kernel that correlates the noise.
    sky : float
        Residuals of the sky's level and gradients in units of the noise: median of a log-normal
        distribution.
    companions : float
        Share of galaxies with a companion that overlaps them.
    stars : float
        Stars and small galaxies per square arcsec, to r = 22.4.
    trails, columns : float
        Shares of pictures with a trail of a satellite, and with bad columns.
    """

    seeing: tuple[float, float] = (0.8, 2.2)
    median_seeing: float = 1.12
    wings: tuple[float, float] = (2.5, 4.5)
    scale_error: float = 0.03
    unknown_scale: float = 0.3
    unknown: float = 0.3
    centring: float = 0.7
    noise: tuple[float, float] = (0.72, 1.04)
    correlation: float = 0.6
    sky: float = 0.015
    companions: float = 0.1
    stars: float = 0.0014
    trails: float = 0.02
    columns: float = 0.02

    def pictures(
        self, rng: np.random.Generator, galaxies: Galaxies, parts: Components
    ) -> tuple[np.ndarray, np.ndarray]:
        """Noisy pictures (n, 3, SIZE, SIZE) in nanomaggies per pixel; whether their scale is known (n,)."""
        n = len(galaxies.z)
        known = rng.random(n) >= self.unknown
        error = np.where(known, self.scale_error, self.unknown_scale) * rng.uniform(-1, 1, n)
        taken = [
            self.take(rng, galaxies, parts, i, Frame(SIZE, PIXEL * (1 + e))) for i, e in enumerate(error)
        ]
        return np.array([picture.image for picture in taken]), known

    def take(
        self, rng: np.random.Generator, galaxies: Galaxies, parts: Components, row: int, frame: Frame,
        at: float = 0.0,
    ) -> "Picture":  # fmt: skip
        """The picture of one galaxy, in the pixels of a frame, `at` arcsec from its centre in both axes."""
        x0, y0 = at + self.centring * frame.pixel * rng.standard_normal(2)
        light = light_of(rng, galaxies, parts, row, frame, *frame.offsets(x0, y0))
        if rng.random() < self.companions:
            light += _companion(rng, galaxies, parts, row, frame, (x0, y0))
        light += _field(rng, frame, self.stars)
        clean = self.blurred(rng, light, frame)
        image = self.observed(rng, clean, frame)
        return Picture(image, clean, (x0 / frame.pixel, y0 / frame.pixel))

    def blurred(self, rng, light: np.ndarray, frame: Frame) -> np.ndarray:
        """Light (3, y, x) seen through the atmosphere, a little different in each band."""
        fwhm = np.clip(self.median_seeing * np.exp(0.22 * rng.standard_normal()), *self.seeing)
        beta, shift = rng.uniform(*self.wings), 0.1 * rng.standard_normal((3, 2))
        widths = fwhm * np.array([1.06, 1.0, 0.96]) * (1 + 0.03 * rng.standard_normal(3))
        drawn = 2.355 * frame.psf[0][1]  # what is drawn is blurred so much already
        kernels = [
            moffat(np.sqrt(max(w**2 - drawn**2, (0.3 * w) ** 2)) / frame.pixel, beta, s)
            for w, s in zip(widths, shift)
        ]
        return np.array([_blurred(plane, k) for plane, k in zip(light, kernels)])

    def observed(self, rng, clean: np.ndarray, frame: Frame) -> np.ndarray:
        """Pictures with noise, sky, trails and bad columns."""
        area = frame.pixel / PIXEL  # noise of the sky grows with the square root of a pixel's area
        sky = SKY_NOISE[image_bands()][:, None, None] * area * rng.uniform(*self.noise)
        sky = sky * np.exp(BAND_NOISE * rng.standard_normal((3, 1, 1)))
        electrons = ELECTRONS[image_bands()][:, None, None]
        white = rng.standard_normal(clean.shape)
        sd = rng.uniform(0, self.correlation)
        noise = gaussian_filter(white, (0, sd, sd), mode="wrap") if sd > 0.2 else white
        noise = noise / noise.std((1, 2), keepdims=True)
        image = clean + noise * np.sqrt(np.maximum(clean, 0) / electrons + sky**2)
        image += sky * self.uneven_sky(rng, frame)
        if rng.random() < self.trails:
            image[rng.integers(len(image))] += _trail(rng, frame)
        if rng.random() < self.columns:
            first, band = rng.integers(frame.size), rng.integers(len(image))
            image[band, :, first : first + 1 + rng.integers(2)] *= rng.uniform(0, 0.5)
        return image.astype(np.float32)

    def uneven_sky(self, rng, frame: Frame) -> np.ndarray:
        """Residuals of the sky (3, y, x) in units of its noise, alike in all bands but for a third."""
        size = self.sky * np.exp(1.3 * rng.standard_normal())
        ramp = np.linspace(-1, 1, frame.size)
        patch = smooth_field(rng, frame, 0.2 * frame.size * frame.pixel)
        level, right, up, rough = size * (rng.standard_normal((4, 1)) + 0.3 * rng.standard_normal((4, 3)))
        shapes = ((level, 1.0), (right, ramp), (up, ramp[:, None]), (rough, patch))
        return sum(amount[:, None, None] * shape for amount, shape in shapes)


UNRULY = Camera()


@dataclass
class Picture:
    """A picture of a simulated galaxy.

    Parameters
    ----------
    image, clean : array (3, y, x)
        With and without noise, in nanomaggies per pixel.
    centre : (float, float)
        Offsets x, y of the galaxy from the centre in pixels.
    """

    image: np.ndarray
    clean: np.ndarray
    centre: tuple[float, float]


def moffat(fwhm: float, beta: float, shift) -> np.ndarray:
    """Moffat's profile of unit sum: array (y, x)."""
    half = int(min(np.ceil(6 * fwhm), 40))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    width = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    profile = (1 + ((x - shift[0]) ** 2 + (y - shift[1]) ** 2) / width**2) ** -beta
    return profile / profile.sum()


def _companion(rng, g: Galaxies, parts: Components, row: int, frame: Frame, centre) -> np.ndarray:
    """Light (3, y, x) of a galaxy up to 2.5 times as bright, whose size follows from its brightness."""
    other = int(rng.integers(len(g.z)))
    ratio, angle, distance = 10 ** rng.uniform(-0.9, 0.4), rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 3.5)
    r = SDSS.photometry_bands.index("r")
    total = [parts.bulge_bands[k, r] + parts.disc_bands[k, r] for k in (row, other)]
    scale = ratio**0.4 * g.disc_radius[row] / g.disc_radius[other] * np.exp(0.2 * rng.standard_normal())
    sizes = {name: getattr(g, name) * scale for name in ("bulge_radius", "disc_radius")}
    away = max(distance * g.disc_radius[row], NEAREST)
    where = centre[0] + away * np.cos(angle), centre[1] + away * np.sin(angle)
    offsets = frame.offsets(*where)
    return light_of(rng, replace(g, **sizes), parts, other, frame, *offsets) * ratio * total[0] / total[1]


def _field(rng, frame: Frame, density: float) -> np.ndarray:
    """Light (3, y, x) of stars and small galaxies, before the seeing."""
    light = np.zeros((3, frame.size, frame.size))
    side = (frame.size + 8) * frame.pixel
    for _ in range(rng.poisson(density * side**2)):
        x0, y0 = side * (rng.random(2) - 0.5)
        is_star, u, flat, colour, other = rng.random(5)
        magnitude = np.clip(STAR_RANGE[1] + np.log10(u) / (0.2 if is_star < 0.4 else 0.35), *STAR_RANGE)
        if np.hypot(x0, y0) < NEAREST + 0.4 * max(22 - magnitude, 0):
            continue
        size = 0.0 if is_star < 0.4 else 0.5 * np.exp(0.4 * rng.standard_normal())
        size *= 10 ** (0.15 * max(21 - magnitude, 0))
        g_r = 0.2 + 1.2 * colour
        r_i = np.where(g_r > 1.2, 4 * (g_r - 1.2), 0) + 0.4 * g_r + 0.15 * (other - 0.3)
        flux = 10 ** (-0.4 * (magnitude + np.array([g_r, 0.0, -r_i]) - 22.5))
        light += flux[:, None, None] * _spot(rng, frame, x0, y0, size, 0.3 + 0.7 * flat)
    return light


def _spot(rng, frame: Frame, x0: float, y0: float, size: float, flat: float) -> np.ndarray:
    """Gaussians (y, x) of unit flux; the light of a star (`size` 0) has spikes."""
    x, y = frame.offsets(x0, y0)
    angle, least = rng.uniform(0, np.pi), frame.psf[0][1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = np.zeros_like(u)
    for share, part in SPOT if size else ((1.0, 0.0),):
        a, b = np.hypot(part * size, least), np.hypot(part * size * flat, least)
        peak = share * frame.pixel**2 / (2 * np.pi * a * b)
        light += peak * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2))
    if not size:
        cross = np.exp(-0.5 * (np.minimum(abs(u), abs(v)) / least) ** 2 - np.maximum(abs(u), abs(v)) / 4)
        light = 0.995 * light + 0.005 * cross * frame.pixel**2 / (8 * np.sqrt(2 * np.pi) * 2 * least)
    return light


def _trail(rng, frame: Frame) -> np.ndarray:
    """Light (y, x) of a satellite that passed."""
    x, y = frame.offsets()
    angle, distance = rng.uniform(0, np.pi), rng.uniform(-0.4, 0.4) * frame.size * frame.pixel
    across = x * np.cos(angle) + y * np.sin(angle) - distance
    return 10 ** rng.uniform(-2.2, -1.0) * np.exp(-0.5 * (across / 0.6) ** 2)


def composite(rng: np.random.Generator, image: np.ndarray, size: int = SIZE) -> np.ndarray:
    """A colour picture of SkyServer's kind, with stretch, clipping and compression drawn at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : array (3, y, x)
        Bands g, r, i in nanomaggies per pixel of 0.396 arcsec.
    size : int
        Pixels per side of the result, to which the picture is resampled.

    Returns
    -------
    array (3, size, size), float32
        Whole values from 0 to 255, channels in the order g, r, i.
    """
    balance = BALANCE * (1 + 0.015 * rng.standard_normal((3, 1, 1))) * np.exp(0.1 * rng.standard_normal())
    black = (BLACK * np.exp(0.2 * rng.standard_normal()) / np.array(STRETCHED.scales))[:, None, None]
    soft = gaussian_filter(image * balance, (0, SOFT_BEFORE, SOFT_BEFORE))
    shown = STRETCHED.shown(soft - black) + DARKEST
    picture = Image.fromarray(np.rint(shown[::-1]).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    picture = _softened(rng, _compressed(rng, picture))
    if image.shape[-1] != size:
        picture = picture.resize((4 * size, 4 * size), Image.Resampling.BICUBIC)
        return _channels(_compressed(rng, picture).reduce(4))
    return _channels(_compressed(rng, picture))


def _channels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32).transpose(2, 0, 1)[::-1].copy()


def _compressed(rng, picture: Image.Image) -> Image.Image:
    """A picture that was stored as JPEG, with colours at half the resolution."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(rng.integers(*QUALITY)), subsampling="4:2:0")
    stream.seek(0)
    return Image.open(stream).convert("RGB")


def _blurred(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A plane (y, x) convolved with a kernel; beyond its edges there is no light."""
    full = [scipy.fft.next_fast_len(a + b - 1, True) for a, b in zip(plane.shape, kernel.shape)]
    product = scipy.fft.rfft2(plane, full) * scipy.fft.rfft2(kernel, full)
    (y, x), (height, width) = ((size - 1) // 2 for size in kernel.shape), plane.shape
    return scipy.fft.irfft2(product, full)[y : y + height, x : x + width]


def _softened(rng, picture: Image.Image) -> Image.Image:
    """A picture that was resampled, and whose faint parts have lost fine differences of colour."""
    values = np.asarray(picture.convert("YCbCr"), np.float32)
    light = gaussian_filter(values[..., 0], rng.uniform(*SOFT_AFTER))
    colour = values[..., 1:]
    soft = np.stack([gaussian_filter(colour[..., k], sd) for k, sd in enumerate(COLOUR_SOFT)], -1)
    share = np.clip(light / FAINT - 0.4, 0, 1)[..., None]
    made = np.concatenate([light[..., None], share * colour + (1 - share) * soft], -1)
    return Image.fromarray(np.rint(np.clip(made, 0, 255)).astype(np.uint8), mode="YCbCr").convert("RGB")
