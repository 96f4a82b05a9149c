"""Bundles of NumPy arrays."""

import numpy as np

from robustness.corpus.registry import IMPORT, bad, put
from support.fake_sdss import write_bundle
from support.tiny import GRID


@bad("npz", IMPORT, "it has no array 'flux'")
def bundle_without_flux(folder):
    return write_bundle(folder / "b.npz", flux=None)


@bad("npz", "spectra", "did you mean 'ivars'")
def bundle_with_a_typo(folder):
    return write_bundle(folder / "b.npz", ivar=None, ivars=np.ones((4, 3598), np.float32))


@bad("npz", "spectra", "its array 'flux' has shape")
def bundle_of_wrong_shape(folder):
    return write_bundle(folder / "b.npz", flux=np.ones((4, 7), np.float32))


@bad("npz", "spectra", "its array 'plate' is float64, not integer")
def bundle_of_real_plates(folder):
    return write_bundle(folder / "b.npz", plate=np.full(4, 266.5))


@bad("npz", "spectra", r"not \(1, 3598\)")
def bundle_of_one_number(folder):
    return write_bundle(folder / "b.npz", plate=np.int64(3))


@bad("npz", "spectra", "no valid pixel")
def bundle_of_nan(folder):
    return write_bundle(folder / "b.npz", flux=np.full((4, 3598), np.nan, np.float32))


@bad("npz", "spectra", "is .*, not numbers")
def bundle_of_texts(folder):
    return write_bundle(folder / "b.npz", flux=np.full((4, 3598), "a"))


@bad("npz", "spectra", "is complex")
def bundle_of_complex_numbers(folder):
    return write_bundle(folder / "b.npz", flux=np.ones((4, 3598), np.complex64))


@bad("npz", "spectra", "is .*, not numbers")
def bundle_of_named_redshifts(folder):
    return write_bundle(folder / "b.npz", z=np.array(["low"] * 4))


@bad("npz", "spectra", "truncated or damaged")
def truncated_bundle(folder):
    raw = write_bundle(folder / "b.npz").read_bytes()
    return put(folder, "b.npz", raw[: len(raw) // 3])


@bad("npz", "pictures", "image64 is float32")
def pictures_of_floats(folder):
    np.savez(folder / "p.npz", image64=np.ones((2, 3, 64, 64), np.float32), object_id=np.array(["a", "b"]))
    return folder / "p.npz"


@bad("npz", "pictures", "neither plate, mjd, fiber nor object_id")
def pictures_of_nobody(folder):
    np.savez(folder / "p.npz", image64=np.ones((2, 3, 64, 64), np.uint8))
    return folder / "p.npz"


@bad("npz", "pictures", "'object_id' has 1 values, not 2")
def pictures_with_one_name(folder):
    np.savez(folder / "p.npz", image64=np.ones((2, 3, 64, 64), np.uint8), object_id=np.array("a"))
    return folder / "p.npz"


@bad("npz", "pictures", "its array 'mjd' is float64, not integers")
def pictures_of_half_a_name(folder):
    ids = {"plate": np.array([1, 2]), "mjd": np.array([np.nan, 1]), "fiber": np.array([1, 2])}
    picture = np.arange(2 * 3 * 64 * 64, dtype=np.uint8).reshape(2, 3, 64, 64)
    np.savez(folder / "p.npz", image64=picture, **ids)
    return folder / "p.npz"


@bad("npz", "predictions", "for 3 objects")
def predictions_of_other_objects(folder):
    np.savez(folder / "p.npz", object_id=np.array(["a", "b", "c"]), flux=np.ones((2, GRID.size)))
    return folder / "p.npz"
