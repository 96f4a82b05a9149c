"""Corrected frames: ``frame-BAND-RUN-CAMCOL-FIELD.fits.bz2``.

After https://data.sdss.org/datamodel/files/BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html: HDU0 is the
image in nanomaggies, 2048 x 1489, kept to 10 significant bits; HDU1 the calibration vector (nanomaggies per
count of each column); HDU2 a one-row table with the sky in counts, 256 x 192, and where the image's pixels
lie in it; HDU3 the asTrans row: from rows and columns to great-circle coordinates mu, nu
(https://classic.sdss.org/dr7/dm/flatFiles/asTrans.php).
"""

import bz2
from functools import lru_cache

import numpy as np
from astropy.wcs import WCS

from pix2spec.data.simulate.noise import SKY_NOISE
from support.loopback.images import CUTOUT_SCALE, STAMP, resample
from support.loopback.sdss_files import Table, filled, image_bytes
from support.loopback.sky import Sky, unit_vectors
from support.loopback.targets import BANDS, FRAME_SHAPE, SCALE, Plate, Target

NANOMAGGIES_PER_COUNT = (0.0093, 0.0037, 0.0050, 0.0064, 0.0354)
SKY_COUNTS = (60.0, 110.0, 160.0, 200.0, 130.0)
REACH = 50  # frame pixels: half the side of the square that holds a turned cutout
SKY_COLUMNS = f"ALLSKY {256 * 192}E 256x192|XINTERP {FRAME_SHAPE[1]}E|YINTERP {FRAME_SHAPE[0]}E"
AS_COLUMNS = (
    "RUN J|RERUN 3A|CAMCOL J|FILTER 1A|FIELD J|NODE D|INCL D|A D|B D|C D|D D|E D|F D|"
    "DROW0 D|DROW1 D|DROW2 D|DROW3 D|DCOL0 D|DCOL1 D|DCOL2 D|DCOL3 D|"
    "CSROW D|CSCOL D|CCROW D|CCCOL D|RICUT D|MUERR D|NUERR D|AIRMASS D"
)


@lru_cache
def tables() -> tuple[Table, Table]:
    return Table(SKY_COLUMNS.split("|")), Table(AS_COLUMNS.split("|"))


def frame_image(
    sky: Sky, plate: Plate, targets: list[Target], field: tuple[int, int], band: str
) -> np.ndarray:
    """Image (1489, 2048) in nanomaggies per pixel: the simulated cutouts, turned and put in their places.

    They are interpolated with cubic splines and keep their flux, but not the noise of single pixels.
    """
    image = np.zeros(FRAME_SHAPE, np.float32)
    wcs = sky.wcs(plate, *field, band)
    if sky.noisy:
        rng = np.random.default_rng([sky.seed, 6, plate.run, *field, BANDS.index(band)])
        image += SKY_NOISE[BANDS.index(band)] * rng.standard_normal(FRAME_SHAPE, dtype=np.float32)
    for target in targets:
        if target.kind == "sky":
            continue
        x0, y0 = (round(float(v)) for v in wcs.wcs_world2pix(target.ra, target.dec, 0))
        rows = slice(max(y0 - REACH, 0), min(y0 + REACH + 1, FRAME_SHAPE[0]))
        columns = slice(max(x0 - REACH, 0), min(x0 + REACH + 1, FRAME_SHAPE[1]))
        y, x = np.mgrid[rows, columns]
        u, v = north_up(target).wcs_world2pix(*wcs.wcs_pix2world(x, y, 0), 0)
        inside = (abs(u - (STAMP - 1) / 2) < STAMP / 2) & (abs(v - (STAMP - 1) / 2) < STAMP / 2)
        stamp = resample(sky.band_image(target, band), u, v) * np.float32((SCALE / CUTOUT_SCALE) ** 2)
        image[rows, columns][inside] = stamp[inside]
    return image


def north_up(target: Target) -> WCS:
    """WCS of the target's cutout."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crpix = (STAMP + 1) / 2, (STAMP + 1) / 2
    wcs.wcs.crval = target.ra, target.dec
    wcs.wcs.cd = CUTOUT_SCALE / 3600 * np.diag([-1, 1])
    return wcs


def ten_bits(image: np.ndarray) -> np.ndarray:
    """idlutils' FLOATCOMPRESS: round to 10 significant binary digits, a relative error below 0.1 %."""
    bits = image.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 13)) & np.uint32(0xFFFFFFFF << 14 & 0xFFFFFFFF)).view(np.float32)


