"""HDF5 of the Multimodal Universe."""

from pathlib import Path

import numpy as np

from robustness.corpus.registry import bad, put


def hdf5(folder: Path, change) -> Path:
    import h5py

    from support import fake_universe

    path = fake_universe.write_hdf5(folder / "rows.hdf5", fake_universe.sdss(2))
    with h5py.File(path, "a") as file:
        change(file)
    return path


@bad("HDF5", "universe", "cannot be read as hdf5")
def hdf5_cut_off(folder):
    path = hdf5(folder, lambda file: None)
    return put(folder, path.name, path.read_bytes()[:2000])


@bad("HDF5", "universe", "no array 'spectrum_flux'")
def hdf5_without_flux(folder):
    return hdf5(folder, lambda file: file.pop("spectrum_flux"))


@bad("HDF5", "universe", "its array ivar has 7 rows, not 2")
def hdf5_of_unequal_columns(folder):
    def change(file):
        del file["spectrum_ivar"]
        file["spectrum_ivar"] = np.ones((7, 3850), np.float32)

    return hdf5(folder, change)


@bad("HDF5", "universe", "is not an array")
def hdf5_whose_flux_is_a_group(folder):
    def change(file):
        del file["spectrum_flux"]
        file.create_group("spectrum_flux")

    return hdf5(folder, change)


@bad("HDF5", "universe", "it is a text file, not Parquet or HDF5")
def text_named_hdf5(folder):
    return put(folder, "rows.hdf5", "flux 1 2 3")
