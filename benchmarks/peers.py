"""Measure pix2spec beside the programs that people use for redshifts from photometry, and for spectra.

    python benchmarks/peers.py --data DIR [--only NAME ...] [--again [NAME ...]] [--jobs N]
        [--page FILE] [--out OUT]

DIR holds `mgs_photometry.npz` and `sdss_photometry.npz`; docs/guides/real-data.md says how anybody gets them,
and the folds are right only if the other tables of training lie there too. All programs answer for the same
galaxies of the SDSS main sample, each with one thread. Trained programs learn from
the same half of the galaxies; of ours, the networks answer that never saw a galaxy's fold.

Each program gets an environment of its own in OUT/env, where pip installs it. Its answer lies in OUT/answers,
and is used again until its runner or the galaxies change, or `--again` names it. A program that cannot be
installed or run is listed with the reason.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peering import report
from peering.galaxies import choose
from peering.programs import REDSHIFTS, SPECTRA
from peering.running import RUN_SECONDS, Peer, Run, Unusable, answer
from peering.scoring import Answer, redshift_scores
from pix2spec.models.storage import find_model, model_id, read_config
from pix2spec.runtime.provenance import run_provenance
from pix2spec.training.real_sky import load_real
from real_sky import check_folds

MODELS = ("redshift", "default")


def measure(peer: Peer, task: Path, z, out: Path, how: Run) -> dict:
    """What a program scored and cost, or why it failed."""
    try:
        path, record = answer(peer, task, out, how)
    except Unusable as reason:
        return {"failure": str(reason)}
    found = Answer.read(path)
    scores = {} if found.draws is None else redshift_scores(found.draws, z)
    return {"scores": scores, "cost": found.cost, "record": record}


def tables(results: dict[str, dict], n: int) -> dict[str, str]:
    """All results as tables in Markdown, by name."""
    peers = {peer.name: peer for peer in (*REDSHIFTS, *SPECTRA)}
    redshifts, spectra, runs, failures = [], [], [], []
    for name, result in results.items():
        if "failure" in result:
            failures.append([name, result["failure"].replace("|", "/")])
            continue
        peer, cost = peers[name], result["cost"]
        runs.append(report.run_row(peer, cost, result["record"]))
        if peer in REDSHIFTS:
            redshifts.append(report.redshift_row(peer, cost, result["scores"], n))
        else:
            spectra.append(report.spectrum_row(peer, cost))
    return report.tables(redshifts, spectra, runs, failures)


def write(results: dict[str, dict], out: Path, z) -> None:
    """Write the results so far."""
    facts = {"galaxies": len(z), "results": results, **run_provenance()}
    (out / "peers.json").write_text(json.dumps(facts, indent=1) + "\n")
    (out / "peers.md").write_text("\n\n".join(tables(results, len(z)).values()) + "\n")


def main() -> None:
    names = [peer.name for peer in (*REDSHIFTS, *SPECTRA)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real tables")
    parser.add_argument("--galaxies", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="some of the programs")
    parser.add_argument(
        "--again", nargs="*", choices=names, help="programs to measure anew; without a name: all"
    )
    parser.add_argument("--page", type=Path, help="page whose tables are replaced")
    parser.add_argument("--limit", type=float, default=RUN_SECONDS, help="seconds that a program may run")
    parser.add_argument("--jobs", type=int, default=1, help="programs at once, each with one thread")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    options = parser.parse_args()
    known, models = load_real(options.data), [find_model(name) for name in MODELS]
    for folder in models:
        check_folds(read_config(folder)["record"], known)
    ids = " ".join(map(model_id, models))
    task = choose(known, options.galaxies)
    path = options.out / "task.npz"
    task.write(path)
    wanted = [peer for peer in (*REDSHIFTS, *SPECTRA) if peer.name in options.only]
    again = names if options.again == [] else options.again or []

    def one(peer: Peer) -> dict:
        return measure(peer, path, task.z, options.out, Run(ids, peer.name in again, options.limit))

    results: dict[str, dict] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for peer, result in zip(wanted, pool.map(one, wanted)):
            results[peer.name] = result
            print(f"{peer.name}: {json.dumps(result)}", flush=True)
            write(results, options.out, task.z)
    print((options.out / "peers.md").read_text())
    if options.page:
        options.page.write_text(report.fill(options.page.read_text(), tables(results, len(task.z))))


if __name__ == "__main__":
    main()
