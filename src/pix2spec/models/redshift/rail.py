"""The redshift model as stages of RAIL, LSST DESC's framework for photometric redshifts.

It needs ``pip install 'pix2spec[rail]'``. The model is trained already: the informer records which columns
are which filters and, if asked, the redshift distribution of the training sample.
`docs/guides/hand-over.md` shows how to use them.
"""

from dataclasses import dataclass, field

import numpy as np
import qp
from ceci.config import StageParameter as Param
from rail.core.common_params import SharedParams
from rail.estimation.estimator import CatEstimator
from rail.estimation.informer import CatInformer

from pix2spec.core.filters import KINDS, load_filter, typical_error
from pix2spec.core.photometry import NANOMAGGY_MAGNITUDE
from pix2spec.data.measurements import EXTINCTIONS
from pix2spec.errors import InputError
from pix2spec.models.redshift.posterior import Z_MAX, Z_MIN, RedshiftPosterior, to_y
from pix2spec.models.redshift.prior import COUNTS_Z, Prior
from pix2spec.models.shared.measurements import MeasurementTable
from pix2spec.models.storage import find_model, load_model

__all__ = ["Pix2SpecEstimator", "Pix2SpecInformer", "RailModel", "bin_densities"]

MODEL = "redshift"
MAGNITUDE_RANGE = (1.0, 40.0)  # others, such as 99, mark missing magnitudes
PER_MAGNITUDE = 0.4 * np.log(10)


@dataclass(frozen=True)
class RailModel:
    """The informer's result: how to read a table, and a prior."""

    bands: tuple[str, ...]  # columns of AB magnitudes
    errors: tuple[str, ...]  # columns of their errors
    filters: tuple[str, ...]  # speclite's names
    kind: str
    extinction: str
    prior: tuple[list, list, float] | None = field(default=None)  # redshifts, n(z), limit in r

    def measurements(self, table) -> MeasurementTable:
        """The table's magnitudes as fluxes; those outside 1 to 40 are missing."""
        magnitude = np.column_stack([np.asarray(table[name], float) for name in self.bands])
        error = np.column_stack([np.asarray(table[name], float) for name in self.errors])
        known = np.isfinite(magnitude)
        known &= (magnitude > MAGNITUDE_RANGE[0]) & (magnitude < MAGNITUDE_RANGE[1])
        flux = np.where(known, 10 ** (0.4 * (NANOMAGGY_MAGNITUDE - np.where(known, magnitude, 0))), np.nan)
        typical = np.array([typical_error(name) for name in self.filters])
        usable = np.isfinite(error) & (error > 0) & (error < 10)
        share = np.where(usable, PER_MAGNITUDE * np.where(usable, error, 0), typical)
        curves = [load_filter(name) for name in self.filters]
        centre, width = (np.array([getattr(curve, name) for curve in curves]) for name in ("centre", "width"))
        return MeasurementTable(flux, flux * share, centre, width, self.kind, self.extinction)


