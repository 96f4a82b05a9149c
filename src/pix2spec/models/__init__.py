"""Model families, each with its preset, network and generator, and the registry that finds them by task."""

from pix2spec.models.registry import Family, register

__all__ = ["Family", "register"]
