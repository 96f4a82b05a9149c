"""What the programs of this folder share: options, clock, report, and parts that are small enough to move."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pix2spec.runtime.atomic import write_atomically

__all__ = ["PART", "Session", "join_parts", "parser", "split_parts"]

PART = 15.5 * 2**20  # bytes of a part, at most: with its header it is below 16 MiB


def parser(about: str) -> argparse.ArgumentParser:
    """Options of all programs."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--out", type=Path, required=True, help="folder of all results")
    made.add_argument("--minutes", type=float, required=True, help="end after this time, with what there is")
    made.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    made.add_argument("--tiny", action="store_true", help="networks and samples of a size for tests")
    made.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="processes that simulate and score"
    )
    made.add_argument(
        "--work", type=Path, help="folder for data and runs; else a temporary one, removed at the end"
    )
    return made


class Session:
    """The clock, the report, and the folders of a program.

    Parameters
    ----------
    args : argparse.Namespace
        Of `parser`.
    """

    def __init__(self, args: argparse.Namespace):
        self.args, self.out = args, args.out
        # common.sh asks a program to end that is so late, and kills it at the end of its minutes.
        self.end = args.began + 60 * args.minutes - min(12, 15 * args.minutes)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.out.mkdir(parents=True, exist_ok=True)
        self.work = args.work or Path(tempfile.mkdtemp(prefix="pix2spec-"))
        self.work.mkdir(parents=True, exist_ok=True)
        os.environ["PIX2SPEC_CACHE"] = str(self.work / "cache")
        signal.signal(
            signal.SIGTERM, lambda number, _: sys.exit(128 + number)
        )  # so that what is done is kept
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        self.report = {
            "card": card(),
            "torch": torch.__version__,
            "cores": os.cpu_count(),
            "minutes": args.minutes,
        }
        self.note()

    def left(self, keep: float = 0.0) -> float:
        """Seconds that are left, less those to keep for later."""
        return max(0.0, self.end - time.time() - keep)

    def until(self, seconds: float) -> float:
        """``time.monotonic()`` in so many seconds."""
        return time.monotonic() + seconds

    def note(self, **facts) -> None:
        """Add facts to the report, which is written at once."""
        self.report |= facts
        text = json.dumps(self.report, indent=1, default=str) + "\n"
        write_atomically(self.out / "report.json", lambda path: path.write_text(text))
        if facts:
            passed = time.time() - self.args.began
            print(
                f"{passed:.0f} s: " + ", ".join(f"{name} {value}" for name, value in facts.items()),
                flush=True,
            )

    def close(self) -> None:
        """Remove the temporary folder."""
        if self.args.work is None:
            shutil.rmtree(self.work, ignore_errors=True)


def card() -> str:
    """Name of the GPU, or "CPU"; asked for outside of this process, which may still start others."""
    if not torch.cuda.is_available():
        return "CPU"
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return told.stdout.split("\n")[0]
    return torch.cuda.get_device_name()


def split_parts(tensors: dict[str, torch.Tensor], about: dict, out: Path, stem: str) -> list[Path]:
    """Write tensors as files ``OUT/STEM.K.safetensors`` below 16 MiB; `about` is kept in each."""
    groups, size = [{}], 0
    for name, tensor in sorted(tensors.items()):
        bytes_of = tensor.numel() * tensor.element_size()
        if groups[-1] and size + bytes_of > PART:
            groups.append({})
            size = 0
        groups[-1][name] = tensor.detach().cpu().contiguous()
        size += bytes_of
    metadata = {"about": json.dumps(about, default=str), "parts": str(len(groups))}
    paths = [out / f"{stem}.{k:02d}.safetensors" for k in range(len(groups))]
    for old in set(out.glob(f"{stem}.[0-9][0-9].safetensors")) - set(paths):
        old.unlink()
    for path, group in zip(paths, groups):
        write_atomically(path, lambda to, group=group: save_file(group, to, metadata))
    return paths


def join_parts(folder: Path, stem: str) -> tuple[dict[str, torch.Tensor], dict] | None:
    """The tensors of `split_parts`, and what is known about them; None if a part is missing."""
    paths = sorted(folder.glob(f"**/{stem}.[0-9][0-9].safetensors"))
    if not paths:
        return None
    with safe_open(paths[0], "pt") as stream:
        metadata = stream.metadata()
    if len(paths) != int(metadata["parts"]):
        print(f"{stem}: {len(paths)} of {metadata['parts']} parts are there: not used")
        return None
    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        tensors |= load_file(path)
    return tensors, json.loads(metadata["about"])
