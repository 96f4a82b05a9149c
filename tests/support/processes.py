"""Trainings on several processes of this machine, all of one batch of jobs after one slow import.

Run as ``python processes.py JOBS.json``; a job is {world, preset, overrides, data, out}.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil


def environment() -> dict[str, str]:
    """That of this process, the cache of its tests included, with one thread a process."""
    return os.environ | {"OMP_NUM_THREADS": "1", "TENSORBOARD_QUIET": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_all(jobs: list[dict], folder: Path) -> None:
    """Run the jobs one after the other, each on as many processes as it names."""
    path = folder / "jobs.json"
    path.write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, __file__, str(path)], env=environment(), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def launch(world: int, *arguments, port: int | None = None) -> subprocess.Popen:
    """``torchrun -m pix2spec train ...`` in a session of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={world}"]
    command += [f"--master-port={port or free_port()}", "-m", "pix2spec", "train"]
    return start([*command, *map(str, arguments)])


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        command, env=environment(), start_new_session=True, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def rank_of(launcher: subprocess.Popen, rank: int) -> psutil.Process:
    """The process that the launcher gave `rank`."""
    ranks = psutil.Process(launcher.pid).children()
    return next(p for p in ranks if p.environ().get("RANK") == str(rank))


def _run(job: dict) -> None:
    from pix2spec.models.presets import load_preset
    from pix2spec.training.loop import train

    train(load_preset(job["preset"], job["overrides"]), job["data"], job["out"], progress=False)


def _fork(job: dict, rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        if job["world"] > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["world"]}
            os.environ |= {k: str(v) for k, v in place.items()}
            os.environ |= {"LOCAL_WORLD_SIZE": str(job["world"]), "MASTER_ADDR": "127.0.0.1"}
            os.environ["MASTER_PORT"] = str(port)
        _run(job)
        os._exit(0)
    except BaseException as error:
        import traceback

        traceback.print_exception(error)
        os._exit(1)


if __name__ == "__main__":
    # Before the forks, so that it happens once; these are imported only when they are used.
    import torch._dynamo
    import torch.utils.tensorboard  # noqa: F401

    import pix2spec.training.loop  # noqa: F401

    for job in json.loads(Path(sys.argv[1]).read_text()):
        port = free_port()
        children = [_fork(job, rank, port) for rank in range(job["world"])]
        if any(os.waitpid(child, 0)[1] for child in children):
            sys.exit(f"failed: {job}")
