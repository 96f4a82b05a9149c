"""Redshift posteriors as an ensemble of qp, the package of LSST DESC for distributions of redshift."""

from pathlib import Path

import numpy as np
from scipy.special import ndtr

from pix2spec.errors import InputError
from pix2spec.products.catalogue import Catalogue
from pix2spec.runtime.atomic import write_atomically

__all__ = ["histograms", "qp_ensemble", "write_qp"]

Z_MAX, N_BINS = 1.0, 500
SUFFIXES = (".hdf5", ".h5")


def write_qp(catalogue: Catalogue, out: str | Path, z_max: float = Z_MAX, n_bins: int = N_BINS) -> list[Path]:
    """Write the posteriors as HDF5, which ``qp.read`` opens.

    Parameters
    ----------
    catalogue : Catalogue
        Its objects must have redshifts of candidates.
    out : path
        File to write or to replace, with the suffix ``.hdf5``.
    z_max, n_bins : float, int
        The bins lie between 0 and `z_max`.

    Raises
    ------
    InputError
        If the suffix is another one, or no object has redshifts of candidates.
    """
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise InputError(out, "qp's file is HDF5", "give it a name that ends in .hdf5")
    ensemble = qp_ensemble(catalogue, z_max, n_bins)

    def write(temporary: Path) -> None:
        with_suffix = temporary.with_name(temporary.name + out.suffix)  # qp goes by it
        try:
            ensemble.write_to(str(with_suffix))
            with_suffix.replace(temporary)
        finally:
            with_suffix.unlink(missing_ok=True)

    write_atomically(out, write)
    return [out]


def qp_ensemble(catalogue: Catalogue, z_max: float = Z_MAX, n_bins: int = N_BINS):
    """The posteriors of a catalogue as a ``qp.Ensemble`` of histograms.

    The ancillary table has ``object_id``, ``ra``, ``dec``, ``z_median`` and ``n_candidates``.
    """
    import qp

    rows = catalogue.read(["object_id", "ra", "dec", "redshifts"])
    known = [(k, np.asarray(z, float)) for k, z in enumerate(rows["redshifts"].to_pylist()) if z]
    if not known:
        what = "no object has redshifts of its candidates"
        raise InputError(
            catalogue.path, what, "generate with a model that draws them, and keep the candidates"
        )
    bins = np.linspace(0, z_max, n_bins + 1)
    ids = np.asarray(rows["object_id"].to_pylist(), str)[[k for k, _ in known]]
    ancillary = {"object_id": ids}
    for name in ("ra", "dec"):
        ancillary[name] = rows[name].to_numpy()[[k for k, _ in known]]
    ancillary["z_median"] = np.array([np.median(z) for _, z in known])
    ancillary["n_candidates"] = np.array([len(z) for _, z in known])
    density = histograms([z for _, z in known], bins)
    return qp.Ensemble(qp.hist, data={"bins": bins, "pdfs": density}, ancil=ancillary)


def histograms(redshifts: list[np.ndarray], bins: np.ndarray) -> np.ndarray:
    """Densities (object, bin) of redshifts, smoothed by Gaussians.

    The width of the Gaussians is Silverman's (1986, section 3.4) and at least half a bin. Probability outside
    the bins goes into the first and the last one.

    Parameters
    ----------
    redshifts : list of array (n,)
        Redshifts of the candidates of each object.
    bins : array (bins + 1,)
        Edges.
    """
    step = bins[1] - bins[0]
    density = np.empty((len(redshifts), len(bins) - 1))
    for row, z in zip(density, redshifts):
        low, high = np.quantile(z, (0.25, 0.75))
        width = max(0.9 * min(z.std(), (high - low) / 1.34) * len(z) ** -0.2, step / 2)
        below = ndtr((bins[:, None] - z) / width).mean(1)
        below[0], below[-1] = 0, 1
        row[:] = np.diff(below) / step
    return density
