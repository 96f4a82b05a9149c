"""Real photometry with known redshifts: the tables that training learns from and that the benchmark scores.

The tables are NumPy archives in one folder. docs/guides/real-data.md says where anybody gets them, and which
arrays they hold. Every galaxy belongs to one of `FOLDS` folds: a network that was trained without a fold may
be scored on it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pix2spec.core.filters import Filter, typical_error
from pix2spec.core.photometry import MAX_MAGNITUDE, MIN_MAGNITUDE, NANOMAGGY, filter_matrix, magnitude
from pix2spec.data.readers.curves import read_curves
from pix2spec.errors import InputError

__all__ = [
    "FOLDS",
    "RealTable",
    "digest",
    "jpas_filters",
    "load_real",
    "real_spectra",
    "spectrum_fluxes",
    "survey_filters",
]

FOLDS = 4
SAME_Z, SAME_MAGNITUDE = 1.05e-6, 0.3  # rows that agree so well are one galaxy; z is often rounded to 1e-6
MAGNITUDE_TO_FRACTION = np.log(10) / 2.5  # error of the flux, as a fraction of it, for an error of 1 mag
MILLIJANSKY = 1e-26  # erg/s/cm2/Hz
SDSS_FILTERS = tuple(f"sdss2010-{band}" for band in "ugriz")
DES_FILTERS = tuple(f"decam2014-{band}" for band in "grizY")
SPECTRUM_Z = (5e-4, 0.3)  # outside, a spectrum of `sdss_galaxies.npz` is no galaxy's of known redshift
SPECTRUM_COVERAGE = 0.98  # of a filter's transmission, which a spectrum must cover to have a flux in it
CALIBFLUX_ERROR = 0.03  # of a fibre flux, as a fraction: `sdss_galaxies.npz` states none


@dataclass(frozen=True)
class RealTable:
    """Galaxies with measured fluxes and spectroscopic redshifts, all in the same filters."""

    flux: np.ndarray  # (N, K) nanomaggies; NaN: not measured
    error: np.ndarray  # (N, K) nanomaggies; NaN: not measured
    z: np.ndarray  # (N,)
    filters: tuple[str | Filter, ...]  # K
    kind: tuple[str, ...]  # K of `pix2spec.core.filters.KINDS`
    extinction: str  # "observed", "dereddened" or "unknown"
    source: np.ndarray  # (N,) name of the survey
    object_group: np.ndarray  # (N,) rows with the same number are one object; -1: not known
    row: np.ndarray  # (N,) row in the file
    group: np.ndarray  # (N,) the same over all tables: rows of one galaxy have the same number
    fold: np.ndarray  # (N,) from 0 to FOLDS - 1

    def __len__(self) -> int:
        return len(self.z)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the filters."""
        return tuple(f if isinstance(f, str) else f.name for f in self.filters)

    @property
    def magnitude(self) -> np.ndarray:
        """AB magnitudes (N, K); NaN where not measured or not positive."""
        return magnitude(self.flux)

    @property
    def r(self) -> np.ndarray:
        """AB magnitudes (N,) in the filter r."""
        return self.magnitude[:, self.column("r")]

    def column(self, band: str) -> int:
        """Number of the filter with this name, or with a name that ends in ``-band``."""
        (k,) = (k for k, name in enumerate(self.names) if name == band or name.endswith(f"-{band}"))
        return k

    def bands(self, bands: Sequence[str]) -> "RealTable":
        """The table with these filters alone, in this order."""
        k = [self.column(band) for band in bands]
        return replace(
            self,
            flux=self.flux[:, k],
            error=self.error[:, k],
            filters=tuple(self.filters[i] for i in k),
            kind=tuple(self.kind[i] for i in k),
        )

    def rows(self, which: np.ndarray) -> "RealTable":
        """The table with these rows alone: numbers or a mask."""
        names = ("flux", "error", "z", "source", "object_group", "row", "group", "fold")
        return replace(self, **{name: getattr(self, name)[which] for name in names})


def load_real(folder: str | Path) -> dict[str, RealTable]:
    """The tables of a folder with their folds.

    Parameters
    ----------
    folder : path
        With some of the archives ``sdss_photometry.npz`` (in the result: ``"sdss"``), ``mgs_photometry.npz``
        (``"mgs"``), ``des_gama_photometry.npz`` (``"gama"``), ``des_deep_photometry.npz`` (``"deep"``),
        ``zcosmos_photometry.npz`` (``"zcosmos"``), ``fors2.npz`` (``"fors2"``), ``sdss_galaxies.npz``
        (``"spectra"``: their fibre fluxes) and ``sdss_quasars.npz`` (``"quasars"``).

    Returns
    -------
    dict of RealTable
        One for each archive that exists. Folds depend on the whole folder, because a galaxy may be in several
        tables: rows whose redshifts differ by less than 1e-6 and whose r magnitudes differ by less than 0.3
        are in one fold, and so are rows with the same ``object_group``. Fibre magnitudes are not comparable
        with others: between them and other tables the redshift alone decides.

    Raises
    ------
    InputError
        If the folder has none of these archives, or one cannot be read.
    """
    folder = Path(folder)
    tables = {name: read(folder / file) for name, (file, read) in READERS.items() if (folder / file).exists()}
    if not tables:
        known = ", ".join(file for file, _ in READERS.values())
        raise InputError(folder, "the folder has no table of real galaxies", f"some of {known}")
    return _with_folds(tables)


