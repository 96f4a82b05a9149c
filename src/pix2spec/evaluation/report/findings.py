"""Sentences on the numbers of a report, faults first, by fixed rules.

A rule gives a sentence if a deviation from the ideal exceeds MIN_STANDARD_ERRORS standard errors and the
rule's MIN_DEVIATION. Each sentence names its numbers.
"""

from dataclasses import dataclass

from pix2spec.measure.quantities import QUANTITIES

__all__ = ["Finding", "findings", "redshift_scores"]

MIN_STANDARD_ERRORS = 4.0
MIN_DEVIATION = {
    "redshift": 0.001,  # (z - z_observed) / (1 + z_observed)
    "coverage": 0.03,  # of the objects, or of the pixels
    "power": 0.1,  # of the observed power
    "width": 0.1,  # of the observed width
    "skill": 0.02,  # 1 - CRPS / CRPS of another object's candidates
    "shift": 0.25,  # of the scatter of the observed values
    "classifier": 0.03,  # above one half
    "copies": 0.02,  # of the candidates, more than by chance
}


@dataclass(frozen=True)
class Finding:
    """One statement.

    Parameters
    ----------
    metric : str
        Section and number that it is about.
    text : str
        A sentence.
    fault : bool
        Whether it counts against the predictions.
    """

    metric: str
    text: str
    fault: bool


def findings(result: dict) -> list[Finding]:
    """All statements on the result of `pix2spec.evaluation.compare.evaluate`, faults first."""
    rules = (_redshift, _skill, _intervals, _joint, _shifts, _width, _power, _classifier, _copies, _selection)
    found = [finding for rule in rules for finding in rule(result)]
    if not any(finding.fault for finding in found):
        checked = ", ".join(_sections(result))
        found.insert(0, Finding("all", f"No fault was found by: {checked}.", False))
    return sorted(found, key=lambda finding: not finding.fault)


def _sections(result: dict) -> list[str]:
    """Names of the sections that had enough objects to find a fault."""
    looked = {
        "redshifts": "one candidate" in (result.get("redshift") or {}),
        "lines, breaks and colours": result.get("science"),
        "calibration of quantities": (result.get("calibration") or {}).get("quantities"),
        "realism": result.get("realism"),
    }
    return ["coverage of pixels", *(label for label, found in looked.items() if found)]


def redshift_scores(result: dict) -> dict:
    """Scores of the redshifts that count: of the median of candidates, if there are several."""
    section = result.get("redshift") or {}
    return section.get("median of candidates") or section.get("one candidate") or {}


def _redshift(result: dict):
    section, best = result.get("redshift") or {}, redshift_scores(result)
    if "bias" not in best:
        return
    bias, error = best["bias"], best["bias_error"]
    if abs(bias) > max(MIN_STANDARD_ERRORS * error, MIN_DEVIATION["redshift"]):
        side = "high" if bias > 0 else "low"
        yield Finding(
            "redshift.bias",
            f"Redshifts are too {side}: (z − z_observed) / (1 + z_observed) is {bias:+.4f} ± {error:.4f} in "
            "the median.",
            True,
        )
    text = f"Redshifts scatter by sigma_NMAD = {best['nmad']:.2g}"
    chance = section["another object's"].get("nmad")
    text += f" (another object's: {chance:.2g})" if chance is not None else ""
    text += f"; {100 * best['outliers_0.05']:.1f} % are off by more than 0.05."
    yield Finding("redshift.nmad", text, False)


def _skill(result: dict):
    section = result.get("science") or {}
    blind = [
        name
        for name, v in section.items()
        if v["skill"] < max(MIN_STANDARD_ERRORS * v["skill_error"], MIN_DEVIATION["skill"])
    ]
    if section and len(blind) == len(section):
        text = "The candidates tell nothing of their object: another object's do as well in every quantity."
        yield Finding("science.skill", text, True)
    elif blind:
        text = "No better than the candidates of another object in: " + _names(blind) + "."
        yield Finding("science.skill", text, False)


def _names(names: list[str]) -> str:
    return ", ".join(QUANTITIES[name].label for name in names)


def _intervals(result: dict):
    """Whether the central intervals are too narrow or too wide, by pixel."""
    values = (result["methods"].get(result.get("whole")) or {}).get("coverage_68_median")
    if not values or not result.get("expected_coverage"):
        return
    expected = result["expected_coverage"]["68"]
    off = values["mean"] - expected
    if abs(off) > max(MIN_STANDARD_ERRORS * values["error"], MIN_DEVIATION["coverage"]):
        side = "narrow" if off < 0 else "wide"
        text = (
            f"The intervals are too {side}: those of 68 % hold {100 * values['mean']:.1f} % of the observed "
        )
        text += f"pixels; calibrated ones would hold {100 * expected:.0f} %."
        yield Finding("coverage_68_median", text, True)


