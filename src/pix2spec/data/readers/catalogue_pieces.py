"""Some rows of a catalogue as arrays of fluxes, errors and extinctions, and as galaxies."""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from pix2spec.core.extinction import coefficients
from pix2spec.core.filters import Filter, typical_error
from pix2spec.core.photometry import MISSING_FLUX, is_missing
from pix2spec.data.measurements import ERROR_ASSUMED, Measurements
from pix2spec.data.readers.column_bands import Band
from pix2spec.data.readers.column_roles import bare
from pix2spec.data.readers.column_values import (
    declinations,
    flux_of_magnitude,
    is_sexagesimal,
    magnitudes,
    numbers,
    redshifts,
    right_ascensions,
    velocity_scale,
)
from pix2spec.data.readers.columns import Columns, class_of
from pix2spec.data.schema import Galaxy

__all__ = ["MISFIT", "NO_FLUX", "SIGNIFICANT", "Piece"]

MISFIT = "photometry-misfit"
NO_FLUX = "no usable flux or magnitude"
SIGNIFICANT = 5.0  # standard deviations below zero of a flux that no galaxy has
MAX_FLUX = 1e9  # nanomaggies
NORTH_DEC = 32.375  # degrees; BASS and MzLS observed north of it (www.legacysurvey.org/dr9/description)
POLE = np.radians((192.85948, 27.12825))  # of the Galaxy's north, ra and dec
NORTHERN = {"legacy-g": "BASS-g", "legacy-r": "BASS-r", "legacy-z": "MzLS-z"}


