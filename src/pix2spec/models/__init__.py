"""Model families, each with its preset, network and generator, and the registry that finds them by task.

>>> import pix2spec.models
>>> sorted(pix2spec.models.tasks())[:3]
['contrastive', 'diffusion', 'factorised']
"""

from pix2spec.models.registry import Family, register, tasks

__all__ = ["Family", "register", "tasks"]
