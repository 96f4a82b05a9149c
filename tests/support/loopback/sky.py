"""A made-up sky for the test server: plates, fibres, imaging runs, all functions of (seed, number).

Every fibre with a galaxy shows one of the simulated survey. Nothing is computed before it is asked for, and
only a few blocks of galaxies are simulated: fibre k shows galaxy k modulo `distinct`, 1 % brighter each time
round, so that no two fibres are alike.
"""

from collections.abc import Iterator
from functools import lru_cache
from threading import RLock

import numpy as np
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.schema import Galaxy
from pix2spec.data.simulate.galaxies import draw_galaxies
from pix2spec.data.simulate.noise import SpectrumNoise
from pix2spec.data.simulate.survey import BLOCK, SimulatedSurvey
from support.loopback.targets import BANDS, BOSS_RUN2D, FRAME_SHAPE, KINDS, SCALE, SHARES, WIDE, Plate, Target

CELL = 104  # frame pixels between neighbours: a turned cutout of 64 pixels is 91 wide
# A / E(B-V) of the ugriz bands (Schlafly & Finkbeiner 2011, ApJ 737:103, table 6, R_V = 3.1)
EXTINCTION = np.array([4.239, 3.303, 2.285, 1.698, 1.263])
COLUMNS = ("image", "photometry", "photometry_ivar", "flux", "ivar", "mask", "true_flux")


SIMULATING = RLock()


@lru_cache(maxsize=4)
def simulated_survey(seed: int) -> SimulatedSurvey:
    return SimulatedSurvey(seed, WIDE)


@lru_cache(maxsize=8)
def simulated_block(seed: int, number: int) -> dict:
    """128 galaxies, 16 MB: shared by all skies of a seed."""
    block = simulated_survey(seed).block(number)
    return {name: block[name] for name in COLUMNS}


