"""Publish a model: to a folder, or on the Hugging Face hub."""

import os
import shutil
from pathlib import Path

from pix2spec.errors import InputError
from pix2spec.models.shared.hub import CARD, FILES, _format_error, _split

__all__ = [
    "export_model",
    "publish_model",
]

METADATA = "---\nlibrary_name: pix2spec\ntags:\n- astronomy\n- galaxies\n- spectroscopy\n---\n"


def _published_files(model: str | Path, name: str) -> dict[str, Path | bytes]:
    """Files of a model to publish: published name to path or content. Check that the model can be loaded."""
    from pix2spec.models.storage import find_model, load_model

    folder = find_model(model)
    load_model(folder)
    if (folder / "selector").is_dir():
        load_model(folder / "selector")
    files: dict[str, Path | bytes] = {file: folder / file for file in FILES if (folder / file).is_file()}
    card = (folder / CARD).read_text() if CARD in files else f"# {name}\n"
    if not card.startswith("---"):
        card = METADATA + card
    files[CARD] = card.replace("pix2spec.load(FOLDER)", f"pix2spec.load({name!r})").encode()
    return files


def export_model(model: str | Path, out: str | Path) -> list[Path]:
    """Write a model's config, weights and card to a new folder. The folder appears once it is complete.

    Parameters
    ----------
    model : str or path
        Run folder, or name of a model.
    out : str or path
        The new folder.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If there is no such model, if it cannot be loaded, or if `out` is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(out, "it is there already", "choose another folder, or delete it")
    files = _published_files(model, str(out))
    temporary = out.with_name(out.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (temporary / name).write_bytes(content)
            else:
                shutil.copyfile(content, temporary / name)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [out / name for name in files]


def publish_model(model: str | Path, repo: str, private: bool = False, endpoint: str | None = None) -> str:
    """Publish a model's config, weights and card on the Hugging Face hub, in one commit.

    Parameters
    ----------
    model : str or path
        Run folder, or name of a shipped model.
    repo : str
        ``user/model``. The function creates a repository that does not exist.
    private : bool
        Whether a new repository is private.
    endpoint : str, optional
        Address of the hub, by default ``HF_ENDPOINT`` or huggingface.co.

    Returns
    -------
    str
        ``user/model@commit``, which `pix2spec.load` accepts.

    Raises
    ------
    InputError
        If there is no such model, if it cannot be loaded, or if the hub refuses it.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    repo, revision = _split(repo)
    if revision:
        raise InputError(repo, "publishing makes a new commit", "leave out the @ and the name after it")
    files = _published_files(model, repo)
    api = HfApi(endpoint=endpoint)
    adds = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.create_commit(repo, adds, commit_message="Model of pix2spec")
    except Exception as error:
        what = f"the hub did not accept the model: {_format_error(error)}"
        is_forbidden = getattr(getattr(error, "response", None), "status_code", 0) in (401, 403)
        hint = "log in with `hf auth login` as a user who may write there" if is_forbidden else "try again"
        raise InputError(repo, what, hint) from error
    return f"{repo}@{commit.oid}"
