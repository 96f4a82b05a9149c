"""What distinguishes one imaging survey from another, as data."""

from dataclasses import asdict, dataclass

__all__ = ["SDSS", "Survey"]


@dataclass(frozen=True)
class Survey:
    """An imaging survey and the spectra that go with it.

    Parameters
    ----------
    name : str
        Short name, as in file headers.
    image_bands : tuple of str
        Bands of the cutouts, in the order of the image axis.
    pixel_scale : float
        Arcsec per pixel of the cutouts.
    photometry_bands : tuple of str
        Bands of the catalogue fluxes, in order.
    filters : tuple of str
        speclite names of the photometric bands' response curves, in the same order.
    fibre_diameter : float
        Arcsec; the aperture that the spectrum and the catalogue fluxes refer to.
    psf_fwhm : float
        Arcsec; typical seeing.
    """

    name: str = "sdss"
    image_bands: tuple[str, ...] = ("g", "r", "i")
    pixel_scale: float = 0.396
    photometry_bands: tuple[str, ...] = ("u", "g", "r", "i", "z")
    filters: tuple[str, ...] = ("sdss2010-u", "sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z")
    fibre_diameter: float = 3.0
    psf_fwhm: float = 1.3

    def as_dict(self) -> dict:
        """Plain dictionary for JSON headers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Survey":
        """Inverse of `as_dict` (JSON turns tuples into lists)."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


SDSS = Survey()
