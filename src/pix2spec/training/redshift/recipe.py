"""Train the networks of the redshift model, each without some folds of the real galaxies."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel

from pix2spec.models.redshift.network import RedshiftNetwork
from pix2spec.models.redshift.preset import RedshiftPreset
from pix2spec.models.shared.measurements import Tokens, cat_tokens
from pix2spec.training.checkpoint import load_checkpoint, save_checkpoint
from pix2spec.training.redshift.optimizer import MuonAdam
from pix2spec.training.redshift.samples import AS_MEASURED, VARIED, Samples, Variety

__all__ = ["BROAD", "NARROW", "OUTSIDE", "averaged_weights", "train_network"]

# Galaxies of each sample in a step with broad bands, and in a step with narrow bands (every fourth).
BROAD = {"simulated": 96, "sdss": 160, "mgs": 64, "gama": 160, "deep": 40, "zcosmos": 56, "spectra": 40}
BROAD |= {"fors2": 16}
NARROW = {"simulated": 100, "sdss": 20, "mgs": 12, "gama": 20, "deep": 12, "zcosmos": 20, "spectra": 40}
NARROW |= {"fors2": 8}
OUTSIDE = {"quasars": 40, "stars": 40, "beyond": 24}
SCRAMBLED = 32
WARM_UP, DECAY, EMA = 300, 1e-3, 0.999
CHECKPOINT_SECONDS = 60


@dataclass(frozen=True)
class Part:
    """A part of the training: the learning rate falls from `rate` to zero in half a cosine."""

    rate: float
    narrow: int  # one of so many steps is in narrow bands
    variety: Variety
    shares: dict[str, int]  # galaxies of each sample in a step with broad bands


PARTS = (
    Part(5e-3, 4, VARIED, BROAD),  # galaxies are seen in as many ways as possible
    Part(2.5e-3, 3, AS_MEASURED, BROAD),  # most are seen as their survey measured them
    Part(2e-3, 5, AS_MEASURED, BROAD | {"deep": 150, "spectra": 60}),  # and more of the rarest
)


def part_of(step: int, steps: Sequence[int]) -> tuple[Part, float]:
    """The part of a step, and the learning rate, of a training whose parts have so many `steps`."""
    ends = np.cumsum(steps)
    number = int(np.searchsorted(ends, step, side="right"))
    part, done = PARTS[number], 1 - (ends[number] - step) / steps[number]
    fall = 0.5 * (1 + math.cos(math.pi * done))
    return part, part.rate * min(1, (step + 1) / WARM_UP) * fall + 1e-6


def batch(
    samples: Samples, narrow: bool, rng, part: Part = PARTS[0]
) -> tuple[Tokens, torch.Tensor, torch.Tensor]:
    """Tokens, redshifts, and whether each is outside: a star, a quasar, or colours that no galaxy has."""
    shares = NARROW if narrow else part.shares | OUTSIDE
    shares = {name: n for name, n in shares.items() if name in samples.names}
    tokens, z = samples.draw(shares, narrow, rng, part.variety)
    outside = torch.cat([torch.full((n,), float(name in OUTSIDE)) for name, n in shares.items()])
    if narrow:
        return tokens, z, outside
    chosen = torch.randint(int((1 - outside).sum()), (SCRAMBLED,))  # galaxies come first
    tokens = cat_tokens([tokens, scrambled(tokens[chosen])])
    return tokens, torch.cat([z, z[chosen]]), torch.cat([outside, torch.ones(SCRAMBLED)])


def scrambled(x: Tokens) -> Tokens:
    """Galaxies with colours that no galaxy has: one band is far off, or all are."""
    n, k = x.flux.shape
    offset = torch.empty(n, 1).uniform_(0.8, 3.5) * torch.where(torch.rand(n, 1) < 0.5, -1.0, 1.0)
    one = torch.zeros(n, k).scatter_(1, torch.multinomial(x.seen.float() + 1e-6, 1), 1.0)
    several = (torch.rand(n, k) < 0.5) * torch.randn(n, k) * torch.empty(n, 1).uniform_(0.6, 2.5)
    change = torch.where(torch.rand(n, 1) < 0.6, one * offset, several)
    factor = 10 ** (-0.4 * change)
    return Tokens(x.flux * factor, x.error * factor, x.centre, x.width, x.seen, x.kind, x.extinction)


def _average(average: list, now: list, steps: int) -> None:
    """Move the averaged weights towards those of now: faster at first, when they change fast."""
    share = 1 - min(EMA, (1 + int(steps)) / (10 + int(steps)))
    for a, b in zip(average, now):
        a.lerp_(b, share)


def averaged_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a network that `train_network` trained in `folder`, for ``load_state_dict``."""
    prefix, stored = "average.module.", load_file(folder / "checkpoint.safetensors")
    return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}


def train_network(
    preset: RedshiftPreset, samples: Samples, out: Path, steps: Sequence[int], seed: int, report=print
) -> Path:
    """Train one network; continue where a killed training stopped.

    Parameters
    ----------
    preset : RedshiftPreset
    samples : Samples
        Without the folds that the network must not see.
    out : Path
        Folder of the checkpoint.
    steps : sequence of int
        Number of steps of each of `PARTS`, or of the first of them.
    seed : int
        A step depends on the seed and its number alone.
    report : callable
        Called with a line of text now and then.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network = RedshiftNetwork(preset)
    average = AveragedModel(network, multi_avg_fn=_average)
    optimizer = MuonAdam(network.parameters(), lr=PARTS[0].rate, weight_decay=DECAY)
    step, seconds = 0, 0.0
    if (out / "checkpoint.safetensors").exists():
        step, seconds = load_checkpoint(out / "checkpoint.safetensors", network, average, optimizer)
    began = saved = time.monotonic()
    running = None
    network.train()
    while step < sum(steps):
        torch.manual_seed(seed * 1_000_003 + step)
        part, rate = part_of(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        narrow = (step + 1) % part.narrow == 0
        tokens, z, outside = batch(samples, narrow, np.random.default_rng([seed, step]), part)
        nll, logit = network.losses(tokens, z)
        inside = 1 - outside
        loss = (nll * inside).sum() / inside.sum() + 0.3 * binary_cross_entropy_with_logits(logit, outside)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        step += 1
        running = loss.item() if running is None else 0.995 * running + 0.005 * loss.item()
        if step % 500 == 0:
            report(f"{out.name} step {step} loss {running:.4f} {seconds + time.monotonic() - began:.0f} s")
        if step == sum(steps) or time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = time.monotonic()
            save_checkpoint(out, network, average, optimizer, step, seconds + saved - began)
    return out / "checkpoint.safetensors"