class Piece:
    """Values of some rows: arrays (row, band) in nanomaggies and magnitudes."""

    flux: np.ndarray  # (row, band)
    error: np.ndarray  # (row, band)
    assumed: np.ndarray  # (row, band) bool, whether the error is assumed
    misfit: np.ndarray  # (row,) bool

    def __init__(self, table, columns: Columns, curves: Mapping[str, Filter]):
        self.table, self.columns = table, columns
        self._positions()
        self._redshifts()
        cls = columns.first("class")
        self.classes = (
            [class_of(v) for v in np.ma.filled(np.ma.asarray(table[cls])).tolist()]
            if cls
            else [""] * len(table)
        )
        self.filters = self._filter_names()
        read = [self._band(k, band) for k, band in enumerate(columns.bands)]
        none = [np.empty((len(table), 0))] * 3
        self.flux, self.error, self.assumed = (
            (np.stack(some, axis=1) for some in zip(*read)) if read else none
        )
        with np.errstate(invalid="ignore"):
            self.misfit = np.any(self.flux < -SIGNIFICANT * self.error, axis=1)
        self.dust = self._dust(curves)

    def _positions(self) -> None:
        ra, dec = self.columns.first("ra"), self.columns.first("dec")
        nowhere = np.full(len(self.table), np.nan)
        self.ra, self.dec = nowhere, nowhere
        self.below_zero = 0
        if ra and dec:
            units = [str(getattr(self.table[name], "unit", "") or "") for name in (ra, dec)]
            self.ra, self.dec = (
                right_ascensions(self.table[ra], units[0]),
                declinations(self.table[dec], units[1]),
            )
            known = np.isfinite(self.ra) & np.isfinite(self.dec)
            self.ra, self.dec = np.where(known, self.ra, np.nan), np.where(known, self.dec, np.nan)
            if not is_sexagesimal(self.table[ra]):
                self.below_zero = int((known & (numbers(self.table[ra]) < 0)).sum())

    def _redshifts(self) -> None:
        name, error, zwarn = (self.columns.first(role) for role in ("redshift", "redshift.error", "zwarn"))
        unit = str(getattr(self.table[name], "unit", "") or "") if name else ""
        unit = unit or "km/s" * (bare(name) == "cz")
        self.z = redshifts(numbers(self.table[name]), unit) if name else np.full(len(self.table), np.nan)
        self.warned = np.zeros(len(self.table), bool)
        if zwarn and name:
            self.warned = np.isfinite(self.z) & (np.nan_to_num(numbers(self.table[zwarn])) != 0)
            self.z = np.where(self.warned, np.nan, self.z)
        sigma = numbers(self.table[error]) if error else np.full(len(self.table), np.nan)
        self.z_err = np.where(~is_missing(sigma) & (sigma > 0), sigma * velocity_scale(unit), np.nan)

    def _filter_names(self) -> np.ndarray:
        """Names of the filters (row, band)."""
        names = np.array([[b.filter for b in self.columns.bands]] * len(self.table), dtype=object)
        names = names.reshape(len(self.table), len(self.columns.bands))
        self.north = np.zeros(len(self.table), bool)
        legacy = [k for k, b in enumerate(self.columns.bands) if b.filter.startswith("legacy-")]
        if legacy:
            photsys = self.columns.first("photsys")
            if photsys:
                self.north = np.array(
                    [str(v).strip().strip("b'\"").upper() == "N" for v in self.table[photsys]], bool
                )
            else:
                ra, dec = np.radians(self.ra), np.radians(self.dec)
                height = np.sin(dec) * np.sin(POLE[1]) + np.cos(dec) * np.cos(POLE[1]) * np.cos(ra - POLE[0])
                self.north = (self.dec > NORTH_DEC) & (height > 0)
        for k in legacy:
            south = f"decam2014-{names[0, k][-1]}"
            names[:, k] = np.where(self.north, NORTHERN.get(names[0, k], south), south)
        return names

    def _band(self, k: int, band: Band) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flux, error, and where the error is assumed."""
        with np.errstate(all="ignore"):
            return self._read_band(k, band)

    def _read_band(self, k: int, band: Band):
        values = numbers(self.table[band.column])
        if band.form == "flux":
            flux = np.where(is_missing(values, MISSING_FLUX), np.nan, values * band.scale)
        else:
            letter = band.letter.lower()
            flux = flux_of_magnitude(magnitudes(values) + band.zero, letter, band.form == "asinh")
        sigma = np.full(len(values), np.nan)
        if band.error:
            stated = numbers(self.table[band.error])
            stated = np.where(is_missing(stated) | (stated <= 0), np.nan, stated)
            if band.error_form == "ivar":
                sigma = 1 / np.sqrt(stated * band.error_scale)
                flux = np.where((flux == 0) & np.isnan(sigma), np.nan, flux)  # not observed
            elif band.error_form == "variance":
                sigma = np.sqrt(stated * band.error_scale)
            elif band.error_form == "flux":
                sigma = stated * band.error_scale
            else:
                sigma = 0.4 * np.log(10) * np.abs(flux) * np.where(stated < 10, stated, np.nan)
        flux = np.where(np.abs(flux) < MAX_FLUX, flux, np.nan)
        typical = np.array([typical_error(name) for name in self.filters[:, k]])
        assumed = np.isnan(sigma) & (flux > 0)
        sigma = np.where(assumed, typical * flux, sigma)
        flux = np.where(np.isfinite(sigma) & (sigma > 0), flux, np.nan)
        return flux, sigma, assumed

    def _dust(self, curves) -> np.ndarray:
        """Extinction (row, band) in magnitudes: 0 where it is removed already, NaN where unknown."""
        dust = np.full(self.flux.shape, np.nan)
        name = self.columns.first("ebv")
        ebv = numbers(self.table[name]) if name else np.full(len(self.table), np.nan)
        self.ebv = np.where(~is_missing(ebv) & (ebv >= 0) & (ebv < 100), ebv, np.nan)
        for k, band in enumerate(self.columns.bands):
            if band.meaning.dereddened:
                dust[:, k] = 0
                continue
            if name:
                unique = {f: coefficients([f], curves)[0] for f in set(self.filters[:, k])}
                dust[:, k] = self.ebv * np.array([unique[f] for f in self.filters[:, k]])
            if band.extinction:
                values = numbers(self.table[band.extinction])
                with np.errstate(all="ignore"):
                    if band.extinction_form == "transmission":
                        values = np.where((values > 0) & (values <= 1.001), -2.5 * np.log10(values), np.nan)
                    values = np.where(is_missing(values) | (values < -0.01) | (values > 50), np.nan, values)
                dust[:, k] = np.where(np.isfinite(values), values, dust[:, k])
        return dust

    def count(self, counts: Counter) -> None:
        """Add the numbers of missing values and of oddities."""
        good = np.isfinite(self.flux)
        for k, band in enumerate(self.columns.bands):
            counts["missing", band.column] += int((~good[:, k]).sum())
            if band.error:
                counts["assumed", band.column] += int((good & self.assumed)[:, k].sum())
        numbers_of = {
            "ra below 0": self.below_zero,
            "no position": int(np.isnan(self.ra).sum()) if self.columns.first("ra") else 0,
            "warned": int(self.warned.sum()),
            "no redshift": int((np.isnan(self.z) & ~self.warned).sum())
            if self.columns.first("redshift")
            else 0,
            "STAR": self.classes.count("STAR"),
            "QSO": self.classes.count("QSO"),
            "no flux": int((~good.any(1)).sum()) if self.columns.bands else 0,
            "north": int(self.north.sum()),
        }
        for key, number in numbers_of.items():
            if number:
                counts[key] += number

    def galaxies(self, ids: list[str], curves) -> Iterator[Galaxy | tuple[str, str]]:
        """The rows as galaxies."""
        bands = self.columns.bands
        kinds = tuple(b.kind for b in bands)
        shared: dict = {}
        all_dereddened = all(b.meaning.dereddened for b in bands)
        only_ebv = bool(self.columns.first("ebv")) and not any(
            b.extinction or b.meaning.dereddened for b in bands
        )
        good = np.isfinite(self.flux)
        for i, object_id in enumerate(ids):
            chosen = np.flatnonzero(good[i])
            if not len(chosen):
                yield object_id, NO_FLUX
                continue
            key = (good[i].tobytes(), bool(self.north[i]))
            if key not in shared:
                shared[key] = tuple(self.filters[i, chosen]), tuple(kinds[k] for k in chosen)
            dust = self.dust[i, chosen]
            if all_dereddened:
                state: str | float | tuple[float, ...] = "dereddened"
            elif not np.isfinite(dust).any():
                state = "observed"
            else:
                state = float(self.ebv[i]) if only_ebv else tuple(dust.tolist())
            flags: tuple[str, ...] = (ERROR_ASSUMED,) if self.assumed[i, chosen].any() else ()
            flags += (MISFIT,) if self.misfit[i] else ()
            flags += (f"class-{self.classes[i].lower()}",) if self.classes[i] in ("STAR", "QSO") else ()
            measured = Measurements(
                shared[key][0],
                self.flux[i, chosen],
                self.error[i, chosen],
                shared[key][1],
                flags,
                state,
                curves,
            )
            yield Galaxy(
                object_id, ra=float(self.ra[i]), dec=float(self.dec[i]), z=float(self.z[i]),
                z_err=float(self.z_err[i]), spec_class=self.classes[i], photometry=measured,
            )  # fmt: skip

    def without_flux(self, i: int, object_id: str) -> Galaxy:
        """Row number `i` as a galaxy without photometry."""
        return Galaxy(
            object_id, ra=float(self.ra[i]), dec=float(self.dec[i]), z=float(self.z[i]),
            z_err=float(self.z_err[i]), spec_class=self.classes[i],
        )  # fmt: skip
