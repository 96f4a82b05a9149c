"""Rank the objects of a catalogue of candidate spectra: the core of `pix2spec rank`."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, Table

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.measure.quantities import BPT_CLASSES
from pix2spec.products.catalogue import Catalogue, open_catalogue
from pix2spec.ranking import scores
from pix2spec.ranking.exposure import (
    REST,
    Instrument,
    exposure_hours,
    instrument_of,
    line_sn,
    telescope_hours,
)
from pix2spec.ranking.expression import LINE_NAMES, NUMBER, TRUTH, Node, columns_of, evaluate, parse
from pix2spec.ranking.from_columns import CANDIDATES, ColumnQuantities
from pix2spec.ranking.measure import Quantities, measure_catalogue, names_of
from pix2spec.runtime.provenance import run_provenance

__all__ = ["DESCRIPTIONS", "Observing", "Ranking", "rank"]

# Columns of a ranking: description and unit.
DESCRIPTIONS = {
    "rank": ("1 is the first", None),
    "object_id": ("object of the catalogue", None),
    "ra": ("right ascension, ICRS", "deg"),
    "dec": ("declination, ICRS", "deg"),
    "score": ("value that the ranking is sorted by, highest first", None),
    "probability": ("fraction of candidates for which the statement is true", None),
    "probability_error": ("Monte-Carlo error of probability, from the number of candidates", None),
    "unknown": ("fraction of candidates for which the statement is unknown", None),
    "n_candidates": ("number of candidates", None),
    "z": ("median redshift of the candidates", None),
    "z_lo": ("16 percent quantile of the candidates' redshifts", None),
    "z_hi": ("84 percent quantile of the candidates' redshifts", None),
    "bpt": ("most frequent BPT class of the candidates", None),
    "information_statement": ("entropy of the answer to the statement", "bit"),
    "information_z": ("information on the redshift that a spectrum would add", "bit"),
    "information_class": ("information on the BPT class that a spectrum would add", "bit"),
    "information": ("information_z + information_class", "bit"),
    "novelty": ("distance from the training set; 1 for a typical training object", None),
    "sn": ("expected signal to noise of the line in the given exposure", None),
    "hours": ("telescope time for the line, overheads included: median over the candidates", "h"),
    "hours_q16": ("16 percent quantile over the candidates of the telescope time", "h"),
    "hours_q84": ("84 percent quantile over the candidates of the telescope time", "h"),
    "hours_q95": ("telescope time in which 95 percent of the candidates reach the signal to noise", "h"),
    "hours_total": ("telescope time of this object and all objects before it", "h"),
}

HOURS_QUANTILES = {"hours_q16": 0.16, "hours_q84": 0.84, "hours_q95": 0.95}

# Columns that `by` may use only with a statement or another argument.
NEEDS = {
    "a statement": ("probability", "probability_error", "unknown", "information_statement"),
    "`train`": ("novelty",),
    "`instrument`": ("sn", "hours", "hours_q16", "hours_q84", "hours_q95"),
}
# Columns that `by` may use besides the catalogue's numbers.
SCORES = ("information", "information_z", "information_class", "z", *sum(NEEDS.values(), ()))


@dataclass(frozen=True)
class Observing:
    """A planned observation: the spectrograph, the line to detect, and the available time.

    Parameters
    ----------
    instrument : str
        One of `pix2spec.ranking.exposure.INSTRUMENTS`.
    line : str
        One of `pix2spec.ranking.expression.LINE_NAMES`.
    sn : float
        Signal to noise to reach in the line, for the column ``hours``.
    exposure : float
        Exposure time in hours, for the column ``sn``.
    hours : float, optional
        Total telescope time. The ranking ends when it is used up.

    Raises
    ------
    InputError
        If `sn`, `exposure` or `hours` is not positive.
    """

    instrument: str
    line: str = "Halpha"
    sn: float = 5.0
    exposure: float = 1.0
    hours: float | None = None

    def __post_init__(self):
        for name, value in (("`sn`", self.sn), ("`exposure`", self.exposure), ("`hours`", self.hours)):
            if value is not None and not 0 < value < np.inf:
                raise InputError(name, f"{value} is not positive")

    def model(self) -> tuple[Instrument, str]:
        """The instrument, and the name of the line in `pix2spec.measure.quantities`."""
        spelt = {name.casefold(): line for name, line in LINE_NAMES.items()}
        if self.line.casefold() not in spelt:
            raise InputError("`line`", f"{self.line!r} is unknown", f"known are {', '.join(LINE_NAMES)}")
        return instrument_of(self.instrument), spelt[self.line.casefold()]


@dataclass
class Ranking:
    """Result of `rank`."""

    table: Table  # columns of `DESCRIPTIONS`, best object first; its meta holds the metadata as JSON
    catalogue: Catalogue
    data: Dataset | None = None  # the dataset that the catalogue was generated from
    metadata: dict = field(default_factory=dict)  # statement, score, versions, provenance
    failures: list[tuple[str, str]] = field(default_factory=list)  # objects that failed, and the reasons
    n_objects: int = 0  # objects that were measured
    n_unranked: int = 0  # objects whose score is unknown
    n_unreachable: int = 0  # objects left out, because their line cannot be detected in a finite time


def rank(
    catalogue: str | Path,
    statement: str | None = None,
    by: str | None = None,
    top: int | None = 100,
    data: str | Path | None = None,
    train: str | Path | None = None,
    observing: Observing | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Ranking:
    """Rank the objects of a catalogue.

    Parameters
    ----------
    catalogue : path
        Folder of `pix2spec generate`. Without candidates, its columns of measured quantities are used.
    statement : str, optional
        A statement such as ``ew(Halpha) > 50``; see `pix2spec.ranking.expression`. It refers to the spectra
        of the catalogue, which are either noisy like the survey's spectra or noise-free.
    by : str, optional
        An arithmetic expression of columns, as in ``probability * information``. The ranking is sorted by its
        value, highest first. The default is ``probability``, which needs a statement.
    top : int, optional
        Maximum number of objects in the ranking. None means all.
    data : path, optional
        The dataset that the catalogue was generated from, for novelty and for images. If `generate` read
        cutouts, the dataset is beside the catalogue, and this is the default.
    train : path, optional
        Training dataset, for ``novelty``.
    observing : Observing, optional
        A planned observation, for ``sn`` and ``hours``.
    workers : int, optional
        Number of processes for the measurements, by default one per core.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Ranking

    Raises
    ------
    InputError
        If an expression, a path or a name cannot be used.
    """
    if statement is None and by is None:
        raise InputError("`statement`", "nothing to rank by", 'give one, or `by="information"`')
    if top is not None and top < 1:
        raise InputError("`top`", f"{top} is not positive")
    opened = open_catalogue(catalogue)
    objects = _targets(opened, data)
    if train is not None and objects is None:
        raise InputError("`train`", "novelty needs the objects' photometry", "give their dataset as `data`")
    # Check all texts before the measurements, which take long.
    model: Any = observing.model() if observing else None
    measured, numbers = names_of(opened)
    columns_alone = None if opened.has_candidates else ColumnQuantities(opened)
    if columns_alone is not None:
        measured = columns_alone.known
        numbers += [name for name in measured if name in opened.schema.names and name not in SCORES]
        if observing:
            what = "a telescope time needs the candidates, which the catalogue does not hold"
            raise InputError("`instrument`", what, CANDIDATES)
    tree = parse(statement, [*measured, *numbers], TRUTH, "`statement`") if statement else None
    by = by or "probability"
    score = parse(by, [*SCORES, *numbers], NUMBER, "`by`")
    _check_needs(columns_of(score), statement is not None, train is not None, observing is not None)

    if columns_alone is not None and tree is not None:
        columns_alone.check(tree, "`statement`")
    quantities = columns_alone or measure_catalogue(opened, workers, progress)
    columns = _summary(quantities)
    true = np.ones(len(quantities.rows), bool)
    if tree:
        columns |= _probability(quantities, tree)
        true = columns.pop("true")
    if train is not None and objects is not None:
        distances = scores.novelty(objects, Dataset(train))
        columns["novelty"] = np.array([distances.get(name, np.nan) for name in quantities.ids])
    if observing:
        columns |= _observed(quantities, true, observing, *model)
    shown = columns_of(score) - set(columns)
    columns |= {name: quantities.of_objects(name) for name in shown}
    columns["score"] = np.array(np.broadcast_to(evaluate(score, columns), len(quantities)))
    found = Ranking(Table(), opened, objects)
    found.failures = [*opened.failures.items(), *quantities.failures]
    found.n_objects, found.n_unranked = len(quantities), int((~np.isfinite(columns["score"])).sum())
    order = _order(columns, top, observing, found)
    found.table = _table({name: np.asarray(column)[order] for name, column in columns.items()})
    about = "noise-free spectra" if opened.provenance.get("noise") == "none" else "spectra as observed"
    if columns_alone is not None:
        about = "noise-free spectra, by the medians and 68 % intervals in the columns of the catalogue"
    metadata: dict = {"statement": statement or "", "about": about, "by": by, **run_provenance()}
    metadata |= {"train": str(train or ""), "catalogue": str(opened.path)}
    metadata["observing"] = asdict(observing) | {"model": asdict(model[0])} if observing else None
    found.metadata = metadata | {"catalogue_provenance": opened.provenance}
    found.table.meta["pix2spec"] = json.dumps(found.metadata, default=str)
    return found


def _targets(catalogue: Catalogue, data: str | Path | None) -> Dataset | None:
    """The dataset that a catalogue was generated from: `data`, or the dataset beside the catalogue."""
    beside = catalogue.path.parent / "input"
    if data is None and not any(beside.glob("*.parquet")):
        return None
    return Dataset(data or beside)


def _check_needs(used: set[str], statement: bool, train: bool, observing: bool) -> None:
    given = {"a statement": statement, "`train`": train, "`instrument`": observing}
    for what, names in NEEDS.items():
        if not given[what] and (missing := sorted(used & set(names))):
            raise InputError("`by`", f"{missing[0]} needs {what}")


def _summary(quantities: Quantities) -> dict[str, np.ndarray]:
    """Columns (objects,) that do not depend on the statement."""
    values = quantities.columns(["z", "bpt"])
    z, classes = quantities.split(values["z"].astype(float)), quantities.split(values["bpt"])
    spread = np.array([_quantiles(rng, (0.16, 0.5, 0.84)) for rng in z])
    columns = {"object_id": np.array(quantities.ids), "n_candidates": quantities.counts}
    columns |= {name: quantities.of_objects(name) for name in ("ra", "dec")}
    columns |= dict(zip(("z_lo", "z", "z_hi"), spread.T))
    common = [np.bincount(rng, minlength=len(BPT_CLASSES)).argmax() for rng in classes]
    columns["bpt"] = np.array(BPT_CLASSES)[common]
    columns["information_z"] = np.array([scores.redshift_information(rng) for rng in z])
    columns["information_class"] = np.array([scores.class_information(rng) for rng in classes])
    columns["information"] = columns["information_z"] + columns["information_class"]
    return columns


def _quantiles(rng: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    known = rng[np.isfinite(rng)]
    return np.quantile(known, levels) if len(known) else np.full(len(levels), np.nan)


def _probability(quantities: Quantities, tree: Node) -> dict[str, np.ndarray]:
    """Columns (objects,) of a statement, and ``true`` (rows,): whether it is true for each candidate."""
    used = columns_of(tree)
    values = quantities.columns(used)
    truth = np.broadcast_to(evaluate(tree, values), quantities.rows.shape)
    share, error = scores.probability(quantities.total(truth == 1), quantities.counts)
    columns = {"true": truth == 1, "probability": share, "probability_error": error}
    columns["unknown"] = quantities.total(np.isnan(truth)) / quantities.counts
    columns["information_statement"] = scores.binary_entropy(share)
    for name in sorted(used - {"z", "bpt"}):  # show the quantities of the statement
        rng = quantities.split(values[name].astype(float))
        columns[name] = np.array([_quantiles(own, (0.5,))[0] for own in rng])
    return columns


def _observed(
    quantities: Quantities, true: np.ndarray, observing: Observing, instrument: Instrument, line: str
) -> dict[str, np.ndarray]:
    """Expected S/N and telescope time (objects,), as medians over the candidates with a true statement.

    Quantiles of the telescope time are added: infinite, where so many candidates have no line. If the
    statement is true for no candidate of an object, all of its candidates count.
    """
    flux_name, ew_name = f"flux_{line}", f"ew_{line}"
    values = quantities.columns(["z", flux_name, ew_name])
    flux, stretch = values[flux_name].astype(float), 1 + values["z"].astype(float)
    with np.errstate(all="ignore"):
        continuum = flux / values[ew_name] / stretch
    fibre = quantities.catalogue.survey.fibre_diameter
    arguments = (instrument, flux, continuum, REST[line] * stretch)
    each = {"sn": line_sn(*arguments, observing.exposure, fibre)}
    each["hours"] = telescope_hours(instrument, exposure_hours(*arguments, observing.sn, fibre))
    columns = {name: np.full(len(quantities), np.nan) for name in (*each, *HOURS_QUANTILES)}
    for name, column in each.items():
        for i, (rng, chosen) in enumerate(zip(quantities.split(column), quantities.split(true))):
            rng = rng[chosen] if chosen.any() else rng
            rng = rng[~np.isnan(rng)]
            columns[name][i] = np.median(rng) if len(rng) else np.nan
            if name == "hours" and len(rng):
                for quantile, level in HOURS_QUANTILES.items():
                    columns[quantile][i] = np.quantile(rng, level, method="inverted_cdf")
    return columns


def _order(columns: dict, top: int | None, observing: Observing | None, found: Ranking) -> np.ndarray:
    """Positions of the ranked objects, best first. Add ``hours_total`` to `columns`.

    Objects of equal score are sorted by the time that they need, and then by their position in the catalogue.
    """
    score = columns["score"]
    hours = columns.get("hours", np.zeros(len(score)))
    reachable = np.isfinite(hours)
    order = np.lexsort((np.where(reachable, hours, np.inf), -score))
    order = order[np.isfinite(score[order])]
    if observing is None:
        return order[:top]
    if observing.hours is not None:
        found.n_unreachable = int((~reachable[order]).sum())
        order = order[reachable[order]]
    total = np.cumsum(np.where(reachable[order], hours[order], 0))
    columns["hours_total"] = np.full(len(score), np.nan)
    columns["hours_total"][order] = total
    if observing.hours is not None:
        order = order[total <= observing.hours]
    return order[:top]


def _table(columns: dict[str, np.ndarray]) -> Table:
    """Make the table, with the columns of `DESCRIPTIONS` in their order and other columns after them."""
    columns["rank"] = np.arange(1, len(columns["score"]) + 1)
    table = Table()
    for name in [*(n for n in DESCRIPTIONS if n in columns), *(n for n in columns if n not in DESCRIPTIONS)]:
        what, unit = DESCRIPTIONS.get(name, ("median over the candidates", None))
        table[name] = Column(columns[name], unit=unit, description=what)
    return table
