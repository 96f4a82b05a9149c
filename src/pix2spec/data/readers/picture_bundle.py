"""Colour pictures in npz bundles."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.readers.fits_planes import check_size, expected_bands
from pix2spec.data.readers.guards import load_arrays, spec_id
from pix2spec.data.readers.images import crop
from pix2spec.errors import InputError

__all__ = ["ImageBundle", "read_image_bundle"]

# Kinds of dtype that the arrays of a bundle may have.
NUMBERS = dict.fromkeys(("plate", "mjd", "fiber"), "iu") | dict.fromkeys(("ra", "dec"), "iuf")


class ImageBundle:
    """Colour pictures in one npz file.

    The array ``image64`` (N, 3, y, x), uint8, holds the pictures with channels red, green, blue. The arrays
    ``plate``, ``mjd`` and ``fiber``, or ``object_id``, or ``dr7objid``, identify them. The arrays ``ra``,
    ``dec`` (degrees), ``kind`` and ``scale_is_exact`` are optional. `kind` names the channels' bands at its
    end, for example ``legacy_grz``.

    Parameters
    ----------
    path : str or Path
        The npz file.
    survey : Survey
        The expected bands.
    size : int
        Pixels per side of the images. Larger pictures are cropped about their centre.
    any_bands : bool
        Accept pictures of other bands than the survey's. Otherwise `image` refuses them one by one.

    Raises
    ------
    InputError
        If the file lacks an array, or an array has the wrong shape or type.
    """

    OPTIONAL = ("plate", "mjd", "fiber", "object_id", "dr7objid", "ra", "dec", "kind", "scale_is_exact")

    def __init__(self, path: str | Path, survey: Survey = SDSS, size: int = 64, any_bands: bool = False):
        self.path, self.survey, self.size, self.any_bands = path, survey, size, any_bands
        self.arrays = load_arrays(path, ("image64",), self.OPTIONAL)
        images = self.arrays["image64"]
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
            raise InputError(path, f"image64 is {images.dtype} {images.shape}, not uint8 (N, 3, y, x)")
        for name, array in self.arrays.items():
            if array.shape[:1] != images.shape[:1]:
                raise InputError(path, f"its array {name!r} has {array.size} values, not {len(images)}")
            if name in NUMBERS and array.dtype.kind not in NUMBERS[name]:
                wanted = "integers" if NUMBERS[name] == "iu" else "numbers"
                raise InputError(path, f"its array {name!r} is {array.dtype}, not {wanted}")
        if not {"plate", "object_id", "dr7objid"} & set(self.arrays):
            raise InputError(path, "it has neither plate, mjd, fiber nor object_id", "add one of them")

    def __len__(self) -> int:
        return len(self.arrays["image64"])

    def label(self, i: int) -> str:
        """Name of picture `i` for messages."""
        return f"{self.path}[{i}]"

    def keys(self, i: int) -> dict:
        """Dictionary with ``object_id``, ``photo_id``, ``ra`` and ``dec`` (degrees or NaN) of picture `i`."""
        a = self.arrays
        photo = next((str(a[name][i]) for name in ("object_id", "dr7objid") if name in a), "")
        spectrum = "plate" in a and "mjd" in a and "fiber" in a
        return {
            "object_id": spec_id(a["plate"][i], a["mjd"][i], a["fiber"][i]) if spectrum else photo,
            "photo_id": photo,
            "ra": float(a["ra"][i]) if "ra" in a else np.nan,
            "dec": float(a["dec"][i]) if "dec" in a else np.nan,
        }

    def notes(self, i: int) -> list[str]:
        """Doubts about picture `i` that the bundle itself records."""
        exact = self.arrays.get("scale_is_exact")
        return [] if exact is None or exact[i] else ["its pixel scale is known only roughly"]

    def image(self, i: int) -> tuple[np.ndarray, str]:
        """Picture `i` as an array (band, y, x), float32, with bands in the survey's order; and its kind.

        Raises
        ------
        InputError
            If the picture shows other bands, is too small, or is empty.
        """
        label, a = self.label(i), self.arrays
        bands = str(a["kind"][i]).rpartition("_")[2] if "kind" in a else ""
        if bands and set(bands) != set(self.survey.image_bands) and not self.any_bands:
            raise InputError(
                label,
                f"its picture shows the bands {', '.join(bands)}",
                expected_bands(self.survey) + "; accept it with `any_bands=True`",
            )
        picture = a["image64"][i]
        check_size(label, picture.shape[-2], picture.shape[-1], self.size)
        image = crop(picture[::-1], self.size).astype(np.float32)
        if image.max() == image.min():
            raise InputError(label, "the picture is empty: all its pixels have the same value")
        return image, "composite"


def read_image_bundle(
    path: str | Path, survey: Survey = SDSS, any_bands: bool = False, failures: list | None = None
) -> Iterator[tuple[dict, np.ndarray, str]]:
    """Read all pictures of an npz bundle.

    Parameters
    ----------
    path, survey, any_bands
        As in `ImageBundle`.
    failures : list, optional
        Receives ``(source, reason)`` of each picture that cannot be used.

    Yields
    ------
    keys : dict
        As `ImageBundle.keys` gives it.
    image : array (band, y, x), float32
    kind : str
        Always ``"composite"``.
    """
    bundle = ImageBundle(path, survey, any_bands=any_bands)
    for i in range(len(bundle)):
        try:
            yield bundle.keys(i), *bundle.image(i)
        except InputError as error:
            if failures is not None:
                failures.append((error.where, str(error)))
