"""Measure speeds and shares of the peak rate, of the default and the paper's models, in two precisions."""

import statistics
import time
from dataclasses import replace

import numpy as np
import torch
from session import Session, parser
from torch.utils.flop_counter import FlopCounterMode

from pix2spec.core.filters import load_filter
from pix2spec.core.survey import SDSS
from pix2spec.data.schema import DatasetInfo
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.models.presets import load_preset
from pix2spec.paper.estimate import BATCH, example_step
from pix2spec.training.redshift.filters import TrainingFilters
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum import recipe
from pix2spec.training.spectrum.bank import build_spectrum_bank
from pix2spec.training.spectrum.lent_pictures import lend
from pix2spec.training.spectrum.sources import Vectors, simulated_sample
from pix2spec.training.spectrum.train import RECIPES
from throughput import rates_on
from training_cost import flops_a_sample

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PAPER = {"paper-xattn": 256, "paper-concat": 256, "paper-contrastive": 512}
CANDIDATES, EVALUATIONS = 25, 25


def seconds_of(session: Session, function, repeats: int) -> float:
    """Median time of a call, after two that fill caches."""
    times = []
    for k in range(repeats + 2):
        began = time.perf_counter()
        function()
        if session.device == "cuda":
            torch.cuda.synchronize()
        if k > 1 or repeats == 1:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def peak(session: Session, kind: torch.dtype, size: int) -> float:
    """Operations a second of a large product of matrices, the peak that is reached here."""
    a = torch.randn(size, size, device=session.device, dtype=kind)
    return 2 * size**3 / seconds_of(session, lambda: a @ a, 10)


def repeated(inputs: dict, times: int, device: str) -> dict:
    return {
        name: tensor.repeat(times, *[1] * (tensor.ndim - 1)).to(device) for name, tensor in inputs.items()
    }


