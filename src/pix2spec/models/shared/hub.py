"""Models on the Hugging Face hub: fetched by name, pinned to a commit, checked; and published there.

Only the files of a model folder are fetched (and those of the contrastive network in its ``selector``),
whatever else lies in the repository. None of them is code, and none is unpickled.
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
FEATURES = "features.safetensors"  # a pretrained network that the hub or a package does not have
# The config last: where it is, all is, and has been checked.
FILES = [folder + name for folder in ("selector/", "") for name in (WEIGHTS, FEATURES, CARD, CONFIG)]


def is_hub_name(model: str | Path) -> bool:
    """Whether a name reads ``user/model`` or ``user/model@revision``, and is no path into a folder here."""
    return bool(NAME.fullmatch(str(model))) and not Path(model).parent.is_dir()


def fetch_model(name: str, endpoint: str | None = None, cache: str | Path | None = None) -> Path:
    """Download a model, or find it in the cache of `huggingface_hub`.

    Parameters
    ----------
    name : str
        ``user/model``, or ``user/model@revision`` with a branch, a tag or a commit. Without a revision, it is
        the commit that ``main`` is at now. A full commit that was fetched before needs no network.
    endpoint : str, optional
        Of the hub; by default ``HF_ENDPOINT`` or huggingface.co.
    cache : path, optional
        By default ``HF_HUB_CACHE`` or that of `huggingface_hub`.

    Returns
    -------
    Path
        A model folder, which `source_of` knows to name with its commit.

    Raises
    ------
    InputError
        If there is no such model or revision, it cannot be had, or its content is not what the hub's hashes
        say.
    """
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    repo, revision = _split(name)
    if revision and COMMIT.fullmatch(revision):
        config = try_to_load_from_cache(repo, CONFIG, cache_dir=cache, revision=revision)
        if isinstance(config, str):
            return Path(config).parent
    try:
        info = HfApi(endpoint=endpoint).model_info(repo, revision=revision, files_metadata=True)
    except Exception as error:  # which ones, differs between versions of huggingface_hub
        raise _refused(name, error) from error
    published = {file.rfilename: file for file in info.siblings or ()}
    if not {CONFIG, WEIGHTS} <= published.keys():
        raise InputError(name, f"it has no {CONFIG} and {WEIGHTS}: no model of pix2spec")
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
    """``{"model_source": "user/model@commit"}`` of a folder that `fetch_model` gave, else nothing."""
    snapshots, commit = Path(folder).parent, Path(folder).name
    kind, _, repo = snapshots.parent.name.partition("--")
    if snapshots.name != "snapshots" or kind != "models" or not COMMIT.fullmatch(commit):
        return {}
    return {"model_source": f"{repo.replace('--', '/', 1)}@{commit}"}


def _split(name: str) -> tuple[str, str | None]:
    match = NAME.fullmatch(name)
    if match is None:
        raise InputError(name, "not a name on the hub", "it reads user/model or user/model@revision")
    return match[1], match[2]


def _refused(name: str, error: Exception) -> InputError:
    """What the hub, or the way to it, refused, in one sentence."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return InputError(name, "access to it must be asked for", "on its page; then `hf auth login`")
    if isinstance(error, errors.RepositoryNotFoundError):
        return InputError(name, "no such model here or on the hub", "if it is private: `hf auth login`")
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(name, "the hub has no such revision of it")
    hint = "try again; user/model@COMMIT, once fetched, needs no network"
    return InputError(name, f"the hub did not give it: {_format_error(error)}", hint)


def _format_error(error: Exception) -> str:
    return " ".join([type(error).__name__, *str(error).split()])[:500]


def check_hash(path: Path, published: Any, name: str) -> None:
    """Compare a file with the hash that the hub states: sha256 of large files, git's of small ones."""
    if published.lfs is not None:
        stated, digest = published.lfs.sha256, hashlib.sha256()
    else:
        stated, digest = published.blob_id, hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    if stated and digest.hexdigest() != stated:
        path.resolve().unlink(missing_ok=True)  # the cache's copy, or the next try would find it again
        path.unlink(missing_ok=True)
        what = f"{published.rfilename} has the hash {digest.hexdigest()[:12]}, not {stated[:12]}"
        raise InputError(name, what, "it was damaged on the way: try again")


def fetch_pinned(arch: str, revision: str | None = None) -> tuple[Path, str] | None:
    """The weights file of timm's own and its commit, from the cache or, where the hub answers, from there.

    What comes from the hub has the hash that the hub states. Without a revision it is the commit that is in
    the cache, else the newest.
    """
    import timm
    from huggingface_hub import HfApi, constants, hf_hub_download

    config = timm.get_pretrained_cfg(arch)
    if config is None or not config.hf_hub_id:
        return None
    repo = config.hf_hub_id
    try:
        path = Path(hf_hub_download(repo, WEIGHTS, revision=revision, local_files_only=True))
    except OSError:  # not there
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
    """Whether a server can be reached at all; the hub's own client tries for a minute."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
    except OSError:
        return False
    return True
