"""Profiles of the emission lines of the rest-frame basis. Lines of a group have fixed flux ratios."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINE_GROUPS, SDSS_LINE_SPREAD_KM_S
from pix2spec.models.latent.noise_stack import some_of

__all__ = [
    "EmissionLines",
    "LineProfiles",
]


class EmissionLines(nn.Module):
    """Gaussian profiles of the line groups in `LINE_GROUPS`. All lines of a spectrum have the same width.

    Parameters
    ----------
    step : float
        Pixel of the lattice of log10 wavelengths, in dex.
    instrument : float
        Dispersion of the spectrograph's line spread in km/s. The widths of the methods do not include it.
    """

    PROFILE_SIGMAS = 5.0  # dispersions at which profiles end

    def __init__(self, step: float = 1e-4, instrument: float = SDSS_LINE_SPREAD_KM_S):
        super().__init__()
        self.pixel = LIGHT_SPEED_KM_S * math.log(10) * step  # km/s
        self.step, self.instrument = step, instrument
        flat = [(w, s, g) for g, lines in enumerate(LINE_GROUPS.values()) for w, s in lines]
        wave, share, group = zip(*flat)
        wave = torch.tensor(wave, dtype=torch.float64, device="cpu")
        self.register_buffer("loglam", torch.log10(wave), persistent=False)
        # Flux density of each line, summed over its pixels, if its group has unit flux.
        density = torch.tensor(share, dtype=torch.float64, device="cpu") / (wave * math.log(10) * step)
        self.register_buffer("density", density.float(), persistent=False)
        self.register_buffer("group", torch.tensor(group), persistent=False)

    def __len__(self) -> int:
        """Number of line groups."""
        return len(LINE_GROUPS)

    def sigma_pixels(self, width: torch.Tensor) -> torch.Tensor:
        """Observed dispersion in pixels of lines with the intrinsic dispersion `width` in km/s."""
        return torch.hypot(width, torch.full_like(width, self.instrument)) / self.pixel

    def templates(self, start: float, size: int, width: float) -> torch.Tensor:
        """Rest-frame profiles (groups, size) of unit flux, at log10 wavelengths ``start + step * i``."""
        sigma = self.sigma_pixels(self.loglam.new_tensor(float(width)))
        x = torch.arange(size, device=self.loglam.device) - ((self.loglam - start) / self.step)[:, None]
        profile = torch.exp(-0.5 * (x / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        profile *= self.density.double()[:, None]
        made = profile.new_zeros(len(self), size, dtype=torch.float32)
        return made.index_add_(0, self.group, profile.float())

    def add(self, spectra, loglam0: float, zeta, flux, width) -> None:
        """Add lines to `spectra` (B, L) in place.

        Parameters
        ----------
        spectra : tensor (B, L)
            Rest-frame flux density, in pixels of the observed wavelengths.
        loglam0 : float
            log10 of the first observed wavelength in Angstrom.
        zeta : tensor (B,), float64
            log10(1 + z).
        flux : tensor (B, groups)
            Rest-frame line fluxes in the unit of `spectra` times Angstrom.
        width : tensor (B,)
            Intrinsic dispersion in km/s.
        """
        self.profiles(spectra.shape[1], loglam0, zeta, flux, width).add(spectra, slice(0, len(spectra)))

    def profiles(self, size: int, loglam0: float, zeta, flux, width) -> "LineProfiles":
        """Lines of B spectra of `size` pixels; other parameters as for `add`."""
        sigma = self.sigma_pixels(width)
        reach = math.ceil(self.PROFILE_SIGMAS * float(sigma.max()))
        centre = (self.loglam + zeta[:, None] - loglam0) / self.step  # (B, lines), float64
        height = flux[:, self.group] * self.density / (sigma[:, None] * math.sqrt(2 * math.pi))
        # Most lines of most spectra are absent, or outside the pixels.
        row, line = ((height != 0) & (centre > -reach) & (centre < size + reach)).nonzero(as_tuple=True)
        centre = centre[row, line]
        nearest = centre.round()
        offset = torch.arange(-reach, reach + 1, device=zeta.device)
        x = (offset - (centre - nearest).float()[:, None]).div_(sigma[row, None])
        profile = x.square_().mul_(-0.5).exp_().mul_(height[row, line, None])
        pixel = nearest.long()[:, None] + offset
        if not ((nearest >= reach) & (nearest < size - reach)).all():
            profile *= (pixel >= 0) & (pixel < size)
            pixel.clamp_(0, size - 1)
        return LineProfiles(row, pixel, profile)


@dataclass
class LineProfiles:
    """Lines of some spectra, in the order of the spectra."""

    row: torch.Tensor  # (P,) number of the spectrum
    pixel: torch.Tensor  # (P, width)
    profile: torch.Tensor  # (P, width)

    def add(self, spectra: torch.Tensor, rows: slice) -> None:
        """Add the lines of the spectra with the numbers `rows` to `spectra` (rows, L) in place."""
        some = some_of(self.row, rows)
        pixel = self.pixel[some] + (self.row[some, None] - rows.start) * spectra.shape[1]
        profile = self.profile[some].flatten().to(spectra.dtype)
        spectra.view(-1).index_add_(0, pixel.flatten(), profile)
