"""The samples that the redshift networks train on, from real tables and the bank of simulated galaxies."""

from pathlib import Path

import numpy as np

from pix2spec.core.filters import load_filter, typical_error
from pix2spec.data.measurements import EXTINCTIONS
from pix2spec.models.shared.measurements import KIND_GROUPS, MeasurementTable
from pix2spec.training.real_sky import RealTable, load_real, spectrum_fluxes
from pix2spec.training.redshift.bank import Bank, transfer
from pix2spec.training.redshift.filters import TrainingFilters
from pix2spec.training.redshift.samples import Sample
from pix2spec.training.stars import draw_stars

__all__ = ["as_measurements", "read_samples"]

Z_RANGE = 5e-4, 0.75
BEYOND_Z = 0.8, 1.2  # simulated galaxies that the model must not answer
N_STARS = 20_000
SYNTHETIC_ERROR = 0.003  # least relative error of a spectrum's synthetic flux

# Sets of bands in which each table is drawn half of the time.
OWN_SETS = {
    "sdss": ["ugriz"], "mgs": ["ugriz"], "spectra": ["ugriz"], "quasars": ["ugriz"],
    "gama": ["griz", "griz", "grz", "grizY"], "deep": ["griz", "griz", "grizY"],
    "zcosmos": ["uBVgriz", "uBVgriz", "uBVgrizJKs"], "fors2": ["ugri", "ugriZYJHKs", "ugriZYJHKs"],
}  # fmt: skip

# Many lists of main-sample galaxies hold dereddened magnitudes and do not say so.
MISSTATED = {"mgs": 0.4}


def read_samples(data: str | Path, bank: Bank, filters: TrainingFilters, seed: int = 0) -> dict[str, Sample]:
    """All samples, each in all filters of the training set.

    Parameters
    ----------
    data : path
        Folder of the real tables, see `pix2spec.training.real_sky.load_real`.
    bank : Bank
    filters : TrainingFilters
    seed : int
    """
    rng = np.random.default_rng(seed)
    tables = load_real(data)
    samples = {"simulated": _simulated(bank, filters), "beyond": _beyond(bank, filters, rng)}
    for name in ("sdss", "mgs", "gama", "deep", "zcosmos", "fors2"):
        samples[name] = _real(tables[name], bank, filters, rng, OWN_SETS[name], MISSTATED.get(name, 0.0))
    samples["spectra"] = _spectra(Path(data), tables["spectra"], filters)
    samples["quasars"] = _smooth(tables["quasars"], filters)
    samples["stars"] = _stars(filters, seed)
    return samples


def as_measurements(table: RealTable) -> MeasurementTable:
    """The table as a redshift model takes it."""
    filters = [load_filter(item) if isinstance(item, str) else item for item in table.filters]
    centre, width = (np.array([getattr(item, name) for item in filters]) for name in ("centre", "width"))
    return MeasurementTable(table.flux, table.error, centre, width, table.kind, table.extinction)


def _simulated(bank: Bank, filters: TrainingFilters) -> Sample:
    n = len(bank.fibre)
    return Sample(
        mag=bank.fibre, error=0.0, z=bank.fibre_z, kind=KIND_GROUPS["fibre"],
        extinction=EXTINCTIONS.index("dereddened"), fold=np.full(n, -1),
        measured=np.ones(len(filters.names), bool), is_simulated=True,
        sets=[filters.numbers("sdss2010", "ugriz")],
    )  # fmt: skip


def _beyond(bank: Bank, filters: TrainingFilters, rng) -> Sample:
    """Galaxies at redshifts that the model does not know, as bright as surveys see them."""
    rows = np.flatnonzero((bank.total_z > BEYOND_Z[0]) & (bank.total_z < BEYOND_Z[1]))
    i_band = filters.numbers("sdss2010", "i")[0]
    mag = bank.total[rows]
    mag = mag + (rng.uniform(18.5, 22.5, len(rows)) - mag[:, i_band])[:, None].astype(np.float32)
    return Sample(
        mag=mag.astype(np.float32), error=0.0, z=bank.total_z[rows], kind=KIND_GROUPS["total"],
        extinction=EXTINCTIONS.index("dereddened"), fold=np.full(len(rows), -1),
        measured=np.ones(mag.shape[1], bool), is_simulated=True,
    )  # fmt: skip


