"""Candidates for a checked input, and the quantities measured on them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.measure.quantities import BPT_CLASSES, QUANTITIES, Measurement, measure_at
from pix2spec.models.generator import Generator, Settings
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.spectrum_panel import shown_redshift
from pix2spec.products.units import PHYSICAL

__all__ = [
    "Observed",
    "Result",
    "Row",
    "can_be_noise_free",
    "classes",
    "generate",
    "measure_observed",
    "rows",
]

INTERVAL = (0.16, 0.5, 0.84)
NOISE_FREE_ERROR = 0.02  # of the median flux: without noise, all pixels get this error


@dataclass(frozen=True)
class Row:
    """One line of the table of derived quantities; NaN where not measured."""

    name: str
    label: str
    unit: str
    median: float
    low: float
    high: float
    n: int  # number of candidates on which it could be measured
    observed: float = np.nan
    observed_error: float = np.nan


@dataclass(frozen=True)
class Observed:
    """An observed spectrum, and the quantities measured on it at its own redshift."""

    galaxy: Galaxy
    measured: Measurement | None
    notes: tuple[str, ...] = ()  # about what its file leaves open


@dataclass(frozen=True)
class Result:
    """The last result of a visitor, which the session keeps."""

    ensemble: Ensemble
    measured: Measurement | None  # on noise-free candidates, where the model has such
    noise: bool  # whether the candidates have noise
    own: Observed | None = None  # the observed spectrum of an example

    @property
    def z(self) -> float:
        """The known redshift, else that of the candidate that is drawn, else the measured median, else 0."""
        values = [shown_redshift(self.ensemble)]
        if self.measured is not None:
            values.append(np.nanmedian(self.measured.values["z"]))
        return float(next((z for z in values if np.isfinite(z)), 0.0))


def can_be_noise_free(generator: Generator) -> bool:
    """Whether a model can make noise-free spectra."""
    try:
        generator.check_settings(Settings(noise="none", select=generator.default_select))
    except InputError:
        return False
    return True


def generate(
    generator: Generator,
    galaxy: Galaxy,
    image_kind: str,
    n: int,
    seed: int,
    noise: bool,
    report: Callable[[float, str], object],
) -> Result:
    """Draw candidates and measure them; calls ``report(share, text)`` as it proceeds.

    Quantities are measured on noise-free candidates, even if noisy ones are shown: the intervals describe
    the galaxy, without the errors of one exposure. If a model makes observed spectra only, it is these.
    """
    split = can_be_noise_free(generator)
    known = ("redshift",) if np.isfinite(galaxy.z) else ()
    settings = {"n": n, "seed": seed, "use": ("image", "photometry", *known)}
    report(0.1, f"Sampling {n} candidates")
    clean = generator.generate(galaxy, image_kind, **settings, noise="none" if split else "observed")
    shown = clean
    if noise and split:
        report(0.5, "Adding noise")
        shown = generator.generate(galaxy, image_kind, **settings, noise="observed")
    report(0.6, "Measuring lines and indices")
    return Result(shown, _measure(clean, generator.survey), noise or not split)


def _measure(ensemble: Ensemble, survey) -> Measurement | None:
    """Quantities of candidates at their own redshifts; None on a grid where redshifts cannot be fitted."""
    z = ensemble.redshifts
    if z is None:
        from pix2spec.measure.redshift import RedshiftFitter

        fitter = RedshiftFitter()
        if fitter.grid != ensemble.grid:
            return None
        z = fitter.fit(ensemble.candidates).z
    level = np.abs(np.median(ensemble.candidates, axis=1, keepdims=True))
    error = np.maximum(NOISE_FREE_ERROR * level, 1e-9)
    ivar = np.broadcast_to(error**-2.0, ensemble.candidates.shape).astype(np.float32)
    return measure_at(ensemble.candidates, ivar, z, ensemble.grid, survey)


def measure_observed(galaxy: Galaxy, generator: Generator, native=None, notes=()) -> Observed:
    """Measure an observed spectrum at its own redshift, if it has one.

    `native` is the same spectrum in the pixels of its file, and its grid: it is measured where it is given.
    """
    if not np.isfinite(galaxy.z):
        return Observed(galaxy, None, notes)
    spectrum, grid = native or (galaxy, generator.grid)
    flux, ivar = np.asarray(spectrum.flux)[None], np.asarray(spectrum.ivar)[None]
    return Observed(galaxy, measure_at(flux, ivar, np.array([galaxy.z]), grid, generator.survey), notes)


def rows(result: Result, observed: Observed | None = None) -> list[Row]:
    """Median and 68 % interval over the candidates of every quantity that the ensemble's unit allows.

    Line fluxes need physical flux; all quantities but redshift and widths need a zero point. A quantity that
    less than half of the candidates have is NaN.
    """
    if result.measured is None:
        return []
    table = []
    for name, quantity in QUANTITIES.items():
        if name.startswith("flux_") and result.ensemble.unit != PHYSICAL:
            continue
        if not result.ensemble.has_zero_point and name not in ("z", "sigma_v", "sigma_gas"):
            continue
        values = result.measured.values[name]
        values = values[np.isfinite(values)]
        enough = 2 * len(values) > len(result.ensemble)
        # plotting positions k / (n + 1), as those of the bands in the figure
        low, median, high = np.quantile(values, INTERVAL, method="weibull") if enough else [np.nan] * 3
        row = Row(name, quantity.label, quantity.unit, float(median), float(low), float(high), len(values))
        if observed is not None and observed.measured is not None:
            value, error = observed.measured.values[name][0], observed.measured.errors[name][0]
            row = replace(row, observed=float(value), observed_error=float(error))
        table.append(row)
    return table


def classes(result: Result) -> dict[str, float]:
    """Share of the candidates in each BPT class, the largest first; empty if nothing was measured."""
    if result.measured is None or not result.ensemble.has_zero_point:
        return {}
    index, counts = np.unique(result.measured.bpt, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {BPT_CLASSES[index[i]]: counts[i] / counts.sum() for i in order}
