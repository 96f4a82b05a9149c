"""Measure speed and memory of `pix2spec data sdss` against a server on this machine.

    python benchmarks/sdss_build.py --objects 1000 20000

Each build runs in a process of its own, without a limit on requests; the server runs in another process.
Peak memory is the sampled sum over all processes of the build (proportional set size). If it grows from the
smallest to the largest build, there is a leak. The server counts requests and bytes.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
ALL = 500_000  # objects that times, disk and requests are extrapolated to


def start_server(objects: int):
    """The server's process and its address."""
    command = [sys.executable, "-m", "support.loopback.server", "--objects", str(objects)]
    process = subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def memory(process) -> int:
    """Bytes of a process and its children; pages that they share count once."""
    import psutil

    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def watch(process: subprocess.Popen, found: list[int]) -> None:
    import psutil

    try:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            found[0] = max(found[0], memory(watched))
            time.sleep(0.2)
    except psutil.NoSuchProcess:
        return


def measure(objects: int, images: str, rate: float, workers: int, folder: Path) -> dict:
    """One build from nothing."""
    server, url = start_server(objects)
    out = folder / f"{objects}-{images}"
    try:
        command = [str(Path(sys.executable).with_name("pix2spec")), "data", "sdss", str(out), "--mirror", url]
        command += ["--images", images, "--rate", str(rate), "--workers", str(workers)]
        begin, peak = time.perf_counter(), [0]
        build = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        watcher = threading.Thread(target=watch, args=(build, peak))
        watcher.start()
        text = build.communicate()[0]
        seconds = time.perf_counter() - begin
        watcher.join()
        # Some spectra are too short, as in the real survey. 3: an image at a frame's edge is not there.
        written = re.search(r"Wrote ([\d,]+) objects", text)
        if build.returncode not in (0, 3) or int(written[1].replace(",", "")) < 0.99 * objects:
            raise RuntimeError(text)
        with urllib.request.urlopen(f"{url}/requests") as answer:
            seen = json.load(answer).values()
    finally:
        server.terminate()
        server.wait()
    return {
        "objects": objects,
        "seconds": seconds,
        "peak": peak[0],
        "requests": sum(one["requests"] for one in seen),
        "received": sum(one["bytes"] for one in seen),
        "disk": sum(p.stat().st_size for p in out.glob("*.parquet")),
        "plan": sum(p.stat().st_size for p in (out / "build").iterdir()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--images", default="cutouts", help="cutouts, jpeg, frames or none")
    parser.add_argument("--rate", type=float, default=100_000.0, help="requests a second, at most")
    parser.add_argument("--workers", type=int, default=8, help="connections at a time")
    parser.add_argument("--polite", type=float, default=10.0, help="requests a second of the extrapolation")
    arguments = parser.parse_args()
    print("| objects | objects/s | peak memory, all processes | requests | received | on disk |")
    print("|---|---|---|---|---|---|")
    found = []
    for objects in arguments.objects:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            one = measure(objects, arguments.images, arguments.rate, arguments.workers, Path(folder))
        found.append(one)
        each = objects / one["seconds"]
        print(
            f"| {objects:,} | {each:.1f} | {one['peak'] / 2**20:.0f} MiB | {one['requests'] / objects:.2f} "
            f"an object | {one['received'] / objects / 1e3:.0f} kB an object | "
            f"{one['disk'] / objects / 1e3:.0f} kB an object |",
            flush=True,
        )
    last, n = found[-1], found[-1]["objects"]
    times = ALL / n
    requests = last["requests"] * times
    sizes = [f"{last[name] * times / 1e9:.2f} GB" for name in ("received", "disk", "plan")]
    hours = [last["seconds"] * times / 3600, requests / arguments.polite / 3600]
    print(
        f"\n{ALL:,} objects: {requests / 1e6:.2f} million requests, {sizes[0]} to fetch, {sizes[1]} of "
        f"shards and {sizes[2]} of plan; {hours[0]:.1f} h at this speed, {hours[1]:.1f} h at "
        f"{arguments.polite:g} requests a second"
    )
    if len(found) > 1:
        print(f"Peak memory grew by {(last['peak'] - found[0]['peak']) / 2**20:.0f} MiB from the first build")


if __name__ == "__main__":
    main()
