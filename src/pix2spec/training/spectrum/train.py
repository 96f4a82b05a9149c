"""Train the default model from nothing on a folder of real tables and spectra."""

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError
from pix2spec.models.spectrum.model import PictureNetwork, SpectrumModel
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.models.spectrum.preset import SpectrumPreset
from pix2spec.models.storage import find_model, load_model, save_model
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.provenance import run_provenance
from pix2spec.runtime.resumable import Resumable
from pix2spec.training.checkpoint import steps_done
from pix2spec.training.real_sky import digest, load_real
from pix2spec.training.redshift.bank import build_bank
from pix2spec.training.redshift.filters import training_filters
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.redshift.sources import read_samples
from pix2spec.training.spectrum.bank import BLOCK, build_spectrum_bank
from pix2spec.training.spectrum.foundation import fit_basis, fit_noise
from pix2spec.training.spectrum.image_network import ImageTask, train_camera, train_image_network
from pix2spec.training.spectrum.lent_pictures import Pictures, lend
from pix2spec.training.spectrum.picture import train_pictures
from pix2spec.training.spectrum.picture_bank import build_picture_bank, picture_vectors
from pix2spec.training.spectrum.recipe import ONE_CORE, RATE, VARIETY, Machine, train_network
from pix2spec.training.spectrum.scale import fit_scores
from pix2spec.training.spectrum.sources import Vectors, read_spectrum_samples

__all__ = ["RECIPES", "Recipe", "train"]


@dataclass(frozen=True)
class Recipe:
    """How long to train."""

    steps: int  # of each network
    image_steps: int  # of the network that turns pictures into vectors; 0: it stays as it is
    picture_steps: int  # of what the model says of pictures
    blocks: int  # of simulated galaxies in the bank
    redshift_blocks: int  # in the bank that lends real galaxies their other bands
    about: str
    batch: int = 1  # factor of the galaxies in a step
    width: int | None = None  # of the flow, if not the released one
    start: str | None = None  # model whose networks are trained further, by name or folder
    rate: float = RATE
    only_pictures: bool = False  # train what the networks of `start` make of pictures, and keep all else


RECIPES = {
    "release": Recipe(4000, 4000, 3000, 720, 800, "the released model: about three hours on two cores"),
    "quick": Recipe(1000, 1000, 600, 240, 400, "a quarter of the steps: about 40 minutes on two cores"),
    "wide": Recipe(
        16_000, 0, 3000, 480, 400, "larger batches and a wider flow, for a GPU", batch=4, width=256
    ),
    "pictures": Recipe(
        800, 4000, 3000, 720, 800, "what the released model sees of pictures, trained anew", start="default",
        rate=2e-3, only_pictures=True,
    ),
}  # fmt: skip


