"""Trials: does the shape of a galaxy in its picture sharpen redshifts, beyond photometry?

    python benchmarks/shape_trials.py --data DIR [--trials NAME,NAME] [--steps 500] [--camera steady]

A network sees pictures without brightness and mean colours, and gives a factor of p(z | photometry). It is
trained on the residuals of the redshift model: on simulated galaxies with redshifts, and, in some trials, on
real pictures without spectra of `gz2_images.npz`. It is scored on simulated galaxies that it never saw, and
on 38 real ones with a colour picture and a spectrum (`sdss_pairs.npz`), neither of which training saw.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pictures import read_pairs
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import SDSS
from pix2spec.data.measurements import Measurements
from pix2spec.data.readers.picture_photometry import measure_picture
from pix2spec.data.simulate.survey import BLOCK, SimulatedSurvey
from pix2spec.models.redshift.brightness import answer
from pix2spec.models.redshift.posterior import GRID, from_y, to_y
from pix2spec.models.shape.network import ShapeModel
from pix2spec.models.shape.preset import ShapePreset
from pix2spec.models.shape.view import ShapeView, shape_view
from pix2spec.models.storage import find_model, load_model
from pix2spec.training.real_sky import load_real
from pix2spec.training.shape import read_pictures, shown_again, views_of

SEED, BLOCKS, HELD, REAL = 5151, 96, 12, 2560  # held: blocks for scores; real: pictures
BATCH, RATE, DECAY, WARM = 96, 2e-3, 0.02, 50
EDGES = np.linspace(GRID[0], GRID[-1], 257)  # coarse cells in y
MIDDLES = torch.from_numpy((EDGES[1:] + EDGES[:-1]) / 2).float()
NODES = 41
GRI, STRETCH, TINY = SDSS.filters[1:4], STRETCHES["sdss"], 1e-9


@dataclass(frozen=True)
class Lessons:
    """Weights of the losses."""

    simulated: float = 1.0  # log likelihood of true redshifts
    targets: float = 0.0  # real pictures: cross entropy with p(z) of their own photometry
    consistency: float = 0.0  # divergence between the answers for a real picture and for it shown again
    alignment: float = 0.0  # maximum mean discrepancy of embeddings, simulated and real


TRIALS = {
    "simulated": Lessons(), "targets": Lessons(targets=1.0), "consistency": Lessons(consistency=1.0),
    "alignment": Lessons(alignment=0.5), "all": Lessons(targets=1.0, consistency=1.0, alignment=0.5),
}  # fmt: skip


class Factor(nn.Module):
    """A factor of redshift distributions from views."""

    def __init__(self, numbers: torch.Tensor):
        super().__init__()
        preset = ShapePreset.released()
        self.shape = ShapeModel(preset, SpectralGrid())
        self.shape.number_mean.copy_(numbers.mean(0))
        self.shape.number_sd.copy_(numbers.std(0).clamp(min=0.05))
        self.shape.number_mean[1], self.shape.number_sd[1] = 0, 1  # whether the scale is known
        width = preset.width
        layers = nn.SiLU(), nn.Linear(width + 1, width), nn.SiLU(), nn.Linear(width, NODES)
        self.layers = nn.Sequential(*layers)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, embedding: torch.Tensor, cells: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Log factors (N, G) at y (G,) or (N, G), of galaxies with p(z) `cells` (N, 256)."""
        mass = cells / cells.sum(1, keepdim=True)
        mean = (mass * MIDDLES).sum(1, keepdim=True)
        spread = (mass * (MIDDLES - mean) ** 2).sum(1, keepdim=True).sqrt().clamp(0.01, 2)
        nodes = self.layers(torch.cat([embedding, spread.log()], 1))
        place = ((y - GRID[0]) / (GRID[-1] - GRID[0]) * (NODES - 1)).clamp(0, NODES - 1.001)
        place = place.expand(len(nodes), -1)
        k, share = place.long(), place - place.floor()
        return nodes.gather(1, k) * (1 - share) + nodes.gather(1, k + 1) * share


def cells_of(model, galaxies: list[Measurements], fold: int | None = None) -> torch.Tensor:
    """p(z) of the redshift model in coarse cells (N, 256)."""
    posterior, _ = answer(model, galaxies, fold=fold)
    cdf = np.stack([posterior._cdf(np.full(len(galaxies), y)) for y in EDGES], 1)
    return torch.from_numpy(np.diff(cdf, axis=1)).float()


def fluxes(names, flux, error, **more) -> list[Measurements]:
    """Fluxes in the fibre of galaxies, arrays (N, band)."""
    kinds = ("fibre",) * len(names)
    return [Measurements(names, f, e, kinds, extinction="observed", **more) for f, e in zip(flux, error)]


