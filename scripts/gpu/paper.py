"""Train the paper's networks at full size as far as the time goes; score them as in the paper's Table 1."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from session import Session, join_parts, parser, split_parts

from paper_curve import add_points, point, score
from pix2spec.data.dataset import Dataset, shard_paths
from pix2spec.data.simulate import simulate
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.models.presets import load_preset
from pix2spec.models.storage import read_config
from pix2spec.paper.rows import CANDIDATES
from pix2spec.paper.work import has_spectra
from pix2spec.training.loop import train

SHARES = {"contrastive": 0.2, "concat": 0.3, "xattn": 0.5}  # of the time for training
TRAINING = 0.62  # of the time after the simulation
SCORES = (
    ("dpm++", 25, 0.35),
    ("ddpm", None, 0.15),
)  # sampler, evaluations, share of the time for each network
TEST_SEED, WARMUP, WRITING = 2, 200, 12.0  # seconds to keep for writing files
TINY_IMAGE = ("encoder.arch=resnet18", "encoder.channels=[8,8,8,8]")
TINY = {
    "diffusion": (*TINY_IMAGE, "denoiser.width=8", "denoiser.multipliers=[1,1,1,2]", "diffusion.timesteps=6"),
    "contrastive": (*TINY_IMAGE, "contrastive.spectrum_channels=[8,8,8,8]", "contrastive.kernel=5"),
}


def options():
    made = parser(__doc__.split("\n")[0])
    made.add_argument("--galaxies", type=int, default=131_072, help="simulated galaxies to train on")
    made.add_argument(
        "--seed", type=int, default=int(time.time()), help="of these galaxies: new ones each time"
    )
    made.add_argument("--test", type=int, default=1024, help="test galaxies of the fast sampler")
    made.add_argument("--check", type=int, default=64, help="test galaxies of the paper's 250 steps")
    made.add_argument(
        "--start", type=Path, help="folder of parts that came back before: training goes on from them"
    )
    made.add_argument("--only", nargs="+", choices=SHARES, default=list(SHARES), help="networks to train")
    made.add_argument("--training", type=float, default=TRAINING, help="share of the time for training")
    return made


def simulated(session: Session, name: str, n: int, seed: int) -> Path:
    """A folder of simulated galaxies, and memory-mapped copies of its files, both made on all cores."""
    folder = session.work / name
    if not folder.exists():
        simulate(folder, n, seed=seed, progress=False, processes=session.args.processes)
        with ThreadPoolExecutor(session.args.processes) as pool:
            list(pool.map(Dataset, shard_paths(folder)))
    return folder


def preset_of(session: Session, name: str, restarted: bool):
    """The preset of a network at full size, or at a size for tests."""
    workers = 0 if session.device == "cpu" else max(1, min(12, (os.cpu_count() or 1) - 2))
    settings = [f"train.workers={workers}", "train.validate_every=5000", "train.checkpoint_every=100000"]
    settings += [f"train.warmup={WARMUP}"] if restarted else []
    if session.args.tiny:
        task = "contrastive" if name == "contrastive" else "diffusion"
        settings += [*TINY[task], "train.batch_size=8", "train.validation_size=16", "train.workers=0"]
    return load_preset(f"paper-{name}", settings)


def restored(session: Session, name: str) -> Path | None:
    """Folder of the model whose float16 weights came back before; None if there is none."""
    parts = join_parts(session.args.start, f"paper-{name}") if session.args.start else None
    if parts is None:
        return None
    folder = session.work / f"start-{name}"
    folder.mkdir(exist_ok=True)
    save_file(parts[0], folder / "model.safetensors")
    (folder / "config.json").write_text(parts[1]["config"])
    return folder


def trained(session: Session, name: str, data: Path, seconds: float) -> Path:
    """Train a network for a while; its weights go to OUT as float16."""
    start, began = restored(session, name), time.monotonic()
    run = train(
        preset_of(session, name, start is not None), data, session.work / f"paper-{name}", progress=False,
        init=start, minutes=seconds / 60,
    )  # fmt: skip
    weights = load_file(run / "model.safetensors")
    halves = {key: t.half() if t.is_floating_point() else t for key, t in weights.items()}
    split_parts(halves, {"config": (run / "config.json").read_text()}, session.out, f"paper-{name}")
    record, passed = read_config(run)["record"], time.monotonic() - began
    samples = record["steps"] * preset_of(session, name, False).train.batch_size
    session.note(**{
        f"{name} samples": record["samples_seen"], f"{name} samples/s": round(samples / passed, 1),
        f"{name} loss": record["validation_loss"], f"{name} seconds": round(passed),
    })  # fmt: skip
    return run


def in_bfloat16(module: torch.nn.Module, device: str) -> None:
    """Let a module compute in bfloat16 and return float32."""
    forward = module.forward

    def call(*inputs):
        with torch.autocast(device, torch.bfloat16):
            return forward(*inputs).float()

    module.forward = call


def scored(session: Session, run: Path, ranker: Path | None, test: Path, seconds: float) -> None:
    """Add the scores of a network to OUT/points.csv, by both samplers, as far as the time goes."""
    dataset, tiny = Dataset(test), session.args.tiny
    index, generator = has_spectra(dataset), load(run, ranker)
    in_bfloat16(generator.model.denoiser, session.device)
    for (sampler, steps, share), n in zip(SCORES, (session.args.test, session.args.check)):
        settings = Settings(
            n=6 if tiny else CANDIDATES, select="all", sampler=sampler, steps=2 if tiny and steps else steps
        )
        until = session.until(min(seconds * share / sum(part for *_, part in SCORES), session.left(WRITING)))
        began, processes = time.monotonic(), 0 if session.device == "cpu" else session.args.processes
        rows = score(
            generator, dataset, index[:n], settings, until, chunk=2 if tiny else 32, processes=processes
        )
        if rows:
            line = point(run, ranker, settings, rows) | {"device": session.report["card"]}
            add_points(session.out / "points.csv", [line])
        rate = len(rows) / (time.monotonic() - began)
        session.note(**{f"{run.name} {sampler}": f"{len(rows)} galaxies, {rate:.2f} a second"})


def main() -> None:
    args = options().parse_args()
    if args.tiny:
        args.galaxies, args.test, args.check = 256, 4, 2
    session = Session(args)
    try:
        data = simulated(session, "train", args.galaxies, args.seed)
        test = simulated(session, "test", args.test, TEST_SEED)
        session.note(galaxies=args.galaxies, simulated="yes")
        whole = session.left(WRITING) * args.training
        runs = {}
        for name in args.only:
            share = SHARES[name] / sum(SHARES[other] for other in args.only)
            seconds = min(whole * share, session.left(2 * WRITING))
            if seconds > 0:
                runs[name] = trained(session, name, data, seconds)
        ranker = runs.get("contrastive") or restored(session, "contrastive")
        networks = [run for name, run in runs.items() if name != "contrastive"]
        for k, run in enumerate(networks):
            if session.left(WRITING):
                scored(session, run, ranker, test, session.left(WRITING) / (len(networks) - k))
    finally:
        session.close()


if __name__ == "__main__":
    main()
