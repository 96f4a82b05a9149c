"""Good inputs: what is altered to find bad ones."""

from pathlib import Path

import numpy as np

from robustness.corpus.fits_cutouts import image
from robustness.corpus.fits_spectra import spec
from robustness.corpus.hdf5 import hdf5
from robustness.corpus.models import model
from robustness.corpus.parquet import measured_shard, rows, shard
from robustness.corpus.readers import READERS
from robustness.corpus.registry import put
from support.fake_desi import write_coadd
from support.fake_sdss import cutout, write_bundle
from support.tiny import GRID


def good_inputs(folder: Path) -> dict[str, Path]:
    """A small good input of each reader, in a folder of its own."""
    from pix2spec.products.catalogue import CatalogueWriter
    from pix2spec.products.ensemble import Ensemble

    places = {name: folder / name for name in READERS}
    for place in places.values():
        place.mkdir(parents=True)
    picture = np.arange(3 * 64 * 64, dtype=np.uint8).reshape(1, 3, 64, 64)
    np.savez(places["pictures"] / "p.npz", image64=picture, object_id=np.array(["a"]))
    lines = "name,ra,dec,u,g,r,i,z\na,1,2,20,19,18,17,16\nb,1,3,21,19,18,17,16\n"
    wave = "".join(f"{4000 + 10 * k},{20 + k % 3},0.5\n" for k in range(300))
    unit = "1e-17 erg / (s cm2 Angstrom)"
    head = "# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n# - {name: wavelength, datatype: float64}\n"
    head += f"# - {{name: flux, unit: {unit}, datatype: float64}}\n"
    head += f"# - {{name: error, unit: {unit}, datatype: float64}}\nwavelength,flux,error\n"
    found = {
        "curves": put(places["curves"], "c.csv", "wavelength,a,b\n4000,0,0\n5000,1,0.5\n6000,0,0\n"),
        "observed": put(places["observed"], "o.ecsv", head + wave),
        "measured": measured_shard(places["measured"]),
        "cutout": put(places["cutout"], "galaxy.fits", image(cutout())),
        "pictures": places["pictures"] / "p.npz",
        "spectrum": spec(places["spectrum"]),
        "spectra": write_bundle(places["spectra"] / "b.npz", n=1),
        "coadd": write_coadd(places["coadd"], n=1, redrock=False),
        "table": put(places["table"], "t.csv", lines),
        "universe": hdf5(places["universe"], lambda file: None),
        "dataset": shard(places["dataset"]),
        "predictions": rows(places["predictions"], {"object_id": ["a"], "flux": [[1.0] * GRID.size]}),
        "preset": put(places["preset"], "p.yaml", "task: mean\nname: a\nabout: b\nlimit: 5\n"),
        "model": model(places["model"]),
    }
    with CatalogueWriter(places["catalogue"], GRID, {}) as writer:
        writer.add(Ensemble("a", GRID, np.ones((2, GRID.size), np.float32), [0, 1], provenance={}))
    return found | {"catalogue": places["catalogue"] / "catalog.parquet"}
