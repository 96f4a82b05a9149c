"""Build the stellar templates of the simulated survey: src/pix2spec/data/simulate/templates.npz.

    python scripts/build_templates.py [FOLDER_OF_UNPACKED_PACKAGES] [-o templates.npz]

40 simple stellar populations of Bruzual & Charlot (2003, MNRAS 344:1000), 4 metallicities x 10 ages, come
from the wheel `sdss-mangadap` (BSD-3), in the selection of the MPA-JHU group. They span 3326-9294 A.
Non-negative combinations of the `kcorrect` templates (Blanton & Roweis 2007, AJ 133:734; BSD-3) continue
them to the wavelengths that SDSS u and z see of galaxies at redshifts 0 to 0.45.

A second, coarse lattice serves photometry alone (`long_flux`, 0.06-5.5 um). There the optical templates are
continued by
- the dust-free templates of similar age in the package `eazy` (MIT; made with FSPS, Conroy et al. 2009, ApJ
  699:486) below 2042 A. kcorrect's six templates, chosen by their optical spectra, have the ultraviolet of a
  younger population where ages are 1 to 3 Gyr, and too little of it where ages are below 0.2 Gyr;
- kcorrect's templates up to 2.3 um, as on the fine lattice;
- a Rayleigh-Jeans law beyond: kcorrect's have W1 - W2 (AB) = -0.5 for old stars, passive galaxies -0.69.
`dust_flux` is the emission of dust per absorbed luminosity (Draine & Li 2007, ApJ 657:810), from `eazy` too.

Without a folder, the packages are downloaded from PyPI (180 MB) to a temporary one.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import median_filter
from scipy.optimize import nnls

PACKAGES = ("sdss-mangadap==4.5.0", "kcorrect==5.1.9", "eazy==0.5.2")
START, STEP, SIZE = 3.31, 1e-4, 7360  # log10 of the vacuum wavelength: 2042 to 11115 A
WAVE = 10 ** (START + STEP * np.arange(SIZE))
LONG = (2.78, 5e-4, 3930)  # start, step and size of the coarse lattice: 602.6 to 55526 A
COMPLETE_WAVE = 10 ** np.arange(2.7792, 4.746, STEP)  # covers the coarse lattice with fine pixels
LONG_WAVE = 10 ** (LONG[0] + LONG[1] * np.arange(LONG[2]))
AGES = np.array([0.005, 0.025, 0.101, 0.286, 0.640, 0.904, 1.434, 2.5, 5.0, 10.0])  # Gyr
METALLICITIES = np.array([0.004, 0.008, 0.02, 0.05])
NEBULAR = (3728, 3869, 3889, 3970, 4102, 4341, 4363, 7137, 7321, 7751, 9071)  # in kcorrect's templates
FSPS_AGES = ("0.01", "0.03", "0.16", "0.67", "1.03", "1.75", "3.68", "6.07")  # Gyr, in names of eazy's files
SIMILAR_AGE = 2.5  # factor
# Flux at 3.4 um over that of a Rayleigh-Jeans law from 2.05-2.3 um, of passive galaxies in the atlas of Brown
# et al. (2014, ApJS 212:18): Ks - W1 = -0.79 (AB).
INFRARED_EXCESS = 1.12
OUT = Path(__file__).parents[1] / "src/pix2spec/data/simulate/templates.npz"


def air_to_vacuum(wave):
    """Ciddor (1996), as used by SDSS; `wave` in Angstrom."""
    s2 = (1e4 / wave) ** 2
    return wave * (1 + 5.792105e-2 / (238.0185 - s2) + 1.67917e-3 / (57.362 - s2))


def rebin(wave, flux, start=START, step=STEP, size=SIZE):
    """Conserve flux: difference the cumulative integral at the edges of the new pixels."""
    edges = 10 ** (start + step * (np.arange(size + 1) - 0.5))
    old_edges = np.concatenate([[wave[0]], (wave[1:] + wave[:-1]) / 2, [wave[-1]]])
    cumulative = np.concatenate([[0], np.cumsum(flux * np.diff(old_edges))])
    return np.diff(np.interp(edges, old_edges, cumulative)) / np.diff(edges)


def read_kcorrect(root, wave):
    """Templates (6, len(wave)) that reach from the far ultraviolet to the infrared; vacuum."""
    templates = []
    for name in ("kcorrect-default-v4", "kcorrect-lrg1-v4"):
        table = fits.getdata(root / f"kcorrect/data/templates/{name}.fits", 1)
        native = table["wave"].ravel().astype(float)
        for flux in table["flux"].reshape(-1, native.size):
            templates.append(np.interp(wave, native, flux.astype(float)))
    return np.array(templates)


def read_fsps(root, wave):
    """Templates (8, len(wave)) without dust, their ages in Gyr, and the light of dust (len(wave),).

    The latter is per Angstrom and absorbed luminosity.
    """
    folder = root / "eazy-0.5.2/eazy/data/templates"
    templates, ages = [], []
    for age in FSPS_AGES:
        path = folder / f"spline_templates_v2/spline_age{age}_av0.0.fits"
        table = fits.getdata(path, 1)
        flux = table["flux"].reshape(len(table), -1)[:, 0]  # solar metallicity, where there are several
        templates.append(np.interp(wave, table["wave"].astype(float), flux.astype(float)))
        ages.append(fits.getheader(path, 1)["AGEV"])
    with_dust, without = (
        np.loadtxt(folder / f"fsps_full/fsps_QSF_12_v3_{name}001.dat").T for name in ("", "noIRdust_")
    )
    dust = with_dust[1] - np.interp(with_dust[0], *without)
    dust = np.interp(wave, with_dust[0], dust / np.trapezoid(dust, with_dust[0]))
    return np.array(templates), np.array(ages), np.maximum(dust, 0)


def continuation(ssp, templates, inside, edge):
    """Coefficients of the combination of `templates` that fits `ssp` where `inside`, best near `edge`."""
    weight = np.exp(-np.abs(np.log(WAVE[inside] / WAVE[edge])) / 0.1)
    design = templates[:, inside].T
    size = design.mean(0)
    level = ssp[inside].mean()
    coefficients, _ = nnls(design / size * weight[:, None], ssp[inside] / level * weight)
    return coefficients / size * level


def extend(ssp, first, last, templates, clean):
    """Continue `ssp`, known on pixels first..last, blueward and redward; a ramp hides the seams.

    Returns the spectrum (SIZE,), and the shares of `templates` that continue it redward.
    """
    join = 300  # pixels over which levels are matched
    blue_share = continuation(ssp, templates, clean & (WAVE > WAVE[first]) & (WAVE < 4600), first)
    blue = blue_share @ templates
    blue *= ssp[first : first + join].mean() / blue[first : first + join].mean()
    red_share = continuation(ssp, templates, clean & (WAVE > 7000) & (WAVE < WAVE[last]), last)
    red = median_filter(red_share @ templates, 151, mode="nearest")  # kcorrect's have nebular lines there
    red_scale = ssp[last - join : last].mean() / red[last - join : last].mean()
    red *= red_scale
    pixel = np.arange(SIZE)
    from_blue = np.clip((pixel - first) / 120, 0, 1)
    from_red = np.clip((last - pixel) / 120, 0, 1)
    fine = (1 - from_blue) * blue + from_blue * from_red * ssp + (1 - from_red) * red
    return fine, red_scale * red_share


def ultraviolet(fine, age, fsps, ages, clean):
    """Spectrum on COMPLETE_WAVE that continues `fine` below 2042 A, from FSPS's templates of similar age."""
    difference = np.abs(np.log(ages / age))
    similar = fsps[difference <= max(np.log(SIMILAR_AGE), difference.min())]
    inside = (WAVE > 3430) & (WAVE < 4600)
    optical = np.array([np.interp(WAVE, COMPLETE_WAVE, template) for template in similar])
    share = continuation(fine, optical, clean & inside, np.flatnonzero(inside)[0])
    join = WAVE < 1.07 * WAVE[0]
    share *= fine[join].mean() / (share @ optical)[join].mean()
    return median_filter(share @ similar, 55, mode="nearest")  # narrow: Lyman alpha in absorption stays


