"""Environments of the programs under test, and one run of each, with limits of time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

RUNNERS = Path(__file__).parent / "runners"
SHARED_FILES = ("common.py", "templates.py")
INTERCHANGE = "pyarrow"  # with which every runner writes its answer
INSTALL_SECONDS, RUN_SECONDS = 1800, 5400
ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
} | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}


class Unusable(Exception):
    """A program that could not be installed or run; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A program under test.

    Parameters
    ----------
    name : str
        In tables and on the command line.
    runner : str
        File in `RUNNERS` that runs it.
    packages : tuple of str
        What pip installs into its environment. None: it runs where pix2spec does.
    learns : str
        What it learns from, for the table.
    about : str
        How it is used.
    arguments : tuple of str
        More arguments of the runner.
    borrows : bool
        Whether its environment sees the packages of this one, such as torch, which takes gigabytes.
    """

    name: str
    runner: str
    packages: tuple[str, ...]
    learns: str
    about: str
    arguments: tuple[str, ...] = ()
    borrows: bool = False

    @property
    def file(self) -> str:
        """Name of its files."""
        return self.name.lower().replace(",", "").replace(" ", "-")

    def key(self, task: Path, models: str) -> str:
        """A hash of what its answer depends on, but for versions and the machine."""
        parts = [self.runner, *self.packages, *self.arguments, "" if self.packages else models]
        parts += [(RUNNERS / name).read_text() for name in (self.runner, *SHARED_FILES)]
        digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=8)
        digest.update(task.read_bytes())
        return digest.hexdigest()


def command(arguments: list, seconds: float, log: Path, environment: dict | None = None) -> None:
    """Run a command and all that it starts, with its output in a file.

    Raises
    ------
    Unusable
        If it fails or takes too long, with the last line that says something.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unusable(f"not ready after {seconds:.0f} s") from None
            raise
    if code:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise Unusable(lines[-1][:300] if lines else f"exit status {code}")


def python_of(peer: Peer, folder: Path) -> Path:
    """The interpreter of the program's environment, which is made unless it is there.

    Raises
    ------
    Unusable
        If the packages cannot be installed, with pip's reason.
    """
    if not peer.packages:
        return Path(sys.executable)
    wanted = (*peer.packages, INTERCHANGE)
    home = folder / "env" / hashlib.blake2b(" ".join(wanted).encode(), digest_size=6).hexdigest()
    python, done, log = home / "bin" / "python", home / "complete", home.with_suffix(".log")
    if not done.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        command([sys.executable, "-m", "venv", "--clear", home], 300, log, _clean())
        if peer.borrows:
            (packages,) = home.glob("lib/python*/site-packages")
            (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        command(
            [python, "-m", "pip", "install", "--quiet", "--no-compile", *wanted],
            INSTALL_SECONDS,
            log,
            _clean(),
        )
        done.write_text(" ".join(wanted))
    return python


def versions(python: Path, peer: Peer) -> dict[str, str]:
    """Versions of the packages that were asked for."""
    if not peer.packages:
        return {}
    ask = "import sys, json; from importlib.metadata import version; "
    ask += "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    return json.loads(subprocess.check_output([python, "-c", ask, *peer.packages], env=_clean(), text=True))


def _clean() -> dict[str, str]:
    """The environment without this interpreter's paths."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@dataclass(frozen=True)
class Run:
    """How a program is run."""

    models: str = ""  # the released models, on which our own answers depend
    again: bool = False  # in any case; else only if its key changed
    limit: float = RUN_SECONDS


def answer(peer: Peer, task: Path, folder: Path, how: Run) -> tuple[Path, dict]:
    """The file of a program's answer, and the record of the run that made it.

    Parameters
    ----------
    peer : Peer
    task : Path
        The file that `peering.galaxies.Task.write` writes.
    folder : Path
        For environments and answers.
    how : Run

    Raises
    ------
    Unusable
        If the program cannot be installed, fails, or takes too long.
    """
    made = folder / "answers" / f"{peer.file}.parquet"
    record, log, key = made.with_suffix(".json"), made.with_suffix(".log"), peer.key(task, how.models)
    if record.exists() and not how.again:
        known = json.loads(record.read_text())
        if known["key"] == key:
            return made, known
    made.parent.mkdir(parents=True, exist_ok=True)
    python = python_of(peer, folder)
    environment = (_clean() if peer.packages else dict(os.environ)) | ONE_THREAD
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
        new = Path(scratch) / "answer.parquet"
        run = [python, RUNNERS / peer.runner, task.resolve(), new.resolve(), *peer.arguments]
        command(run, how.limit, log, environment)
        if not new.exists():
            raise Unusable("it wrote no answer")
        new.replace(made)
    facts = {"key": key, "seconds": time.monotonic() - began, "load": os.getloadavg()[1]}
    facts |= {"versions": versions(python, peer)}
    record.write_text(json.dumps(facts, indent=1) + "\n")
    return made, facts
