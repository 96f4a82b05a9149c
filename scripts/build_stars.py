"""Build the spectra of stars that must not be taken for galaxies: src/pix2spec/training/stars.npz.

    python scripts/build_stars.py [FOLDER_OF_UNPACKED_WHEELS] [-o stars.npz]

Two wheels bring stellar libraries: `exosims` (BSD-3) has 106 spectra of Pickles (1998, PASP 110:863), 19 of
Bruzual, Persson, Gunn and Stryker, and 18 of MUSCLES (France et al. 2016, ApJ 820:89), all from the
ultraviolet to 2.5 um. `sdss-mangadap` (BSD-3) has STELIB (Le Borgne et al. 2003, A&A 402:433): 255 stars
between 3200 and 9800 A, corrected for extinction. The spectrum of Pickles that fits a STELIB star best
continues it on both sides.

Beyond 2.5 um every spectrum falls as wavelength^-4, the Rayleigh-Jeans law.

Without a folder, both wheels are downloaded from PyPI (140 MB) to a temporary one.
"""

import argparse
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
from astropy.io import fits

WHEELS = ("exosims==3.6.6", "sdss-mangadap==4.5.0")
STEP = 0.004  # of ln(wavelength)
LN_WAVE = np.arange(np.log(1300), np.log(57000), STEP)
WAVE = np.exp(LN_WAVE)
REFERENCE = (5400, 5600)  # A; spectra have a mean of 1 here
FAINTEST = 1e-7  # relative flux; fainter ones, of cool stars in the ultraviolet, are noise
STELIB_RANGE = (3480, 9000)  # A; a spectrum must have all of it, and is used there: water in air is redward
OUT = Path(__file__).parents[1] / "src/pix2spec/training/stars.npz"


def on_lattice(wave, flux):
    """Mean flux in the pixels of the lattice; NaN where the spectrum does not reach."""
    edges = np.exp(np.append(LN_WAVE, LN_WAVE[-1] + STEP) - STEP / 2)
    middles = np.concatenate([[wave[0]], (wave[1:] + wave[:-1]) / 2, [wave[-1]]])
    total = np.concatenate([[0], np.cumsum(flux * np.diff(middles))])
    mean = np.diff(np.interp(edges, middles, total)) / np.diff(edges)
    inside = (edges[:-1] >= wave[0]) & (edges[1:] <= wave[-1])
    return np.where(inside, mean, np.nan)


def complete(spectrum):
    """The spectrum with a mean of 1 at the reference, continued redward by Rayleigh and Jeans's law."""
    known = np.flatnonzero(np.isfinite(spectrum))
    first, last = known[0], known[-1]
    spectrum = np.where(np.arange(len(WAVE)) < first, spectrum[first], spectrum)
    tail = np.median((spectrum * WAVE**4)[last - 40 : last + 1])
    spectrum = np.where(np.arange(len(WAVE)) > last, tail / WAVE**4, spectrum)
    near = (WAVE > REFERENCE[0]) & (WAVE < REFERENCE[1])
    return np.maximum(spectrum / spectrum[near].mean(), FAINTEST)


def read_exosims(folder: Path, pattern: str, label):
    """(label, spectrum) of each file; a spectrum has columns of wavelength and flux."""
    for path in sorted(folder.glob(pattern)):
        with fits.open(path) as hdus:
            table, header = hdus[1].data, hdus[0].header
            wave, flux = (np.asarray(table[name], float) for name in ("WAVELENGTH", "FLUX"))
        used = (wave > 1000) & (flux > 0)
        if wave[used][-1] > 24000:  # one spectrum has no infrared part
            yield label(path, header), complete(on_lattice(wave[used], flux[used]))


def read_pickles(folder: Path):
    table = fits.getdata(folder / "pickles_uk.fits", 1)
    kinds = dict(zip(table["FILENAME"], table["SPTYPE"]))
    return read_exosims(folder, "pickles_uk_*.fits", lambda path, header: str(kinds[path.stem]))


def read_stelib(folder: Path):
    """(star, spectrum) of each star with the whole of `STELIB_RANGE`; NaN outside of it."""
    inside = (WAVE > STELIB_RANGE[0]) & (WAVE < STELIB_RANGE[1])
    for path in sorted(folder.glob("*.fits")):
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore")  # headers with cards that are not quite FITS
            header, flux = hdus[0].header, np.squeeze(hdus[0].data).astype(float)
        wave = header["CRVAL1"] + header["CDELT1"] * np.arange(len(flux))
        measured = np.flatnonzero(np.isfinite(flux) & (flux != 0))
        part = slice(measured[0], measured[-1] + 1)
        spectrum = np.where(inside, on_lattice(wave[part], np.nan_to_num(flux[part])), np.nan)
        if (spectrum[inside] > 0).all():
            yield str(header["OBJECT"]), spectrum


def continued(spectrum, templates):
    """A STELIB spectrum, outside its range the template with the most similar shape."""
    inside = np.isfinite(spectrum)
    ratio = np.log(spectrum[inside] / templates[:, inside])
    best = np.argmin(ratio.std(1))
    x, ends = LN_WAVE[inside], 0.05
    edge = [np.median(ratio[best][near]) for near in (x < x[0] + ends, x > x[-1] - ends)]
    scale = np.exp(np.interp(LN_WAVE, [x[0], x[-1]], edge))
    return complete(np.where(inside, spectrum, templates[best] * scale))


def build(root: Path, out: Path) -> None:
    exosims = root / "EXOSIMS/TargetList"
    libraries = {
        "pickles": list(read_pickles(exosims / "dat_uvk")),
        "bpgs": list(read_exosims(exosims / "bpgs", "*.fits", lambda path, header: header["MKTYPE"])),
        "muscles": list(read_exosims(exosims / "muscles", "*.fits", lambda path, header: header["SPTYPE"])),
    }
    templates = np.stack([spectrum for _, spectrum in libraries["pickles"]])
    stelib = read_stelib(root / "mangadap/data/spectral_templates/stelib")
    libraries["stelib"] = [(name, continued(spectrum, templates)) for name, spectrum in stelib]
    stars = [(library, *star) for library, found in libraries.items() for star in found]
    library, name, flux = zip(*stars)
    np.savez_compressed(
        out,
        library=np.array(library),
        name=np.array([n.strip() for n in name]),
        ln_wave_start=LN_WAVE[0],
        ln_wave_step=STEP,
        log10_flux=np.log10(np.stack(flux)).astype(np.float16),
    )
    counts = ", ".join(f"{len(found)} {library}" for library, found in libraries.items())
    print(f"{out}: {counts}; {out.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder into which both wheels are unpacked")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    args = parser.parse_args()
    if args.folder is not None:
        build(args.folder, args.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", folder, *WHEELS]
        subprocess.run(command, check=True)
        for wheel in Path(folder).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        build(Path(folder), args.out)


if __name__ == "__main__":
    main()
