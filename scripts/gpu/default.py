"""Train the default model on a GPU as far as the time goes, and score it on simulated galaxies."""

import json
import shutil
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
FITTED = "basis-*.safetensors", "noise-*.safetensors", "network-*/scale.safetensors"
TINY = "--tiny" in sys.argv
if TINY:  # also in the processes that are started
    foundation.BLOCKS, foundation.ITERATIONS, foundation.SIMULATED, scale.BATCHES = 2, 2, 256, 4
CHECKPOINTS = "network-*/checkpoint.safetensors", "pictures/checkpoint.safetensors"


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


def stem_of(path: Path, run: Path) -> str:
    """Name of a file's parts: all its folders are in it."""
    return path.relative_to(run).with_suffix("").as_posix().replace("/", "+")


def keep(run: Path, out: Path) -> None:
    """Write what another call needs to go on: averages and moments as 16 bits, weights as they are."""
    for pattern in (*FITTED, *CHECKPOINTS):
        for path in sorted(run.glob(pattern)):
            with safe_open(path, "pt") as stream:
                about = stream.metadata() or {}
            tensors = {name: _short(name, tensor) for name, tensor in load_file(path).items()}
            split_parts(tensors, about, out, stem_of(path, run))
    shutil.copy(run / "run.json", out / "run.json")


def _short(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.float32 or tensor.ndim == 0:
        return tensor
    if name.startswith("average."):
        return tensor.half()
    return tensor.bfloat16() if name.startswith("adam.") else tensor


def go_on(start: Path, run: Path) -> None:
    """Restore the files of `keep` in a folder of a training."""
    stems = {path.name.rsplit(".", 2)[0] for path in start.glob("**/*.[0-9][0-9].safetensors")}
    for stem in sorted(stems):
        parts = join_parts(start, stem)
        if parts is not None:
            path = run / (stem.replace("+", "/") + ".safetensors")
            path.parent.mkdir(parents=True, exist_ok=True)
            full = {
                k: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for k, t in parts[0].items()
            }
            save_file(full, path, {k: str(v) for k, v in parts[1].items()})
    stored = next(start.glob("**/run.json"), None)
    if stored is not None:
        shutil.copy(stored, run / "run.json")


def part_of_scores(model: str, n: int, candidates: int, until: float, start: int) -> tuple:
    """Scores of some simulated galaxies, in a process."""
    generator, survey = load(model, device="cpu"), SimulatedSurvey(default_model.TEST_SEED)
    return default_model.score(generator, survey, n, {"n": candidates}, start, until)


def evaluate(session: Session, run: Path, n: int, candidates: int) -> None:
    """Our evaluation on the simulated test set, in all processes, as far as the time goes."""
    began, until = time.monotonic(), time.time() + session.left(WRITING)
    size = default_model.BATCH
    work = partial(part_of_scores, str(run), size, candidates, until)
    with worker_pool(session.args.processes) as pool:
        parts = [part for part in pool.map(work, range(0, n, size)) if part[0]]
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
    if args.tiny:
        recipe = replace(recipe, steps=4, picture_steps=2, blocks=6, redshift_blocks=4, batch=1, width=32)
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
            session.device, args.batch, bfloat16=session.device == "cuda" or args.tiny,
            compiled=session.device == "cuda" and not args.no_compile, until=time.time() + training,
        )  # fmt: skip
        train(
            unpacked(session, args.data),
            run,
            recipe=recipe,
            resume=True,
            processes=args.processes,
            machine=machine,
        )
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
            evaluate(session, run, args.test, 4 if args.tiny else 25)
    finally:
        if (run / "run.json").exists() and "kept" not in session.report:
            keep(run, session.out)
        session.close()


if __name__ == "__main__":
    main()