def simulated(model, blocks: range, camera: str) -> dict:
    """Views of simulated galaxies, true y, and p(z) from three kinds of photometry."""
    survey, parts = SimulatedSurvey(SEED, camera=camera), []
    for number in blocks:
        rng, block = np.random.default_rng([SEED, number, 1]), survey.block(number)
        images, flux = block["image"].astype(np.float32), np.maximum(block["photometry"], 1e-3)
        error, gri, n = 1 / np.sqrt(block["photometry_ivar"]), flux[:, 1:4], BLOCK
        light = images * 10 ** (0.12 * rng.normal(size=(n, 1, 1, 1)))
        light = light * np.exp(0.03 * rng.normal(size=(n, 3, 1, 1)))
        colour = np.clip(np.rint(STRETCH.shown(light) + rng.normal(size=images.shape)), 0, 255)
        told = gri * np.exp(0.05 * rng.normal(size=gri.shape)) * 10 ** (0.14 * rng.normal(size=(n, 1)))
        scale = torch.from_numpy(SDSS.pixel_scale * np.exp(0.02 * rng.normal(size=n))).float()
        parts.append({
            "colour": views_of(colour.astype(np.float32)),
            "linear": shape_view(torch.from_numpy(images), scale),
            "y": torch.from_numpy(to_y(block["z"])).float()[:, None],
            "colour gri": cells_of(model, fluxes(GRI, told, 0.05 * told, brightness_error=0.35)),
            "linear gri": cells_of(model, fluxes(GRI, gri, np.hypot(error[:, 1:4], 0.02 * gri))),
            "ugriz": cells_of(model, fluxes(SDSS.filters, flux, error)),
        })  # fmt: skip
    return {name: joined([part[name] for part in parts]) for name in parts[0]}


def joined(parts: list):
    """Views or tensors, one after another."""
    if isinstance(parts[0], ShapeView):
        return ShapeView(torch.cat([p.image for p in parts]).half(), torch.cat([p.numbers for p in parts]))
    return torch.cat(parts)


def real(model, data: Path) -> dict:
    """Views of real pictures without spectra, as they are and shown again, and p(z) of their photometry."""
    pictures = read_pictures(data)[0][:REAL]
    found = [measure_picture(picture, "composite").measurements for picture in pictures]
    good = [k for k, m in enumerate(found) if len(m.filters) == len(GRI)]
    again = shown_again(pictures[good], np.random.default_rng(SEED))
    cells = [cells_of(model, [found[k] for k in good[i : i + 128]]) for i in range(0, len(good), 128)]
    return {"view": views_of(pictures[good]), "again": views_of(again), "cells": torch.cat(cells)}


