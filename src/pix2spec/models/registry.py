"""Families of models by the task of their presets: pix2spec's own, registered ones, and those of packages.

This module imports no family: the parts of pix2spec's own are named here and imported at first use.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any

from pix2spec.errors import InputError

__all__ = ["Family", "build_model", "find_family", "known_tasks", "network_of", "register"]

ENTRY_POINTS = "pix2spec.models"  # the group in which installed packages name their families


@dataclass(frozen=True)
class Family:
    """A preset, a network and a generator that belong together.

    Each of the three may also be its name, ``"package.module:object"``, which is imported at first use.

    Parameters
    ----------
    preset : class
        Validates the settings; derived from `pix2spec.models.shared.settings.TrainedPreset`, or from its
        ``FittedPreset`` for a method that needs no training loop.
    network : callable
        ``(preset, grid, survey)`` to a `pix2spec.models.shared.network.Network`; a class or a function.
    generator : class, optional
        Derived from `pix2spec.models.generator.Generator`; None if the network makes no spectra.
    package : str, optional
        Distribution that provides the family. pix2spec notes it when it finds the family by an entry point.
    """

    preset: Any
    network: Callable[..., Any] | str
    generator: Any = None
    package: str | None = None

    def part(self, name: str) -> Any:
        """``"preset"``, ``"network"`` or ``"generator"`` itself, imported if need be."""
        value = getattr(self, name)
        return pkgutil.resolve_name(value) if isinstance(value, str) else value


def _own(folder: str, preset: str, network: str, generator: str | None) -> Family:
    return Family(
        f"pix2spec.models.{folder}.preset:{preset}",
        f"pix2spec.models.{folder}.{network}",
        generator and f"pix2spec.models.{folder}.generator:{generator}",
    )


_OWN = {
    "diffusion": _own("pixel", "DiffusionPreset", "model:PixelDiffusion", "PixelGenerator"),
    "contrastive": _own("pixel", "ContrastivePreset", "ranker:ContrastiveModel", None),
    "factorised": _own("latent", "FactorisedPreset", "model:FactorisedModel", "FactorisedGenerator"),
    "spectrum": _own("spectrum", "SpectrumPreset", "model:SpectrumModel", "SpectrumGenerator"),
    "wu-peek": _own("baselines.wu_peek", "WuPeekPreset", "model:WuPeekModel", "WuPeekGenerator"),
    "redshift": _own("redshift", "RedshiftPreset", "network:RedshiftModel", None),
    "shape": _own("shape", "ShapePreset", "network:ShapeModel", None),
    "mean": _own("baselines", "MeanPreset", "mean:MeanModel", "FittedGenerator"),
    "neighbours": _own("baselines", "NeighboursPreset", "neighbours:NeighboursModel", "FittedGenerator"),
    "regressor": _own("baselines", "RegressorPreset", "regressor:RegressorModel", "FittedGenerator"),
}
_registered: dict[str, Family] = {}


def register(task: str, *, preset: Any, network: Callable[..., Any] | str, generator: Any = None) -> None:
    """Make a family of models known by the task of its presets, in this process.

    A second call with the same task replaces the family. To make models known to the command line, name a
    `Family` in the entry points ``pix2spec.models`` of an installed package instead.

    Parameters
    ----------
    task : str
        What presets and model folders call the family.
    preset, network, generator
        See `Family`.

    Raises
    ------
    InputError
        If the task is one of pix2spec's own.
    """
    if task in _OWN:
        raise InputError("task", f"{task!r} is a task of pix2spec itself", "choose another name")
    _registered[task] = Family(preset, network, generator)


def known_tasks() -> list[str]:
    """Tasks of pix2spec, of `register` and of installed packages."""
    return sorted({*_OWN, *_registered, *entry_points(group=ENTRY_POINTS).names})


def find_family(task: str) -> Family | None:
    """The family of a task; None if nobody provides it.

    Raises
    ------
    InputError
        If the package that provides it cannot be imported, or two packages do.
    """
    return _OWN.get(task) or _registered.get(task) or _of_package(task)


def _of_package(task: str) -> Family | None:
    found = {point.dist.name: point for point in entry_points(group=ENTRY_POINTS, name=task) if point.dist}
    if len(found) > 1:
        raise InputError("task", f"{task!r} is provided by {' and '.join(sorted(found))}", "uninstall one")
    for package, point in found.items():
        try:
            family = point.load()
        except Exception as error:  # code of others
            what = f"the package {package}, which provides the task {task!r}, cannot be imported"
            raise InputError(point.value, f"{what}: {type(error).__name__} {error}") from error
        if not isinstance(family, Family):
            raise InputError(point.value, f"the package {package} must name a pix2spec.models.Family there")
        return replace(family, package=package)
    return None


def network_of(preset) -> Callable[..., Any]:
    """What makes the network of a validated preset: a function of (preset, grid, survey)."""
    family = find_family(preset.task)
    if family is None:
        raise InputError("preset", f"unknown task {preset.task!r}", "pix2spec.models.register it first")
    return family.part("network")


def build_model(preset, grid, survey):
    """The network that a preset describes, with random weights.

    Parameters
    ----------
    preset : Preset
        Validated; its task is known.
    grid : SpectralGrid
    survey : Survey
    """
    return network_of(preset)(preset, grid, survey)