def paper_model(session: Session, name: str, batch: int, repeats: int, peaks: dict) -> None:
    """Training samples a second, and galaxies of 25 candidates by 25 evaluations a second."""
    tiny = ["encoder.arch=resnet18", "encoder.channels=[8,8,8,8]"] if session.args.tiny else []
    if session.args.tiny and name != "paper-contrastive":
        tiny += ["denoiser.width=8"]
    model, inputs = example_step(load_preset(name, tiny), DatasetInfo())
    flops = flops_a_sample(model, inputs)
    model.to(session.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    inputs = repeated(inputs, max(1, batch // BATCH), session.device)
    for precision, kind in PRECISIONS.items():

        def step(kind=kind):
            with torch.autocast(session.device, torch.bfloat16, enabled=kind == torch.bfloat16):
                loss = model(**inputs)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        samples = max(1, batch // BATCH) * BATCH / seconds_of(session, step, repeats)
        facts = {"samples/s": samples, "share of peak": samples * flops / peaks[precision]}
        if hasattr(model, "denoiser"):
            facts["galaxies/s"] = generated(session, model, inputs, kind, repeats)
        show(session, f"{name} {precision}", facts)


@torch.no_grad()
def generated(session: Session, model, inputs: dict, kind: torch.dtype, repeats: int) -> float:
    """Galaxies a second of 25 candidates, of which each takes 25 passes of the denoiser."""
    rows = 4 if session.args.tiny else 16 * CANDIDATES
    x = torch.randn(rows, 1, model.grid.size, device=session.device)
    times = torch.ones(rows, dtype=torch.long, device=session.device)
    context = model.encode(inputs["known"][:1]).repeat_interleave(rows, 0)

    def evaluate():
        with torch.autocast(session.device, torch.bfloat16, enabled=kind == torch.bfloat16):
            model.denoiser(x, times, context)

    model.eval()
    seconds = seconds_of(session, evaluate, repeats)
    model.train()
    return rows / CANDIDATES / (EVALUATIONS * seconds)


def default_model(session: Session, repeats: int, peaks: dict) -> None:
    """Training samples a second of one of the networks, and galaxies a second on one core."""
    model = load("default", device="cpu")
    network, batch = model.model.networks[0], 1 if session.args.tiny else RECIPES["wide"].batch
    curves = [load_filter(name) for name in SDSS.filters]
    filters = TrainingFilters(
        names=list(SDSS.filters), curves=curves, centre=np.array([c.centre for c in curves]),
        width=np.array([c.width for c in curves]), extinction=np.ones(5),
        sets=[[0, 1, 2, 3, 4]], narrow_sets=[[0, 1, 2, 3, 4]],
    )  # fmt: skip
    blocks, processes = 3 if session.args.tiny else 48, session.args.processes
    bank = build_spectrum_bank(filters, [network], session.work / "bank.npz", blocks, processes)
    sample = simulated_sample(bank.fibre, bank.z, 0, [[0, 1, 2, 3, 4]])
    samples = Samples(filters, {"simulated": sample}, (), 0, (recipe.VARIETY,))
    vectors = Vectors.joined([(bank.vector[0][:, None], bank.r[0][:, None])])
    # The rate does not depend on what the pictures show.
    pictures = lend(torch.randn(1, len(bank.z), model.model.preset.image.width), samples, vectors)
    shares = {"simulated": sum(recipe.SHARES.values())}
    trained = network, network.tables(curves), samples, vectors, pictures
    flops = flops_of_step(*trained, shares)
    network.galaxy.requires_grad_(True)
    network.flow.requires_grad_(True)
    for precision in PRECISIONS:
        machine = recipe.Machine(session.device, batch, bfloat16=precision == "bfloat16")
        folder, seconds = session.work / precision, []
        for steps in (
            2,
            2 + repeats,
        ):  # the first call fills caches, the second continues from its checkpoint
            began = time.perf_counter()
            recipe.train_network(*trained, folder, steps, 0, shares=shares, of=1000, machine=machine)
            seconds.append(time.perf_counter() - began)
        rate = repeats * batch * shares["simulated"] / seconds[-1]
        share = rate / shares["simulated"] * flops / peaks[precision]
        show(session, f"default {precision}", {"samples/s": rate, "share of peak": share})


def flops_of_step(network, tables, samples, vectors, pictures, shares: dict) -> float:
    """Operations of the networks in a training step: three times those of the forward pass."""
    inputs, measured = recipe._batch(
        network, tables, samples, vectors, pictures, False, np.random.default_rng(0), shares
    )
    with FlopCounterMode(display=False) as counter:
        recipe.velocity_loss(network.flow, network.galaxy(*measured), *inputs)
    return 3 * counter.get_total_flops()


def default_generation(session: Session, batches: list[int]) -> None:
    """Galaxies of 25 candidates a second with the default model: on one core, and on the GPU."""
    torch.set_num_threads(1)
    simulated = [replace(galaxy, image=None) for galaxy in SimulatedSurvey(5).galaxies(batches[0])]
    some = [replace(simulated[k % batches[0]], object_id=f"g{k}") for k in range(batches[-1])]
    model, first = load("default", device="cpu"), some[: batches[0]]
    seconds = seconds_of(session, lambda: model.generate_batch(first, "linear", Settings(n=CANDIDATES)), 1)
    show(session, "default on one core", {"galaxies/s": len(first) / seconds})
    compiles = (
        (False, True) if session.device == "cuda" else (False,)
    )  # on CPUs it takes longer than it saves
    for form, batch, first_seconds, rate, off in rates_on(session.device, some, batches, 1, compiles):
        if not session.left(10):
            return
        facts = {"galaxies/s": rate, "seconds of the first batch": first_seconds}
        facts["difference from the CPU, in spreads"] = float(off[0])
        show(session, f"default on {session.device}, {form}, batches of {batch}", facts)


def show(session: Session, name: str, facts: dict[str, float]) -> None:
    session.note(**{f"{name}, {fact}": f"{value:.4g}" for fact, value in facts.items()})


def main() -> None:
    session = Session(parser(__doc__.split("\n")[0]).parse_args())
    tiny = session.args.tiny
    repeats = 1 if tiny else 10
    try:
        peaks = {name: peak(session, kind, 256 if tiny else 8192) for name, kind in PRECISIONS.items()}
        show(
            session, "product of matrices", {f"{name}, TFLOP/s": rate / 1e12 for name, rate in peaks.items()}
        )
        for name, batch in PAPER.items():
            if session.left(20):
                paper_model(session, name, BATCH if tiny else batch, repeats, peaks)
        if session.left(20):
            default_model(session, repeats, peaks)
        if session.left(20):
            default_generation(session, [2] if tiny else [32, 256, 1024])
    finally:
        session.close()


if __name__ == "__main__":
    main()
