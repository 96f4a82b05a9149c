"""Photometry of simulated galaxies in any filters, from 1,331 A to 5.55 um, at redshifts 0 to 1.2.

Spectra are computed on a coarse lattice of wavelengths, 345 km/s a pixel. This suffices for filters wider
than about 50 A, and covers the far ultraviolet to WISE W2. Dust emits the light that it absorbs from stars.
The nuclei of active galaxies have no hot dust of their own, and neutral hydrogen between galaxies absorbs
nothing.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

from pix2spec.core.lines import LIGHT_SPEED_ANGSTROM_S, LIGHT_SPEED_KM_S
from pix2spec.core.photometry import FLUX_UNIT, NANOMAGGY, filter_matrix
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.galaxies import Galaxies
from pix2spec.data.simulate.spectra import RestFrameModel, load_templates, milky_way_extinction
from pix2spec.errors import InputError

__all__ = ["PhotometryModel"]

MAX_OUTSIDE = 0.02  # fraction of a filter's transmission that may lie outside the lattice
MIN_SIGMA = 0.5  # pixels: narrower lines would lose their position inside a pixel


class PhotometryModel(RestFrameModel):
    """Computes noise-free photometry of the components of galaxies.

    Attributes
    ----------
    start, step : float
        The lattice of wavelengths: log10 of the first vacuum wavelength in Angstrom, and the step in dex.
    wave : array (W,)
        Wavelengths of the lattice in Angstrom. They are rest-frame for templates, observed for filters.
    """

    def __init__(self):
        stored = load_templates()
        super().__init__(stored["long_flux"].astype(np.float32), stored["long_start"], stored["long_step"])
        self.dust_flux = stored["dust_flux"]  # per Angstrom, of the luminosity that dust absorbs
        self.pixel_width = (self.wave * np.log(10) * self.step).astype(np.float32)
        self.foreground = milky_way_extinction(self.wave).astype(np.float32)
        r = SDSS.photometry_bands.index("r")
        self.r_weights = filter_matrix(self.wave, SDSS.filters)[:, r].astype(np.float32)

    def weights(self, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Weights that turn spectra on the lattice into AB band fluxes, as `filter_matrix` does.

        The response curves are integrated over each pixel, so that box filters keep their edges.

        Parameters
        ----------
        curves : mapping of str to (wave, response)
            For each filter, by its name: vacuum wavelengths in Angstrom, increasing, and the response of a
            photon counter in any unit.

        Returns
        -------
        array (W, filter), float32
            ``nanomaggies = flux @ weights`` for spectra in 1e-17 erg/s/cm2/Angstrom.

        Raises
        ------
        InputError
            If more than 2 % of a filter's transmission lies outside 603 A to 5.55 um.
        """
        edges = 10 ** (self.start + self.step * (np.arange(len(self.wave) + 1) - 0.5))
        columns = []
        for name, (wave, response) in curves.items():
            wave, response = np.asarray(wave, float), np.asarray(response, float)
            inside = edges[(edges > wave[0]) & (edges < wave[-1])]
            x = np.union1d(wave, inside)
            y = np.interp(x, wave, response)
            if _integral(x, y, edges).sum() < (1 - MAX_OUTSIDE) * np.trapezoid(y, x):
                what = f"the filter reaches beyond {edges[0]:.0f} to {edges[-1]:.0f} A, where templates end"
                raise InputError(name, what, "leave this filter out")
            ab_source = _integral(x, y / x, edges).sum() * LIGHT_SPEED_ANGSTROM_S * NANOMAGGY
            columns.append(_integral(x, y * x, edges) / ab_source * FLUX_UNIT)
        return np.stack(columns, axis=1).astype(np.float32)

    def photometry(
        self, galaxies: Galaxies, weights: np.ndarray, z: np.ndarray | None = None, ebv=None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Band fluxes of the complete bulges and discs of galaxies.

        Each galaxy has the total r magnitude ``galaxies.r``, and its bulge the share
        ``galaxies.bulge_fraction`` of the r flux, at whatever redshift. Memory grows with the number of
        galaxies, by about 0.2 MB each. Batches of 512 are fast.

        Parameters
        ----------
        galaxies : Galaxies
            n galaxies.
        weights : array (W, F)
            As `weights` gives them.
        z : array (n,), optional
            Redshifts at which the galaxies are placed. The default is ``galaxies.z``.
        ebv : array (n,) or float, optional
            E(B-V) of the Milky Way's dust. 0 gives dereddened fluxes. The default is
            ``galaxies.ebv_milky_way``.

        Returns
        -------
        bulge, disc : array (n, F), float32
            Fluxes in nanomaggies.

        Raises
        ------
        InputError
            If a filter would see rest-frame wavelengths below 603 A.
        """
        z = np.asarray(galaxies.z if z is None else z, float)
        ebv = np.broadcast_to(galaxies.ebv_milky_way if ebv is None else ebv, z.shape)
        bluest = self.wave[np.flatnonzero(weights.any(1))[0]]
        if bluest < self.wave[0] * (1 + z.max()):
            what = f"a filter sees rest-frame wavelengths below {self.wave[0]:.0f} A at z = {z.max():.2f}"
            raise InputError("z", what, "templates end there: leave out the bluest filter")
        total = 10 ** (-0.4 * (galaxies.r - 22.5))
        r_and_all = np.c_[self.r_weights, weights]
        components = []
        shares = galaxies.bulge_fraction, 1 - galaxies.bulge_fraction
        for spectrum, share in zip(self.spectra(galaxies, z, ebv), shares):
            bands = spectrum @ r_and_all
            components.append(bands[:, 1:] * (share * total / bands[:, 0])[:, None].astype(np.float32))
        return components[0], components[1]

    def stars(self, weights, av, av_birth):
        """Rest-frame spectra (n, W) of stars and their dust, as `RestFrameModel.stars` has them without."""
        spectrum = super().stars(weights, av, av_birth)
        light = (weights * self.level).astype(np.float32)
        absorbed = light @ (self.flux @ self.pixel_width) - spectrum @ self.pixel_width
        return spectrum + absorbed[:, None] * self.dust_flux

    def spectra(self, galaxies: Galaxies, z: np.ndarray, ebv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Observed spectra (n, W) of bulges and discs placed at `z` (n,) behind `ebv` (n,); any amplitude."""
        rest = self.rest_frame(galaxies)
        bulge, disc = self.redshift(rest.bulge, z), self.redshift(rest.disc, z)
        self.add_lines(bulge, rest.bulge_gas, galaxies.gas_dispersion, z)
        self.add_lines(disc, rest.disc_gas, galaxies.gas_dispersion, z)
        self.add_lines(bulge, rest.narrow, rest.narrow_dispersion, z)
        self.add_lines(bulge, rest.broad, rest.broad_dispersion, z)
        if np.any(ebv):
            depth = (-0.4 * np.log(10) * 3.1 * ebv).astype(np.float32)
            transmission = np.exp(depth[:, None] * self.foreground)
            bulge *= transmission
            disc *= transmission
        return bulge, disc

    def redshift(self, spectrum, z):
        """Shift spectra (n, W) by log10(1 + z), with linear interpolation; 0 where the templates end."""
        shift = np.log10(1 + z) / self.step
        whole = np.floor(shift).astype(int)
        rest = (shift - whole).astype(np.float32)
        shifted = np.zeros_like(spectrum)
        size = spectrum.shape[1]
        for i, (k, fraction) in enumerate(zip(whole, rest)):
            shifted[i, k:] = (1 - fraction) * spectrum[i, : size - k]
            shifted[i, k + 1 :] += fraction * spectrum[i, : size - k - 1]
        return shifted

    def add_lines(self, spectrum, luminosity, dispersion, z):
        """Add Gaussian lines of `luminosity` (n, lines), `dispersion` (n,) in km/s, at `z`, in place.

        A line's flux density is that per rest-frame Angstrom, as in the continuum.
        """
        rows = np.flatnonzero(luminosity.any(1))
        if not len(rows):
            return
        pixel = LIGHT_SPEED_KM_S * np.log(10) * self.step
        sigma = np.maximum(dispersion[rows] / pixel, MIN_SIGMA)[:, None, None]
        position = (np.log10(self.line_wave * (1 + z[rows, None])) - self.start) / self.step
        nearest = np.rint(position).astype(int)
        reach = int(np.ceil(4 * sigma.max()))
        edges = np.arange(-reach, reach + 2) - 0.5
        share = np.diff(ndtr((edges + (nearest - position)[:, :, None]) / sigma))
        pixels = nearest[:, :, None] + np.arange(-reach, reach + 1)
        width = self.wave[pixels] * np.log(10) * self.step / (1 + z[rows, None, None])
        density = luminosity[rows][:, :, None] * share / width
        np.add.at(spectrum, (rows[:, None, None], pixels), density.astype(np.float32))


def _integral(x, y, edges):
    """Integral of `y` (x,), linear between points, within each pair of neighbouring `edges`."""
    cumulative = np.concatenate([[0], np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)])
    return np.diff(np.interp(edges, x, cumulative))
