"""A redshift model with a known answer."""

import numpy as np
import torch

from pix2spec.models.redshift.posterior import RedshiftPosterior, to_y
from pix2spec.models.redshift.prior import COUNTS_R, COUNTS_Z


class Oracle:
    """A Gaussian in y around `z`, or around a redshift that is a thousandth of the flux in the last band."""

    counts = torch.ones(len(COUNTS_R) - 1, len(COUNTS_Z) - 1)
    sd = 0.05

    def __init__(self, z=None, outside=False):
        self.z, self.is_outside, self.seen = z, outside, []

    def answer(self, tokens, without=None, prepared=None):
        self.seen.append(tokens)
        n = len(tokens)
        z = np.full(n, self.z) if self.z else tokens.flux[:, -1].double().numpy() / 1000
        one = np.ones((n, 1))
        return RedshiftPosterior(one, to_y(z)[:, None], self.sd * one), np.full(n, self.is_outside)
