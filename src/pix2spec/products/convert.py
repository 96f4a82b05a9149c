"""Ensembles as objects of other libraries: xarray and pandas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pix2spec.products.units import QUANTILE_NAMES, QUANTILES

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pix2spec.products.ensemble import Ensemble

__all__ = ["to_pandas", "to_xarray"]


def to_xarray(ensemble: Ensemble) -> xr.Dataset:
    """One ensemble as an `xarray.Dataset` over wavelength, candidate and quantile."""
    import xarray as xr

    n = len(ensemble)
    unit = {"units": ensemble.unit}
    missing = np.full(n, np.nan, np.float32)
    variables = {
        "flux": ("wavelength", ensemble.flux, unit),
        "uncertainty": ("wavelength", ensemble.uncertainty, unit),
        "quantiles": (("quantile", "wavelength"), ensemble.quantiles(), unit),
        "candidates": (("candidate", "wavelength"), ensemble.candidates, unit),
        "selected": ("candidate", np.isin(np.arange(n), ensemble.selected)),
        "score": ("candidate", missing if ensemble.scores is None else ensemble.scores),
        "redshift": ("candidate", missing if ensemble.redshifts is None else ensemble.redshifts),
        **{name: ((), getattr(ensemble, name)) for name in ("z", "ra", "dec", "ebv")},
        "flags": ((), ",".join(ensemble.flags)),
    }
    coordinates = {
        "object_id": ensemble.object_id,
        "wavelength": ("wavelength", ensemble.grid.wave, {"units": "Angstrom", "medium": "vacuum"}),
        "quantile": list(QUANTILES),
        "candidate": np.arange(n),
    }
    provenance = json.dumps(ensemble.provenance, default=str)
    attributes = {"origin": "generated from photometry, not observed", "provenance": provenance}
    return xr.Dataset(variables, coordinates, attributes)


def to_pandas(ensemble: Ensemble) -> pd.DataFrame:
    """The chosen flux, its uncertainty and the quantiles, one row a wavelength (Angstrom, vacuum)."""
    import pandas as pd

    columns = {"flux": ensemble.flux, "uncertainty": ensemble.uncertainty}
    columns |= dict(zip(QUANTILE_NAMES, ensemble.quantiles()))
    frame = pd.DataFrame(columns, index=pd.Index(ensemble.grid.wave, name="wavelength"))
    frame.attrs = {"object_id": ensemble.object_id, "unit": ensemble.unit, "flags": list(ensemble.flags)}
    return frame
