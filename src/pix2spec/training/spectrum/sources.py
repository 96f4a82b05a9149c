"""The galaxies that the spectrum networks train on: their measurements, and their coefficient vectors.

Measurements come as in the training of redshifts (`pix2spec.training.redshift.samples`). Each galaxy has one
coefficient vector, if it is simulated, or several draws from the posterior of its real spectrum.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pix2spec.data.measurements import EXTINCTIONS
from pix2spec.data.simulate.galaxies import luminosity_distance
from pix2spec.models.latent.prepare import floor_errors
from pix2spec.models.shared.measurements import KIND_GROUPS
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.real_sky import RealTable, load_real, real_spectra
from pix2spec.training.redshift.filters import TrainingFilters
from pix2spec.training.redshift.samples import Sample
from pix2spec.training.spectrum.bank import SpectrumBank
from pix2spec.training.spectrum.other_spectra import atlas_galaxies, fors2_spectra

__all__ = ["Vectors", "read_spectrum_samples", "simulated_sample"]

DRAWS = 16  # from the posterior of each real spectrum
PLACES = 6  # redshifts at which each real spectrum is placed besides its own
OBSERVED, DEREDDENED = (EXTINCTIONS.index(state) for state in ("observed", "dereddened"))
FIBRE, TOTAL = KIND_GROUPS["fibre"], KIND_GROUPS["total"]


@dataclass
class Vectors:
    """Coefficient vectors of N galaxies, some with several draws."""

    pool: torch.Tensor  # (P, D) with zero in the first place
    r: torch.Tensor  # (P,) r flux of the spectrum in nanomaggies; NaN where its amplitude is not known
    first: torch.Tensor  # (N,) place of each galaxy's first draw
    count: torch.Tensor  # (N,)

    def to(self, device) -> "Vectors":
        """The same vectors, moved to a device."""
        for name, values in vars(self).items():
            setattr(self, name, values.to(device))
        return self

    def draw(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A random draw for each of `rows` (n,): vectors (n, D), r fluxes (n,)."""
        place = self.first[rows] + (torch.rand(len(rows)) * self.count[rows]).long()
        return self.pool[place], self.r[place]

    @classmethod
    def joined(cls, parts: list[tuple[np.ndarray, np.ndarray]]) -> "Vectors":
        """Of vectors (n, draws, D) and r fluxes (n, draws) of several samples, one after another."""
        counts = np.concatenate([np.full(len(v), v.shape[1]) for v, _ in parts])
        pool = np.concatenate([v.reshape(-1, v.shape[2]) for v, _ in parts])
        r = np.concatenate([values.reshape(-1) for _, values in parts])
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return cls(*(torch.from_numpy(a) for a in (pool, r, first, counts)))


def read_spectrum_samples(
    data: Path, filters: TrainingFilters, network: SpectrumNetwork, number: int, bank: SpectrumBank,
    redshift_samples: dict[str, Sample],
) -> tuple[dict[str, Sample], Vectors]:  # fmt: skip
    """All samples of a network, and their coefficient vectors.

    Parameters
    ----------
    data : Path
        Folder of the real tables and spectra.
    filters : TrainingFilters
    network : SpectrumNetwork
        With a fitted basis.
    number : int
        Of the network, in the bank.
    bank : SpectrumBank
    redshift_samples : dict of str to Sample
        From `pix2spec.training.redshift.sources.read_samples`: real galaxies in all filters.
    """
    sets = [filters.numbers("sdss2010", "ugriz")]
    simulated = bank.vector[number][:, None], bank.r[number][:, None]
    samples, vectors = {}, []
    for name, mag, kind in (("simulated", bank.fibre, FIBRE), ("simulated_total", bank.total, TOTAL)):
        samples[name] = simulated_sample(mag, bank.z, kind, sets)
        vectors.append(simulated)
    real, own = real_spectra(data), redshift_samples["spectra"]
    fits = network.basis.encode(
        real.flux, floor_errors(real.flux, real.ivar), real.z, network.grid, DRAWS, seed=number
    )
    vector, r = network.vector(real.z, fits, number)
    samples["spectra"] = own
    vectors.append((vector, r))
    for name, sample, rows in _with_total_magnitudes(load_real(data), redshift_samples):
        samples[f"spectra_{name}"] = sample
        vectors.append((vector[rows], r[rows]))
    moved, moved_vectors = _moved(network, filters, real, vector, r, own, number)
    samples["moved"] = moved
    vectors.append(moved_vectors)
    rng = np.random.default_rng(number)
    samples["atlas"], atlas = atlas_galaxies(data, network, filters, rng)
    vectors.append(atlas)
    samples["fors2"], fors2 = fors2_spectra(data, network, redshift_samples["fors2"], number)
    vectors.append(fors2)
    return samples, Vectors.joined(vectors)