def train(
    data: str | Path, out: str | Path, pictures: str | Path = "default", recipe: str | Recipe = "release",
    resume: bool = False, processes: int = 2, machine: Machine = ONE_CORE,
) -> Path:  # fmt: skip
    """Train one network without each fold of the tables, and join them in a model.

    Parameters
    ----------
    data : path
        Folder of the real tables and spectra; docs/guides/real-data.md says what they hold.
    out : path
        Folder of the model. Checkpoints lie in it until it is complete.
    pictures : path
        A model whose image network the training starts from.
    recipe : str or Recipe
        One of `RECIPES`, or one of your own.
    resume : bool
        Continue a training that was cut off.
    processes : int
        Number of worker processes: one network in each, or as many blocks of simulated galaxies.
    machine : Machine
        On what the networks are trained. If its time is over before the last step, the model is saved as it
        is, and `resume` goes on.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If a table is missing, or `out` holds another training.
    """
    how = RECIPES.get(recipe) if isinstance(recipe, str) else recipe
    if how is None:
        raise InputError("`recipe`", f"{recipe!r} is unknown", f"one of {', '.join(RECIPES)}")
    data, out, preset, tables = Path(data), Path(out), SpectrumPreset.released(), load_real(data)
    if how.width:
        preset = preset.model_copy(update={"flow": preset.flow.model_copy(update={"width": how.width})})
    name = recipe if isinstance(recipe, str) else asdict(recipe)
    machine = replace(machine, batch=machine.batch * how.batch)
    identity = {"recipe": name, "preset": preset.model_dump(mode="json"), "tables": digest(tables)}
    job = Resumable(out, identity, "a default model")
    job.claim(resume)
    with job.locked():
        filters = training_filters(data)
        build_bank(filters, out / "redshift-bank.npz", how.redshift_blocks, processes)
        numbers = range(len(preset.without))
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(_foundation, *zip(*((data, out, preset, k) for k in numbers))))
        networks = [foundation(data, out, preset, k).requires_grad_(False) for k in numbers]
        build_spectrum_bank(filters, networks, out / "bank.npz", how.blocks, processes)
        build_picture_bank(out / "picture-bank", how.blocks, processes)
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:  # a GPU does not survive a fork
            pool.submit(_train_images, data, out, preset, pictures, how, machine).result()
            judged = pool.submit(_train_judge, data, out, preset, how, machine)
            work = [pool.submit(_train_one, data, out, preset, k, how, machine) for k in numbers]
            steps = [done.result() for done in work]
            judged.result()
        model = joined(data, out, preset)
        record: dict = {"trained_on": ", ".join(f"{len(t)} of {name}" for name, t in tables.items())}
        record |= {"tables": digest(tables), "recipe": name, "steps": min(steps), **run_provenance()}
        save_model(out, model, record)
        if not machine.is_late():
            job.finish()
    return out


def image_networks(model: str | Path, preset: SpectrumPreset):
    """The image network of a model, and what tells cameras apart: a new one if the model has none."""
    loaded = load_model(find_model(model))[0]
    if isinstance(loaded, SpectrumModel):
        return loaded.pictures, loaded.camera
    return loaded.condition.image, SpectrumModel(preset, SpectralGrid()).camera


def foundation(data: Path, out: Path, preset: SpectrumPreset, number: int) -> SpectrumNetwork:
    """A network with its basis and noise model, which are fitted if the folder lacks them."""
    network = SpectrumNetwork(preset, SpectralGrid())
    fit_basis(network, data, preset.without[number], out / f"basis-{number}.safetensors")
    fit_noise(network, data, preset.without[number], out / f"noise-{number}.safetensors")
    return network


def _foundation(data, out, preset, number) -> None:
    torch.set_num_threads(1)
    foundation(data, out, preset, number)


def samples_of(data: Path, out: Path, preset: SpectrumPreset, network: SpectrumNetwork, number: int):
    """Filters, samples and coefficient vectors that a network trains on."""
    filters = training_filters(data)
    with_bands = read_samples(data, build_bank(filters, out / "redshift-bank.npz"), filters)
    bank = build_spectrum_bank(filters, [], out / "bank.npz")
    samples, vectors = read_spectrum_samples(data, filters, network, number, bank, with_bands)
    return filters, Samples(filters, samples, preset.without[number], number, (VARIETY,)), vectors


def pictured(out: Path, samples: Samples, vectors: Vectors) -> Pictures:
    """Pictures for the galaxies of `samples_of`."""
    made = load_file(out / "picture-vectors.safetensors")["vectors"]
    return lend(made, samples, vectors)


def _train_images(
    data: Path, out: Path, preset: SpectrumPreset, start: str | Path, recipe: Recipe, machine: Machine
) -> None:
    """Train the image network, and write its vectors of all pictures."""
    torch.set_num_threads(1)
    if (out / "picture-vectors.safetensors").exists():
        return
    torch.manual_seed(len(preset.without) + 1)
    network = foundation(data, out, preset, 0).requires_grad_(False)
    filters, samples, vectors = samples_of(data, out, preset, network, 0)
    scaled(network, network.tables(filters.curves), samples, vectors, out / "network-0", 0, recipe)
    encoder, camera = image_networks(start, preset)
    task = ImageTask(encoder, PictureNetwork(preset), preset.flow.width, network.dimension)
    bank = build_picture_bank(out / "picture-bank", recipe.blocks)
    if recipe.image_steps:
        task.requires_grad_(True)
        drawn = task, network, samples, vectors, bank
        train_image_network(*drawn, out / "images", recipe.image_steps, _say, machine)
        task.load_state_dict(averaged(out / "images"))
    encoder.eval().requires_grad_(False)
    state = encoder.state_dict()
    write_atomically(out / "image-network.safetensors", lambda path: save_file(state, path))
    made = picture_vectors(bank, encoder, recipe.blocks * BLOCK)
    if recipe.image_steps:
        camera = SpectrumModel(preset, SpectralGrid()).camera
        train_camera(camera, made, 2 * recipe.image_steps)
    write_atomically(out / "camera.safetensors", lambda path: save_file(camera.state_dict(), path))
    write_atomically(out / "picture-vectors.safetensors", lambda path: save_file({"vectors": made}, path))


