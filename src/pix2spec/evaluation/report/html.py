"""The report as one HTML file that holds its figures and opens without a network."""

import base64
import json
from html import escape

import numpy as np

from pix2spec.evaluation.report.findings import redshift_scores
from pix2spec.measure.quantities import QUANTITIES

__all__ = ["page"]

SHARPNESS = 1.6  # pixels of a figure for one of the page
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff;
  margin: 0 auto; max-width: 66rem; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem) 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; margin: .4rem 0; }
th, td { padding: .28rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e3e8ee; }
th { color: #51606f; font-weight: 600; border-bottom: 1px solid #b9c4cf; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
caption, .note { color: #51606f; font-size: .86rem; text-align: left; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
figcaption { color: #51606f; font-size: .86rem; } ul { padding-left: 1.2rem; } li { margin: .25rem 0; }
.fault { color: #8a1f11; font-weight: 600; } .good { color: #1c6b36; font-weight: 600; }
details { margin: 1rem 0; } summary { cursor: pointer; color: #14508c; } code { font-size: .8rem;
  overflow-wrap: anywhere; }
"""


def page(results: list[dict], figures: list[dict[str, bytes]]) -> str:
    """HTML of one or several results of `pix2spec.evaluation.compare.evaluate` and of their figures."""
    first = results[0]
    parts = [f"<h1>Generated spectra: {escape(', '.join(r['name'] for r in results))}</h1>", _intro(first)]
    parts += [_findings(result) for result in results]
    if len(results) > 1:
        parts.append(_comparison(results))
    for result, pictures in zip(results, figures):
        body = _model(result, pictures)
        title = f"<h2>{escape(result['name'])}</h2>" if len(results) > 1 else ""
        parts.append(title + body)
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
    head += f"<title>pix2spec: {escape(first['name'])}</title><style>{STYLE}</style>"
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}</head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _intro(result: dict) -> str:
    kind = "simulated" if result["data"] == "simulated" else "real"
    text = f"{result['counts']['scored']:,} {kind} galaxies of <code>{escape(result['truth'])}</code>. "
    text += "Every quantity is measured in the same way on the observed spectrum and on the candidates. "
    text += "Errors are one standard error, from the scatter between galaxies."
    return f"<p class='note'>{text}</p>"


def _findings(result: dict) -> str:
    from pix2spec.evaluation.report.wording import remarks

    items = []
    for finding in result.get("findings", ()):
        mark = "<span class='fault'>Fault</span> " if finding["fault"] else ""
        items.append(f"<li>{mark}{escape(finding['text'])}</li>")
    items += [f"<li class='note'>{escape(text)}</li>" for text in remarks(result)]
    return f"<h2>What it says: {escape(result['name'])}</h2><ul>{''.join(items)}</ul>"


def table(head: list[str], rows: list[list], caption: str = "") -> str:
    """An HTML table; cells are text or numbers, and None is a dash."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(_text(v))}</td>" for v in row) + "</tr>" for row in rows)
    note = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f"<div class='wide'><table>{note}<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _text(value) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _with_error(value, error, digits: int = 4) -> str | None:
    if value is None or not np.isfinite(value):
        return None
    known = error is not None and np.isfinite(error)
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if known else "")


def _percent(value, error=None) -> str | None:
    if value is None or not np.isfinite(value):
        return None
    return f"{100 * value:.1f}" + (
        f" ± {100 * error:.1f}" if error is not None and np.isfinite(error) else ""
    )


def _comparison(results: list[dict]) -> str:
    """One line for each set of predictions: what the sections have for all."""
    rows = []
    for result in results:
        methods, whole = result["methods"], result["whole"]
        single = methods.get("single") or methods[whole]
        all_of = methods[whole]
        best = redshift_scores(result)
        science, realism = result.get("science") or {}, result.get("realism") or {}
        sample, codes = realism.get("two_sample") or {}, realism.get("distances") or {}
        rows.append([
            result["name"],
            _mean(single, "minmax_mse"),
            _mean(all_of, "minmax_mse"),
            _mean(all_of, "affine_matched_mse"),
            _mean(all_of, "crps_median"),
            _mean(all_of, "energy_median"),
            _percent((all_of.get("coverage_68_median") or {}).get("mean")),
            best.get("nmad"),
            _percent(best.get("outliers_0.05")),
            *((science.get(name) or {}).get("skill") for name in ("ew_halpha", "dn4000", "hdelta_a")),
            _percent((result.get("types") or {}).get("accuracy")),
            _percent(sample.get("accuracy")),
            (codes.get("frechet") or {}).get("value"),
            (realism.get("power") or {}).get("ratio"),
        ])  # fmt: skip
    head = [
        "predictions",
        "MSE of one",
        "MSE of mean",
        "affine MSE",
        "CRPS",
        "energy",
        "68 % holds",
        "z NMAD",
    ]
    head += [
        "z outliers %",
        "Hα skill",
        "Dn4000 skill",
        "HδA skill",
        "type right %",
        "recognised %",
        "Fréchet",
    ]
    return "<h2>Side by side</h2>" + table([*head, "noise power"], rows, _SIDE)


_SIDE = (
    "MSE on the min-max scale, of one candidate and of the mean of all. Skill: 1 − CRPS / CRPS of another "
    "object's candidates. Recognised: how often a network tells a candidate from an observed spectrum (50: "
    "not at all). Noise power: at the smallest scales, over that observed."
)


def _mean(values: dict, name: str) -> float | None:
    return (values.get(name) or {}).get("mean")


def _model(result: dict, pictures: dict[str, bytes]) -> str:
    parts = [_pixel(result)]
    for caption, data in pictures.items():
        image = base64.b64encode(data).decode()
        width = int.from_bytes(data[16:20], "big")  # as a PNG's header has it
        size = f"style='width: {width / SHARPNESS:.0f}px'"
        picture = f"<img alt='{escape(caption)}' {size} src='data:image/png;base64,{image}'>"
        parts.append(f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>")
    sections = (_redshift, _science, _types, _realism, _calibration, _selection, _strata)
    parts += [section(result) for section in sections]
    facts = json.dumps({**result["provenance"], **{"report": result["made_by"]}}, indent=1, default=str)
    parts.append(f"<details><summary>Where it comes from</summary><code>{escape(facts)}</code></details>")
    return "\n".join(part for part in parts if part)


def _pixel(result: dict) -> str:
    from pix2spec.evaluation.report.wording import METHODS, METRICS, cell

    methods = result["methods"]
    shown = [name for name in METRICS if any(name in values for values in methods.values())]
    rows = [[METHODS[m], *(cell(values.get(name), name) for name in shown)] for m, values in methods.items()]
    return "<h3>By pixel</h3>" + table(["method", *(METRICS[name] for name in shown)], rows)


def _redshift(result: dict) -> str:
    section = result.get("redshift") or {}
    rows = [
        [
            which,
            scores["objects"],
            _with_error(scores["bias"], scores["bias_error"], 5),
            scores["nmad"],
            _percent(scores["outliers_0.05"], scores["outliers_0.05_error"]),
            _percent(scores["outliers_0.15"], scores["outliers_0.15_error"]),
        ]
        for which, scores in section.items()
        if isinstance(scores, dict) and "nmad" in scores
    ]
    if not rows:
        return ""
    note = f"By a fit of templates. {section['unclear']} objects whose observed spectrum gives no clear "
    note += "redshift are left out. Errors are (z − z_observed) / (1 + z_observed)."
    head = ["redshift of", "objects", "bias", "sigma_NMAD", "beyond 0.05 [%]", "beyond 0.15 [%]"]
    return "<h3>Redshift</h3>" + table(head, rows, note)


def _science(result: dict) -> str:
    rows = [
        [
            QUANTITIES[name].label + (f" [{QUANTITIES[name].unit}]" if QUANTITIES[name].unit else ""),
            v["objects"],
            v["observed_median"],
            v["observed_scatter"],
            v.get("measurement_error"),
            f"{v['bias']:+.3g} ± {v['bias_error']:.2g}",
            v["scatter"],
            v["crps"],
            v["crps_chance"],
            _with_error(v["skill"], v["skill_error"], 3),
        ]
        for name, v in (result.get("science") or {}).items()
    ]
    if not rows:
        return ""
    head = ["quantity", "objects", "observed median", "scatter", "error", "bias", "scatter of error", "CRPS"]
    note = "Bias and scatter: median of the candidates less the observed value. Skill: 1 − CRPS / chance."
    return "<h3>Lines, breaks, colours</h3>" + table([*head, "by chance", "skill"], rows, note)


def _types(result: dict) -> str:
    section = result.get("types")
    if not section:
        return ""
    text = (
        f"Types by emission lines (BPT): {_percent(section['accuracy'], section['accuracy_error'])} % of the "
    )
    text += f"candidates have the observed type; another object's: {_percent(section['chance'])} %."
    return f"<h3>Types</h3><p>{text}</p>"


def _calibration(result: dict) -> str:
    rows = []
    for name, parts in ((result.get("calibration") or {}).get("quantities") or {}).items():
        for which, label in (("all", "all"), ("first", "5 unselected"), ("best", "best 5 by score")):
            if which in parts:
                v = parts[which]
                covered = [_covered(v, level) for level in (68, 90)]
                rows.append([QUANTITIES[name].label, label, *covered, v["width"], v["bias_p"], v["ks_p"]])
    if not rows:
        return ""
    head = [
        "quantity",
        "candidates",
        "68 % holds",
        "90 % holds",
        "median width",
        "p (mean rank)",
        "p (ranks)",
    ]
    note = (
        "Observed values inside the candidates' intervals, in per cent, and what calibrated ones would reach."
    )
    return "<h3>Calibration</h3>" + _folded(f"{len(rows)} lines", table(head, rows, note))


def _folded(title: str, html: str) -> str:
    """A long table that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def _covered(values: dict, level: int) -> str:
    measured = _percent(values[f"coverage_{level}"], values[f"coverage_{level}_error"])
    return f"{measured} of {_percent(values[f'expected_{level}'])}"


_DECILES = ("deciles", "observed_deciles")


def _realism(result: dict) -> str:
    section, rows = result.get("realism") or {}, []
    if "two_sample" in section:
        v = section["two_sample"]
        rows.append(["recognised by a network [%]", _percent(v["accuracy"], v["error"]), "50"])
    for name, label in (("frechet", "Fréchet distance of codes"), ("kernel", "kernel distance of codes")):
        if name in section.get("distances", {}):
            v = section["distances"][name]
            rows.append([label, v["value"], f"{v['chance']:.4g} ± {v['scatter']:.2g}"])
    if "power" in section:
        v = section["power"]
        rows.append(
            ["power at the smallest scales, over observed", _with_error(v["ratio"], v["ratio_error"], 3), "1"]
        )
    if "autocorrelation" in section:
        v = section["autocorrelation"]
        value = f"{v['fake'][0]:+.4f} ± {v['error'][0]:.4f}"
        rows.append(["correlation of neighbouring pixels", value, f"{v['real'][0]:+.4f}"])
    if "line_widths" in section:
        v = section["line_widths"]
        rows.append(["width of Hα, over observed", _with_error(v["ratio"], v["ratio_error"], 3), "1"])
        widths, real = (f"{v[key][1]:.0f}, {v[key][4]:.0f}, {v[key][7]:.0f}" for key in _DECILES)
        rows.append(["widths of Hα: 20, 50, 80 % [km/s]", widths, real])
        rows.append(["their Kolmogorov–Smirnov distance", f"{v['ks']:.3f} (p = {v['ks_p']:.2g})", "0"])
    if "memorisation" in section:
        v = section["memorisation"]
        rows.append(
            [
                "copies of training spectra [%]",
                _percent(v["copies"], v["copies_error"]),
                _percent(v["chance"]),
            ]
        )
    if not rows:
        return ""
    return "<h3>Realism</h3>" + table(["of one candidate an object", "value", "ideal, or real to real"], rows)


def _selection(result: dict) -> str:
    rows, curve, found = [], result.get("selection"), result.get("retrieval")
    if curve:
        n, gain = curve["n"], _with_error(curve["gain"], curve["gain_error"])
        rows.append([f"error of the best of {n} by score", curve["selected"][-1], curve["random"]])
        rows.append([f"error of the best of {n} there is", curve["oracle"][-1], curve["random"]])
        rows.append(["gained by the score", gain, "0"])
        share = _percent(curve["efficiency"], curve["efficiency_error"])
        rows.append(["share of what could be gained [%]", share, "0"])
    if found:
        for k, which in ((1, "the first"), (5, "among the first five")):
            text = f"observed spectrum found: {which} of {found['pool']} [%]"
            share = _percent(found[f"top_{k}"], found[f"top_{k}_error"])
            rows.append([text, share, _percent(found[f"top_{k}_chance"])])
    if not rows:
        return ""
    note = "The error is the MSE after an affine match."
    if found:
        note += f" Spectra are looked for by photometry, among those of {found['objects']} objects, with the "
        note += f"network of {found['features']}; the argument `features` names another."
    return "<h3>Selection</h3>" + table(["selection by score", "value", "by chance"], rows, note)


def _strata(result: dict) -> str:
    parts = result.get("strata") or []
    if not parts:
        return ""
    names = {
        "affine_matched_mse": "affine MSE",
        "crps_median": "CRPS",
        "energy_median": "energy score",
        "coverage_68_median": "68 % holds",
        "nmad": "z NMAD",
        "outliers_0.05": "z beyond 0.05",
    }
    shown = [name for name in names if any(part.get(name) is not None for part in parts)]
    rows = [[f"{p['by']} {p['bin']}", p["objects"], *(p.get(name) for name in shown)] for p in parts]
    return "<h3>By kind of object</h3>" + table(["bin", "objects", *(names[name] for name in shown)], rows)