def simulated_sample(mag: np.ndarray, z: np.ndarray, kind: int, sets: list[list[int]]) -> Sample:
    """Simulated galaxies with magnitudes (N, F) of light of one kind."""
    # A spectrum is behind the same dust as the fluxes that are given, whatever is said of it.
    return Sample(
        mag=mag, error=0.0, z=z, kind=kind, extinction=DEREDDENED, fold=np.full(len(z), -1),
        measured=np.ones(mag.shape[1], bool), is_simulated=True, misstated=0.5, sets=sets,
    )  # fmt: skip


def _with_total_magnitudes(tables: dict[str, RealTable], samples: dict[str, Sample]):
    """Galaxies with a spectrum whose model magnitudes are in another table: name, sample, rows of spectra."""
    spectra = tables["spectra"]
    for name in ("sdss", "mgs"):
        table, sample = tables[name], samples[name]
        inside = (table.z > 5e-4) & (table.z < 0.75) & (np.isfinite(table.magnitude).sum(1) >= 2)
        place = {group: k for k, group in enumerate(table.group[inside])}
        rows = np.array([k for k, group in enumerate(spectra.group) if group in place], int)
        if len(rows):
            theirs = np.array([place[spectra.group[k]] for k in rows])
            yield name, sample.of(theirs), rows


def _moved(network, filters, real, vector, r, own: Sample, seed: int):
    """Real spectra placed at other redshifts, where the basis says what they would look like."""
    rng = np.random.default_rng([seed, 1])
    rows = np.repeat(np.arange(len(real.z)), PLACES)
    draw = rng.integers(vector.shape[1], size=len(rows))
    z = rng.uniform(0.001, network.basis.z_max - 0.005, len(rows))
    tables, zeta = network.tables(filters.curves), torch.from_numpy(np.log10(1 + z))
    chosen = torch.from_numpy(vector[rows, draw])
    index = torch.arange(len(filters.curves)).expand(len(rows), -1)
    parts = network.linear_parts(chosen)
    last = torch.full((len(rows), 1), len(tables.flux) - 1)
    home = torch.from_numpy(np.log10(1 + real.z[rows]))
    scale = torch.from_numpy(r[rows, draw]) / _fluxes(tables, last, home, parts)[0][:, 0]
    distance = luminosity_distance(real.z[rows]) / luminosity_distance(z)
    scale = scale * torch.from_numpy(distance**2 * (1 + real.z[rows]) / (1 + z)).float()
    flux, covered = zip(*(
        _fluxes(tables, index[part], zeta[part], parts[part]) for part in torch.arange(len(rows)).split(256)
    ))  # fmt: skip
    flux, covered = torch.cat(flux) * scale[:, None], torch.cat(covered)
    r_moved = _fluxes(tables, last, zeta, parts)[0][:, 0] * scale
    mag = torch.where(covered & (flux > 1e-6), 22.5 - 2.5 * torch.log10(flux.clamp(min=1e-9)), torch.nan)
    good = (r_moved > 1e-3).numpy()
    sample = Sample(
        mag=mag.numpy().astype(np.float32)[good], error=0.0, z=z[good], kind=FIBRE, extinction=OBSERVED,
        fold=real.fold[rows][good], measured=np.ones(len(filters.curves), bool), is_simulated=True,
        sets=[filters.numbers("sdss2010", "ugriz")],
    )  # fmt: skip
    return sample, (chosen.numpy()[good][:, None], r_moved.numpy().astype(np.float32)[good][:, None])


def _fluxes(tables, index, zeta, parts):
    design, covered = tables.at(index, zeta)
    return (design * parts[:, None].to(design.dtype)).sum(2), covered