def scaled(
    network: SpectrumNetwork, tables, samples: Samples, vectors, folder: Path, number: int, recipe: Recipe
) -> None:
    """Give a network the scale of its coefficients: that of `recipe.start`, or a new one."""
    path = folder / "scale.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if recipe.start:
            started = load_model(find_model(recipe.start))[0].networks[number]
            network.normal.load_state_dict(started.normal.state_dict())
        else:
            fit_scores(network, tables, samples, vectors, number)
        state = {k: v.contiguous() for k, v in network.normal.state_dict().items()}
        write_atomically(path, lambda where: save_file(state, where))
    network.normal.load_state_dict(load_file(path))


def _train_one(
    data: Path, out: Path, preset: SpectrumPreset, number: int, recipe: Recipe, machine: Machine
) -> int:
    """Train one network. Returns the number of its steps."""
    torch.set_num_threads(1)  # two threads each on two cores are several times slower
    folder, network = out / f"network-{number}", foundation(data, out, preset, number)
    network.requires_grad_(False)
    filters, samples, vectors = samples_of(data, out, preset, network, number)
    tables = network.tables(filters.curves)
    scaled(network, tables, samples, vectors, folder, number, recipe)
    if recipe.start:
        started = load_model(find_model(recipe.start))[0].networks[number]
        network.galaxy.load_state_dict(started.galaxy.state_dict())
        network.flow.load_state_dict(started.flow.state_dict())
    every: list[torch.nn.Module] = [network.galaxy, network.flow]
    for part in [network.galaxy.image] if recipe.only_pictures else every:
        part.requires_grad_(True)
    drawn = network, tables, samples, vectors, pictured(out, samples, vectors)
    checkpoint = train_network(
        *drawn, folder, recipe.steps, number, report=_say, machine=machine, rate=recipe.rate
    )
    return steps_done(checkpoint)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def joined(data: Path, out: Path, preset: SpectrumPreset) -> SpectrumModel:
    """The model with the averaged weights of the trained networks."""
    model = SpectrumModel(preset, SpectralGrid())
    model.pictures.load_state_dict(load_file(out / "image-network.safetensors"))
    for number, network in enumerate(model.networks):
        folder = out / f"network-{number}"
        network.load_state_dict(foundation(data, out, preset, number).state_dict())
        network.normal.load_state_dict(load_file(folder / "scale.safetensors"))
        torch.nn.ModuleList([network.galaxy, network.flow]).load_state_dict(averaged(folder))
    model.judge.load_state_dict(averaged(out / "pictures"))
    model.camera.load_state_dict(load_file(out / "camera.safetensors"))
    return model.requires_grad_(False).eval()


def averaged(folder: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of the checkpoint in `folder`."""
    prefix, stored = "average.module.", load_file(folder / "checkpoint.safetensors")
    return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}


def _train_judge(data: Path, out: Path, preset: SpectrumPreset, recipe: Recipe, machine: Machine) -> None:
    """Train what the model says of pictures, with the basis and the vectors of its first network."""
    torch.set_num_threads(1)
    torch.manual_seed(len(preset.without))
    judge, network = PictureNetwork(preset), foundation(data, out, preset, 0).requires_grad_(False)
    _, samples, vectors = samples_of(data, out, preset, network, 0)
    drawn = judge, network, samples, vectors, pictured(out, samples, vectors)
    train_pictures(*drawn, out / "pictures", recipe.picture_steps, 0, _say, machine)
