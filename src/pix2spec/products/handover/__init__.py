"""Files for other programs: redshift posteriors, spectra for exposure-time calculators, truth tables."""

from collections.abc import Callable
from pathlib import Path

from pix2spec.errors import InputError
from pix2spec.products.catalogue import Catalogue
from pix2spec.products.handover.desi import write_desi_truth, write_specsim
from pix2spec.products.handover.fourmost import write_fourmost
from pix2spec.products.handover.qp_ensemble import write_qp

__all__ = ["FORMATS", "write_desi_truth", "write_fourmost", "write_handover", "write_qp", "write_specsim"]

FORMATS: dict[str, Callable[..., list[Path]]] = {
    "qp": write_qp,
    "4most": write_fourmost,
    "specsim": write_specsim,
    "desi-truth": write_desi_truth,
}


def write_handover(catalogue: Catalogue, form: str, out: str | Path, **options) -> list[Path]:
    """Write a catalogue for another program.

    Parameters
    ----------
    catalogue : Catalogue
        The catalogue.
    form : str
        One of `FORMATS`.
    out : path
        File (qp, desi-truth) or new folder (4most, specsim).
    **options
        As the writer takes them.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If the format is unknown, or the catalogue lacks a quantity that it needs.
    """
    if form not in FORMATS:
        raise InputError("`form`", f"{form!r} is unknown", f"known are {', '.join(FORMATS)}")
    return FORMATS[form](catalogue, out, **options)
