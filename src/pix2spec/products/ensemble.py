"""The product of a generation: candidate spectra of one object, the chosen one, and its uncertainty."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pix2spec.core.filters import Filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.quantiles import finite_quantiles
from pix2spec.data.measurements import MEASUREMENT_COLUMNS, Measurements, extinction_text
from pix2spec.errors import InputError
from pix2spec.products.units import (
    PER_CANDIDATE,
    PHYSICAL,
    QUANTILE_NAMES,
    QUANTILES,
    RELATIVE,
    ascii_text,
)
from pix2spec.runtime.atomic import write_atomically

__all__ = [
    "Ensemble",
]


def _number(value) -> float:
    return np.nan if value is None else float(value)


def _measurements(row: dict, curves: Mapping[str, Filter]) -> Measurements | None:
    """Measurements in a row of a catalogue; catalogues of earlier versions have none."""
    if not set(MEASUREMENT_COLUMNS) <= set(row) or not row["filters"]:
        return None
    return Measurements.from_row(row, curves, row["object_id"])


@dataclass(eq=False, repr=False)
class Ensemble:
    """Candidate spectra of one object, drawn from the spectra that its photometry allows.

    Parameters
    ----------
    object_id : str
        The object's name in its data set.
    grid : SpectralGrid
        Wavelengths of the L pixels.
    candidates : array (n, L), float32
        Candidate spectra: as a survey would observe them, or noise-free if so asked.
    selected : array (m,), int
        The candidates that `flux` averages.
    scores : array (n,), float32, optional
        Contrastive cosine similarity of each candidate with the photometry.
    unit : str
        ``"1e-17 erg/s/cm2/Angstrom"``, or ``"relative"`` when nothing fixes the amplitude.
    select : str
        The rule that made `selected`: ``"single"``, ``"best"``, ``"mean:5"`` or ``"all"``.
    image, image_kind, photometry, photometry_ivar
        The input, as in `pix2spec.Galaxy`; kept for figures. Fluxes are in the bands of the model.
    measurements : Measurements, optional
        The fluxes that were given, in any filters, with their errors, kinds and the state of extinction.
    z, ra, dec : float
        Redshift and position (deg, ICRS), NaN if unknown.
    flags : list of str
        Warnings about the quality of the input or the result.
    provenance : dict
        Model id and hash, version, seed, command: all that is needed to repeat the result.
    redshifts : array (n,), float32, optional
        Redshift of each candidate, from models that know it.
    ebv : float
        E(B-V) of the Milky Way towards the object, in magnitudes, NaN if unknown; a flag says whether it was
        taken out of the input.
    amplitude : array (n, 2), float32, optional
        Offset and scale that brought each candidate from the model's own scale into flux:
        ``candidates = offset + scale * x``. None where the candidates are as the model made them.
    removed_extinction : array (filters,), optional
        Galactic extinction in magnitudes that was taken out of `measurements`; none where it is None.
    noise_free : array (n, L), float32, optional
        The candidates without noise, from models that know them; NaN where a candidate is at a redshift that
        the model has no spectra of. Catalogues have the quantities that are measured on them alone.
    chi2 : float
        Misfit of the fluxes of the best candidate with those that were given, per flux; NaN if unknown.

    Examples
    --------
    Three flat spectra, of which all are chosen:

    >>> grid = pix2spec.SpectralGrid(size=4)
    >>> ensemble = pix2spec.Ensemble("flat", grid, [[1] * 4, [2] * 4, [6] * 4], selected=[0, 1, 2])
    >>> ensemble.flux
    array([3., 3., 3., 3.], dtype=float32)
    >>> len(ensemble), ensemble.quantiles([0.5])[0, 0]
    (3, np.float32(2.0))
    """

    object_id: str
    grid: SpectralGrid
    candidates: np.ndarray
    selected: np.ndarray
    scores: np.ndarray | None = None
    unit: str = PHYSICAL
    select: str = "all"
    image: np.ndarray | None = None
    image_kind: str | None = None
    photometry: np.ndarray | None = None
    photometry_ivar: np.ndarray | None = None
    z: float = np.nan
    ra: float = np.nan
    dec: float = np.nan
    ebv: float = np.nan
    flags: list[str] = field(default_factory=list)
    provenance: dict = field(default_factory=dict)
    redshifts: np.ndarray | None = None
    amplitude: np.ndarray | None = None
    measurements: Measurements | None = None
    removed_extinction: np.ndarray | None = None
    noise_free: np.ndarray | None = None
    chi2: float = np.nan

    def __post_init__(self):
        self.candidates = np.asarray(self.candidates, np.float32)
        self.selected = np.atleast_1d(np.asarray(self.selected, np.int32))
        if self.candidates.ndim != 2 or self.candidates.shape[1] != self.grid.size:
            shape = self.candidates.shape
            raise InputError(self.object_id, f"candidates of shape {shape}, not (n, {self.grid.size})")
        n = len(self.candidates)
        if not len(self.selected) or self.selected.min() < 0 or self.selected.max() >= n:
            raise InputError(self.object_id, f"`selected` must hold indices of the {n} candidates")
        for name, shape in (("scores", (n,)), ("redshifts", (n,)), ("amplitude", (n, 2))):
            if getattr(self, name) is not None:
                values = np.asarray(getattr(self, name), np.float32)
                setattr(self, name, values)
                if values.shape != shape:
                    raise InputError(self.object_id, f"{name} of shape {values.shape}, not {shape}")
        if self.unit not in (PHYSICAL, RELATIVE):
            raise InputError(self.object_id, f"unit {self.unit!r} is neither {PHYSICAL!r} nor {RELATIVE!r}")

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.candidates)

    def __repr__(self) -> str:
        return f"<Ensemble {self.object_id}: {len(self)} candidates, select {self.select}, {self.unit}>"

    @property
    def flux(self) -> np.ndarray:
        """Mean of the selected candidates, float32 of shape (L,)."""
        return self.candidates[self.selected].mean(0)

    @property
    def is_finite(self) -> bool:
        """Whether candidates, scores and redshifts are numbers throughout."""
        known = (self.candidates, self.scores, self.redshifts)
        return all(np.isfinite(values).all() for values in known if values is not None)

    @property
    def has_zero_point(self) -> bool:
        """Whether zero flux means no light: False for spectra on the model's scale [-1, 1]."""
        return self.unit == PHYSICAL or self.provenance.get("normalisation") != "minmax"

    @property
    def minmax(self) -> np.ndarray | None:
        """Candidates (n, L) on the paper's scale [-1, 1], if the model generates on that scale; else None."""
        if self.provenance.get("normalisation") != "minmax":
            return None
        if self.amplitude is None:
            return self.candidates if self.unit == RELATIVE else None
        return (self.candidates - self.amplitude[:, :1]) / self.amplitude[:, 1:]

    def quantiles(self, levels=QUANTILES) -> np.ndarray:
        """Quantiles of the candidates at each wavelength.

        Parameters
        ----------
        levels : sequence of float
            Probabilities, in [0, 1].

        Returns
        -------
        array (number of levels, L), float32
            The plotting position is k / (n + 1) (Hyndman and Fan 1996, type 6), so that a truth drawn
            like the candidates falls below level q with probability q also when candidates are few;
            levels beyond 1 / (n + 1) from an end give the extreme candidate.
        """
        return finite_quantiles(self.candidates, levels)

    @property
    def typical(self) -> int:
        """Number of the most typical candidate among the selected: their medoid.

        It has the least sum of distances to the others, in flux and, where known, in redshift, each in units
        of its mean. Unlike a mean of spectra, it has sharp lines.
        """
        chosen = self.candidates[self.selected].astype(float)
        if len(chosen) < 3:
            return int(self.selected[0])
        length = np.square(chosen).sum(1)
        distance = np.sqrt(np.maximum(length[:, None] + length - 2 * chosen @ chosen.T, 0))
        distance /= distance.mean() or 1
        if self.redshifts is not None:
            z = self.redshifts[self.selected].astype(float)
            apart = np.abs(z[:, None] - z)
            distance += apart / (apart.mean() or 1)
        return int(self.selected[distance.sum(1).argmin()])

    @property
    def uncertainty(self) -> np.ndarray:
        """Half the 16 to 84 % range of the candidates, (L,): 1 sigma; NaN for a single candidate."""
        if len(self.candidates) < 2:
            return np.full(self.grid.size, np.nan, np.float32)
        low, high = self.quantiles((0.16, 0.84))
        return (high - low) / 2

    def plot(self, truth=None, truth_ivar=None, path=None, z=None, width=10.0):
        """Draw a typical candidate over quantiles, photometry, p(z) and, where known, the observed spectrum.

        Parameters
        ----------
        truth, truth_ivar : array (L,), optional
            The observed spectrum and its inverse variance.
        path : str or Path, optional
            Save the figure here; the suffix decides the format.
        z : float, optional
            Redshift for the line labels; the ensemble's own when None, else that of the typical candidate.
        width : float
            Width of the figure in inches.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from pix2spec.data.schema import Galaxy
        from pix2spec.products.plot import figure_grid

        redshift = self.z if z is None else z
        known = Galaxy(self.object_id, z=redshift, flux=truth, ivar=truth_ivar)
        return figure_grid([self], truths=[known], path=path, width=width)

    def corner(self, quantities=("z", "ew_halpha", "dn4000"), path=None, width=6.0):
        """Draw the distributions of quantities that are measured on the candidates, alone and in pairs.

        Parameters
        ----------
        quantities : sequence of str
            Some of `pix2spec.measure.quantities.QUANTITIES`, such as ``"ew_oii"``.
        path : str or Path, optional
            Save the figure here; the suffix decides the format.
        width : float
            Width and height of the figure in inches.

        Returns
        -------
        matplotlib.figure.Figure
            The typical candidate is marked in yellow.

        Raises
        ------
        InputError
            If a quantity is unknown, or cannot be measured on any candidate.
        """
        import pix2spec  # which finds the measuring: it lies above this package
        from pix2spec.products.corner import figure_corner

        measured = pix2spec.measure_ensemble(self)
        known = measured.values
        for name in quantities:
            if name not in known:
                raise InputError("`quantities`", f"{name!r} is unknown", f"some of {', '.join(known)}")
        labels = [measured.label(name) for name in quantities]
        values = {name: known[name] for name in quantities}
        return figure_corner(values, labels, self.object_id, self.typical, path, width)

    def to_row(self, keep_candidates: bool = True, keep_spectra: bool = True) -> dict:
        """Plain values for one row of a catalogue; `from_row` is the inverse, less the input data."""
        row = {
            "object_id": self.object_id,
            "ra": self.ra,
            "dec": self.dec,
            "z_given": self.z,
            "ebv": self.ebv,
        }
        row |= {"unit": self.unit, "select": self.select, "n_candidates": len(self)}
        row |= {"flags": list(self.flags), "selected": self.selected}
        if keep_spectra:
            row |= {"flux": self.flux} | dict(zip(QUANTILE_NAMES, self.quantiles()))
        for name in PER_CANDIDATE:
            values = getattr(self, name)
            row[name] = np.empty(0, np.float32) if values is None else values.ravel()
        if keep_candidates and keep_spectra:
            row["candidates"] = self.candidates.ravel()
        given = self.measurements or Measurements((), np.empty(0), np.empty(0), (), extinction="")
        return row | given.as_row()

    @classmethod
    def from_row(
        cls,
        row: dict,
        grid: SpectralGrid,
        provenance: dict | None = None,
        curves: Mapping[str, Filter] | None = None,
    ) -> "Ensemble":
        """Rebuild an ensemble from a row of a catalogue, whose own filters are `curves`.

        Where the catalogue did not keep its candidates, the chosen spectrum stands in as the only one.
        """
        kept = row.get("candidates") is not None and len(row["candidates"]) > 0
        columns: dict = {k: np.asarray([] if row.get(k) is None else row[k]) for k in PER_CANDIDATE}
        columns["amplitude"] = columns["amplitude"].reshape(-1, 2)
        columns = {k: values if kept and len(values) else None for k, values in columns.items()}
        numbers: dict = {name: _number(row.get(name)) for name in ("ra", "dec", "ebv", "chi2")}
        return cls(
            object_id=row["object_id"],
            grid=grid,
            candidates=np.reshape(row["candidates"] if kept else row["flux"], (-1, grid.size)),
            selected=np.asarray(row["selected"] if kept else [0]),
            **columns,
            unit=row["unit"],
            select=row["select"],
            flags=list(row["flags"]),
            provenance=provenance or {},
            measurements=_measurements(row, curves or {}),
            z=_number(row.get("z_given")),
            **numbers,
        )

    def _flux_unit(self):
        from astropy import units as u

        return u.Unit("1e-17 erg / (s cm2 Angstrom)") if self.unit == PHYSICAL else u.adu

    def to_spectrum(self):
        """Convert to a specutils spectrum of the chosen flux.

        Returns
        -------
        specutils.Spectrum
            ``specutils.Spectrum1D`` before specutils 2. Its uncertainty (standard deviation) is half the
            16 to 84 % range of the candidates; pixels that are not finite are masked. Relative spectra
            carry the unit adu, FITS's word for an arbitrary unit.
        """
        import specutils
        from astropy import units as u
        from astropy.nddata import StdDevUncertainty

        spectrum = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
        unit, flux = self._flux_unit(), self.flux
        uncertainty = StdDevUncertainty(self.uncertainty * unit) if len(self) > 1 else None
        meta = {"object_id": self.object_id, "flags": list(self.flags), "provenance": dict(self.provenance)}
        return spectrum(
            flux=flux * unit,
            spectral_axis=self.grid.wave * u.AA,
            uncertainty=uncertainty,
            mask=~np.isfinite(flux),
            meta=meta,
        )

    def to_xarray(self):
        """Convert to an `xarray.Dataset` over wavelength, candidate and quantile."""
        from pix2spec.products.convert import to_xarray

        return to_xarray(self)

    def to_pandas(self):
        """Convert to a `pandas.DataFrame`: flux, uncertainty and quantiles, one row a wavelength."""
        from pix2spec.products.convert import to_pandas

        return to_pandas(self)

    def write_spec(self, path: str | Path) -> None:
        """Write the chosen flux in the layout of SDSS's spec files: see `sdss_format.write_spec`."""
        from pix2spec.products.sdss_format import write_spec

        write_spec(self, path)

    def _header(self):
        from astropy.io import fits

        header = fits.Header()
        header["ORIGIN"] = ("pix2spec", "generated from photometry, not observed")
        header["OBJECT"] = ascii_text(self.object_id)
        for key, value, comment in (
            ("RA", self.ra, "deg, ICRS"),
            ("DEC", self.dec, "deg"),
            ("Z", self.z, ""),
        ):
            if np.isfinite(value):
                header[key] = (float(value), comment)
        header["FLUXUNIT"] = (self.unit, "adu in the table means: arbitrary")
        header["SELECT"] = (self.select, "rule that chose the flux")
        header["NCAND"] = (len(self), "number of candidates")
        header["WAVESYS"] = ("vacuum", "observed frame")
        header["FLAGS"] = ascii_text(",".join(self.flags))
        for key, name in (("MODEL", "model"), ("MODELSHA", "model_hash"), ("VERSION", "version")):
            header[key] = ascii_text(str(self.provenance.get(name, "")))
        header["SEED"] = ascii_text(str(self.provenance.get("seed", "")))
        header["COMMAND"] = ascii_text(str(self.provenance.get("command", "")))
        header["PROVENAN"] = json.dumps(self.provenance, default=str)
        return header

    def write_fits(self, path: str | Path, candidates: bool = True) -> None:
        """Write an SDSS-like FITS file that ``specutils.Spectrum.read(path)`` opens.

        The primary header has the provenance; the table SPECTRUM has wavelength, flux, uncertainty, mask,
        loglam and quantiles; the image CANDIDATES (n, L) and the table SCORES follow, and the table
        PHOTOMETRY with the fluxes that were given.

        Parameters
        ----------
        path : str or Path
            File to write or to replace; a partial file never has this name.
        candidates : bool
            Whether to include the candidates and their scores.
        """
        from astropy.io import fits

        unit, flux = self._flux_unit().to_string("fits"), self.flux
        spectral = [("flux", flux), ("uncertainty", self.uncertainty)]
        columns = [fits.Column("wavelength", "D", "Angstrom", array=self.grid.wave)]
        columns += [fits.Column(name, "E", unit, array=values) for name, values in spectral]
        columns.append(fits.Column("mask", "L", array=~np.isfinite(flux)))
        columns.append(fits.Column("loglam", "D", array=self.grid.loglam))
        for name, values in zip(QUANTILE_NAMES, self.quantiles()):
            columns.append(fits.Column(name, "E", unit, array=values))
        units = [fits.PrimaryHDU(header=self._header())]
        units.append(fits.BinTableHDU.from_columns(columns, name="SPECTRUM"))
        if candidates:
            units.append(fits.ImageHDU(self.candidates, name="CANDIDATES"))
            units.append(fits.BinTableHDU.from_columns(self._score_columns(), name="SCORES"))
        if self.measurements is not None:
            units.append(self._photometry_table(self.measurements))
        write_atomically(Path(path), lambda temporary: fits.HDUList(units).writeto(temporary, overwrite=True))

    def _photometry_table(self, given: Measurements):
        from astropy.io import fits

        texts = {"filter": [ascii_text(name) for name in given.filters], "kind": list(given.kinds)}
        columns = [fits.Column(n, f"{max(map(len, t))}A", array=t) for n, t in texts.items() if t]
        for name, values in (("flux", given.flux), ("error", given.error)):
            columns.append(fits.Column(name, "E", "uJy", array=3.631 * values))
        table = fits.BinTableHDU.from_columns(columns, name="PHOTOMETRY")
        table.header["EXTINCT"] = (
            extinction_text(given.extinction),
            "observed, dereddened, unknown, E(B-V) or A",
        )
        return table

    def _score_columns(self):
        from astropy.io import fits

        scores = np.full(len(self), np.nan) if self.scores is None else self.scores
        chosen = np.isin(np.arange(len(self)), self.selected)
        return [fits.Column("score", "E", array=scores), fits.Column("selected", "L", array=chosen)]
