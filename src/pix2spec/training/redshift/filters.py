"""The filters of the training set of the redshift model, and the sets in which surveys use them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2spec.core.extinction import extinction_law
from pix2spec.core.filters import Filter, load_filter
from pix2spec.training.real_sky import jpas_filters, survey_filters

__all__ = ["TrainingFilters", "training_filters"]

GROUPS = {
    "sdss2010": "ugriz", "decam2014": "ugrizY", "BASS": "gr", "MzLS": "z", "panstarrs": "grizy",
    "lsst2023": "ugrizy", "hsc2017": "grizy", "cfht_megacam": "ugriz", "bessell": "UBVRI",
}  # fmt: skip
OTHERS = (
    "galex-fuv", "galex-nuv", "twomass-J", "twomass-H", "twomass-Ks", "wise2010-W1", "wise2010-W2",
    "Euclid-VIS", "Euclid-Y", "Euclid-J", "Euclid-H", "gaiadr3-BP", "gaiadr3-G", "gaiadr3-RP",
    "suprime-IB427", "suprime-IB464", "suprime-IB484", "suprime-IB505", "suprime-IB527", "suprime-IB574",
    "suprime-IB624", "suprime-IB679", "suprime-IB709", "suprime-IB738", "suprime-IB767", "suprime-IB827",
)  # fmt: skip
WISE, INFRARED, ULTRAVIOLET = OTHERS[5:7], OTHERS[2:5], OTHERS[:2]
SETS = (
    *[[f"sdss2010-{b}" for b in "ugriz"]] * 2,
    *[[f"decam2014-{b}" for b in bands] for bands in ("griz", "grz", "ugriz", "grizY")],
    ["BASS-g", "BASS-r", "MzLS-z"],
    ["BASS-g", "BASS-r", "MzLS-z", *WISE],
    [*(f"decam2014-{b}" for b in "grz"), *WISE],
    [*(f"decam2014-{b}" for b in "griz"), *WISE],
    [f"panstarrs-{b}" for b in "grizy"],
    [f"panstarrs-{b}" for b in "gri"],
    [f"lsst2023-{b}" for b in "ugrizy"],
    [f"lsst2023-{b}" for b in "gri"],
    [f"hsc2017-{b}" for b in "grizy"],
    [f"cfht_megacam-{b}" for b in "ugriz"],
    [f"bessell-{b}" for b in "UBVRI"],
    [*(f"sdss2010-{b}" for b in "ugriz"), *WISE],
    ["galex-nuv", *(f"sdss2010-{b}" for b in "ugriz"), *INFRARED],
    [*ULTRAVIOLET, *(f"sdss2010-{b}" for b in "ugriz")],
    [*(f"lsst2023-{b}" for b in "griz"), "Euclid-VIS", "Euclid-Y", "Euclid-J", "Euclid-H"],
    ["gaiadr3-BP", "gaiadr3-G", "gaiadr3-RP"],
    [*(f"kids-{b}" for b in "ugri"), *(f"viking-{b}" for b in ("Z", "Y", "J", "H", "Ks"))],
    [f"kids-{b}" for b in "ugri"],
    [f"cosmos-{b}" for b in ("u", "B", "V", "g", "r", "i", "z", "J", "Ks")],
    [f"cfh12k-{b}" for b in "BVRI"],
)
MANY = (  # sets of so many broad bands that they are drawn with the narrow ones
    [*OTHERS[14:], "sdss2010-u", "lsst2023-z"],
    [*ULTRAVIOLET, *(f"kids-{b}" for b in "ugri"), *(f"viking-{b}" for b in ("Z", "Y", "J", "H", "Ks"))],
)
BOX_WIDTHS, BOX_RANGE = (60, 100, 200), (3700, 9800)  # Angstrom: pixels of coarse spectra


@dataclass
class TrainingFilters:
    """Filters by number, with their curves and sets."""

    names: list[str]
    curves: list[Filter]
    centre: np.ndarray  # (F,) Angstrom
    width: np.ndarray  # (F,) Angstrom, rms
    extinction: np.ndarray  # (F,) magnitudes for E(B-V) = 1
    sets: list[list[int]]  # broad and medium bands
    narrow_sets: list[list[int]]  # narrow bands and coarse spectra

    def numbers(self, group: str, bands: str) -> list[int]:
        """Numbers of filters such as ``("sdss2010", "ugriz")``."""
        return [self.names.index(f"{group}-{band}") for band in bands]

    def own_set(self, names, letters: str) -> list[int]:
        """Numbers of those of `names` whose bands are in `letters`; "Ks" is one band."""
        bands = [*letters.replace("Ks", ""), *(["Ks"] if "Ks" in letters else [])]
        return [self.names.index(name) for name in names if name.rsplit("-", 1)[-1] in bands]


def training_filters(data: str | Path) -> TrainingFilters:
    """All filters: speclite's, J-PAS's and other surveys' from the folder `data`, and boxes."""
    names = [f"{group}-{band}" for group, bands in GROUPS.items() for band in bands] + list(OTHERS)
    curves = [load_filter(name) for name in names]
    curves += survey_filters(data)
    jpas = jpas_filters(data)
    curves += jpas
    narrow = [*MANY, *[[curve.name for curve in jpas]] * 4]
    for width in BOX_WIDTHS:
        boxes = [_box(float(low), width) for low in np.arange(BOX_RANGE[0], BOX_RANGE[1] - width + 1, width)]
        curves += boxes
        narrow.append([box.name for box in boxes])
    names = [curve.name for curve in curves]
    centre, width = np.array([(curve.centre, curve.width) for curve in curves]).T
    number = {name: k for k, name in enumerate(names)}
    return TrainingFilters(
        names, curves, centre, width, extinction_law(centre),
        [[number[name] for name in some] for some in SETS],
        [[number[name] for name in some] for some in narrow],
    )  # fmt: skip


def _box(low: float, width: float) -> Filter:
    wave = np.array([low - 0.01, low, low + width, low + width + 0.01])
    return Filter(f"box-{low + width / 2:.0f}-{width}", wave, np.array([0.0, 1.0, 1.0, 0.0]))
