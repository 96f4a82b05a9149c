"""Train the shape model on real galaxies: pictures with types, and spectra with types.

Neither needs the other: no galaxy with both a picture and a spectrum is used.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate
from torch.optim.swa_utils import AveragedModel

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.stretches import STRETCHES
from pix2spec.errors import InputError
from pix2spec.models.latent.prepare import floor_errors
from pix2spec.models.shape.network import ShapeModel
from pix2spec.models.shape.preset import ShapePreset
from pix2spec.models.shape.view import ShapeView, shape_view
from pix2spec.models.storage import find_model, load_model, model_id, save_model
from pix2spec.runtime.provenance import run_provenance
from pix2spec.runtime.resumable import Resumable
from pix2spec.training.checkpoint import load_checkpoint, save_checkpoint
from pix2spec.training.real_sky import load_real, real_spectra
from pix2spec.training.spectrum.steps import moving_average

__all__ = ["fit_lines", "read_pictures", "shown_again", "train", "train_pictures", "views_of"]

STEPS, BATCH, RATE, DECAY, WARM = 400, 96, 2e-3, 0.05, 50
CHECKPOINT_STEPS = 50
GRAIN, NUMBER_NOISE = 0.05, 0.05  # noise of views in training; the second in standard deviations
CONTRAST, NOISE, CROPPED = 0.08, 2.0, 6  # of a picture shown again: sd [ln], sd [of 255], columns
CLOSER = 1.0, 2.5  # magnification of some pictures
DRAWS = 4  # from the posterior of each spectrum
RIDGE = 3.0  # of the regression on lines, for each standard deviation
EARLY, LATE = ("E",), ("Sp", "Ir")  # types of spectra
STRETCH = STRETCHES["sdss"]


def read_pictures(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Colour pictures (N, 3, y, x), g, r, i, from 0 to 255, and whether they show early types (N,).

    Parameters
    ----------
    data : Path
        Folder with ``gz2_images.npz``. Pictures of galaxies of ``sdss_pairs.npz`` are left out: models are
        tested on these.

    Raises
    ------
    InputError
        If there is no such file.
    """
    path, pairs = data / "gz2_images.npz", data / "sdss_pairs.npz"
    if not path.exists():
        raise InputError(path, "there is no such file", "see docs/guides/real-data.md")
    with np.load(path, allow_pickle=False) as stored:
        known, pictures, names = stored["asset_id"], stored["image64"], stored["gz2class"]
    others = np.ones(len(known), bool)
    if pairs.exists():
        with np.load(pairs, allow_pickle=False) as stored:
            others = ~np.isin(known, stored["asset_id"])
    return _with_types(pictures[others], names[others])


