"""Train the default model on a GPU as far as the time goes, and score it on simulated galaxies."""

import json
import sys
import tarfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from session import Session, join_parts, parser, split_parts

import default_model
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.generate.load import load
from pix2spec.runtime.workers import worker_pool
from pix2spec.training.spectrum import foundation, scale
from pix2spec.training.spectrum.recipe import Machine
from pix2spec.training.spectrum.train import RECIPES, train

EVALUATION, WRITING = 0.15, 20.0  # share of the time, and seconds to keep for joining and writing
KEPT = "basis-*.safetensors", "noise-*.safetensors", "*/scale.safetensors", "*/checkpoint.safetensors"
TINY = "--tiny" in sys.argv
if TINY:  # also in the processes that are started
    foundation.BLOCKS, foundation.ITERATIONS, foundation.SIMULATED, scale.BATCHES = 2, 2, 256, 4


def options():
    made = parser(__doc__.split("\n")[0])
    made.add_argument(
        "--data", type=Path, required=True, help="folder of the real tables and spectra, or of its parts"
    )
    made.add_argument(
        "--start", type=Path, help="folder of parts that came back before: training goes on from them"
    )
    made.add_argument("--recipe", choices=RECIPES, default="wide")
    made.add_argument("--steps", type=int, help="of each network in all, over all calls; else the recipe's")
    made.add_argument(
        "--batch", type=int, default=1, help="factor of the galaxies in a step, beyond the recipe's"
    )
    made.add_argument("--test", type=int, default=2048, help="simulated galaxies of the evaluation")
    made.add_argument("--no-compile", action="store_true", help="do not compile the flow")
    return made


def unpacked(session: Session, data: Path) -> Path:
    """The folder of real tables; parts of `pack.sh` are joined first."""
    parts = sorted(data.glob("part.*"))
    if not parts:
        return data
    folder, whole = session.work / "real", session.work / "real.tar"
    with whole.open("wb") as stream:
        for part in parts:
            stream.write(part.read_bytes())
    with tarfile.open(whole) as archive:
        archive.extractall(folder, filter="data")
    return folder


def keep(run: Path, out: Path) -> None:
    """Write what another call needs to go on: averages and moments in 16 bits, weights as they are."""
    tensors, about = {}, {"run.json": (run / "run.json").read_text()}
    for path in sorted(path for pattern in KEPT for path in run.glob(pattern)):
        name = path.relative_to(run).as_posix()
        with safe_open(path, "pt") as stream:
            about[name] = stream.metadata() or {}
        tensors |= {f"{name}|{key}": _short(key, tensor) for key, tensor in load_file(path).items()}
    split_parts(tensors, about, out, "run")


def _short(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.float32 or tensor.ndim == 0:
        return tensor
    if name.startswith("average."):
        return tensor.half()
    return tensor.bfloat16() if name.startswith("adam.") else tensor


def go_on(start: Path, run: Path) -> None:
    """Restore the files of `keep` in a folder of a training."""
    parts = join_parts(start, "run")
    if parts is None:
        return
    tensors, about = parts
    (run / "run.json").write_text(about.pop("run.json"))
    for name, metadata in about.items():
        own = {key.partition("|")[2]: t for key, t in tensors.items() if key.startswith(f"{name}|")}
        short = (torch.float16, torch.bfloat16)
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({k: t.float() if t.dtype in short else t for k, t in own.items()}, run / name, metadata)


def part_of_scores(model: str, n: int, candidates: int, until: float, start: int) -> tuple:
    """Scores of a batch of the first n simulated galaxies, in a process."""
    generator, survey = load(model, device="cpu"), SimulatedSurvey(default_model.TEST_SEED)
    size = min(default_model.BATCH, n - start)
    return default_model.score(generator, survey, size, {"n": candidates}, start, until)


def evaluate(session: Session, run: Path, n: int, candidates: int) -> None:
    """Our evaluation on the simulated test set, in all processes, as far as the time goes."""
    began, until = time.monotonic(), time.time() + session.left(WRITING)
    work, starts = partial(part_of_scores, str(run), n, candidates, until), range(0, n, default_model.BATCH)
    with worker_pool(session.args.processes) as pool:
        parts = [part for part in pool.map(work, starts) if part[0]]
    if not parts:
        return
    columns = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    candidate, truth = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
    scores = {
        "galaxies": len(truth),
        "pixels": {name: default_model.summary(values) for name, values in columns.items()},
        "science": default_model.science(candidate, truth),
    }
    (session.out / "simulated.json").write_text(json.dumps(scores, indent=1, default=float) + "\n")
    session.note(evaluated=len(truth), evaluation_seconds=round(time.monotonic() - began))


def main() -> None:
    args = options().parse_args()
    session, recipe = Session(args), RECIPES[args.recipe]
    if TINY:
        recipe = replace(
            recipe, steps=4, image_steps=2, picture_steps=2, blocks=6, redshift_blocks=4, batch=1, width=32
        )
        args.test = 4
    if args.steps:
        recipe = replace(recipe, steps=args.steps)
    run = session.work / "run"
    run.mkdir(exist_ok=True)
    try:
        if args.start:
            go_on(args.start, run)
        training = session.left(WRITING) * (1 - EVALUATION)
        machine = Machine(
            session.device, args.batch, bfloat16=session.device == "cuda" or TINY,
            compiled=session.device == "cuda" and not args.no_compile, until=time.time() + training,
        )  # fmt: skip
        data = unpacked(session, args.data)
        work = partial(train, data, run, recipe=recipe, resume=True, processes=args.processes)
        try:
            work(machine=machine)
        except Exception as error:  # a compiler may be missing, or fail
            if not machine.compiled:
                raise
            session.note(not_compiled=error)
            work(machine=replace(machine, compiled=False))
        record = json.loads((run / "config.json").read_text())["record"]
        session.note(
            steps=record["steps"],
            of=recipe.steps,
            trained_seconds=round(training - (machine.until - time.time())),
        )
        keep(run, session.out)
        split_parts(
            load_file(run / "model.safetensors"),
            {"config": (run / "config.json").read_text()},
            session.out,
            "model",
        )
        session.note(kept="yes")
        if session.left(WRITING) > 0:
            evaluate(session, run, args.test, 4 if TINY else 25)
    finally:
        if (run / "run.json").exists() and "kept" not in session.report:
            keep(run, session.out)
        session.close()


if __name__ == "__main__":
    main()
