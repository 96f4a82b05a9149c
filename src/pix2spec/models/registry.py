"""Families of models by the task of their presets: pix2spec's own, registered ones, and those of packages.

This module imports no family: the parts of pix2spec's own are named, and imported at first use.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any

from pix2spec.errors import InputError

__all__ = ["Family", "build_model", "find_family", "register", "tasks"]

GROUP = "pix2spec.models"  # of the entry points of installed packages


@dataclass(frozen=True)
class Family:
    """All that pix2spec needs to know of a kind of model.

    Each part may also be the name of an object, ``"package.module:object"``, which is imported at first use.

    Parameters
    ----------
    preset : class
        Validates a preset; derived from `pix2spec.models.shared.settings.TrainedPreset`, or from
        ``FittedPreset`` for a method that is fitted in one pass.
    network : callable
        ``(preset, grid, survey) -> pix2spec.models.shared.network.Network``, a class or a function.
    generator : class, optional
        Derived from `pix2spec.models.generator.Generator`. None: networks of this family make no spectra.
    package : str, optional
        Distribution that provides the family; filled in for those that are found by an entry point.
    """

    preset: Any
    network: Callable[..., Any] | str
    generator: Any = None
    package: str | None = None

    def __getattribute__(self, name: str):
        value = super().__getattribute__(name)
        return value
