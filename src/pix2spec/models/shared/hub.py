"""Download models from the Hugging Face hub by name, at a fixed commit, and check their hashes.

Only the files of a model folder are downloaded, and those of the contrastive network in its folder
``selector``. None of them is code, and none is unpickled.
"""

import hashlib
import re
import urllib.request
from pathlib import Path
from typing import Any

from pix2spec.errors import InputError

__all__ = [
    "check_hash",
    "fetch_model",
    "fetch_pinned",
    "is_hub_name",
    "source_of",
]

NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", re.ASCII)
COMMIT = re.compile("[0-9a-f]{40}")
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FEATURES = "features.safetensors"  # weights of a pretrained network that came from a file
# The config comes last: if the cache has it, the cache has all files, and their hashes were checked.
FILES = [folder + name for folder in ("selector/", "") for name in (WEIGHTS, FEATURES, CARD, CONFIG)]


def is_hub_name(model: str | Path) -> bool:
    """Whether a name has the form ``user/model`` or ``user/model@revision``, and is no local path."""
    return bool(NAME.fullmatch(str(model))) and not Path(model).parent.is_dir()


def fetch_model(name: str, endpoint: str | None = None, cache: str | Path | None = None) -> Path:
    """Download a model, or find it in the cache of `huggingface_hub`.

    Parameters
    ----------
    name : str
        ``user/model``, or ``user/model@revision`` with a branch, a tag or a commit. Without a revision, it is
        the latest commit of ``main``. A full commit that is in the cache needs no network.
    endpoint : str, optional
        Address of the hub, by default ``HF_ENDPOINT`` or huggingface.co.
    cache : path, optional
        Folder of the cache, by default ``HF_HUB_CACHE`` or that of `huggingface_hub`.

    Returns
    -------
    Path
        A model folder. `source_of` gives its name and commit.

    Raises
    ------
    InputError
        If there is no such model or revision, if the download fails, or if a file does not have the hash that
        the hub states.
    """
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    repo, revision = _split(name)
    if revision and COMMIT.fullmatch(revision):
        config = try_to_load_from_cache(repo, CONFIG, cache_dir=cache, revision=revision)
        if isinstance(config, str):
            return Path(config).parent
    try:
        info = HfApi(endpoint=endpoint).model_info(repo, revision=revision, files_metadata=True)
    except Exception as error:  # the types of errors differ between versions of huggingface_hub
        raise _refused(name, error) from error
    published = {file.rfilename: file for file in info.siblings or ()}
    if not {CONFIG, WEIGHTS} <= published.keys():
        raise InputError(name, f"not a model of pix2spec: the repository needs {CONFIG} and {WEIGHTS}")
    folder, pinned = Path(), {"revision": info.sha, "endpoint": endpoint, "cache_dir": cache}
    for wanted in (FILES[:-1], FILES[-1:]):
        try:
            folder = Path(snapshot_download(repo, allow_patterns=wanted, **pinned))
            for file in published.keys() & {*wanted}:
                check_hash(folder / file, published[file], name)
        except InputError:
            raise
        except Exception as error:
            raise _refused(name, error) from error
    return folder


def source_of(folder: str | Path) -> dict[str, str]:
    """``{"model_source": "user/model@commit"}`` for a folder of `fetch_model`; an empty dict for others."""
    snapshots, commit = Path(folder).parent, Path(folder).name
    kind, _, repo = snapshots.parent.name.partition("--")
    if snapshots.name != "snapshots" or kind != "models" or not COMMIT.fullmatch(commit):
        return {}
    return {"model_source": f"{repo.replace('--', '/', 1)}@{commit}"}


def _split(name: str) -> tuple[str, str | None]:
    match = NAME.fullmatch(name)
    if match is None:
        raise InputError(name, "not a name on the hub", "use user/model or user/model@revision")
    return match[1], match[2]


def _refused(name: str, error: Exception) -> InputError:
    """The error of a failed request to the hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        hint = "request it on the model's page, then log in with `hf auth login`"
        return InputError(name, "its owners must grant you access", hint)
    if isinstance(error, errors.RepositoryNotFoundError):
        hint = "if it is private, log in with `hf auth login`"
        return InputError(name, "no such model here or on the hub", hint)
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(name, "the hub has no such revision of the model")
    hint = "try again; user/model@COMMIT needs no network if it was downloaded before"
    return InputError(name, f"the download failed: {_format_error(error)}", hint)


def _format_error(error: Exception) -> str:
    return " ".join([type(error).__name__, *str(error).split()])[:500]


def check_hash(path: Path, published: Any, name: str) -> None:
    """Compare a file with the hash that the hub states: SHA-256 for large files, git's hash for small ones.

    Parameters
    ----------
    path : Path
        The file in the cache. A file with a wrong hash is deleted.
    published : huggingface_hub.hf_api.RepoSibling
        The hub's metadata of the file.
    name : str
        Name of the model, for error messages.

    Raises
    ------
    InputError
        If the hashes differ.
    """
    if published.lfs is not None:
        stated, digest = published.lfs.sha256, hashlib.sha256()
    else:
        stated, digest = published.blob_id, hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    if stated and digest.hexdigest() != stated:
        path.resolve().unlink(missing_ok=True)  # delete the cache's copy: the next try must not find it
        path.unlink(missing_ok=True)
        what = f"{published.rfilename} has the hash {digest.hexdigest()[:12]}, not {stated[:12]}"
        raise InputError(name, what, "the download was damaged: try again")


def fetch_pinned(arch: str, revision: str | None = None) -> tuple[Path, str] | None:
    """Find the weights of a timm network in the cache, or download them from the hub and check their hash.

    Parameters
    ----------
    arch : str
        timm's name of the network.
    revision : str, optional
        Commit of the weights. The default is the commit in the cache, or else the newest one.

    Returns
    -------
    (Path, str) or None
        The file and its commit; None if the weights are neither in the cache nor on the hub.
    """
    import timm
    from huggingface_hub import HfApi, constants, hf_hub_download

    config = timm.get_pretrained_cfg(arch)
    if config is None or not config.hf_hub_id:
        return None
    repo = config.hf_hub_id
    try:
        path = Path(hf_hub_download(repo, WEIGHTS, revision=revision, local_files_only=True))
    except OSError:  # not in the cache
        if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
            return None
        try:
            info = HfApi().model_info(repo, revision=revision, files_metadata=True)
            path = Path(hf_hub_download(repo, WEIGHTS, revision=info.sha))
        except OSError:  # no connection, or no such revision
            return None
        (published,) = (file for file in info.siblings if file.rfilename == WEIGHTS)
        check_hash(path, published, repo)
    return path, path.parent.name


def _answers(address: str) -> bool:
    """Whether a server answers within 5 seconds. The hub's own client would try for a minute."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
    except OSError:
        return False
    return True
