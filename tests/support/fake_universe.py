"""Files in the layouts of the Multimodal Universe (see pix2spec.data.mmu.read), made up."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SDSS_LOGLAM = 3.58 + 1e-4 * np.arange(3850)
DESI_WAVE = 3600 + 0.8 * np.arange(7781)
PLATE, MJD = 410, 51816


def specobjid(fiber, plate=PLATE, mjd=MJD, run2d=26):
    return plate << 50 | fiber << 38 | (mjd - 50000) << 24 | run2d << 10


def positions(n, offset=0.0):
    """Objects 36 arcsec apart, north-south, moved by `offset` arcsec."""
    return np.full(n, 180.0), -0.2 + 0.01 * np.arange(n) + offset / 3600


def sdss(n=6, seed=0):
    """Arrays of ``sdss/healpix=N/001-of-001.hdf5``; the last spectrum is 100 pixels shorter."""
    rng, ra_dec = np.random.default_rng(seed), positions(n)
    wave = np.tile((10**SDSS_LOGLAM).astype(np.float32), (n, 1))
    flux = rng.normal(20, 2, wave.shape).astype(np.float32)
    ivar = rng.uniform(0.1, 0.5, wave.shape).astype(np.float32)
    mask = rng.random(wave.shape) < 0.01
    wave[-1, -100:], flux[-1, -100:], ivar[-1, -100:], mask[-1, -100:] = -1, flux[-1, -101], 0, True
    return {
        "object_id": np.array([f"{specobjid(i + 1):22d}" for i in range(n)], "S22"),
        "ra": ra_dec[0],
        "dec": ra_dec[1],
        "BESTOBJID": np.array([f"{1237650795146576000 + i:19d}" for i in range(n)], "S19"),
        "CLASS": np.array(["GALAXY"] * n, "S6"),
        "Z": np.linspace(0.05, 0.2, n).astype(np.float32),
        "Z_ERR": np.full(n, 1e-5, np.float32),
        "ZWARNING": np.array([0, 4, 16, *[0] * n])[:n].astype(np.int32),
        "VDISP": np.full(n, 150, np.float32),
        "SPECTROFLUX": np.ones((n, 5), np.float32),
        "spectrum_flux": flux,
        "spectrum_ivar": ivar,
        "spectrum_lambda": wave,
        "spectrum_mask": mask,
        "spectrum_lsf_sigma": np.ones_like(flux),
    }


def desi(n=6, seed=1):
    """Arrays of ``edr_sv3/healpix=N/001-of-001.hdf5``."""
    rng, ra_dec = np.random.default_rng(seed), positions(n)
    flux = rng.normal(5, 1, (n, len(DESI_WAVE))).astype(np.float32)
    facts = {f"FIBERFLUX_{b}": np.full(n, 2.0, np.float32) for b in "GRZ"}
    facts |= {f"FLUX_{b}": np.full(n, 4.0, np.float32) for b in "GRZ"}
    facts |= {f"FLUX_IVAR_{b}": np.full(n, 100.0, np.float32) for b in "GRZ"}
    return facts | {
        "object_id": 39633345008634465 + np.arange(n),
        "ra": ra_dec[0],
        "dec": ra_dec[1],
        "SPECTYPE": np.array(["GALAXY"] * n, "S6"),
        "Z": np.linspace(0.05, 0.2, n),
        "ZERR": np.full(n, 1e-5),
        "ZWARN": np.array([0, 4, *[0] * n])[:n],
        "spectrum_flux": flux,
        "spectrum_ivar": np.full_like(flux, 0.5),
        "spectrum_lambda": np.tile(DESI_WAVE.astype(np.float32), (n, 1)),
        "spectrum_mask": np.zeros(flux.shape, bool),
        "spectrum_lsf_sigma": np.ones_like(flux),
    }


def legacy(n=6, offset=0.0, size=160, seed=2):
    """Arrays of ``dr10_south_21/healpix=N/001-of-001.hdf5``."""
    ra, dec = positions(n, offset)
    image = np.random.default_rng(seed).normal(0, 0.01, (n, 4, size, size)).astype(np.float32)
    image += 1 + np.arange(n, dtype=np.float32)[:, None, None, None]
    return {
        "object_id": np.array([f"0421p022-{i}" for i in range(n)], "S16"),
        "ra": ra,
        "dec": dec,
        "RA": ra + 90,  # the catalogue's own come along; ra and dec count
        "image_array": image,
        "image_ivar": np.ones_like(image),
        "image_mask": np.ones((n, size, size), bool),
        "image_band": np.array([["des-g", "des-r", "des-i", "des-z"]] * n, "S5"),
        "image_scale": np.full((n, 4), 0.262, np.float32),
        "image_psf_fwhm": np.full((n, 4), 1.2, np.float32),
    }


def write_hdf5(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            gzip = name.startswith("image")
            file.create_dataset(name, data=values, compression="gzip" if gzip else None, chunks=gzip or None)
    return path


def write_parquet(path, arrays, form="datasets", row_group_size=4):
    """The arrays as `datasets` writes them, or HATS, or with images as a list of structs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    what = "image" if "image_array" in arrays else "spectrum"
    size = len(arrays["object_id"])
    columns = {what: [_struct(arrays, what, i, form) for i in range(size)]}
    for name, values in arrays.items():
        if name == "object_id":
            columns[name] = [str(v) if values.dtype.kind == "S" else f"{v}" for v in values]
        elif name == "ZWARNING" or (name == "ZWARN" and form == "hats"):
            columns[name] = values.astype(bool)
        elif name == "ZWARN":
            columns[name] = ~values.astype(bool)
        elif values.ndim == 1 and values.dtype.kind == "f" and (form == "hats" or name not in ("ra", "dec")):
            columns[name] = values
    if form == "hats":
        columns["_healpix_29"] = np.arange(size)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def _struct(arrays, what, i, form):
    names = {"array": "flux"} if what == "image" else {}
    row = {
        names.get(k, k): v[i]
        for k, v in ((n[len(what) + 1 :], a) for n, a in arrays.items() if n.startswith(what))
    }
    if what == "image":
        row["band"] = np.array([band.decode() for band in row["band"]])
        row["mask"] = np.tile(row["mask"], (len(row["band"]), 1, 1))
    if form == "list of structs":
        return [{name: values[b].tolist() for name, values in row.items()} for b in range(len(row["band"]))]
    return {name: values.tolist() for name, values in row.items()}


def write_hats(folder, arrays, kind="object"):
    """A HATS catalogue of two partitions."""
    half = len(arrays["object_id"]) // 2
    for pixel, rows in ((583, slice(0, half)), (12003, slice(half, None))):
        path = folder / "dataset" / "Norder=4" / f"Dir={pixel // 10000 * 10000}" / f"Npix={pixel}.parquet"
        write_parquet(path, {name: values[rows] for name, values in arrays.items()}, "hats")
    for name in ("_metadata", "_common_metadata"):
        pq.write_metadata(pq.read_schema(path), folder / "dataset" / name)
    (folder / "hats.properties").write_text(f"obs_collection=mmu\ndataproduct_type={kind}\nhats_col_ra=ra\n")
    (folder / "partition_info.csv").write_text("Norder,Npix\n4,583\n4,12003\n")
    return folder
