"""Judge the simulated galaxies' colours from 0.15 to 4.6 um by real galaxies, FUV to W2.

    python benchmarks/templates.py --data DIR [-n 8192]

DIR holds brown2014.npz (129 galaxies of the atlas of Brown et al. 2014, ApJS 212:18) and dustpedia.npz (283
of Clark et al. 2018, A&A 609:A37), each measured through one aperture in all bands. For each real galaxy,
the simulated galaxy with the most similar ugriz colours, placed at the same redshift and as bright in ugriz,
predicts the other bands. Where NUV is added to the colours, FUV is judged without the chance of recent star
formation, which optical colours do not show. The scatter is 1.4826 times the median deviation.
"""

import argparse
from pathlib import Path

import numpy as np

from pix2spec.core.filters import load_filter
from pix2spec.core.photometry import NANOMAGGY_MAGNITUDE, magnitude
from pix2spec.data.simulate.galaxies import draw_galaxies
from pix2spec.data.simulate.photometry import PhotometryModel
from pix2spec.data.simulate.spectra import milky_way_extinction

BANDS = ("galex-fuv", "galex-nuv", *(f"sdss2010-{b}" for b in "ugriz"))
BANDS += ("twomass-J", "twomass-H", "twomass-Ks", "wise2010-W1", "wise2010-W2")
NUV, UGRIZ, G, R = 1, [2, 3, 4, 5, 6], 3, 4  # their numbers
COLOUR_SCALE = {2: 0.1}  # of u-g; errors of photometry and templates, which set what is similar
MAX_DISTANCE = 2.5  # scales: others have no similar simulated galaxy
RED = 0.65  # g - r
REDSHIFTS = np.arange(0, 0.061, 0.005)
BLOCK = 512


def read_galaxies(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """AB magnitudes (n, 12) in BANDS without the Milky Way's dust (NaN: missing), and redshifts (n,)."""
    with np.load(path, allow_pickle=False) as data:
        assert tuple(data["filters"]) == BANDS, path
        if "mag" in data:
            wave = np.array([load_filter(name).centre for name in BANDS])
            dust = 3.1 * data["ebv"][:, None] * milky_way_extinction(wave)
            return data["mag"] - dust, np.maximum(data["z"], 0)
        return magnitude(data["flux_Jy"] / 3.631e-6), np.maximum(data["z"], 0)


def simulate(n: int, seed: int = 1) -> np.ndarray:
    """Magnitudes (redshift, n, 12) of simulated galaxies, each placed at all REDSHIFTS, without dust."""
    model = PhotometryModel()
    curves = {name: load_filter(name) for name in BANDS}
    weights = model.weights({name: (curve.wave, curve.response) for name, curve in curves.items()})
    blocks = []
    for number in range(-(-n // BLOCK)):
        galaxies = draw_galaxies(np.random.default_rng([seed, number]), BLOCK)
        placed = [model.photometry(galaxies, weights, np.full(BLOCK, z), ebv=0.0) for z in REDSHIFTS]
        blocks.append([NANOMAGGY_MAGNITUDE - 2.5 * np.log10(bulge + disc) for bulge, disc in placed])
    return np.concatenate(blocks, axis=1)[:, :n]


def residuals(real: np.ndarray, z: np.ndarray, simulated: np.ndarray, known: list[int]) -> np.ndarray:
    """Magnitudes (n, 12) of real galaxies minus those of the simulated galaxies with the same colours.

    Colours are those of neighbours in `known`. NaN for galaxies without similar ones, or without a band.
    """
    scale = np.array([COLOUR_SCALE.get(band, 0.05) for band in known[:-1]])
    if known[0] == NUV:
        scale[0] = 0.15
    result = np.full(real.shape, np.nan)
    for i, magnitudes in enumerate(real):
        if not np.isfinite(magnitudes[known]).all():
            continue
        candidates = simulated[np.argmin(np.abs(REDSHIFTS - z[i]))]
        difference = (np.diff(candidates[:, known]) - np.diff(magnitudes[known])) / scale
        distance = np.sqrt((difference**2).sum(1))
        nearest = np.argmin(distance)
        if distance[nearest] < MAX_DISTANCE:
            offset = magnitudes - candidates[nearest]
            result[i] = offset - offset[UGRIZ].mean()
    return result


def bias_and_scatter(x: np.ndarray) -> tuple[float, float, int]:
    """Median, scatter and number of the finite values."""
    x = x[np.isfinite(x)]
    if not len(x):
        return np.nan, np.nan, 0
    return np.median(x), 1.4826 * np.median(np.abs(x - np.median(x))), len(x)


def judge(real: np.ndarray, z: np.ndarray, simulated: np.ndarray) -> dict[str, list[tuple]]:
    """For each band, `bias_and_scatter`: of all galaxies, blue ones, red ones, and of all with NUV known."""
    plain = residuals(real, z, simulated, UGRIZ)
    with_nuv = residuals(real, z, simulated, [NUV, *UGRIZ])
    red = real[:, G] - real[:, R] > RED
    parts = (plain, plain[~red], plain[red], with_nuv)
    return {name: [bias_and_scatter(part[:, i]) for part in parts] for i, name in enumerate(BANDS)}


def print_table(name: str, table: dict[str, list[tuple]]) -> None:
    columns = ("all", f"g-r < {RED}", f"g-r > {RED}", "all, NUV known")
    print(f"\n| {name}: real - simulated | {' | '.join(columns)} |\n|{'---|' * 5}")
    for band, row in table.items():
        cells = [f"{bias:+.2f} ({scatter:.2f}; {n})" for bias, scatter, n in row]
        print(f"| {band} | {' | '.join(cells)} |")


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of brown2014.npz and dustpedia.npz")
    parser.add_argument("-n", type=int, default=8192, help="number of simulated galaxies")
    args = parser.parse_args(arguments)
    simulated = simulate(args.n)
    print("Median magnitude difference (scatter; number of galaxies)")
    for name in ("brown2014", "dustpedia"):
        real, z = read_galaxies(args.data / f"{name}.npz")
        print_table(name, judge(real, z, simulated))


if __name__ == "__main__":
    main()