def _joint(result: dict):
    """Quantities whose intervals miss, and whether selection narrows them."""
    quantities = (result.get("calibration") or {}).get("quantities", {})
    for side, sign in (("narrow", -1), ("wide", 1)):
        off = {}
        for name, values in quantities.items():
            whole = values["all"]
            deviation = whole["coverage_68"] - whole["expected_68"]
            if sign * deviation > max(
                MIN_STANDARD_ERRORS * whole["coverage_68_error"], 2 * MIN_DEVIATION["coverage"]
            ):
                off[name] = whole["coverage_68"]
        if off:
            listed = ", ".join(f"{QUANTITIES[name].label} {100 * value:.0f} %" for name, value in off.items())
            text = f"Intervals of derived quantities are too {side} (of those of 68 %, the observed values "
            yield Finding("calibration.quantities", f"{text}are inside of: {listed}).", True)
    narrowed = [
        n for n, v in quantities.items() if "best" in v and v["best"]["width"] < 0.9 * v["first"]["width"]
    ]
    if narrowed:
        text = (
            "Selection narrows the ensemble in "
            + _names(narrowed)
            + " against as many that are not selected: use all candidates for errors."
        )
        yield Finding("calibration.quantities.best", text, False)


def _shifts(result: dict):
    off = {}
    for name, values in (result.get("science") or {}).items():
        limit = max(
            MIN_STANDARD_ERRORS * values["bias_error"], MIN_DEVIATION["shift"] * values["observed_scatter"]
        )
        if name not in ("z", "sigma_gas") and abs(values["bias"]) > limit:
            off[name] = values["bias"]
    if off:
        listed = ", ".join(
            f"{QUANTITIES[n].label} {v:+.3g} {QUANTITIES[n].unit}".rstrip() for n, v in off.items()
        )
        yield Finding("science.bias", f"Biased in the median: {listed}.", True)


def _width(result: dict):
    values = (result.get("realism") or {}).get("line_widths")
    if not values:
        return
    ratio, error = values["ratio"], values["ratio_error"]
    if abs(ratio - 1) > max(MIN_STANDARD_ERRORS * error, MIN_DEVIATION["width"]):
        side = "broad" if ratio > 1 else "narrow"
        text = (
            f"Emission lines are too {side}: their widths are {ratio:.2f} ± {error:.2f} times those observed."
        )
        yield Finding("realism.line_widths", text, True)


def _power(result: dict):
    values = (result.get("realism") or {}).get("power")
    if not values:
        return
    ratio, error = values["ratio"], values["ratio_error"]
    if abs(ratio - 1) > max(MIN_STANDARD_ERRORS * error, MIN_DEVIATION["power"]):
        what = "lack noise" if ratio < 1 else "are too noisy"
        text = (
            f"The candidates {what}: at the smallest scales they have {ratio:.2f} ± {error:.2f} of the power "
        )
        yield Finding("realism.power", text + "of observed spectra.", True)


def _classifier(result: dict):
    values = (result.get("realism") or {}).get("two_sample")
    if not values:
        return
    accuracy, error = values["accuracy"], values["error"]
    share = f"{100 * accuracy:.1f} ± {100 * error:.1f} %"
    text = f"a network tells a candidate from an observed spectrum in {share} of cases (50 %: not at all)."
    fault = accuracy - 0.5 > max(MIN_STANDARD_ERRORS * error, MIN_DEVIATION["classifier"])
    yield Finding("realism.two_sample", ("Not alike: " if fault else "Alike: ") + text, fault)


def _copies(result: dict):
    values = (result.get("realism") or {}).get("memorisation")
    if not values:
        return
    share, error, chance = values["copies"], values["copies_error"], values["chance"]
    if share - chance > max(MIN_STANDARD_ERRORS * error, MIN_DEVIATION["copies"]):
        text = (
            f"Copies: {100 * share:.1f} ± {100 * error:.1f} % of the candidates look like copies of training "
        )
        yield Finding("realism.memorisation", f"{text}spectra ({100 * chance:.0f} % by chance).", True)


def _selection(result: dict):
    values = result.get("selection")
    if not values:
        return
    gain, error, n = values["gain"], values["gain_error"], values["n"]
    share = f"{100 * values['efficiency']:.0f} % of what the best possible choice would gain"
    if gain > MIN_STANDARD_ERRORS * error:
        text = f"Selection helps: the error of the best of {n} is lower by {gain:.4f} ± {error:.4f}, {share}."
        yield Finding("selection.gain", text, False)
    else:
        text = f"Selection does not help: the best of {n} changes the error by {-gain:+.4f} ± {error:.4f}."
        yield Finding("selection.gain", text, gain < -MIN_STANDARD_ERRORS * error)
