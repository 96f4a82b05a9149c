"""Cutouts as the services make them on demand: FITS from the Legacy Surveys viewer, JPEG from SkyServer."""

from io import BytesIO

import numpy as np
from astropy.io import fits
from PIL import Image
from scipy.ndimage import map_coordinates

from pix2spec.core.scaling import lupton_rgb
from support.loopback.sky import Sky

CUTOUT_SCALE = 0.396  # arcsec per pixel of the simulated cutouts
LEGACY_SCALE = 0.262
STAMP = 64


def resample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cubic-spline values of `image` at 0-based pixel positions; 0 outside its pixels."""
    inside = (x > -0.5) & (x < image.shape[1] - 0.5) & (y > -0.5) & (y < image.shape[0] - 0.5)
    padded = np.pad(image, 4, mode="edge")  # the spline sees no edge
    values = map_coordinates(padded, [y + 4, x + 4], order=3, mode="nearest")
    return np.where(inside, values, 0).astype(np.float32)


def picture(sky: Sky, ra: float, dec: float, size: int, scale: float, bands: str) -> np.ndarray:
    """Image (band, size, size) around a position, north up, east left: simulated cutouts where there are any.

    Values are nanomaggies per pixel of 0.396 arcsec, as the cutouts have. A cutout on the very pixels asked
    for is handed out as it is.
    """
    image = np.zeros((len(bands), size, size), np.float32)
    reach = (size * scale + STAMP * CUTOUT_SCALE) / 2 * 1.5
    for _, target in sky.near(ra, dec, reach):
        dx = -(target.ra - ra) * np.cos(np.radians(dec)) * 3600 / scale  # east is left
        dy = (target.dec - dec) * 3600 / scale
        stamps = np.stack([sky.band_image(target, band) for band in bands])
        if np.hypot(dx, dy) < 0.02 and scale == CUTOUT_SCALE and (size - STAMP) % 2 == 0:
            image += centred(stamps, size)
            continue
        y, x = (np.indices((size, size)) - (size - 1) / 2) * (scale / CUTOUT_SCALE)
        x, y = x - dx * scale / CUTOUT_SCALE, y - dy * scale / CUTOUT_SCALE
        centre = (STAMP - 1) / 2
        image += np.stack([resample(stamp, x + centre, y + centre) for stamp in stamps])
    return image


def centred(stamps: np.ndarray, size: int) -> np.ndarray:
    """Stamps (band, 64, 64) cropped or padded with zeros to (band, size, size)."""
    out = np.zeros((len(stamps), size, size), np.float32)
    margin = (size - STAMP) // 2
    if margin >= 0:
        out[:, margin : margin + STAMP, margin : margin + STAMP] = stamps
    else:
        out[:] = stamps[:, -margin : STAMP + margin, -margin : STAMP + margin]
    return out


def cutout_fits(sky: Sky, ra: float, dec: float, size: int, scale: float, bands: str, layer: str) -> bytes:
    """The viewer's ``cutout.fits``: one plane a band, header cards BANDS, BAND0 ..., a tangential WCS.

    After github.com/legacysurvey/imagine, map/views.py. The viewer resamples to the asked pixel scale without
    rescaling: values stay nanomaggies per native pixel (0.396 arcsec in layer sdss, 0.262 in the others).
    """
    image = picture(sky, ra, dec, size, scale, bands)
    if layer != "sdss":
        image *= np.float32((LEGACY_SCALE / CUTOUT_SCALE) ** 2)
    hdu = fits.PrimaryHDU(image if len(bands) > 1 else image[0])
    header = hdu.header
    header["SURVEY"] = "SDSS" if layer == "sdss" else "LegacySurvey"
    header["VERSION"] = layer
    header["IMAGETYP"] = "IMAGE"
    header["BANDS"] = bands
    for i, band in enumerate(bands):
        header[f"BAND{i}"] = band
    header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=ra, CRVAL2=dec)
    header.update(CRPIX1=size / 2 + 0.5, CRPIX2=size / 2 + 0.5)
    header.update(CD1_1=-scale / 3600, CD1_2=0.0, CD2_1=0.0, CD2_2=scale / 3600, IMAGEW=size, IMAGEH=size)
    stream = BytesIO()
    hdu.writeto(stream)
    return stream.getvalue()


def jpeg(sky: Sky, ra: float, dec: float, width: int, height: int, scale: float) -> bytes:
    """SkyServer's colour composite: red = i, green = r, blue = g."""
    size = max(width, height)
    image = picture(sky, ra, dec, size, scale, "gri")
    rgb = np.rint(lupton_rgb(image))[::-1, ::-1].astype(np.uint8)  # i, r, g; north up
    top, left = (size - height) // 2, (size - width) // 2
    rgb = np.moveaxis(rgb, 0, -1)[top : top + height, left : left + width]
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=95)
    return stream.getvalue()
