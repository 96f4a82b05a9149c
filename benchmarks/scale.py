"""Measure what a large catalogue takes: memory, time with several workers, and the cost of a billion objects.

    python benchmarks/scale.py table --table SKYSERVER.csv --objects 10000
    python benchmarks/scale.py memory --objects 1000 10000 100000 --variant=--no-measure
    python benchmarks/scale.py workers --objects 2048
    python benchmarks/scale.py cost --objects 2048

- `table` generates from a table of magnitudes with the default model, with and without `--no-spectra`, in
  processes of their own, one thread each. The rows repeat, under other ids, until there are enough of them.
  Private memory is sampled (Linux).
- `memory` generates from photometry with a tiny model (200 wavelengths, trained in seconds). Each size runs
  in a process of its own, whose anonymous memory is sampled (Linux).
- `workers` generates with the shipped model in this process on one thread, and on one and two workers of Ray;
  the time to start Ray counts.
- `cost` multiplies the bytes and the seconds of one core by a billion, and divides the operations of the
  networks by an assumed rate of a GPU.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from training_cost import GPU_RATE

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # its tiny models

from pix2spec.data.arrow_rows import to_table
from pix2spec.data.dataset import SHARD, Dataset, new_shards, write_table_atomically
from pix2spec.data.schema import DatasetInfo
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.generate.engines import Engine
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.products.columns import Contents

BILLION = 1e9
PARTS = 500  # simulated galaxies that a large input repeats, under other names


def write_input(folder: Path, objects: int, grid, image: bool) -> Path:
    """Dataset without spectra: `PARTS` simulated galaxies again and again."""
    few = list(SimulatedSurvey(3, grid).galaxies(min(objects, PARTS)))
    few = [
        replace(p, truth={}, flux=None, ivar=None, mask=None, group_id="", image=p.image if image else None)
        for p in few
    ]
    rows, starts = to_table(few, DatasetInfo(grid=grid)), range(0, objects, SHARD)
    place = rows.column_names.index("object_id")
    for start, path in zip(starts, new_shards(folder, len(starts))):
        numbers = np.arange(start, min(start + SHARD, objects))
        names = pa.array([f"galaxy-{i}" for i in numbers])
        part = rows.take(numbers % len(few)).set_column(place, rows.schema.field(place), names)
        write_table_atomically(part, path)
    return folder


def tiny_model(folder: Path) -> Path:
    from pix2spec.training.loop import train
    from support.tiny import GRID, tiny_factorised_preset, write_tiny_survey

    return train(tiny_factorised_preset(), write_tiny_survey(folder / "survey", grid=GRID), folder / "tiny")


def watch(process: subprocess.Popen) -> int:
    """Largest memory of a process in bytes, without pages of files, which the system takes back."""
    peak, counts = 0, Path(f"/proc/{process.pid}/smaps_rollup")
    while process.poll() is None:
        try:
            lines = counts.read_text().splitlines()
        except OSError:
            break
        peak = max([peak, *(int(x.split()[1]) * 1024 for x in lines if x.startswith("Anonymous:"))])
        time.sleep(0.2)
    return peak


def memory(sizes: list[int], options: str) -> None:
    from support.tiny import GRID

    print("| objects | private memory | seconds | objects/s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        model = tiny_model(work)
        for objects in sizes:
            source = write_input(work / f"input-{objects}", objects, GRID, image=False)
            command = [sys.executable, "-m", "pix2spec", "generate", str(source)]
            command += ["--out", str(work / f"out-{objects}"), "--model", str(model), "--use", "photometry"]
            command += ["-n", "5", "--steps", "2", "--no-candidates", *options.split()]
            begin = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            peak = watch(process)
            seconds = time.perf_counter() - begin
            if process.wait():
                raise SystemExit(f"exit code {process.returncode}")
            print(
                f"| {objects:,} | {peak / 2**20:.0f} MiB | {seconds:.0f} | {objects / seconds:.0f} |",
                flush=True,
            )


def repeat_rows(table: Path, objects: int, path: Path) -> Path:
    """A CSV of `objects` rows: those of `table` again and again, numbered."""
    import pandas as pd

    frame = pd.read_csv(table, dtype=str).drop(
        columns=["specobjid", "plate", "mjd", "fiberid"], errors="ignore"
    )
    frame = frame.iloc[[i % len(frame) for i in range(objects)]]
    frame.insert(0, "object_id", [f"row-{i}" for i in range(objects)])
    frame.to_csv(path, index=False)
    return path


def of_table(table: Path, sizes: list[int], variants: list[str]) -> None:
    print("| rows | options | processor seconds | seconds | private memory | catalogue | a row |")
    print("|---|---|---|---|---|---|---|", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as work:
        for objects in sizes:
            source = repeat_rows(table, objects, Path(work) / f"rows-{objects}.csv")
            for number, options in enumerate(variants):
                out = Path(work) / f"out-{objects}-{number}"
                command = [sys.executable, "-m", "pix2spec", "generate", str(source), "--out", str(out)]
                before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                process = subprocess.Popen(
                    [*command, *options.split()], stdout=subprocess.DEVNULL, env=environment
                )
                peak = watch(process)
                seconds = time.perf_counter() - begin
                if process.wait() not in (0, 3):  # 3: some rows have no usable magnitude
                    raise SystemExit(f"exit code {process.returncode}")
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                size = (out / "catalog.parquet").stat().st_size
                print(
                    f"| {objects:,} | {options or 'none'} | {used:.0f} | {seconds:.0f} "
                    f"| {peak / 2**20:.0f} MiB | {size / 1e6:.1f} MB | {size / objects:.0f} B |",
                    flush=True,
                )


def one_run(generator, galaxies: Dataset, out: Path, engine: str, workers: int | None) -> float:
    """Seconds, the start of the engine included."""
    begin = time.perf_counter()
    generate_catalogue(generator, galaxies, out, Settings(), engine=Engine(engine, workers), progress=False)
    return time.perf_counter() - begin


def workers(objects: int) -> None:
    torch.set_num_threads(1)
    generator = load()
    print("| engine | seconds | objects/s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        galaxies = Dataset(write_input(Path(work) / "input", objects, generator.grid, image=True))
        for engine, count in (("local", None), ("ray", 1), ("ray", 2)):
            out = Path(work) / f"{engine}-{count}"
            seconds = one_run(generator, galaxies, out, engine, count)
            name = "local, one thread" if count is None else f"Ray, {count} worker{'s' * (count > 1)}"
            print(f"| {name} | {seconds:.0f} | {objects / seconds:.1f} |", flush=True)


def cost(objects: int, rate: float) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    generator = load()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        galaxies = Dataset(write_input(work / "input", objects, generator.grid, image=True))
        with FlopCounterMode(display=False) as counter:
            list(generator.run([galaxies[0]], "linear", Settings()))
        flops = counter.get_total_flops()
        speed = objects / one_run(generator, galaxies, work / "all", "local", None)
        generate_catalogue(
            generator, galaxies, work / "chosen", Settings(), limit=256, contents=Contents(candidates=False)
        )
        size = (work / "all" / "catalog.parquet").stat().st_size / objects
        small = (work / "chosen" / "catalog.parquet").stat().st_size / min(256, objects)
        received = sum(p.stat().st_size for p in (work / "input").glob("*.parquet")) / objects
    core_hours = BILLION / speed / 3600
    gpu_hours = BILLION * flops / rate / 3600
    print(f"measured, default model, 25 candidates, one core: {speed:.1f} objects/s")
    print(f"  10^9 objects: {core_hours:,.0f} core hours = {core_hours / 1e4 / 24:.1f} days of 10,000 cores")
    print(f"counted: {flops / 1e9:.2f} GFLOP an object in the networks; at an assumed {rate:.1g} FLOP/s")
    print(f"  10^9 objects: {gpu_hours:,.0f} GPU hours in the networks alone, if nothing else were the limit")
    for what, each in (
        ("input, images and photometry", received),
        ("output with all candidates", size),
        ("output without (--no-candidates)", small),
    ):
        print(f"  {what}: {each / 1e3:.0f} kB an object, {each * BILLION / 1e12:,.0f} TB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["table", "memory", "workers", "cost"])
    parser.add_argument("--objects", type=int, nargs="+", required=True)
    parser.add_argument("--table", type=Path, help="a table of magnitudes, as CSV")
    parser.add_argument(
        "--variant",
        action="append",
        help="options of generate, as in --variant=--no-spectra; may be repeated",
    )
    parser.add_argument("--rate", type=float, default=GPU_RATE, help="operations a second of a GPU")
    arguments = parser.parse_args()
    if arguments.what == "table":
        of_table(arguments.table, arguments.objects, arguments.variant or ["", "--no-spectra"])
    elif arguments.what == "memory":
        memory(arguments.objects, " ".join(arguments.variant or []))
    elif arguments.what == "workers":
        workers(arguments.objects[0])
    else:
        cost(arguments.objects[0], arguments.rate)


if __name__ == "__main__":
    main()
