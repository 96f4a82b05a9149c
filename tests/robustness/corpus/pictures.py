"""JPEG and PNG pictures."""

import struct

from PIL import Image

from robustness.corpus.registry import GENERATE, bad, put
from support.fake_sdss import write_picture


@bad("JPEG", GENERATE, "cannot be read as a picture")
def truncated_jpeg(folder):
    path = write_picture(folder / "galaxy.jpg")
    return put(folder, "galaxy.jpg", path.read_bytes()[:300])


@bad("JPEG", "cutout", "cannot be read as a picture")
def jpeg_of_one_marker(folder):
    return put(folder, "galaxy.jpg", b"\xff\xd8\xff")


@bad("JPEG", "cutout", "wrong band count: a picture of mode L")
def grey_jpeg(folder):
    return write_picture(folder / "galaxy.jpg", mode="L")


@bad("JPEG", "cutout", "wrong band count: a picture of mode CMYK")
def jpeg_for_print(folder):
    return write_picture(folder / "galaxy.jpg", mode="CMYK")


@bad("JPEG", "cutout", "all its pixels have the same value")
def black_jpeg(folder):
    Image.new("RGB", (64, 64)).save(folder / "galaxy.jpg")
    return folder / "galaxy.jpg"


@bad("JPEG", "cutout", "too large for a cutout")
def jpeg_that_claims_4_gigapixels(folder):
    raw = bytearray(write_picture(folder / "galaxy.jpg").read_bytes())
    at = raw.index(b"\xff\xc0") + 5
    raw[at : at + 4] = struct.pack(">HH", 65535, 65535)
    return put(folder, "galaxy.jpg", bytes(raw))


@bad("PNG", "cutout", "too large for a cutout")
def png_of_a_gigapixel_of_nothing(folder):
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10000))) + chunk(b"IEND", b"")
    return put(folder, "galaxy.png", b"\x89PNG\r\n\x1a\n" + data)


@bad("PNG", "cutout", "partly transparent")
def transparent_png(folder):
    Image.new("RGBA", (64, 64), (9, 8, 7, 100)).save(folder / "galaxy.png")
    return folder / "galaxy.png"


@bad("PNG", "cutout", "cannot be read as a picture")
def damaged_png(folder):
    raw = bytearray(write_picture(folder / "galaxy.png").read_bytes())
    raw[60:100] = bytes(40)
    return put(folder, "galaxy.png", bytes(raw))


@bad("PNG", "cutout", "it is 12 x 12 pixels")
def png_too_small(folder):
    return write_picture(folder / "galaxy.png", size=12)
