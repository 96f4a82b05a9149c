"""Load a model as a generator of spectra."""

from pathlib import Path

import torch

from pix2spec.core.survey import check_same_survey
from pix2spec.errors import InputError
from pix2spec.models.baselines.wu_peek.model import WuPeekModel
from pix2spec.models.latent.model import FactorisedModel
from pix2spec.models.pixel.ranker import ContrastiveModel
from pix2spec.models.registry import FITTED
from pix2spec.models.shared.hub import source_of
from pix2spec.models.storage import find_model, load_model, model_id

__all__ = [
    "load",
]

DEFAULT_MODEL = "default"


def load(model: str | Path = DEFAULT_MODEL, selector: str | Path | None = None, device: str | None = None):
    """Load a generator of spectra.

    Parameters
    ----------
    model : str or path
        A run folder of `pix2spec train`, or the name of a model that ships with the package
        (``"default"``, ``"default-sdss"``), or of one on the Hugging Face hub: ``"user/model"``, or
        ``"user/model@revision"`` for a branch, tag or commit.
    selector : path, optional
        Run folder of a contrastive network that ranks the candidates of a model over pixels. By default
        the ``selector`` folder inside the model's, if there is one. Factorised models have their own.
    device : str, optional
        A torch device; a GPU where there is one.

    Returns
    -------
    Generator

    Raises
    ------
    InputError
        If a folder holds no model, a damaged one, or one of another kind.

    Examples
    --------
    >>> model = pix2spec.load("default")
    >>> model.grid.size, model.survey.photometry_bands
    (3598, ('u', 'g', 'r', 'i', 'z'))
    >>> pix2spec.load("defualt")
    Traceback (most recent call last):
    pix2spec.errors.InputError: defualt: no such model (give a run folder, or one of: default, default-sdss)
    """
    from pix2spec.models.baselines.generator import FittedGenerator
    from pix2spec.models.baselines.wu_peek.generator import WuPeekGenerator
    from pix2spec.models.latent.generator import FactorisedGenerator
    from pix2spec.models.pixel.generator import PixelGenerator

    folder = find_model(model)
    network, config = load_model(folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    ids = {"model": model_id(folder), **source_of(folder)}
    if isinstance(network, ContrastiveModel):
        raise InputError(
            folder, "a contrastive network only ranks spectra", "use it as `selector` of a pixel model"
        )
    if isinstance(network, FactorisedModel):
        if selector:
            raise InputError(
                selector, "this model has a contrastive network of its own", "leave out `selector`"
            )
        return FactorisedGenerator(network, ids, config, device)
    if network.preset.task in FITTED:
        if selector:
            raise InputError(selector, "there is nothing to rank by a network here", "leave out `selector`")
        return FittedGenerator(network, ids, config, device)
    if isinstance(network, WuPeekModel):
        if selector:
            problem = "this model makes one spectrum an object, there is nothing to rank"
            raise InputError(selector, problem, "leave out `selector`")
        return WuPeekGenerator(network, ids, config, device)
    chosen = Path(selector) if selector else folder / "selector"
    ranker = None
    if selector or chosen.is_dir():
        ranker, selector_config = load_model(chosen)
        if not isinstance(ranker, ContrastiveModel):
            raise InputError(chosen, "not a contrastive network", "train one with paper-contrastive-small")
        hint = "train both on one dataset"
        if selector_config["grid"] != config["grid"]:
            raise InputError(chosen, "its grid is not the model's", hint)
        check_same_survey(chosen, selector_config["survey"], "the model", config["survey"], ("image",), hint)
        ids["selector"] = model_id(chosen)
    return PixelGenerator(network, ids, config, device, ranker)
