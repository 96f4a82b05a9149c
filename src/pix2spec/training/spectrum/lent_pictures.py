"""Pictures for the galaxies of all samples: own ones of simulated galaxies, and lent ones of real galaxies.

Real spectra come without pictures. If simulated galaxies alone had some, a network would learn that whoever
has a picture is a simulated galaxy, with the spectra of these. So each real galaxy borrows the pictures of
the simulated galaxies that are most like it in redshift, brightness and coefficients.
"""

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree

from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum.sources import Vectors

__all__ = ["Pictures", "lend"]

OWNERS = "simulated", "simulated_total"  # the same galaxies: their light in the fibre, and all light
BORROWERS = "spectra", "spectra_sdss", "spectra_mgs"
LENDERS = 4  # most similar galaxies, of which each time one lends its picture
COLOURS = "sdss2010-g", "sdss2010-r", "sdss2010-i"
SCALES = 0.01, 0.15, 0.03, 0.02  # of log10(1 + z), log10 of the r flux, and colours in magnitudes
PER_SCATTER = 4.0  # scale of coefficients, in the scatter of each


@dataclass
class Pictures:
    """Vectors of pictures, and to which galaxies they belong."""

    vectors: torch.Tensor  # (views, M, width) float16
    place: torch.Tensor  # (N, LENDERS) numbers of the pictures of all galaxies of the samples; -1: none

    def to(self, device) -> "Pictures":
        """The same pictures, moved to a device."""
        return Pictures(self.vectors.to(device), self.place.to(device))

    def draw(self, rows: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors (n, width) of galaxies, any view of each; which are seen (n,): a share of all there are."""
        n = len(rows)
        place = self.place[rows, torch.randint(self.place.shape[1], (n,))]
        seen = (place >= 0) & (torch.rand(n) < share)
        return self.vectors[torch.randint(len(self.vectors), (n,)), place.clamp(min=0)].float(), seen


def lend(vectors: torch.Tensor, samples: Samples, coefficients: Vectors) -> Pictures:
    """Pictures of simulated galaxies, for these and for the real galaxies that are most like them.

    Parameters
    ----------
    vectors : tensor (views, M, width)
        Of the pictures of the simulated galaxies; zero where there is none.
    samples : Samples
        `OWNERS` have M galaxies each.
    coefficients : Vectors
        Of all galaxies of the samples.
    """
    place = torch.full((len(samples.z), LENDERS), -1)
    exists = (vectors[0] != 0).any(1)
    lenders = exists.nonzero()[:, 0]
    for name in set(OWNERS) & set(samples.names):
        place[samples.parts[name]] = torch.where(exists, torch.arange(len(exists)), -1)[:, None]
    features = _features(samples, coefficients, samples.parts["simulated"])[lenders]
    scatter = features.std(0)
    scatter[: len(SCALES)] = 1.0
    tree = cKDTree((features / scatter).numpy())
    for name in set(BORROWERS) & set(samples.names):
        own = _features(samples, coefficients, samples.parts[name]) / scatter
        place[samples.parts[name]] = lenders[torch.from_numpy(tree.query(own.numpy(), LENDERS)[1])]
    return Pictures(vectors, place)


def _features(samples: Samples, coefficients: Vectors, part: slice) -> torch.Tensor:
    """Redshift, brightness, colours, and the coefficients of one draw of each galaxy, scaled: (N, 3 + D)."""
    first, bands = coefficients.first[part], [samples.filters.names.index(name) for name in COLOURS]
    z, r = torch.log10(1 + samples.z[part]), torch.log10(coefficients.r[first].clamp(min=1e-3))
    colours = samples.mag[part][:, bands].diff(dim=1)
    known = torch.cat([z[:, None], r[:, None], colours], 1) / torch.tensor(SCALES)
    return torch.cat([known, coefficients.pool[first, 1:] / PER_SCATTER], 1).nan_to_num()
