"""The demo: spectra of six simulated galaxies from the default model."""

from pathlib import Path

from pix2spec.data.dataset import Dataset
from pix2spec.generate.catalogue import Summary, generate_catalogue
from pix2spec.models.generator import Settings
from pix2spec.products.catalogue import FILE_NAME

__all__ = [
    "demo",
]

DEMO_SEED = 20221116  # of the galaxies; unlike any seed of training data, which are small


def demo(out: str | Path, n_galaxies: int = 6, seed: int = 0, progress: bool = True) -> Summary:
    """Generate 25 candidate spectra for each of some simulated galaxies that the default model never saw.

    Parameters
    ----------
    out : path
        Folder for ``catalog.parquet``, ``spectra.png``, one FITS file per object in ``spectra``, and the
        galaxies themselves in ``galaxies``. An earlier demo there is replaced.
    n_galaxies : int
        Number of galaxies.
    seed : int
        Seed of the candidates.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    Summary
    """
    from pix2spec.data.simulate import simulate
    from pix2spec.generate.load import load

    out = Path(out)
    galaxies = out / "galaxies"
    if any(galaxies.glob("*.parquet")):  # an earlier demo, which this one replaces
        (out / FILE_NAME).unlink(missing_ok=True)
    else:
        simulate(galaxies, n_galaxies, seed=DEMO_SEED, progress=progress)
    generator = load()
    return generate_catalogue(
        generator,
        Dataset(galaxies),
        out,
        Settings(n=25, select=generator.default_select, seed=seed),
        fits=True,
        figures=n_galaxies,
        progress=progress,
    )