def _stars(filters: TrainingFilters, seed: int) -> Sample:
    flux, _ = draw_stars(N_STARS, filters.curves, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = np.where(flux > 0, 22.5 - 2.5 * np.log10(flux), np.nan).astype(np.float32)
    return Sample(
        mag=mag, error=0.0, z=np.zeros(N_STARS), kind=KIND_GROUPS["total"],
        extinction=EXTINCTIONS.index("observed"), fold=np.full(N_STARS, -1),
        measured=np.ones(mag.shape[1], bool), is_simulated=True,
    )  # fmt: skip


def _known(table: RealTable, filters: TrainingFilters) -> np.ndarray:
    return np.array([filters.names.index(name) for name in table.names])


def _relative(table: RealTable) -> np.ndarray:
    return np.where(table.flux > 0, table.error / np.where(table.flux > 0, table.flux, 1), np.nan)


def _real(table: RealTable, bank: Bank, filters: TrainingFilters, rng, own_sets, misstated) -> Sample:
    """A real table whose galaxies lend their other bands from the bank, where all main bands are measured."""
    known, mag, error = _known(table, filters), table.magnitude, _relative(table)
    inside = (table.z > Z_RANGE[0]) & (table.z < Z_RANGE[1]) & (np.isfinite(mag).sum(1) >= 2)
    table, mag, error = table.rows(inside), mag[inside], error[inside]
    lending = [
        k for k, name in enumerate(table.names) if not name.startswith(("galex", "cosmos-FUV", "cosmos-NUV"))
    ]
    lending = [k for k in lending if np.isfinite(mag[:, k]).mean() > 0.9]
    whole = np.isfinite(mag[:, lending]).all(1)
    every = np.full((len(mag), len(filters.names)), np.nan, np.float32)
    lent_z = table.z.copy()
    every[whole], lent_z[whole] = transfer(
        mag[whole][:, lending], table.z[whole], bank, known[lending], filters.centre, rng
    )
    every_error = np.full_like(every, 0.05)
    x, order = np.log(filters.centre[known[lending]]), np.argsort(filters.centre[known[lending]])
    every_error[whole] = [
        np.interp(np.log(filters.centre), x[order], row[order]) for row in error[whole][:, lending]
    ]
    measured = np.zeros(len(filters.names), bool)
    measured[known] = True
    every[:, known], every_error[:, known] = mag, error
    low, high = np.log(filters.centre[known[lending]].min()), np.log(filters.centre[known[lending]].max())
    ln = np.log(filters.centre)
    kinds = np.full(len(filters.names), KIND_GROUPS[table.kind[lending[0]]])
    kinds[known] = [KIND_GROUPS[kind] for kind in table.kind]
    return Sample(
        mag=every, error=every_error, z=table.z, kind=kinds,
        extinction=EXTINCTIONS.index(table.extinction), fold=table.fold, measured=measured,
        extrapolated=np.maximum(0, np.maximum(low - ln, ln - high)), misstated=misstated, lent_z=lent_z,
        sets=[filters.own_set(table.names, letters) for letters in own_sets],
    )  # fmt: skip


def _spectra(data: Path, table: RealTable, filters: TrainingFilters) -> Sample:
    """Real spectra: their synthetic fluxes in all filters that they cover, and ugriz as imaged."""
    flux, error = spectrum_fluxes(data, filters.curves)
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = np.where(flux > 0, 22.5 - 2.5 * np.log10(flux), np.nan)
        relative = np.clip(error / flux, SYNTHETIC_ERROR, 1)
    known = _known(table, filters)
    mag[:, known], relative[:, known] = table.magnitude, _relative(table)
    return Sample(
        mag=mag.astype(np.float32), error=relative.astype(np.float32), z=table.z, kind=KIND_GROUPS["fibre"],
        extinction=EXTINCTIONS.index("observed"), fold=table.fold,
        measured=np.asarray(np.isfinite(mag).any(0)), sets=[filters.own_set(table.names, "ugriz")],
        unsure=True,
    )  # fmt: skip


def _smooth(table: RealTable, filters: TrainingFilters) -> Sample:
    """Quasars: in bands that lie between those measured, magnitudes interpolated in ln(wavelength)."""
    known, mag = _known(table, filters), table.magnitude
    good = np.isfinite(mag).all(1)
    table, mag = table.rows(good), mag[good]
    ln, x = np.log(filters.centre), np.log(filters.centre[known])
    every = np.stack([np.interp(ln, x, row) for row in mag]).astype(np.float32)
    every[:, (ln < x.min() - 0.05) | (ln > x.max() + 0.05)] = np.nan
    every[:, known] = mag
    # The errors of quasars must be those of galaxies, or else the network tells them apart by their errors.
    error = np.interp(ln, x, [typical_error(name) for name in table.names]).astype(np.float32)
    measured = np.zeros(len(ln), bool)
    measured[known] = True
    return Sample(
        mag=every, error=np.broadcast_to(error, every.shape).copy(), z=table.z,
        kind=KIND_GROUPS["model"], extinction=EXTINCTIONS.index("observed"), fold=table.fold,
        measured=measured, sets=[filters.own_set(table.names, "ugriz")],
    )  # fmt: skip