def digest(tables: dict[str, RealTable]) -> dict[str, str]:
    """A short hash of the redshifts and folds of each table.

    Networks may be scored by folds only on tables with the hashes of those that they were trained on.
    """
    return {
        name: hashlib.blake2b(np.c_[t.z, t.fold].astype("<f8").tobytes(), digest_size=8).hexdigest()
        for name, t in tables.items()
    }


def jpas_filters(folder: str | Path, low: float = 3700, high: float = 9200) -> list[Filter]:
    """The narrow bands of ``filters_jpas.npz`` whose names give a wavelength between `low` and `high` [A]."""
    curves = read_curves(Path(folder) / "filters_jpas.npz")
    return [
        Filter(f"jpas-{name}", curve.wave, curve.response)
        for name, curve in curves.items()
        if name[1:].isdigit() and low < int(name[1:]) < high
    ]


def spectrum_fluxes(folder: str | Path, filters: Sequence[str | Filter]) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic fluxes of the real spectra in any filters, scaled to the fibre flux in r.

    Parameters
    ----------
    folder : path
        With ``sdss_galaxies.npz``.
    filters : sequence of str or Filter
        F of them.

    Returns
    -------
    flux, error : array (N, F)
        Nanomaggies; the rows are those of the table ``"spectra"`` of `load_real`. NaN where the spectra cover
        less than 98 % of a filter's transmission, or where a flux is not positive. The errors follow from
        those of the pixels alone.
    """
    data = _read(Path(folder) / "sdss_galaxies.npz")
    rows = _good_spectra(data)
    weights = filter_matrix(10 ** data["loglam"], (SDSS_FILTERS[2], *filters), SPECTRUM_COVERAGE)
    known = np.nan_to_num(weights)
    ivar = data["ivar"][rows].astype(float)
    good = ivar > 0
    flux = np.where(good, data["flux"][rows], data["model"][rows]) @ known
    error = np.sqrt(np.where(good, 1 / np.where(good, ivar, 1), 0) @ known**2)
    scale = data["calibflux_ugriz"][rows, 2:3] / flux[:, :1]
    scale = np.where(np.isfinite(weights).all(0) & (flux > 0), scale, np.nan)
    return (scale * flux)[:, 1:], (scale * error)[:, 1:]


@dataclass(frozen=True)
class RealSpectra:
    """Real spectra; the rows are those of the table ``"spectra"`` of `load_real`."""

    flux: np.ndarray  # (N, L) 1e-17 erg/s/cm2/Angstrom; 0 where missing
    ivar: np.ndarray  # (N, L) inverse variance; 0 where missing
    z: np.ndarray  # (N,)
    fold: np.ndarray  # (N,)


def real_spectra(folder: str | Path) -> RealSpectra:
    """The spectra of ``sdss_galaxies.npz``, on the grid of the models."""
    data = _read(Path(folder) / "sdss_galaxies.npz")
    rows = _good_spectra(data)
    ivar = np.where(np.isfinite(data["flux"][rows]), data["ivar"][rows], 0)
    flux = np.where(ivar > 0, data["flux"][rows], 0)
    return RealSpectra(flux, ivar, data["z"][rows].astype(float), load_real(folder)["spectra"].fold)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(path, f"the archive cannot be read ({error})", "an .npz without objects") from error


def _table(data, flux, error, filters, kind, extinction, source) -> RealTable:
    """A table of all galaxies of an archive, without folds; impossible values become NaN."""
    z = data["z"].astype(float)
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    kinds = (kind,) * len(filters) if isinstance(kind, str) else tuple(kind)
    groups = data.get("object_group", np.full(len(z), -1))
    flux, error = np.where(good, flux, np.nan), np.where(good, error, np.nan)
    rows, nowhere = np.arange(len(z)), np.full(len(z), -1)
    sources = np.broadcast_to(np.asarray(source), z.shape)
    return RealTable(
        flux, error, z, tuple(filters), kinds, extinction, sources, groups, rows, nowhere, nowhere
    )


def _fluxes(mag: np.ndarray, fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes and errors in nanomaggies of AB magnitudes and of errors as a fraction of the flux."""
    mag = mag.astype(float)
    flux = 10 ** (-0.4 * (np.where((mag > MIN_MAGNITUDE) & (mag < MAX_MAGNITUDE), mag, np.nan) - 22.5))
    return flux, flux * fraction


def _sdss(source: str, extinction: str = "observed") -> Callable[[Path], RealTable]:
    def read(path: Path) -> RealTable:
        data = _read(path)
        mag = data["mag_ugriz"]
        if "mag_err_ugriz" in data:
            fraction = data["mag_err_ugriz"].astype(float) * MAGNITUDE_TO_FRACTION
        else:
            fraction = np.broadcast_to([typical_error(name) for name in SDSS_FILTERS], mag.shape)
        return _table(data, *_fluxes(mag, fraction), SDSS_FILTERS, "model", extinction, source)

    return read


