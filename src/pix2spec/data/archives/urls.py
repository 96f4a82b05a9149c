"""Addresses and file names of SDSS's and the Legacy Surveys' services. No other module has them.

Sources
-------
- Paths on the Science Archive Server (SAS): SDSS's `sdss_tree` 4.1.4, files ``dr8.cfg`` to ``dr13.cfg``::

      spPlate   = @spectrodir|/{run2d}/{plateid:0>4}/spPlate-{plateid:0>4}-{mjd}.fits
      spec-lite = @spectrodir|/{run2d}/spectra/lite/{plateid:0>4}/spec-{plateid:0>4}-{mjd}-{fiberid:0>4}.fits
      frame     = $BOSS_PHOTOOBJ/frames/{rerun}/{run}/{camcol}/
                  frame-{filter}-{run:0>6}-{camcol}-{field:0>4}.fits

  ``@spectrodir`` (`sdss_access` 3.0.11, ``Path.spectrodir``) is ``SPECTRO_REDUX``, <dr>/sdss/spectro/redux,
  for run2d 26, 103 and 104, and ``BOSS_SPECTRO_REDUX``, <dr>/eboss/spectro/redux, for others;
  ``BOSS_PHOTOOBJ`` is <dr>/eboss/photoObj since DR13.
- DR18 moved these folders: `astroquery` 0.4.11, ``sdss/core.py``, has ``spectro/sdss/redux`` for every run2d
  up to v5 and ``prior-surveys/sdss4-dr17-eboss`` for frames, which end in ``.fits.bz2`` in every release.
- Lite files "contain the same coadd and catalog information as the full spec files, but don't include the
  individual exposures" (www.sdss3.org/dr10/data_access/bulk.php).
- SkyServer's JPEG service: ``/dr17/SkyServerWS/ImgCutout/getjpeg?ra=&dec=&scale=&width=&height=``, scale in
  arcsec per pixel. `astroquery` has the address of its SQL service: ``/dr17/en/tools/search/x_results.aspx``.
- Legacy Surveys viewer: github.com/legacysurvey/imagine, ``map/views.py``, ``get_cutout``: ``ra dec size
  pixscale bands layer``, "maxsize = 3000".
- Sizes: a lite file of plate 3586 has 218,880 bytes. A plate file of 1,000 fibres has 110 MB ("plate: 110Mb",
  bossdata.readthedocs.io), and one of 640 fibres and fewer pixels about 59 MB. A frame of 2,048 x 1,489
  float32 values compresses to about 3 MB.
"""

import math
import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from pix2spec.errors import InputError

__all__ = [
    "RELEASES",
    "Release",
    "Remote",
    "Services",
    "checksums",
    "fits_cutout",
    "frame",
    "jpeg_cutout",
    "plate_file",
    "spec_lite",
]

LEGACY_RUN2D = ("26", "103", "104")  # SDSS-I/II, stellar cluster plates, SEGUE-2
KINDS = ("fits", "bz2", "gzip", "jpeg", "text", "html")
MAX_CUTOUT = 3000  # pixels; the viewer gives smaller cutouts than requested beyond, and does not say so