def frame_hdus(sky: Sky, plate: Plate, targets: list[Target], band: str) -> bytes:
    """The file before bzip2."""
    field = targets[0].camcol, targets[0].field
    wcs, index = sky.wcs(plate, *field, band), BANDS.index(band)
    node, incl, affine = as_trans(wcs, plate)
    per_count = NANOMAGGIES_PER_COUNT[index]
    cards = {
        "TAI": 86_400.0 * (plate.mjd - 100),
        "RA": wcs.wcs.crval[0],
        "DEC": wcs.wcs.crval[1],
        "RUN": plate.run,
        "FRAME": field[1],
        "CCDLOC": 10 * (index + 1) + field[0],
        "STRIPE": 10,
        "NODE": node,
        "INCL": incl,
        "CAMROW": index + 1,
        "FILTER": band,
        "CAMCOL": field[0],
        "CRVAL1": wcs.wcs.crval[0],
        "CRVAL2": wcs.wcs.crval[1],
        "NMGY": per_count,
        "NMGYIVAR": 1e4 / per_count**2,
    } | {f"CD{i + 1}_{j + 1}": wcs.wcs.cd[i, j] for i in (0, 1) for j in (0, 1)}
    image = ten_bits(frame_image(sky, plate, targets, field, band))
    flat = 1 + 0.01 * np.sin(np.arange(FRAME_SHAPE[1]) / 300)
    gradient = 1 + 0.02 * np.linspace(-1, 1, 192)[:, None] + 0.01 * np.linspace(-1, 1, 256)
    sky_row = {
        "ALLSKY": (SKY_COUNTS[index] * gradient).reshape(1, -1),
        "XINTERP": (np.arange(FRAME_SHAPE[1]) + 0.5) / 8 - 0.5,
        "YINTERP": (np.arange(FRAME_SHAPE[0]) + 0.5) * 192 / FRAME_SHAPE[0] - 0.5,
    }
    trans = {"RUN": plate.run, "RERUN": "301", "CAMCOL": field[0], "FILTER": band, "FIELD": field[1]}
    trans |= {"NODE": node, "INCL": incl, "RICUT": 1.5, "MUERR": 0.03, "NUERR": 0.03, "AIRMASS": 1.2}
    trans |= dict(zip("ABCDEF", affine.ravel()))
    sky_table, as_table = tables()
    return (
        image_bytes(image, filled("frame", cards))
        + image_bytes((per_count * flat).astype(np.float32))
        + sky_table.pack(1, sky_row)
        + as_table.pack(1, trans)
    )


def frame_bytes(sky: Sky, plate: Plate, targets: list[Target], band: str) -> bytes:
    """``frame-BAND-RUN-CAMCOL-FIELD.fits.bz2``."""
    return bz2.compress(frame_hdus(sky, plate, targets, band), 9 if sky.noisy else 1)


def as_trans(wcs: WCS, plate: Plate) -> tuple[float, float, np.ndarray]:
    """Node and inclination in degrees of the run's great circle, and mu, nu = [a b c; d e f] [1 row col]."""
    centre = unit_vectors(np.array([plate.ra]), np.array([plate.dec]))[0]
    east = np.cross([0, 0, 1], centre)
    east /= np.linalg.norm(east)
    along = np.cos(plate.turn) * east + np.sin(plate.turn) * np.cross(centre, east)
    pole = np.cross(centre, along)
    node = np.degrees(np.arctan2(pole[0], -pole[1]))
    incl = np.degrees(np.arccos(pole[2]))
    row, col = (v.ravel() for v in np.mgrid[0 : FRAME_SHAPE[0] : 8j, 0 : FRAME_SHAPE[1] : 8j])
    x, y, z = unit_vectors(
        *wcs.wcs_pix2world(col - 0.5, row - 0.5, 0)
    ).T  # SDSS counts pixels from their edges
    cos, sin = np.cos(np.radians(incl)), np.sin(np.radians(incl))
    x, y = (
        x * np.cos(np.radians(node)) + y * np.sin(np.radians(node)),
        y * np.cos(np.radians(node)) - x * np.sin(np.radians(node)),
    )
    mu = np.degrees(np.arctan2(y * cos + z * sin, x)) + node
    nu = np.degrees(np.arcsin(z * cos - y * sin))
    mu = np.mod(mu[0], 360) + np.mod(mu - mu[0] + 180, 360) - 180  # no jump at 360
    terms = np.stack([np.ones_like(row), row, col], axis=1)
    return float(node) % 360, float(incl), np.linalg.lstsq(terms, np.stack([mu, nu], axis=1), rcond=None)[0].T
