"""Load a model as a generator of spectra."""

from pathlib import Path

import torch

from pix2spec.errors import InputError
from pix2spec.models.registry import find_family
from pix2spec.models.shared.hub import source_of
from pix2spec.models.storage import find_model, load_model, model_id
from pix2spec.runtime.imports import quick_imports

__all__ = [
    "load",
]

DEFAULT_MODEL = "default"


@quick_imports()  # the modules of the model's family
def load(model: str | Path = DEFAULT_MODEL, selector: str | Path | None = None, device: str | None = None):
    """Load a generator of spectra.

    Parameters
    ----------
    model : str or path
        A run folder of `pix2spec train`, or the name of a model that ships with the package
        (``"default"``), or of one on the Hugging Face hub: ``"user/model"``, or
        ``"user/model@revision"`` for a branch, tag or commit.
    selector : path, optional
        Run folder of a contrastive network that ranks the candidates of a model over pixels. By default
        the ``selector`` folder inside the model's, if there is one. Factorised models have their own.
    device : str, optional
        ``"cpu"``, or another device of torch; by default a GPU where there is one.

    Returns
    -------
    Generator

    Raises
    ------
    InputError
        If a folder holds no model, a damaged one, or one of another kind, or if there is no such device.

    Examples
    --------
    >>> model = pix2spec.load("default")
    >>> model.grid.size, model.survey.photometry_bands
    (3598, ('u', 'g', 'r', 'i', 'z'))
    >>> pix2spec.load("defualt")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pix2spec.errors.InputError: defualt: no such model (give a run folder, or one of: default, ...)
    """
    device = _device(device)
    folder = find_model(model)
    network, config = load_model(folder)
    family = find_family(network.preset.task)
    generator = family.part("generator") if family else None
    if generator is None:
        what = f"a model of the task {network.preset.task!r} makes no spectra"
        hints = {
            "contrastive": "it ranks spectra of others: pass it as selector",
            "redshift": "the model 'default' draws the redshifts of its spectra from it",
            "shape": "the model 'default' chooses its candidates by it",
        }
        raise InputError(folder, what, hints.get(network.preset.task, "load a model that makes spectra"))
    ids = {"model": model_id(folder), **source_of(folder)}
    return generator.open(folder, network, ids, config, device, selector)


def _device(name: str | None) -> str:
    """The device of a name; a GPU where there is one if it is None."""
    has_gpu = torch.cuda.is_available()
    if name is None:
        return "cuda" if has_gpu else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise InputError("`device`", f"{name!r} is no device of torch", "cpu or cuda") from error
    if kind == "cuda" and not has_gpu:
        raise InputError("`device`", "torch finds no GPU for CUDA here", "cpu")
    return name
