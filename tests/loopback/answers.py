"""What lies under which address: the server's folders, in the places that Services.at(url) gives them."""

import re
from dataclasses import dataclass

from loopback import images, sdss_files
from loopback.sky import Sky
from loopback.skyserver import SkyServer

SPEC = re.compile(r"/sas/.*/redux/(\w+)/spectra/lite/(\d{4,5})/spec-(\d{4,5})-(\d{5})-(\d{4})\.fits")


@dataclass
class Answer:
    """A body; `dynamic` ones have no ETag and no ranges."""

    body: bytes
    mime: str
    status: int = 200
    dynamic: bool = False


def answer(sky: Sky, skyserver: SkyServer, path: str, query: dict) -> Answer | None:
    """What the services say to a path and its query; None for 404."""
    if path.startswith("/sas/"):
        return archive(sky, path)
    if re.fullmatch(r"/skyserver/dr\d+/.*/(x_results\.aspx|x_sql\.aspx|SqlSearch)", path, re.IGNORECASE):
        status, mime, text = skyserver.answer(query.get("cmd", ""), query.get("format", "csv"))
        return Answer(text.encode(), mime, status, dynamic=True)
    if re.fullmatch(r"/skyserver/dr\d+/SkyServerWS/ImgCutout/getjpeg", path, re.IGNORECASE):
        width, height = (min(int(query.get(name, 256)), 2048) for name in ("width", "height"))
        ra, dec, scale = float(query["ra"]), float(query["dec"]), float(query.get("scale", 0.396))
        return Answer(images.jpeg(sky, ra, dec, width, height, scale), "image/jpeg", dynamic=True)
    if path == "/viewer/cutout.fits":
        layer, bands = query.get("layer", "ls-dr9"), query.get("bands", "grz")
        scale = float(query.get("pixscale", images.LEGACY_SCALE))
        size = min(int(query.get("size", 256)), 3000)
        ra, dec = float(query["ra"]), float(query["dec"])
        body = images.cutout_fits(sky, ra, dec, size, scale, bands, layer)
        return Answer(body, "image/fits", dynamic=True)
    return None


def archive(sky: Sky, path: str) -> Answer | None:
    """A file of the SAS."""
    if found := SPEC.fullmatch(path):
        run2d, folder, plate, mjd, fiber = found.groups()
        body = sdss_files.spec_lite(sky, int(plate), int(mjd), int(fiber), run2d) if folder == plate else None
        return body and Answer(body, "application/octet-stream")
    return None
