"""Measure how fast spectra are generated, as users run it: galaxies a second, one galaxy alone, the start.

    python benchmarks/throughput.py catalogue --photometry mgs_photometry.npz --against COMMIT
    python benchmarks/throughput.py alone paper start --photometry mgs_photometry.npz
    python benchmarks/throughput.py workers --photometry mgs_photometry.npz --objects 20000
    python benchmarks/throughput.py device --device cuda --batches 64 256 1024 --photometry mgs_photometry.npz

The file of photometry holds AB magnitudes `mag_ugriz` and errors `mag_err_ugriz` (N, 5); galaxies repeat if
more are asked for. Commands of one thread run in processes of their own. Each figure is the median of RUNS.

- `catalogue`: `pix2spec generate TABLE` writes a catalogue of OBJECTS more galaxies, as differences between a
  long and a short run: the start does not count. Galaxies a second of processor time, in three forms. With
  `--against COMMIT`, a checkout of that commit takes turns, and the ratio is that of neighbouring runs.
- `alone`: one galaxy with the model loaded, 25 candidates.
- `paper`: the ratios of times of `benchmarks/speedup.py`.
- `start`: `import pix2spec`, `--help`, `load("default")` and `demo`, in seconds of clock and processor
- `workers`: Ray with one and two workers, with and without its start, and the seconds of the processor of
  each process.
- `device`: batches of `--batches` galaxies on `--device`, in float32 and bfloat16, compiled and not. The
  first batch of each, which compiles, is timed apart. Pixels of candidates are compared with those in float32
  on the CPU: their differences are in units of the standard deviation over candidates.

`benchmarks/scale.py memory` measures memory.
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

HERE = Path(__file__).parents[1]
SHORT = 64  # galaxies of the short run
FORMS = {
    "25 candidates kept": ["--no-measure"],
    "25 candidates kept and measured": [],
    "16 candidates measured, none kept": ["-n", "16", "--no-candidates"],
}
STARTS = {
    "import pix2spec": ["-c", "import pix2spec"],
    "pix2spec --help": ["-m", "pix2spec", "--help"],
    'load("default")': ["-c", "import pix2spec; pix2spec.load('default')"],
    "pix2spec demo": ["-m", "pix2spec", "demo", "--out"],
}


def write_table(path: Path, photometry: Path, objects: int) -> Path:
    """A table of magnitudes with errors."""
    stored = np.load(photometry)
    rows = np.arange(objects) % len(stored["mag_ugriz"])
    cells = np.stack([stored["mag_ugriz"][rows], stored["mag_err_ugriz"][rows]], 2).reshape(objects, -1)
    with open(path, "w") as file:
        file.write("id," + ",".join(f"{band},{band}_err" for band in "ugriz") + "\n")
        file.writelines(f"g{i}," + ",".join(f"{x:.5f}" for x in row) + "\n" for i, row in enumerate(cells))
    return path


def run(arguments: list[str], source: Path = HERE) -> tuple[float, float]:
    """Seconds of the clock and of the processor of a Python process on one thread."""
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=source, stdout=subprocess.DEVNULL, check=True
    )
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def generate(table: Path, options: list[str], source: Path = HERE) -> np.ndarray:
    """Seconds of the clock and of the processor to write a catalogue of a table."""
    with tempfile.TemporaryDirectory() as out:
        command = ["-m", "pix2spec", "generate", str(table), "--out", f"{out}/catalogue", *options]
        return np.array(run(command, source))


def seconds_of(tables: tuple[Path, Path], options: list[str], source: Path) -> float:
    """Seconds of the processor for the galaxies that a long table has more than a short one."""
    short, long = (generate(table, options, source) for table in tables)
    return (long - short)[1]


def catalogue(tables: tuple[Path, Path], objects: int, runs: int, against: str | None, forms) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sources = [HERE]
        if against:
            sources.append(Path(folder) / "other")
            git = ["git", "-C", str(HERE), "worktree"]
            subprocess.run([*git, "add", "--detach", str(sources[1]), against], check=True)
        try:
            print("| galaxies a second of one core | median | least, most | times that before |")
            print("|---|---|---|---|")
            for form in forms:
                spent = [[seconds_of(tables, FORMS[form], source) for source in sources] for _ in range(runs)]
                rate = objects / np.array(spent)
                own = f"{np.median(rate[:, 0]):.0f} | {rate[:, 0].min():.0f}, {rate[:, 0].max():.0f}"
                ratio = f"{np.median(rate[:, 0] / rate[:, 1]):.2f}" if against else ""
                print(f"| {form} | {own} | {ratio} |", flush=True)
        finally:
            if against:
                subprocess.run([*git, "remove", "--force", str(sources[1])], check=True)


def galaxies_of(photometry: Path, count: int) -> list:
    """The first galaxies of a file; they repeat if more are asked for."""
    import pix2spec

    stored = np.load(photometry)
    rows = np.arange(count) % len(stored["mag_ugriz"])
    flux = 10 ** (0.4 * (22.5 - stored["mag_ugriz"][rows].astype(float)))
    ivar = (flux * stored["mag_err_ugriz"][rows] / 1.0857) ** -2
    return [
        pix2spec.Galaxy(f"g{i}", photometry=f, photometry_ivar=v, kind="model")
        for i, (f, v) in enumerate(zip(flux, ivar))
    ]


def alone(photometry: Path, runs: int) -> None:
    import torch

    import pix2spec

    torch.set_num_threads(1)
    model, seconds = pix2spec.load("default", device="cpu"), []
    for galaxy in galaxies_of(photometry, 10 * runs + 5):
        begin = time.perf_counter(), time.process_time()
        model.generate(galaxy, n=25)
        seconds.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    wall, cpu = 1e3 * np.median(seconds[5:], 0)
    print(f"one galaxy alone, 25 candidates: {wall:.1f} ms, {cpu:.1f} ms of the processor", flush=True)


def rates_on(device: str, galaxies: list, batches: list[int], runs: int, compiles=(False, True)):
    """Forms and sizes of batches, with what was measured on them.

    Parameters
    ----------
    device : str
    galaxies : list of Galaxy
        As many as the largest batch has.
    batches : list of int
    runs : int
        Batches after the first one, of which the median counts.
    compiles : sequence of bool
        Whether batches are compiled.

    Yields
    ------
    str, int, float, float, array (2,)
        Form; galaxies in a batch; seconds of the first one; galaxies a second after it; median and 99 % of
        the differences from float32 on the CPU.
    """
    import pix2spec
    from pix2spec.models.generator import Settings

    settings, few = Settings(n=25), galaxies[: min(16, *batches)]
    wanted = spectra(pix2spec.load("default", device="cpu").generate_batch(few, "linear", settings))
    model = pix2spec.load("default", device=device)
    for compiled, bfloat16, batch in itertools.product(compiles, (False, True), batches):
        own, seconds = replace(model, bfloat16=bfloat16, compiled=compiled), []
        for _ in range(1 + runs):
            begin = time.perf_counter()
            made = own.generate_batch(galaxies[:batch], "linear", settings)
            seconds.append(time.perf_counter() - begin)
        off = np.abs(spectra(made[: len(few)]) - wanted) / wanted.std(1, keepdims=True)
        form = ("bfloat16" if bfloat16 else "float32") + (", compiled" if compiled else "")
        yield form, batch, seconds[0], batch / float(np.median(seconds[1:])), np.quantile(off, [0.5, 0.99])


def spectra(ensembles: list) -> np.ndarray:
    """Candidates (N, n, L) without noise."""
    return np.stack([ensemble.noise_free for ensemble in ensembles])


def on_device(device: str, photometry: Path, batches: list[int], runs: int) -> None:
    print(f"| {device} | batch | seconds of the first | galaxies a second | median, 99 % of differences |")
    print("|---|---|---|---|---|")
    galaxies = galaxies_of(photometry, max(batches))
    for form, batch, first, rate, off in rates_on(device, galaxies, batches, runs):
        differences = ", ".join(f"{value:.1g}" for value in off)
        print(f"| {form} | {batch} | {first:.1f} | {rate:.1f} | {differences} |", flush=True)


def start(runs: int) -> None:
    print("| start | seconds | of the processor |\n|---|---|---|")
    for name, command in STARTS.items():
        spent = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as out:
                spent.append(run([*command, f"{out}/demo"] if command[-1] == "--out" else command))
        wall, cpu = np.median(spent, 0)
        print(f"| {name} | {wall:.2f} | {cpu:.2f} |", flush=True)


def role(process: psutil.Process, driver: int) -> str:
    """What a process of a run with Ray does."""
    title = " ".join(process.cmdline())
    if process.pid == driver:
        return "driver"
    return "worker" if title.startswith("ray::_Worker") else "Ray's own"


def processors(arguments: list[str]) -> tuple[float, dict[str, list[tuple[float, float]]]]:
    """Seconds of the clock of a Python process, and of the processor for each process, by role.

    The second number of a process is the part of its main thread.
    """
    environment = os.environ | {"PYTHONPATH": str(HERE / "src"), "OMP_NUM_THREADS": "1"}
    begin = time.perf_counter()
    driver = psutil.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL)
    spent: dict[int, tuple[str, float, float]] = {}
    while driver.poll() is None:
        try:
            for process in [driver, *driver.children(recursive=True)]:
                seconds = sum(process.cpu_times()[:2])
                main = sum(t.user_time + t.system_time for t in process.threads() if t.id == process.pid)
                spent[process.pid] = role(process, driver.pid), seconds, main
        except psutil.Error:  # one has just ended
            pass
        time.sleep(0.25)
    wall = time.perf_counter() - begin
    if driver.returncode:
        raise SystemExit(f"exit code {driver.returncode}")
    roles: dict[str, list[tuple[float, float]]] = {}
    for name, *seconds in spent.values():
        roles.setdefault(name, []).append((seconds[0], seconds[1]))
    return wall, roles


def workers(tables: tuple[Path, Path], objects: int) -> None:
    print("| engine | seconds with the start | galaxies a second with it | without ", end="")
    print("| processor seconds: driver | each worker, its main thread | Ray's own |")
    print("|---|---|---|---|---|---|---|")
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as out:
            options = ["--no-measure", "--engine", "ray", "--workers", str(count)]
            command = ["-m", "pix2spec", "generate"]
            short, _ = processors([*command, str(tables[0]), "--out", f"{out}/short", *options])
            long, spent = processors([*command, str(tables[1]), "--out", f"{out}/long", *options])
        rates = f"{(objects + SHORT) / long:.1f} | {objects / (long - short):.1f}"
        each = "; ".join(f"{total:.1f}, {main:.1f}" for total, main in sorted(spent.get("worker", [])))
        driver, others = (sum(total for total, _ in spent.get(name, [])) for name in ("driver", "Ray's own"))
        print(
            f"| Ray, {count} | {long:.0f} | {rates} | {driver:.1f} | {each} | {others:.1f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="+", choices=["catalogue", "alone", "paper", "start", "workers", "device"]
    )
    parser.add_argument("--photometry", type=Path, required=True, help="npz with mag_ugriz, mag_err_ugriz")
    parser.add_argument("--objects", type=int, default=448)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--against", help="commit to compare with, whose command has the same options")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = SHORT, SHORT + arguments.objects
        tables = tuple(write_table(Path(folder) / f"{n}.csv", arguments.photometry, n) for n in sizes)
        for part in arguments.parts:
            if part == "catalogue":
                catalogue(tables, arguments.objects, arguments.runs, arguments.against, arguments.forms)
            elif part == "alone":
                alone(arguments.photometry, arguments.runs)
            elif part == "paper":
                subprocess.run([sys.executable, HERE / "benchmarks" / "speedup.py"], check=True)
            elif part == "start":
                start(arguments.runs)
            elif part == "device":
                on_device(arguments.device, arguments.photometry, arguments.batches, arguments.runs)
            else:
                workers(tables, arguments.objects)


if __name__ == "__main__":
    main()