@dataclass(frozen=True)
class Services:
    """Base addresses of the services. A mirror has other ones."""

    sas: str = "https://data.sdss.org/sas"
    skyserver: str = "https://skyserver.sdss.org"
    legacy: str = "https://www.legacysurvey.org/viewer"

    @classmethod
    def at(cls, url: str) -> "Services":
        """All services under one address: ``url/sas``, ``url/skyserver`` and ``url/viewer``.

        Raises
        ------
        InputError
            If `url` is not an http(s) address.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            hint = "give one such as https://mirror.example.org/sdss"
            raise InputError(url, "it is not a web address", hint)
        base = url.rstrip("/")
        return cls(sas=f"{base}/sas", skyserver=f"{base}/skyserver", legacy=f"{base}/viewer")


@dataclass(frozen=True)
class Remote:
    """One file on a server.

    Parameters
    ----------
    url : str
        Its address.
    name : str
        Its path below the cache folder. It consists of checked numbers and words only.
    kind : {'fits', 'bz2', 'gzip', 'jpeg', 'text', 'html'}
        Its format, which its first bytes must confirm.
    sha1 : str, optional
        Published checksum, 40 hexadecimal digits.
    approx_bytes : int
        Typical size, for estimates.
    """

    url: str
    name: str
    kind: str
    sha1: str | None = None
    approx_bytes: int = 0


@dataclass(frozen=True)
class Release:
    """One SDSS data release and its folders, relative to the SAS."""

    name: str
    number: int
    legacy_redux: str
    boss_redux: str
    photo: str

    def redux(self, run2d: str) -> str:
        """Folder of a reduction. The pipelines of the two spectrographs have separate folders."""
        return self.legacy_redux if run2d in LEGACY_RUN2D else self.boss_redux


def _sdss4(number: int) -> Release:
    name = f"dr{number}"
    return Release(
        name, number, f"{name}/sdss/spectro/redux", f"{name}/eboss/spectro/redux", f"{name}/eboss/photoObj"
    )


RELEASES = {
    "dr16": _sdss4(16),
    "dr17": _sdss4(17),
    "dr18": Release(
        "dr18",
        18,
        "dr18/spectro/sdss/redux",
        "dr18/spectro/sdss/redux",
        "dr18/prior-surveys/sdss4-dr17-eboss/photoObj",
    ),
}


def release_named(release: str) -> Release:
    """The :class:`Release` called `release`. Raises `InputError` if there is none."""
    if release not in RELEASES:
        raise InputError("`release`", f"{release!r} is unknown", f"choose from {', '.join(RELEASES)}")
    return RELEASES[release]


def _integer(where: str, value, least: int, most: int) -> int:
    """`value` as an int within bounds. Values from servers become parts of paths, so they are checked."""
    try:
        number = int(value)
        exact = number == value
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact or not least <= number <= most:
        raise InputError(where, f"{value!r} is not a whole number from {least} to {most}")
    return number


def _word(where: str, value: str, pattern: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
        raise InputError(where, f"{value!r} is not of the form {pattern}")
    return value


def _position(ra: float, dec: float) -> tuple[float, float]:
    ra, dec = float(ra), float(dec)
    if not (math.isfinite(ra) and math.isfinite(dec) and 0 <= ra <= 360 and -90 <= dec <= 90):
        raise InputError(
            f"position {ra}, {dec}", "is not on the sky", "ra from 0 to 360, dec from -90 to 90 degrees"
        )
    return ra, dec


def _spectrum(release: str, run2d, plate, mjd) -> tuple[Release, str, int, int]:
    # The reductions v6 and later (SDSS-V) name files by field and catalogid, not by plate. They are not read.
    run2d = _word("run2d", str(run2d), r"26|103|104|v5_\d{1,3}_\d{1,3}")
    return (
        release_named(release),
        run2d,
        _integer("plate", plate, 1, 99_999),
        _integer("mjd", mjd, 40_000, 99_999),
    )


def spec_lite(services: Services, release: str, run2d, plate, mjd, fiber) -> Remote:
    """The lite file of one spectrum: its coadd and catalogue row, without the exposures."""
    dr, run2d, plate, mjd = _spectrum(release, run2d, plate, mjd)
    fiber = _integer("fiber", fiber, 1, 1_000)
    file = f"{plate:04d}/spec-{plate:04d}-{mjd}-{fiber:04d}.fits"
    url = f"{services.sas}/{dr.redux(run2d)}/{run2d}/spectra/lite/{file}"
    return Remote(url, f"{release}/spec-lite/{run2d}/{file}", "fits", approx_bytes=200_000)


def plate_file(services: Services, release: str, run2d, plate, mjd) -> Remote:
    """The spPlate file with all spectra of a plate: 640 in the legacy survey, 1,000 in BOSS and eBOSS."""
    dr, run2d, plate, mjd = _spectrum(release, run2d, plate, mjd)
    file = f"{plate:04d}/spPlate-{plate:04d}-{mjd}.fits"
    size = 59_000_000 if run2d in LEGACY_RUN2D else 110_000_000
    url = f"{services.sas}/{dr.redux(run2d)}/{run2d}/{file}"
    return Remote(url, f"{release}/spplate/{run2d}/{file}", "fits", approx_bytes=size)


def frame(services: Services, release: str, run, camcol, field, band: str, rerun=301) -> Remote:
    """A corrected frame of one band: sky-subtracted, in nanomaggies per pixel, compressed by bzip2."""
    dr = release_named(release)
    rerun, run = _integer("rerun", rerun, 1, 9_999), _integer("run", run, 1, 65_535)
    camcol, field = _integer("camcol", camcol, 1, 6), _integer("field", field, 1, 4_095)
    band = _word("band", band, "[ugriz]")
    file = f"{rerun}/{run}/{camcol}/frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
    return Remote(
        f"{services.sas}/{dr.photo}/frames/{file}", f"{release}/frames/{file}", "bz2", approx_bytes=3_000_000
    )


def jpeg_cutout(services: Services, release: str, ra: float, dec: float, size: int) -> Remote:
    """SkyServer's colour composite around a position in degrees: `size` pixels of 0.396 arcsec, north up."""
    release_named(release)
    ra, dec = _position(ra, dec)
    size = _integer("size", size, 1, 2_048)  # the limit of the service
    query = urlencode(
        {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}", "scale": "0.396", "width": size, "height": size}
    )
    url = f"{services.skyserver}/{release}/SkyServerWS/ImgCutout/getjpeg?{query}"
    return Remote(
        url, f"{release}/jpeg/{size}/{_tile(ra)}/{ra:011.7f}{dec:+011.7f}.jpg", "jpeg", approx_bytes=50 * size
    )