def _with_types(pictures: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of the classes E and S of Galaxy Zoo 2, in the order g, r, i, and which are early."""
    first = np.array([name[:1] for name in names])
    chosen = np.isin(first, ["E", "S"])
    return pictures[chosen][:, ::-1].astype(np.float32), first[chosen] == "E"


def scores_of_pairs(model: ShapeModel, data: Path) -> dict[str, str]:
    """How well the types of the galaxies in ``sdss_pairs.npz`` are told; none without the file."""
    if not (data / "sdss_pairs.npz").exists():
        return {}
    with np.load(data / "sdss_pairs.npz", allow_pickle=False) as stored:
        pictures, is_early = _with_types(stored["image64"], stored["gz2class"])
    logit = model(_as_float(views_of(pictures))).detach().numpy()
    right, loss = (logit > 0) == is_early, np.logaddexp(0, np.where(is_early, -logit, logit))
    return {
        "real pictures kept apart": f"{len(right)}, of which {int(is_early.sum())} early",
        "types that are right": f"{int(right.sum())}", "cross entropy": f"{loss.mean():.3f}",
    }  # fmt: skip


def views_of(pictures: np.ndarray) -> ShapeView:
    """Views of colour pictures (N, 3, y, x) whose pixel scale is not known."""
    parts = [
        shape_view(torch.from_numpy(STRETCH.linear(some)), torch.full((len(some),), torch.nan))
        for some in np.array_split(pictures, max(1, len(pictures) // 128))
    ]
    return ShapeView(torch.cat([p.image for p in parts]).half(), torch.cat([p.numbers for p in parts]))


def shown_again(pictures: np.ndarray, rng) -> np.ndarray:
    """Pictures mirrored, moved by a pixel, cropped, with another contrast and with noise."""
    n = len(pictures)
    again = pictures * np.exp(CONTRAST * rng.normal(size=(n, 1, 1, 1))).astype(np.float32)
    again = again + NOISE * rng.standard_normal(again.shape, np.float32)
    again = np.where(rng.random((n, 1, 1, 1)) < 0.5, again[..., ::-1], again)
    again = np.roll(again, 1, axis=-1)
    cut = rng.random(n) < 0.5
    again[cut, ..., :CROPPED] = again[cut, ..., CROPPED : CROPPED + 1]
    return np.clip(np.rint(again), 0, 255)


def closer(pictures: np.ndarray, rng) -> np.ndarray:
    """Middles of pictures (N, 3, y, x), enlarged by factors of 1 to 2.5 so that galaxies fill the frame."""
    made, size = np.empty_like(pictures), pictures.shape[-1]
    for k in range(len(pictures)):
        own = 2 * int(size / rng.uniform(*CLOSER) / 2)
        low = (size - own) // 2
        middle = np.ascontiguousarray(pictures[k : k + 1, :, low : low + own, low : low + own])
        made[k] = interpolate(torch.from_numpy(middle), size=(size, size), mode="bilinear")[0].numpy()
    return np.rint(made)


def train_pictures(
    model: ShapeModel, views: list[ShapeView], is_early: np.ndarray, out: Path, steps: int = STEPS,
    seed: int = 0, report=print, stop: int | None = None,
) -> ShapeModel:  # fmt: skip
    """Train the network over pictures; continue where a killed training stopped.

    Parameters
    ----------
    model : ShapeModel
    views : list of ShapeView
        Of the same N galaxies, as they are shown once and again; steps take them in turn.
    is_early : array (N,) of bool
    out : Path
        Folder of the checkpoint.
    steps, seed : int
        A step depends on the seed and its number alone.
    stop : int, optional
        Step after which to stop before the end.

    Returns
    -------
    ShapeModel
        With the average of the weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    model.number_mean.copy_(views[0].numbers.mean(0))
    model.number_sd.copy_(views[0].numbers.std(0).clamp(min=0.05))
    truth = torch.from_numpy(is_early).float()
    balance = (1 - truth.mean()) / truth.mean()
    average = AveragedModel(model, multi_avg_fn=moving_average)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    step = 0
    if (out / "checkpoint.safetensors").exists():
        step, _ = load_checkpoint(out / "checkpoint.safetensors", model, average, optimizer)
    model.train()
    last = min(steps, stop or steps)
    while step < last:
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM) * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randint(len(truth), (BATCH,))
        logit = model(_noisy(views[step % len(views)][rows], model))
        loss = binary_cross_entropy_with_logits(logit, truth[rows], pos_weight=balance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
        step += 1
        if step == last or step % CHECKPOINT_STEPS == 0:
            report(f"{out.name} step {step} loss {loss.item():.4f}")
            save_checkpoint(out, model, average, optimizer, step, 0.0)
    return average.module.eval()


def _noisy(view: ShapeView, model: ShapeModel) -> ShapeView:
    """Views mirrored at random, and with noise in pixels and numbers."""
    image = _as_float(view).image
    for axis in (2, 3):
        if torch.rand(()) < 0.5:
            image = image.flip(axis)
    image = image + torch.randn_like(image) * (GRAIN * torch.rand(len(image), 1, 1, 1))
    return ShapeView(image, view.numbers + NUMBER_NOISE * torch.randn_like(view.numbers) * model.number_sd)


def _as_float(view: ShapeView) -> ShapeView:
    return ShapeView(view.image.float(), view.numbers)


def fit_lines(model: ShapeModel, lines: np.ndarray, is_early: np.ndarray, fold: np.ndarray) -> None:
    """Fit the logistic regressions of types on lines, each without one fold.

    Parameters
    ----------
    model : ShapeModel
        Receives them.
    lines : array (N, draws, L)
        asinh line fluxes and log10 of their width, from the posterior of each spectrum.
    is_early : array (N,) of bool
    fold : array (N,)
    """
    model.line_mean.copy_(torch.from_numpy(lines.mean((0, 1))))
    model.line_sd.copy_(torch.from_numpy(lines.std((0, 1))).clamp(min=1e-3))
    x = ((torch.from_numpy(lines).float() - model.line_mean) / model.line_sd).clamp(-4, 4)
    for k in range(len(model.line_bias)):
        some = torch.from_numpy(fold != k)
        weight, bias = _regression(x[some], torch.from_numpy(is_early)[some].float())
        model.line_weight[k], model.line_bias[k] = weight, bias


def _regression(x: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (L,) and bias of a ridge logistic regression of truths (N,) on x (N, draws, L), by Newton."""
    flat = torch.cat([x.flatten(0, 1), torch.ones(x.shape[0] * x.shape[1], 1)], 1).double()
    y, draws = truth.repeat_interleave(x.shape[1]).double(), x.shape[1]
    ridge = torch.full((flat.shape[1],), RIDGE, dtype=torch.float64)
    ridge[-1] = 0
    w = torch.zeros(flat.shape[1], dtype=torch.float64)
    for _ in range(30):
        p = torch.sigmoid(flat @ w)
        gradient = flat.T @ (p - y) / draws + ridge * w
        curvature = (flat * (p * (1 - p))[:, None]).T @ flat / draws + torch.diag(ridge)
        w = w - torch.linalg.solve(curvature, gradient)
    return w[:-1].float(), w[-1].float()


def lines_of_spectra(data: Path, spectra) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines (N, draws, L), types (N,) and folds (N,) of the real spectra that have a type.

    Galaxies of ``sdss_pairs.npz`` are left out.

    Parameters
    ----------
    data : Path
        Folder with ``sdss_galaxies.npz``.
    spectra : SpectrumModel
        Whose first basis describes the spectra.
    """
    with np.load(data / "sdss_galaxies.npz", allow_pickle=False) as stored:
        types = stored["morph"]
    real, row = real_spectra(data), load_real(data)["spectra"].row
    chosen = np.isin(types[row], EARLY + LATE)
    if (data / "sdss_pairs.npz").exists():
        with np.load(data / "sdss_pairs.npz", allow_pickle=False) as stored:
            chosen &= ~np.isin(row, stored["index"])
    network = spectra.networks[0]
    flux, ivar, z = real.flux[chosen], real.ivar[chosen], real.z[chosen]
    fits = network.basis.encode(flux, floor_errors(flux, ivar), z, network.grid, DRAWS)
    vectors = network.vector(z, fits)[0]
    return (
        vectors[..., 1 + network.basis.n_components :],
        np.isin(types[row][chosen], EARLY),
        real.fold[chosen],
    )


def train(data: str | Path, out: str | Path, steps: int = STEPS, resume: bool = False, report=None) -> Path:
    """Train the shape model that ships: some minutes on one core.

    Parameters
    ----------
    data : path
        Folder with ``gz2_images.npz`` and ``sdss_galaxies.npz``, see docs/guides/real-data.md.
    out : path
        Folder of the model. A checkpoint lies in it.
    steps : int
    resume : bool
        Continue a training that was cut off.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If a file is missing, or `out` holds another training.
    """
    data, out, folder = Path(data), Path(out), find_model("default")
    job = Resumable(out, {"steps": steps, "model": model_id(folder)}, "a shape model")
    job.claim(resume)
    with job.locked():
        pictures, is_early = read_pictures(data)
        rng = np.random.default_rng(0)
        views = [views_of(some) for some in (pictures, shown_again(pictures, rng), closer(pictures, rng))]
        torch.manual_seed(0)
        model = ShapeModel(ShapePreset.released(), SpectralGrid())
        model = train_pictures(model, views, is_early, out / "network", steps, report=report or _say)
        spectra = load_model(folder)[0]
        lines, types, fold = lines_of_spectra(data, spectra)
        fit_lines(model, lines, types, fold)
        counts = f"{len(pictures)} real pictures with types, {len(types)} real spectra with types"
        scores = scores_of_pairs(model, data)
        record = {"trained_on": counts, "steps": steps, "scores": scores, **run_provenance()}
        save_model(out, model, record)
        job.finish()
    return out


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
