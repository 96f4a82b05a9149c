"""Profiles of the emission lines of the rest-frame basis. Lines of a group have fixed flux ratios."""

import math

import torch
from torch import nn

from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINE_GROUPS, SDSS_LINE_SPREAD_KM_S

__all__ = [
    "EmissionLines",
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
        size = spectra.shape[1]
        sigma = self.sigma_pixels(width)[:, None, None]
        centre = (self.loglam + zeta[:, None] - loglam0) / self.step  # (B, lines), float64
        nearest = centre.round().long()
        reach = math.ceil(self.PROFILE_SIGMAS * float(sigma.max()))
        offset = torch.arange(-reach, reach + 1, device=spectra.device)
        x = offset - (centre - nearest).float()[..., None]
        height = flux[:, self.group] * self.density / (sigma[..., 0] * math.sqrt(2 * math.pi))
        profile = height[..., None] * torch.exp(-0.5 * (x / sigma) ** 2)
        pixel = nearest[..., None] + offset
        inside = (pixel >= 0) & (pixel < size)
        profile = profile * inside
        spectra.scatter_add_(1, pixel.clamp(0, size - 1).flatten(1), profile.flatten(1).to(spectra.dtype))