def _des(path: Path) -> RealTable:
    data = _read(path)
    fraction = data["mag_err_grizY"].astype(float) * MAGNITUDE_TO_FRACTION
    fluxes = _fluxes(data["mag_grizY"], fraction)
    return _table(data, *fluxes, DES_FILTERS, "kron", "dereddened", data.get("source", "GAMA"))


def _zcosmos(path: Path) -> RealTable:
    data = _read(path)
    names = list(map(str, data["filters"]))
    kinds = ["total" if name.endswith("UV") else "aperture" for name in names]
    fluxes = _fluxes(data["mag"], data["mag_err"].astype(float) * MAGNITUDE_TO_FRACTION)
    return _table(data, *fluxes, _survey_curves(path.parent, names), kinds, "observed", "zCOSMOS")


def _fors2(path: Path) -> RealTable:
    data = _read(path)
    filters = _survey_curves(path.parent, list(map(str, data["filters"])))
    flux, error = (data[name] * (MILLIJANSKY / NANOMAGGY) for name in ("flux_mJy", "flux_err_mJy"))
    return _table(data, flux, error, filters, "unknown", "unknown", "FORS2")


def _spectra(path: Path) -> RealTable:
    data = _read(path)
    flux = data["calibflux_ugriz"].astype(float)
    table = _table(data, flux, CALIBFLUX_ERROR * flux, SDSS_FILTERS, "fibre", "observed", "SDSS spectra")
    return table.rows(_good_spectra(data))


def _good_spectra(data) -> np.ndarray:
    """Rows of galaxies with fibre fluxes and a redshift in `SPECTRUM_Z`."""
    z, fluxes = data["z"], data["calibflux_ugriz"]
    return np.flatnonzero((z > SPECTRUM_Z[0]) & (z < SPECTRUM_Z[1]) & (fluxes > 0).all(1))


def survey_filters(folder: str | Path) -> list[Filter]:
    """The curves of ``filters_surveys.npz``: filters that speclite lacks."""
    return list(read_curves(Path(folder) / "filters_surveys.npz").values())


def _survey_curves(folder: Path, names: list[str]) -> list[str | Filter]:
    """Speclite's names, or curves of ``filters_surveys.npz``."""
    own = {curve.name: curve for curve in survey_filters(folder)}
    return [own.get(name, name) for name in names]


READERS: dict[str, tuple[str, Callable[[Path], RealTable]]] = {
    "sdss": ("sdss_photometry.npz", _sdss("SDSS")),
    "mgs": ("mgs_photometry.npz", _sdss("SDSS main sample", "dereddened")),
    "gama": ("des_gama_photometry.npz", _des),
    "deep": ("des_deep_photometry.npz", _des),
    "zcosmos": ("zcosmos_photometry.npz", _zcosmos),
    "fors2": ("fors2.npz", _fors2),
    "spectra": ("sdss_galaxies.npz", _spectra),
    "quasars": ("sdss_quasars.npz", _sdss("SDSS quasars")),
}


def _with_folds(tables: dict[str, RealTable]) -> dict[str, RealTable]:
    z, r = (np.concatenate([getattr(t, name) for t in tables.values()]) for name in ("z", "r"))
    fibre = np.concatenate([np.full(len(t), t.kind[0] == "fibre") for t in tables.values()])
    objects = np.concatenate([t.object_group for t in tables.values()])
    group = _groups(z, r, fibre, objects)
    fold = _group_folds(group, z, r)
    ends = np.cumsum([len(t) for t in tables.values()])[:-1]
    parts = zip(tables.items(), np.split(group, ends), np.split(fold, ends))
    return {name: replace(table, group=g, fold=f) for (name, table), g, f in parts}


def _groups(z: np.ndarray, r: np.ndarray, fibre: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Number of each row's galaxy (N,): rows that match, directly or through others, have the same."""
    order = np.argsort(z, kind="stable")
    first, second = [], []
    for step in range(1, len(z)):
        a, b = order[:-step], order[step:]
        near = z[b] - z[a] < SAME_Z
        if not near.any():
            break
        same = near & ~(np.abs(r[a] - r[b]) >= SAME_MAGNITUDE) | (near & (fibre[a] != fibre[b]))
        first.append(a[same])
        second.append(b[same])
    known = np.flatnonzero(objects >= 0)
    _, start, inverse = np.unique(objects[known], return_index=True, return_inverse=True)
    first.append(known)
    second.append(known[start[inverse]])
    i, j = np.concatenate(first), np.concatenate(second)
    return connected_components(coo_array((np.ones(len(i)), (i, j)), (len(z), len(z))), directed=False)[1]


def _group_folds(group: np.ndarray, z: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Fold of each row (N,): a hash of the redshift and magnitude of its group's first member."""
    order = np.lexsort((r, z, group))
    _, start = np.unique(group[order], return_index=True)
    keys = (f"{z[i]:.6f} {r[i]:.2f}".encode() for i in order[start])
    folds = [int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "little") % FOLDS for key in keys]
    return np.array(folds)[group]
