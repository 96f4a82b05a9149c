"""Feed altered inputs to the readers, guided by the code that they reach.

    pip install atheris
    python scripts/fuzz.py --minutes 10 --out fuzz

The targets share the time, one after the other. Each target starts from its part of
``tests/robustness/corpus``. Every exception but `InputError` is a finding: its input is kept in
OUT/findings, with the traceback beside it. The numbers are printed as a table and kept in OUT/summary.json.
The exit code is 1 if there are findings.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
TARGETS = (
    "cutout", "pictures", "spectrum", "spectra", "coadd", "table", "universe", "dataset", "catalogue",
    "predictions", "preset", "model",
)  # fmt: skip
LARGEST = 200_000  # bytes of an input
DONE = re.compile(r"#(\d+)\s+DONE\s+(?:cov: (\d+) ft: (\d+))?")


def reader_of(target: str):
    """What is called with the path of an altered input; datasets are read without their cache."""
    from robustness.corpus import READERS

    if target != "dataset":
        return READERS[target]
    from pix2spec.data.check import check_dataset
    from pix2spec.data.dataset import read_info

    def dataset(path):
        check_dataset(path)
        read_info([path])

    return dataset


def seeds(target: str, folder: Path) -> Path:
    """A good input and the bad ones of a reader, as files of a corpus; returns the good one."""
    from robustness.corpus import CORPUS, good_inputs

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        good = good_inputs(Path(made) / "good")[target]
        good = good / "config.json" if target == "model" else good
        kept = folder.parent / good.name
        kept.write_bytes(good.read_bytes())
        (folder / "good").write_bytes(good.read_bytes())
        for bad in CORPUS:
            if bad.reader == target:
                place = Path(made) / bad.name
                place.mkdir()
                path = bad.write(place)
                path = path / "config.json" if target == "model" else path
                if path.is_file() and path.stat().st_size <= LARGEST:
                    (folder / bad.name).write_bytes(path.read_bytes())
    return kept


def fuzz(target: str, seconds: int, out: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    warnings.simplefilter("ignore")
    corpus = out / target / "corpus"
    work = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    with atheris.instrument_imports(include=["pix2spec", "yaml"]):  # of whatever is imported here
        from pix2spec.errors import InputError
        from robustness.corpus import model

        good, read = seeds(target, corpus), reader_of(target)
        given = path = work / good.name
        if target == "model":
            given = model(work)
            path = given / "config.json"
        path.write_bytes(good.read_bytes())
        read(given)
    known = set()

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(given)
        except InputError:
            pass
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f"{f.filename}:{f.lineno}" for f in frames if "pix2spec" in f.filename][-1:]
            key = hashlib.blake2b(f"{type(error).__name__} {own}".encode(), digest_size=6).hexdigest()
            if key not in known:
                known.add(key)
                (out / "findings").mkdir(exist_ok=True)
                (out / "findings" / f"{target}-{key}").write_bytes(data)
                (out / "findings" / f"{target}-{key}.txt").write_text(traceback.format_exc())

    options = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", "-timeout=60", "-rss_limit_mb=4000"]
    options += [f"-artifact_prefix={out / target}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz all targets, one after the other, and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, help="of all targets together")
    parser.add_argument("--out", type=Path, required=True, help="folder of corpus and findings")
    parser.add_argument("--target", action="append", choices=TARGETS, help="some alone; repeatable")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)  # seconds: one target, in this process
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if options.alone:
        fuzz(options.target[0], options.alone, options.out)
        return 0
    targets = options.target or TARGETS
    seconds = max(1, round(60 * options.minutes / len(targets)))
    options.out.mkdir(parents=True, exist_ok=True)
    summary = {}
    print("| target | seconds | executions | edges | features | findings |\n|---|---|---|---|---|---|")
    for target in targets:
        began = time.monotonic()
        words = ["--target", target, "--out", str(options.out), "--alone", str(seconds)]
        ran = subprocess.run(
            [sys.executable, __file__, *words], capture_output=True, text=True, errors="replace"
        )
        (options.out / f"{target}.log").write_text(ran.stderr)
        done = DONE.search(ran.stderr)
        found = {p.name for p in (options.out / "findings").glob(f"{target}-*.txt")}
        for kind in ("crash", "timeout", "oom"):  # as libFuzzer names what ended it
            found |= {p.name for p in (options.out / target).glob(f"{kind}-*")}
        runs, edges, features = (int(number or 0) for number in done.groups()) if done else (0, 0, 0)
        summary[target] = {"seconds": round(time.monotonic() - began), "executions": runs, "edges": edges,
                           "features": features, "findings": sorted(found)}  # fmt: skip
        if not done:
            summary[target]["findings"].append(f"it did not end: {target}.log")
        facts = summary[target] | {"findings": len(summary[target]["findings"])}
        print(f"| {target} | {' | '.join(map(str, facts.values()))} |", flush=True)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if any(facts["findings"] for facts in summary.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