class Sky:
    """Objects, plates and frames.

    Parameters
    ----------
    objects : int
        How many spectra the galaxy cut keeps. Fibres with anything else come on top.
    seed : int
        Another seed, another sky.
    fibres : int
        Fibres of an SDSS plate; BOSS plates have 1000/640 as many.
    per_frame : int
        Fibre targets that share a frame.
    distinct : int
        Simulated galaxies, a multiple of 128.
    run2ds : tuple of str
        Reductions of the plates, in turn.
    noisy : bool
        Whether frames have sky noise outside the cutouts (slow to pack) or zeros.
    """

    def __init__(
        self,
        objects: int = 300,
        seed: int = 0,
        fibres: int = 640,
        per_frame: int = 25,
        distinct: int = 512,
        run2ds: tuple[str, ...] = ("26", BOSS_RUN2D, "103", "26"),
        noisy: bool = False,
    ):
        if distinct % BLOCK or per_frame > 200:
            raise ValueError(f"distinct must be a multiple of {BLOCK}, per_frame at most 200")
        self.objects, self.seed, self.fibres, self.per_frame = objects, seed, fibres, per_frame
        self.distinct, self.run2ds, self.noisy = distinct, run2ds, noisy
        self.lock = RLock()
        noise = SpectrumNoise(WIDE)
        self.sky_flux = (noise.continuum + noise.lines).astype(np.float32)
        self._drawn = lru_cache(maxsize=64)(self._draw)
        self._targets = lru_cache(maxsize=64)(self._draw_targets)
        self.plates, self._kinds = [], []
        self._lay_out()

    def _lay_out(self) -> None:
        """Add plates until enough galaxies survive the cut; the last plate's other fibres are empty sky."""
        wanted, first, number = self.objects, 0, 0
        while wanted > 0:
            plate = self._plate(number, first)
            rng = np.random.default_rng([self.seed, 1, number])
            kinds = rng.choice(len(KINDS), plate.fibres, p=SHARES)
            good = np.cumsum(kinds == 0)
            if good[-1] > wanted:
                kinds[np.searchsorted(good, wanted) + 1 :] = KINDS.index("sky")
            self.plates.append(plate)
            self._kinds.append(kinds)
            wanted, first, number = wanted - int(good[-1]), first + plate.fibres, number + 1

    def _plate(self, number: int, first: int) -> Plate:
        run2d = self.run2ds[number % len(self.run2ds)]
        boss = run2d.startswith("v")
        fibres = max(self.fibres * 25 // 16, 1) if boss else self.fibres
        base = (10_000 if number > 40 else 3586, 55_181) if boss else (266, 51_602)
        rng = np.random.default_rng([self.seed, 2, number])
        return Plate(
            number=number,
            plate=base[0] + number,
            mjd=base[1] + number,
            run2d=run2d,
            fibres=fibres,
            first=first,
            ra=110.0 + 3.5 * (number % 42) + 0.2 * rng.random(),
            dec=1.0 + 3.5 * (number // 42) + 0.2 * rng.random(),
            run=752 + 4 * number,
            turn=float(np.radians(rng.uniform(-25, 25))),
        )

    def frame_centre(self, plate: Plate, camcol: int, field: int, band: str = "r") -> tuple[float, float]:
        """ra, dec of a frame's middle; the bands differ by a pixel or two, as their clocking does."""
        along = (field - 11 - 2) * 1361 * SCALE / 3600  # fields follow each other after 1361 rows
        across = (camcol - 3.5) * 0.42  # deg between camera columns
        offset = (BANDS.index(band) - 2) * 0.7 * SCALE / 3600
        cos, sin = np.cos(plate.turn), np.sin(plate.turn)
        east = along * cos - across * sin + offset
        north = along * sin + across * cos - 0.6 * offset
        dec = plate.dec + north
        return plate.ra + east / np.cos(np.radians(dec)), dec

    def wcs(self, plate: Plate, camcol: int, field: int, band: str = "r") -> WCS:
        """Tangent projection of a frame: columns run across the scan (northwards), rows along it (east)."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crpix = 1025.0, 745.0
        wcs.wcs.crval = self.frame_centre(plate, camcol, field, band)
        cos, sin = np.cos(plate.turn), np.sin(plate.turn)
        wcs.wcs.cd = SCALE / 3600 * np.array([[-sin, cos], [cos, sin]])
        return wcs

    def _draw_targets(self, number: int) -> tuple[Target, ...]:
        plate, kinds = self.plates[number], self._kinds[number]
        rng = np.random.default_rng([self.seed, 3, number])
        order = rng.permutation(plate.fibres)
        first_good = next((f for f in order[: self.per_frame] if kinds[f] == 0), -1)
        found = {}
        for group in range(-(-plate.fibres // self.per_frame)):
            camcol, field = group % 6 + 1, 11 + group // 6
            members = order[group * self.per_frame : (group + 1) * self.per_frame]
            columns, rows = FRAME_SHAPE[1] // CELL - 1, FRAME_SHAPE[0] // CELL
            cell = rng.permutation(columns * rows)[: len(members)]
            x = (cell % columns + 1.5) * CELL + rng.uniform(
                -3, 3, len(members)
            )  # the first column stays free
            y = (cell // columns + 0.5) * CELL + rng.uniform(-3, 3, len(members))
            edge = members == first_good  # half of its cutout is outside
            x[edge] = 12.3
            ra, dec = self.wcs(plate, camcol, field).wcs_pix2world(x, y, 0)
            for obj, fibre in enumerate(members):
                facts = (plate, int(fibre) + 1, KINDS[kinds[fibre]], float(ra[obj]), float(dec[obj]))
                where = (camcol, field, obj + 17, float(x[obj]), float(y[obj]), bool(edge[obj]))
                found[int(fibre)] = Target(
                    plate.first + int(fibre), *facts, *where, *self._range(plate, int(fibre), kinds[fibre])
                )
        return tuple(found[fibre] for fibre in range(plate.fibres))

    def _range(self, plate: Plate, fibre: int, kind: int) -> tuple[int, int]:
        """First pixel and number of pixels with data, which differ from fibre to fibre."""
        rng = np.random.default_rng([self.seed, 4, plate.number, fibre])
        skip, lost = int(rng.integers(0, 20)), int(rng.integers(0, 20))
        if KINDS[kind] == "short":
            skip += 500 if plate.boss else 240
        return plate.start + skip, plate.pixels - skip - lost

    def targets(self, plate: Plate) -> tuple[Target, ...]:
        """What the fibres of a plate look at, in order."""
        with self.lock:
            return self._targets(plate.number)

    def all_targets(self) -> Iterator[Target]:
        for plate in self.plates:
            yield from self.targets(plate)

    def selected(self) -> Iterator[Target]:
        """What the galaxy cut must keep: `objects` of them."""
        return (target for target in self.all_targets() if target.kind == "galaxy")

    def find(self, plate: int, mjd: int, fiber: int) -> Target | None:
        for p in self.plates:
            if (p.plate, p.mjd) == (plate, mjd) and 1 <= fiber <= p.fibres:
                return self.targets(p)[fiber - 1]
        return None

    def in_frame(self, run: int, camcol: int, field: int) -> tuple[Plate, list[Target]] | None:
        """The plate whose run it is and the targets in the frame; None where there is no such frame."""
        for plate in self.plates:
            if plate.run == run:
                there = [t for t in self.targets(plate) if (t.camcol, t.field) == (camcol, field)]
                return (plate, there) if there else None
        return None

    def near(self, ra: float, dec: float, radius: float) -> list[tuple[float, Target]]:
        """(distance in arcsec, target) of imaged objects within `radius` arcsec, nearest first."""
        tree, targets = self._tree()
        chord = 2 * np.sin(np.radians(radius / 3600) / 2)
        here = unit_vectors(np.array([ra]), np.array([dec]))[0]
        found = [
            (float(np.linalg.norm(tree.data[i] - here)), targets[i])
            for i in tree.query_ball_point(here, chord)
        ]
        arcsec = 3600 * float(np.degrees(1))
        return sorted(((d * arcsec, t) for d, t in found), key=lambda pair: (pair[0], pair[1].number))

    def _tree(self):
        with self.lock:
            if not hasattr(self, "_stored_tree"):
                targets = [t for t in self.all_targets() if t.kind != "sky"]
                positions = np.array([(t.ra, t.dec) for t in targets]).reshape(-1, 2)
                self._stored_tree = cKDTree(unit_vectors(*positions.T)), targets
            return self._stored_tree

    def _simulated(self, target: Target, names: tuple[str, ...]) -> dict:
        """Some columns of the simulated galaxy that a fibre shows."""
        turns, index = divmod(target.number, self.distinct)
        brighter = np.float32(1 + 0.01 * turns)
        scale = {"ivar": 1 / brighter**2, "photometry_ivar": 1 / brighter**2}
        with SIMULATING:
            block = simulated_block(self.seed, index // BLOCK)
        columns = {name: block[name][index % BLOCK] for name in names}
        return {n: v if n == "mask" else v * scale.get(n, brighter) for n, v in columns.items()}

    def photometry(self, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Fibre fluxes and their inverse variances, float32 (5,)."""
        return tuple(self._simulated(target, ("photometry", "photometry_ivar")).values())

    def galaxy(self, target: Target) -> dict:
        """Image, photometry and spectrum on the WIDE lattice of what a fibre shows."""
        galaxy = self._simulated(target, COLUMNS)
        if target.kind not in ("galaxy", "short", "doubtful", "repeat"):
            galaxy |= self._other(target, galaxy)
        return galaxy

    def _other(self, target: Target, galaxy: dict) -> dict:
        """Stars, quasars and empty sky get the noise of the galaxy whose place they take."""
        wave = WIDE.wave
        rng = np.random.default_rng([self.seed, 5, target.number])
        if target.kind == "star":
            heat = 1.4388e8 / (wave * rng.uniform(4000, 9000))  # h c / (lambda k T)
            shape = (5500 / wave) ** 5 / np.expm1(heat) * np.expm1(1.4388e8 / (5500 * 6000))
        elif target.kind == "quasar":
            lines = np.array([1215.7, 1549.5, 1908.7, 2800.3, 4862.7]) * (1 + self.redshift(target))
            bumps = np.exp(-0.5 * ((wave[:, None] - lines) / (0.02 * lines)) ** 2) @ [3, 1.5, 0.8, 0.7, 0.6]
            shape = (wave / 5500) ** -1.5 * (1 + bumps)
        else:
            shape = np.zeros_like(wave)
        true_flux = (20 * shape).astype(np.float32)
        flux = true_flux + (galaxy["flux"] - galaxy["true_flux"])
        image = galaxy["image"] if target.kind != "sky" else np.zeros_like(galaxy["image"])
        return {"flux": flux, "true_flux": true_flux, "image": image}

    def _draw(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Redshifts and E(B-V) of a block, without simulating it: they are drawn first."""
        galaxies = draw_galaxies(np.random.default_rng([self.seed, number]), BLOCK)
        return galaxies.z, galaxies.ebv_milky_way

    def redshift(self, target: Target) -> np.float32:
        """Redshift as the files give it, float32."""
        if target.kind in ("star", "sky"):
            return np.float32(0)
        index = target.number % self.distinct
        z = self._drawn(index // BLOCK)[0][index % BLOCK]
        return np.float32(z + 1.5 if target.kind == "quasar" else z)

    def extinction(self, target: Target) -> np.ndarray:
        """Magnitudes in ugriz, float32 (5,)."""
        index = target.number % self.distinct
        return (self._drawn(index // BLOCK)[1][index % BLOCK] * EXTINCTION).astype(np.float32)

    def band_image(self, target: Target, band: str) -> np.ndarray:
        """Cutout (64, 64) in nanomaggies; u and z are not simulated: g and i in other brightness."""
        if target.kind == "sky":
            return np.zeros((64, 64), np.float32)
        image, flux = self._simulated(target, ("image", "photometry")).values()
        if band in "gri":
            return image["gri".index(band)]
        like = "g" if band == "u" else "i"
        u_or_z, g_or_i = (flux[BANDS.index(b)] for b in (band, like))
        share = np.float32(np.clip(u_or_z / max(g_or_i, 1e-3), 0.05, 3))
        return image["gri".index(like)] * share

    def expected_galaxy(self, target: Target) -> Galaxy:
        """What a reader of the target's files should end with: the oracle of the tests."""
        galaxy = self.galaxy(target)
        grid = SpectralGrid()
        cut = slice(round((grid.start - WIDE.start) / WIDE.step), None)
        flux, ivar, mask = (galaxy[name][cut][: grid.size] for name in ("flux", "ivar", "mask"))
        return Galaxy(
            object_id=target.object_id,
            group_id=str(target.objid),
            ra=target.ra,
            dec=target.dec,
            z=float(self.redshift(target)),
            z_err=float(np.float32(2e-5)),
            spec_class=target.spec_class,
            image=galaxy["image"],
            photometry=galaxy["photometry"],
            photometry_ivar=galaxy["photometry_ivar"],
            flux=flux,
            ivar=ivar,
            mask=mask,
        )


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Cartesian unit vectors (n, 3) of positions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