class Pix2SpecInformer(CatInformer):
    """Informer of `Pix2SpecEstimator`: records columns and filters; with `prior_limit`, the sample's n(z)."""

    name = "Pix2SpecInformer"
    entrypoint_function = "inform"
    interactive_function = "pix2spec_informer"
    config_options = CatInformer.config_options.copy()
    config_options.update(
        bands=SharedParams.copy_param("bands"),
        err_bands=SharedParams.copy_param("err_bands"),
        redshift_col=SharedParams.copy_param("redshift_col"),
        filters=Param(list, [], msg="speclite's names of the bands; from mag_g_lsst follows lsst2023-g"),
        kind=Param(str, "unknown", msg=f"which light the magnitudes enclose, one of {', '.join(KINDS)}"),
        extinction=Param(str, "unknown", msg=f"one of {', '.join(EXTINCTIONS)}"),
        prior_limit=Param(
            float, 0.0, msg="r magnitude limit of the training sample, whose n(z) is then used"
        ),
    )

    def run(self) -> None:
        """Make the model."""
        config = self.config
        filters = tuple(config.filters) or tuple(_lsst_filter(name) for name in config.bands)
        if not len(filters) == len(config.bands) == len(config.err_bands):
            what = f"{len(config.bands)} bands, {len(config.err_bands)} errors, {len(filters)} filters"
            raise InputError("`filters`", what, "each band needs one of each")
        for name in filters:
            load_filter(name)
        prior = None
        if config.prior_limit:
            table = self.get_data("input")
            table = table[config.hdf5_groupname] if config.hdf5_groupname else table
            count, edges = np.histogram(np.asarray(table[config.redshift_col], float), COUNTS_Z)
            prior = ((edges[1:] + edges[:-1]) / 2).tolist(), count.tolist(), float(config.prior_limit)
        self.model = RailModel(
            tuple(config.bands), tuple(config.err_bands), filters, config.kind, config.extinction, prior
        )
        self.add_data("model", self.model)

    def validate(self) -> None:
        """Check that the table has the columns; a table of magnitudes alone will do without a prior."""
        self._get_stage_columns()
        self._check_column_names(self.get_handle("input", allow_missing=True), self.stage_columns)

    def _get_stage_columns(self) -> None:
        self.stage_columns = [*self.config.bands, *self.config.err_bands]
        self.stage_columns += [self.config.redshift_col] if self.config.prior_limit else []


class Pix2SpecEstimator(CatEstimator):
    """Estimator of redshift posteriors, from 0 to 0.75, as histograms of qp."""

    name = "Pix2SpecEstimator"
    entrypoint_function = "estimate"
    interactive_function = "pix2spec_estimator"
    config_options = CatEstimator.config_options.copy()
    config_options.update(
        zmax=Param(float, 0.8, msg="The maximum redshift of the z grid; the model's is 0.75"),
        nzbins=Param(int, 401, msg="The number of gridpoints in the z grid"),
        floor=Param(float, 0.01, msg="least error in magnitudes, added in quadrature"),
    )

    def open_model(self, **kwargs) -> None:
        """Load the informer's result and the networks."""
        super().open_model(**kwargs)
        self.networks = load_model(find_model(MODEL))[0]

    def _process_chunk(self, start: int, end: int, data, first: bool) -> None:
        inform = self.model
        posterior, outside = self.networks.answer(inform.measurements(data).tokens(self.config.floor))
        if inform.prior is not None:
            z, values, limit = inform.prior
            prior, counts = Prior(np.array(z), np.array(values), limit), self.networks.counts.cpu().numpy()
            posterior = posterior.times(lambda z: prior.weights(z, counts)[None])
        edges = np.linspace(self.config.zmin, self.config.zmax, self.config.nzbins)
        density = bin_densities(posterior, edges)
        found = qp.Ensemble(qp.hist, data={"bins": edges, "pdfs": density})
        middle = (edges[1:] + edges[:-1]) / 2
        found.set_ancil({"zmode": middle[density.argmax(1)], "outside_training": np.asarray(outside)})
        self._do_chunk_output(found, start, end, first, data=data)

    def validate(self) -> None:
        """The model names the columns, which are checked as they are read."""
        self.stage_columns: list = []


def bin_densities(posterior: RedshiftPosterior, edges: np.ndarray) -> np.ndarray:
    """Densities (N, bins) between the redshifts `edges`; what lies outside goes into the outer bins."""
    inside = np.clip(edges, Z_MIN, Z_MAX)
    if posterior.mass is None:
        below = np.stack([posterior._cdf(np.full(len(posterior), y)) for y in to_y(inside)], 1)
    else:
        below = np.stack([posterior.cdf(np.full(len(posterior), z)) for z in inside], 1)
    below[:, edges >= Z_MAX], below[:, edges <= Z_MIN] = 1, 0
    below[:, 0], below[:, -1] = 0, 1
    return np.diff(below, axis=1) / np.diff(edges)


def _lsst_filter(column: str) -> str:
    parts = column.split("_")
    if len(parts) == 3 and parts[0] == "mag" and parts[2] == "lsst":
        return f"lsst2023-{parts[1]}"
    raise InputError("`filters`", f"the column {column} does not name a filter", "give speclite's names")
