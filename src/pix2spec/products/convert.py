"""Ensembles and catalogues as objects of other libraries: xarray, pandas, astropy's tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pix2spec.products.units import PHYSICAL, QUANTILE_NAMES, QUANTILES

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from astropy.table import Table

    from pix2spec.products.catalogue import Catalogue
    from pix2spec.products.ensemble import Ensemble

__all__ = ["to_pandas", "to_table", "to_xarray"]

UNITS = {"ra": "deg", "dec": "deg", "ebv": "mag"}
UCDS = {"object_id": "meta.id;meta.main", "ra": "pos.eq.ra;meta.main", "dec": "pos.eq.dec;meta.main"}
UCDS |= {"z": "src.redshift", "z_model": "src.redshift;meta.modelled"}
FLUX_UNIT = "1e-17 erg / (s cm2 Angstrom)"


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


def to_table(catalogue: Catalogue, spectra: bool = False) -> Table:
    """A catalogue as an astropy table, for TOPCAT and others.

    Write VOTables with ``write("catalog.vot", format="votable", tabledata_format="binary2")``: as text,
    astropy 8.0.2 writes a byte behind its buffer where a row just fills it, which can end the process.

    Parameters
    ----------
    catalogue : Catalogue
    spectra : bool
        Whether flux and quantiles go along, as columns of vectors; candidates never do.
    """
    from astropy import units as u
    from astropy.table import Column, Table

    fixed = ["flux", *QUANTILE_NAMES] if spectra else []
    lists = {field.name for field in catalogue.schema if "list" in str(field.type)}
    names = [n for n in catalogue.schema.names if n not in lists or n in (*fixed, "flags")]
    rows = catalogue.read(names)
    physical = set(rows["unit"].to_pylist()) <= {PHYSICAL, ""}
    table = Table()
    for name in names:
        column = rows[name].combine_chunks()
        if name in fixed:
            pixels = catalogue.grid.size
            values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, pixels)
            table[name] = Column(values, unit=u.Unit(FLUX_UNIT) if physical else None)
        elif name == "flags":
            table[name] = [" ".join(flags) for flags in column.to_pylist()]
        elif str(column.type) == "string":
            table[name] = np.asarray(column.to_pylist(), str)
        else:
            unit = "mag" if name.startswith("mag_") else UNITS.get(name)
            table[name] = Column(column.to_numpy(zero_copy_only=False), unit=unit)
        if name in UCDS:
            table[name].meta["ucd"] = UCDS[name]
    table.meta["pix2spec"] = json.dumps(catalogue.provenance, default=str)
    return table