def infrared(red):
    """The spectrum `red` on COMPLETE_WAVE without nebular lines; a Rayleigh-Jeans law beyond 2.7 um."""
    red = median_filter(red, 151, mode="nearest")
    known = (COMPLETE_WAVE > 20_500) & (COMPLETE_WAVE < 23_000)
    law = INFRARED_EXCESS * (red * COMPLETE_WAVE**4)[known].mean() / COMPLETE_WAVE**4
    ramp = np.clip(np.log(COMPLETE_WAVE / 23_000) / np.log(27_000 / 23_000), 0, 1)
    return red ** (1 - ramp) * law**ramp


def join(blue, fine, red):
    """Spectrum on the coarse lattice: `fine` resampled; `blue` and `red`, on COMPLETE_WAVE, where it ends."""
    pieces = [rebin(x, y, *LONG) for x, y in ((COMPLETE_WAVE, blue), (WAVE, fine), (COMPLETE_WAVE, red))]
    margin = 1 + LONG[1] * np.log(10)  # the fine lattice must cover a pixel completely
    piece = (LONG_WAVE > WAVE[0] * margin).astype(int) + (LONG_WAVE > WAVE[-1] / margin)
    return np.choose(piece, pieces)


def build(root):
    """All templates, (40, SIZE) and (40, LONG[2]) in Lsun/A per solar mass formed, and the light of dust.

    Metallicity is the slow index.
    """
    templates, complete = read_kcorrect(root, WAVE), read_kcorrect(root, COMPLETE_WAVE)
    fsps, fsps_ages, dust = read_fsps(root, COMPLETE_WAVE)
    clean = np.all([np.abs(WAVE / line - 1) > 0.004 for line in NEBULAR], axis=0)
    ssps, long_ssps = [], []
    for metallicity in METALLICITIES:
        for age in AGES:
            name = f"BC03_z{metallicity:.3f}_a{age:06.3f}.fits"
            flux = fits.getdata(root / "mangadap/data/spectral_templates/bc03_mpajhu" / name).astype(float)
            wave = air_to_vacuum(3326.0 + np.arange(flux.size))
            first, last = np.flatnonzero((WAVE > wave[0] + 3) & (WAVE < wave[-1] - 3))[[0, -1]]
            fine, red_share = extend(rebin(wave, flux), first, last, templates, clean)
            blue = ultraviolet(fine, age, fsps, fsps_ages, clean)
            ssps.append(fine)
            long_ssps.append(join(blue, fine, infrared(red_share @ complete)))
    return np.array(ssps), np.array(long_ssps), rebin(COMPLETE_WAVE, dust, *LONG)


def download(folder):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "-d", folder, *PACKAGES], check=True
    )
    for package in Path(folder).iterdir():
        shutil.unpack_archive(package, folder, "zip" if package.suffix == ".whl" else "gztar")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="unpacked sdss-mangadap, kcorrect and eazy")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if args.folder is None:
            download(temporary)
        ssps, long_ssps, dust = build(args.folder or Path(temporary))
    level = ssps[:, (WAVE > 5400) & (WAVE < 5600)].mean(1)
    np.savez_compressed(
        args.out,
        flux=(ssps / level[:, None]).astype(np.float16),  # 0.03 % rounding, half the bytes
        level=level.astype(np.float32),
        ages=AGES,
        metallicities=METALLICITIES,
        start=START,
        step=STEP,
        long_flux=(long_ssps / level[:, None]).astype(np.float16),
        long_start=LONG[0],
        long_step=LONG[1],
        dust_flux=dust.astype(np.float32),
    )
    print(f"{args.out}: {ssps.shape}, {long_ssps.shape}, {args.out.stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    main()
