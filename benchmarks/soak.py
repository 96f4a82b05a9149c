"""Generate for a long time while writes fail and workers are killed; check that no object changes or is lost.

    python benchmarks/soak.py --minutes 30 --out soak.json

Each round generates a catalogue of the same simulated galaxies. In some rounds writes fail at random in
this process ("no space left", "input/output error"). In the others two workers of a Ray cluster make the
shards, and a worker is killed (SIGKILL) now and then. `generate --resume` continues a round that stopped
with an error, until its catalogue is complete. The catalogue is then compared with that of an undisturbed
run: every object once, and the same spectra. A straight line through the memory of this process, over all
rounds but the first, shows leaks.
"""

import argparse
import errno
import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pix2spec.data.dataset import Dataset
from pix2spec.data.simulate import simulate
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.generate.engines import Engine
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.products import shards
from pix2spec.products.catalogue import CatalogueWriter, open_catalogue

SETTINGS = Settings(n=4, select="all", steps=4)
FAULTS = {errno.ENOSPC: "no space left", errno.EIO: "input/output error"}
WORKER = "ray::_Worker"  # how the processes of workers are called


@contextmanager
def failing_writes(rng, probability: float, counts: dict):
    """Rows are lost in a write that fails, before or after some of its bytes are on the disk."""
    write, replace = CatalogueWriter._flush, os.replace

    def fail(what):
        if rng.random() < probability:
            number = rng.choice(list(FAULTS))
            counts[FAULTS[number]] = counts.get(FAULTS[number], 0) + 1
            raise OSError(int(number), f"{os.strerror(number)} (on purpose, {what})")

    def flush(self):
        fail("before a write")
        write(self)
        fail("after a write")

    def rename(*names):
        fail("at a rename")
        replace(*names)

    CatalogueWriter._flush, os.replace = flush, rename
    try:
        yield
    finally:
        CatalogueWriter._flush, os.replace = write, replace


@contextmanager
def dying_workers(rng, seconds: float, counts: dict):
    """One of Ray's workers is killed every so often, `seconds` apart in the mean."""
    import psutil

    over = threading.Event()

    def kill():
        while not over.wait(rng.exponential(seconds)):
            workers = [p for p in psutil.Process().children(recursive=True) if WORKER in p.name()]
            workers = workers or [p for p in psutil.process_iter(["name"]) if WORKER in p.info["name"]]
            if workers:
                workers[rng.integers(len(workers))].kill()
                counts["worker killed"] = counts.get("worker killed", 0) + 1

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def contents(out: Path) -> dict[str, np.ndarray]:
    """Chosen spectra by object id; twice the same id is an error."""
    catalogue = open_catalogue(out)
    rows = catalogue.read(["object_id", "flux"])
    ids = rows["object_id"].to_pylist()
    assert len(set(ids)) == len(ids), "an object twice"
    return dict(zip(ids, np.stack(rows["flux"].to_numpy())))


def one_round(generator, galaxies, out: Path, engine: Engine, faults) -> int:
    """Generate until the catalogue is complete; returns how often that was interrupted."""
    stops = 0
    while True:
        try:
            with faults():
                generate_catalogue(
                    generator, galaxies, out, SETTINGS, batch=16, progress=False, resume=True, engine=engine
                )
            return stops
        except OSError:
            if (out / "catalog.parquet").exists():  # the last step had worked
                return stops
            stops += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--objects", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("soak.json"))
    arguments = parser.parse_args()
    import psutil

    shards.SHARD = 16
    rng, counts, memory = np.random.default_rng(arguments.seed), {}, []
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    simulate(folder / "galaxies", arguments.objects, seed=arguments.seed, progress=False)
    generator, galaxies = load(), Dataset(folder / "galaxies")
    generate_catalogue(generator, galaxies, folder / "clean", SETTINGS, batch=16, progress=False)
    clean = contents(folder / "clean")
    scale = np.median([np.abs(flux).mean() for flux in clean.values()])
    begin, rounds, stops = time.monotonic(), {"local": 0, "ray": 0}, 0
    lost = extra = changed = 0
    while time.monotonic() - begin < 60 * arguments.minutes:
        name = "local" if arguments.without_ray or rng.random() < 0.7 else "ray"
        engine = Engine(name, workers=2 if name == "ray" else None)
        if name == "local":
            faults = lambda: failing_writes(rng, 0.02, counts)  # noqa: E731
        else:
            faults = lambda: dying_workers(rng, 40, counts)  # noqa: E731
        out = folder / "round"
        stops += one_round(generator, galaxies, out, engine, faults)
        found = contents(out)
        lost += len(clean.keys() - found.keys())
        extra += len(found.keys() - clean.keys())
        changed += sum(np.abs(found[i] - clean[i]).max() > 1e-3 * scale for i in clean.keys() & found.keys())
        shutil.rmtree(out)
        rounds[name] += 1
        memory.append(((time.monotonic() - begin) / 3600, psutil.Process().memory_info().rss / 2**20))
        print(
            f"{memory[-1][0] * 60:5.1f} min  {rounds}  {counts}  lost {lost}  {memory[-1][1]:.0f} MB",
            flush=True,
        )
    hours, megabytes = np.array(memory[1:]).T
    report = {
        "minutes": (time.monotonic() - begin) / 60,
        "rounds": rounds,
        "objects": sum(rounds.values()) * arguments.objects,
        "faults": counts,
        "runs stopped and gone on with": stops,
        "lost": lost,
        "twice": extra,
        "changed": int(changed),
        "memory (MB)": [float(megabytes[0]), float(megabytes[-1])],
        "memory slope (MB/h)": float(np.polyfit(hours, megabytes, 1)[0]),
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