def fits_cutout(
    services: Services, layer: str, ra: float, dec: float, size: int, pixel_scale: float, bands: str
) -> Remote:
    """A cutout (band, y, x) in nanomaggies per pixel from the Legacy Surveys viewer.

    Parameters
    ----------
    services : Services
        Addresses.
    layer : str
        A layer of the viewer, for example ``ls-dr9``, ``ls-dr10`` or ``sdss``.
    ra, dec : float
        Centre in degrees.
    size : int
        Pixels per side.
    pixel_scale : float
        Arcsec per pixel.
    bands : str
        One letter per band, for example ``grz``.
    """
    layer = _word("layer", layer, r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
    bands = _word("bands", bands, "[A-Za-z]{1,8}")
    ra, dec = _position(ra, dec)
    size = _integer("size", size, 1, MAX_CUTOUT)
    if not 0.01 <= pixel_scale <= 60:
        raise InputError("pixel scale", f"{pixel_scale!r} is not between 0.01 and 60 arcsec")
    query = urlencode(
        {
            "ra": f"{ra:.7f}",
            "dec": f"{dec:.7f}",
            "layer": layer,
            "size": size,
            "pixscale": f"{pixel_scale:.6g}",
            "bands": bands,
        }
    )
    name = f"cutouts/{layer}/{bands}-{size}-{pixel_scale:.6g}/{_tile(ra)}/{ra:011.7f}{dec:+011.7f}.fits"
    return Remote(
        f"{services.legacy}/cutout.fits?{query}", name, "fits", approx_bytes=4 * len(bands) * size**2 + 5760
    )


def checksums(services: Services, release: str, remote: Remote) -> Remote | None:
    """The listing of the folder on the SAS that holds the ``.sha1sum`` file of `remote`.

    SDSS publishes such files, but documents no rule for their names. `with_checksums` therefore looks them
    up. Those of frames are one folder higher, in the folder of the run. The result is None for files that a
    server makes on demand.
    """
    if not remote.url.startswith(f"{services.sas}/{release_named(release).name}/"):
        return None
    levels = 2 if remote.kind == "bz2" else 1
    folder, name = (text.rsplit("/", levels)[0] for text in (remote.url, remote.name))
    return Remote(f"{folder}/", f"{name}/listing.html", "html", approx_bytes=100_000)


def _tile(ra: float) -> str:
    """Folder for one degree of right ascension. It keeps the number of files per folder small."""
    return f"{min(int(ra), 359):03d}"
