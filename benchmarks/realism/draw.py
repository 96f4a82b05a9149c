"""Simulated colour pictures as Galaxy Zoo 2 made them of SDSS: 64 x 64 pixels of 0.08 Petrosian R90.

Galaxy Zoo 2 shows galaxies with r < 17 and R90 > 3 arcsec (Willett et al. 2013, MNRAS 435:2835). The real
pictures hold as many ellipticals as spirals, discs on edge and mergers; the simulated ones do so too. Discs
on edge are mostly red in both: red discs of the survey are too thick to be seen so, and are flattened.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.camera import UNRULY, composite
from pix2spec.data.simulate.galaxies import EARLY, GREEN, LATE, STARBURST, Galaxies, draw_galaxies
from pix2spec.data.simulate.images import MIXTURES, PIXEL, draw_images
from pix2spec.data.simulate.noise import add_image_noise
from pix2spec.data.simulate.shapes import Frame
from pix2spec.data.simulate.spectra import Components, SpectrumModel

CLASSES = ("elliptical", "spiral", "edge_on", "merger")
FAINTEST, LEAST_R90, LARGEST_R90 = 17.0, 3.0, 25.0  # r magnitude, arcsec
FIELD = 64 * 0.08  # sides of a picture in R90
OFF_CENTRE, CENTRING = 0.44, 0.4  # of real galaxies: pixels of a picture, and the scatter in those of SDSS
BLOCK = 128
SEEING = SDSS.psf_fwhm / 2.355


@dataclass
class Subject:
    """A galaxy that is to be shown: row of a block of galaxies, its class, and R90 in arcsec."""

    galaxies: Galaxies
    parts: Components
    row: int
    label: str
    r90: float

    @property
    def frame(self) -> Frame:
        """Pixels of SDSS that hold the picture."""
        return Frame(int(np.ceil(FIELD * self.r90 / PIXEL / 2)) * 2, PIXEL)


def subjects(n: int, seed: int) -> Iterator[Subject]:
    """Yield n simulated galaxies, classes in turn."""
    model, count, block = SpectrumModel(), 0, 0
    while count < n:
        galaxies = draw_galaxies(np.random.default_rng([seed, block]), BLOCK)
        block += 1
        parts = None
        r90 = petrosian_r90(galaxies)
        bright = (galaxies.r < FAINTEST) & (r90 > LEAST_R90) & (r90 < LARGEST_R90)
        for row in np.flatnonzero(bright):
            label = CLASSES[count % len(CLASSES)]
            if count < n and _is(label, galaxies, row):
                parts = parts or model.components(galaxies)
                own = _on_edge(galaxies, row, count) if label == "edge_on" else galaxies
                size = float(petrosian_r90(_only(own, row))[0])
                yield Subject(own, parts, int(row), label, size)
                count += 1


def _is(label: str, g: Galaxies, row: int) -> bool:
    flat = g.disc_axis_ratio[row] < 0.35
    early, late = g.kind[row] == EARLY, g.kind[row] in (GREEN, LATE, STARBURST)
    red = g.kind[row] in (EARLY, GREEN) and g.bulge_fraction[row] < 0.7
    return {"elliptical": early, "spiral": late and not flat, "edge_on": red or flat, "merger": True}[label]


def _on_edge(g: Galaxies, row: int, number: int) -> Galaxies:
    """The galaxies, one of them turned on edge: red discs of the survey are too thick to be so."""
    flat, bulge = g.disc_axis_ratio.copy(), g.bulge_axis_ratio.copy()
    flat[row] = min(flat[row], np.random.default_rng(number).uniform(0.1, 0.3))
    bulge[row] = min(bulge[row], 0.7)
    return replace(g, disc_axis_ratio=flat, bulge_axis_ratio=bulge)


def petrosian_r90(g: Galaxies) -> np.ndarray:
    """Radius (n,) in arcsec of 90 % of the light within two Petrosian radii, in circles, with seeing."""
    radii = np.geomspace(0.5, 120, 120)
    bulge = _in_circles("de Vaucouleurs", g.bulge_radius, g.bulge_axis_ratio, radii)
    disc = _in_circles("exponential", g.disc_radius, g.disc_axis_ratio, radii)
    share = g.bulge_fraction[:, None]
    light = share * bulge + (1 - share) * disc
    within = np.pi * radii**2
    local = np.gradient(light, axis=1) / np.gradient(within)
    ratio = local / (light / within)
    found = [np.interp(-0.2, -row[3:], radii[3:]) for row in np.minimum.accumulate(ratio, 1)]
    total = [np.interp(2 * r, radii, row) for r, row in zip(found, light)]
    return np.array([np.interp(0.9 * t, row, radii) for t, row in zip(total, light)])


def _in_circles(profile: str, radius, flat, radii) -> np.ndarray:
    """Share (n, R) of a component's light within circles."""
    angle = (np.arange(16) + 0.5) * np.pi / 16
    light = 0
    for share, sigma in MIXTURES[profile]:
        a, b = (sigma**2 * radius**2 * f + SEEING**2 for f in (1 / flat, flat))
        k = np.cos(angle) ** 2 / a[:, None] + np.sin(angle) ** 2 / b[:, None]
        inside = 1 - np.exp(-0.5 * radii[:, None] ** 2 * k[:, None, :])
        light = light + share * (inside / k[:, None, :]).mean(2) / np.sqrt(a * b)[:, None]
    return light


def _only(values, row: int):
    """The fields of one galaxy."""
    return replace(values, **{f.name: getattr(values, f.name)[row : row + 1] for f in fields(values)})


def steady(rng, subject: Subject) -> np.ndarray:
    """The picture (3, y, x) that the simulated survey has taken so far."""
    one = (_only(values, subject.row) for values in (subject.galaxies, subject.parts))
    image, *_ = draw_images(rng, *one, subject.frame.size)
    return add_image_noise(rng, image)[0]


def unruly(rng, subject: Subject) -> np.ndarray:
    """The picture (3, y, x) of the unruly camera, whose pixel scale and centre are known."""
    always = subject.label == "merger"
    camera = replace(UNRULY, companions=1.0 if always else UNRULY.companions, centring=CENTRING)
    at = OFF_CENTRE * FIELD / 64 * subject.r90
    return camera.take(rng, subject.galaxies, subject.parts, subject.row, subject.frame, at).image


CAMERAS = {"steady": steady, "unruly": unruly}


def simulated(n: int, seed: int) -> dict[str, np.ndarray]:
    """Pictures (n, 3, 64, 64) of the same galaxies by each camera, 0 to 255, channels g, r, i."""
    made: dict[str, list[np.ndarray]] = {name: [] for name in CAMERAS}
    for number, subject in enumerate(subjects(n, seed)):
        for name, take in CAMERAS.items():
            rng = np.random.default_rng([seed, number])
            made[name].append(composite(rng, take(rng, subject), 64))
    return {name: np.array(pictures) for name, pictures in made.items()}