def train(net: Factor, sim: dict, sky: dict | None, lessons: Lessons, steps: int) -> None:
    """Train; a step depends on its number alone."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    net.train()
    for step in range(steps):
        torch.manual_seed(step)
        cool = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM) * cool + 1e-6
        kind = ("colour", "linear")[step % 2]
        rows = torch.randint(len(sim["y"]), (BATCH,))
        embedding = net.shape.embed(noisy(sim[kind][rows], net))
        one_of_two = (torch.rand(BATCH) < 0.5)[:, None]
        cells = torch.where(one_of_two, sim[f"{kind} gri"][rows], sim["ugriz"][rows])
        loss = lessons.simulated * likelihood(net, embedding, cells, sim["y"][rows])
        if kind == "colour" and sky is not None:
            loss = loss + of_real(net, sky, lessons, embedding)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.eval()


def noisy(view: ShapeView, net: Factor) -> ShapeView:
    """Views mirrored at random, and with noise."""
    image = as_float(view).image
    for axis in (2, 3):
        image = image.flip(axis) if torch.rand(()) < 0.5 else image
    noise = torch.randn_like(image[:, :1]) * (0.09 * torch.rand(len(image), 1, 1, 1))
    image = image + noise * torch.tensor([1.0, 0.5, 0.5])[:, None, None]
    return ShapeView(image, view.numbers + 0.05 * torch.randn_like(view.numbers) * net.shape.number_sd)


def as_float(view: ShapeView) -> ShapeView:
    """The view in single precision."""
    return ShapeView(view.image.float(), view.numbers)


def likelihood(net: Factor, embedding, cells, y) -> torch.Tensor:
    """Minus the mean gain in log density at the true y (B, 1) over photometry."""
    log_mass = torch.log(cells + TINY)
    total = torch.logsumexp(log_mass + net(embedding, cells, MIDDLES), 1) - torch.logsumexp(log_mass, 1)
    return (total - net(embedding, cells, y)[:, 0]).mean()


def of_real(net: Factor, sky: dict, lessons: Lessons, embedding) -> torch.Tensor:
    """Losses of real pictures."""
    rows = torch.randint(len(sky["cells"]), (BATCH,))
    cells, theirs = sky["cells"][rows], net.shape.embed(as_float(sky["view"][rows]))
    cells = cells / cells.sum(1, keepdim=True)
    log_mass, log_factor, loss = torch.log(cells + TINY), net(theirs, cells, MIDDLES), torch.zeros(())
    if lessons.targets:
        gain = (cells * log_factor).sum(1) - torch.logsumexp(log_mass + log_factor, 1)
        loss = loss - lessons.targets * gain.mean()
    if lessons.alignment:
        loss = loss + lessons.alignment * discrepancy(embedding, theirs)
    if lessons.consistency:
        other = net(net.shape.embed(as_float(sky["again"][rows])), cells, MIDDLES)
        p, q = ((log_mass + values).log_softmax(1) for values in (log_factor, other))
        loss = loss + lessons.consistency * ((p.exp() - q.exp()) * (p - q)).sum(1).mean()
    return loss


def discrepancy(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13:723) of samples (n, D) and (m, D)."""
    distance = torch.cdist(torch.cat([a, b]), torch.cat([a, b])).square()
    unit = distance.detach().mean().clamp(min=1e-12)
    kernel = sum(torch.exp(-distance / (unit * width)) for width in (0.25, 0.5, 1.0, 2.0))
    n = len(a)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def crps_of(name: str, cells: torch.Tensor, z: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Print scores of p(z) in cells (N, 256); CRPS (N,)."""
    mass = (cells / cells.sum(1, keepdim=True)).double().numpy()
    edges = np.hstack([np.zeros((len(z), 1)), mass.cumsum(1)])
    draws = from_y(np.array([np.interp(np.linspace(0.01, 0.99, 99), row, EDGES) for row in edges]))
    low, middle, high = draws[:, 15], draws[:, 49], draws[:, 83]
    dz = (middle - z) / (1 + z)
    pairs = np.abs(draws[:, :, None] - draws[:, None]).mean((1, 2))
    crps = np.abs(draws - z[:, None]).mean(1) - pairs / 2
    text = f"CRPS {crps.mean():.5f}  bias {np.median(dz):+.4f}"
    text += f"  sigma_NMAD {1.4826 * np.median(np.abs(dz - np.median(dz))):.4f}"
    text += f"  inside 68 %: {100 * np.mean((z > low) & (z < high)):.0f} %"
    if before is not None:
        change, rng = crps - before, np.random.default_rng(0)
        error = np.std([change[rng.integers(0, len(z), len(z))].mean() for _ in range(1000)])
        text += f"  CRPS changes by {100 * change.mean() / before.mean():+.1f} ± "
        text += f"{100 * error / before.mean():.1f} %"
    print(f"  {name:26s} {text}", flush=True)
    return crps


def exams(model, data: Path, sim: dict) -> list[tuple]:
    """What is scored: name, views, p(z) of photometry, true z."""
    table = load_real(data)["spectra"]
    fold, place = np.full(table.row.max() + 1, -1), np.full(table.row.max() + 1, -1)
    fold[table.row], place[table.row] = table.fold, np.arange(len(table))
    pairs = read_pairs(data, fold)
    assert pairs.fold is not None
    own = [measure_picture(picture, "composite").measurements for picture in pairs.pictures]
    rows = place[pairs.row]
    given = fluxes(SDSS.filters, table.flux[rows], table.error[rows])
    by_fold = [[cells_of(model, [m], int(k)) for m, k in zip(some, pairs.fold)] for some in (own, given)]
    view, z = views_of(pairs.pictures), from_y(sim["y"][:, 0].double().numpy())
    kinds = [("colour", "colour gri"), ("colour", "ugriz"), ("linear", "linear gri"), ("linear", "ugriz")]
    made = [(f"simulated {k}, {p.split()[-1]}", sim[k], sim[p], z) for k, p in kinds]
    made.append(("real, picture alone", view, torch.cat(by_fold[0]), pairs.z))
    return [*made, ("real, picture and ugriz", view, torch.cat(by_fold[1]), pairs.z)]


@torch.no_grad()
def sharpened(net: Factor, view: ShapeView, cells: torch.Tensor) -> torch.Tensor:
    """p(z) in cells (N, 256), times the factor."""
    return cells * net(net.shape.embed(as_float(view)), cells, MIDDLES).exp()


def run(data: Path, trials: list[str], steps: int, camera: str) -> None:
    """Print all tables."""
    torch.set_num_threads(1)
    model = load_model(find_model("redshift"))[0]
    sim, held = (simulated(model, blocks, camera) for blocks in (range(HELD, BLOCKS), range(HELD)))
    sky = real(model, data)
    every = exams(model, data, held)
    print("photometry alone")
    before = [crps_of(name, cells, z) for name, _, cells, z in every]
    for trial in trials:
        torch.manual_seed(1)
        net = Factor(torch.cat([sim["colour"].numbers, sim["linear"].numbers]))
        train(net, sim, sky, TRIALS[trial], steps)
        print(trial)
        for (name, view, cells, z), crps in zip(every, before):
            crps_of(name, sharpened(net, view, cells), z, crps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the real galaxies")
    parser.add_argument("--trials", default=",".join(TRIALS), help="names, separated by commas")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--camera", default="steady", help="of the simulated pictures: steady or unruly")
    arguments = parser.parse_args()
    run(arguments.data, arguments.trials.split(","), arguments.steps, arguments.camera)
