"""Draw simulated galaxies beside their spectra, as a check by eye.

    python scripts/contact_sheet.py [-o contact_sheet.png] [--seed 0]

There are two galaxies of each type, and two active nuclei.
"""

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from pix2spec.core.scaling import lupton_rgb
from pix2spec.data.simulate import GALAXY_TYPES, SimulatedSurvey


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--out", default="contact_sheet.png")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    survey = SimulatedSurvey(args.seed)
    batch = survey.sample(512)
    kinds = [np.flatnonzero(batch["true_type"] == kind)[:2] for kind in GALAXY_TYPES]
    nuclei = [np.flatnonzero(batch["true_agn"] == agn)[:1] for agn in ("seyfert2", "seyfert1")]
    rows = np.concatenate(kinds + nuclei)
    figure, axes = plt.subplots(
        len(rows), 2, figsize=(12, 2 * len(rows)), width_ratios=[1, 5], layout="constrained"
    )
    for i, (picture, plot) in zip(rows, axes):
        picture.imshow(
            lupton_rgb(batch["image"][i])[::-1].transpose(1, 2, 0).astype(np.uint8), origin="lower"
        )
        picture.axis("off")
        flux = np.where(batch["ivar"][i] > 0, batch["flux"][i], np.nan)
        plot.plot(survey.grid.wave, flux, color="0.6", lw=0.5)
        plot.plot(survey.grid.wave, batch["true_flux"][i], color="C3", lw=0.7)
        plot.set_ylim(0, 1.2 * np.nanpercentile(flux, 99.8))
        plot.set_title(
            f"{batch['object_id'][i]}: {batch['true_type'][i]}, AGN {batch['true_agn'][i]}, "
            f"z = {batch['z'][i]:.3f}, log M = {batch['true_logmass'][i]:.1f}, S/N {batch['true_sn'][i]:.0f}",
            fontsize=8,
        )
    figure.savefig(args.out, dpi=80)
    print(args.out)


if __name__ == "__main__":
    main()
