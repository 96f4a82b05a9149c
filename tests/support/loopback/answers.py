"""What lies under which address: the server's folders, in the places that Services.at(url) gives them."""

import hashlib
import re
from dataclasses import dataclass

from support.loopback import frames, images, sdss_files
from support.loopback.sky import Sky
from support.loopback.skyserver import SkyServer
from support.loopback.targets import BANDS, Plate

REDUX = r"/sas/.*/redux/(?P<run2d>\w+)"
SPEC_FOLDER = re.compile(rf"{REDUX}/spectra/lite/(?P<plate>\d{{4,5}})/")
PLATE_FOLDER = re.compile(rf"{REDUX}/(?P<plate>\d{{4,5}})/")
FRAME_FOLDER = re.compile(r"/sas/.*/photoObj/frames/301/(?P<run>\d+)/(?P<camcol>[1-6])/")
FRAME = re.compile(r"frame-([ugriz])-\d{6}-\d-(\d{4})\.fits\.bz2")
BINARY = "application/octet-stream"


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
    """A file of the SAS, the listing of a folder, or the sha1sum file of one."""
    folder, _, name = path.rpartition("/")
    folder += "/"
    names = contents(sky, folder)
    sums = f"{'_'.join(folder.strip('/').split('/')[-4:])}.sha1sum"
    if not names:
        return None
    if not name:
        return Answer(listing(folder, [*names, sums]), "text/html;charset=UTF-8", dynamic=True)
    if name == sums:
        lines = (f"{hashlib.sha1(file(sky, folder, each)).hexdigest()}  {each}\n" for each in names)
        return Answer("".join(lines).encode(), "text/plain")
    return Answer(file(sky, folder, name), BINARY) if name in names else None


def contents(sky: Sky, folder: str) -> list[str]:
    """File names in a folder of the SAS; none where there is no such folder."""
    if found := SPEC_FOLDER.fullmatch(folder) or PLATE_FOLDER.fullmatch(folder):
        plate = plate_of(sky, **found.groupdict())
        if plate is None:
            return []
        if SPEC_FOLDER.fullmatch(folder):
            return [f"spec-{target.object_id}.fits" for target in sky.targets(plate)]
        return [f"spPlate-{plate.plate:04d}-{plate.mjd}.fits"]
    if found := FRAME_FOLDER.fullmatch(folder):
        run, camcol = int(found["run"]), int(found["camcol"])
        fields = {t.field for p in sky.plates if p.run == run for t in sky.targets(p) if t.camcol == camcol}
        return [f"frame-{b}-{run:06d}-{camcol}-{f:04d}.fits.bz2" for f in sorted(fields) for b in BANDS]
    return []


def plate_of(sky: Sky, run2d: str, plate: str) -> Plate | None:
    return next((p for p in sky.plates if p.run2d == run2d and f"{p.plate:04d}" == plate), None)


def file(sky: Sky, folder: str, name: str) -> bytes:
    """A file that `contents` lists."""
    if name.startswith("frame"):
        run, camcol = FRAME_FOLDER.fullmatch(folder).groups()
        band, field = FRAME.fullmatch(name).groups()
        return frames.frame_bytes(sky, *sky.in_frame(int(run), int(camcol), int(field)), band)
    found = SPEC_FOLDER.fullmatch(folder) or PLATE_FOLDER.fullmatch(folder)
    plate = plate_of(sky, **found.groupdict())
    if name.startswith("spPlate"):
        return sdss_files.spplate(sky, plate)
    return sdss_files.spec_lite(sky, sky.targets(plate)[int(name[-9:-5]) - 1])


def listing(folder: str, names: list[str]) -> bytes:
    """A folder's index as Apache makes it."""
    rows = "".join(f'<tr><td><a href="{name}">{name}</a></td></tr>\n' for name in names)
    title = f"Index of {folder.rstrip('/')}"
    head = (
        f"<!DOCTYPE HTML>\n<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<table>\n"
    )
    parent = '<tr><td><a href="../">Parent Directory</a></td></tr>\n'
    return f"{head}{parent}{rows}</table>\n</body></html>\n".encode()
