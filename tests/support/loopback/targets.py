"""Plates, and what their fibres look at."""

from dataclasses import dataclass

import numpy as np

from pix2spec.core.grid import SpectralGrid

WIDE = SpectralGrid(3.552, 1e-4, 4640)  # holds the native pixels of SDSS (3.58 to 3.96) and of BOSS spectra
BOSS_RUN2D = "v5_13_2"
FRAME_SHAPE = (1489, 2048)  # rows, columns
SCALE = 0.396127  # arcsec per pixel of the frames; cutouts have 0.396
BANDS = "ugriz"
# What fibres show, and how often. Only "galaxy" survives the galaxy cut: "short" begins redward of the grid,
# "doubtful" has a ZWARNING, "repeat" is not the primary spectrum of its object.
KINDS = ("galaxy", "short", "doubtful", "repeat", "star", "quasar", "sky")
SHARES = (0.82, 0.02, 0.02, 0.02, 0.04, 0.03, 0.05)


@dataclass(frozen=True)
class Plate:
    """One plate and the imaging run that its targets were found in."""

    number: int
    plate: int
    mjd: int
    run2d: str
    fibres: int
    first: int  # number of its first fibre among all
    ra: float
    dec: float
    run: int
    turn: float  # radian: from north to the frames' columns

    @property
    def boss(self) -> bool:
        return self.run2d.startswith("v")

    @property
    def start(self) -> int:
        """First pixel of its spPlate file on the WIDE lattice."""
        return 4 if self.boss else 265

    @property
    def pixels(self) -> int:
        return 4630 if self.boss else 3855


@dataclass(frozen=True)
class Target:
    """What one fibre looks at."""

    number: int  # among all fibres
    plate: Plate
    fiber: int
    kind: str
    ra: float
    dec: float
    camcol: int
    field: int
    obj: int  # within its field
    x: float  # 0-based position in the r frame
    y: float
    near_edge: bool
    start: int  # first pixel of its spectrum on the WIDE lattice
    pixels: int

    @property
    def object_id(self) -> str:
        return f"{self.plate.plate:04d}-{self.plate.mjd:05d}-{self.fiber:04d}"

    @property
    def objid(self) -> int:
        """SkyServer's objID: sky version, rerun, run, camcol, field and object in one integer."""
        if self.kind == "sky":
            return 0
        head = (2 << 59) | (301 << 48) | (self.plate.run << 32) | (self.camcol << 29)
        return head | (self.field << 16) | self.obj

    @property
    def specobjid(self) -> int:
        """SkyServer's specObjID: plate, fiber, MJD and run2d ("v5_13_2" counts as 1302) in one integer."""
        run2d = self.plate.run2d
        if self.plate.boss:
            n, m, p = map(int, run2d[1:].split("_"))
            run2d = (n - 5) * 10_000 + m * 100 + p
        return self.plate.plate << 50 | self.fiber << 38 | (self.plate.mjd - 50_000) << 24 | int(run2d) << 10

    @property
    def spec_class(self) -> str:
        return {"star": "STAR", "quasar": "QSO"}.get(self.kind, "GALAXY")

    @property
    def zwarning(self) -> int:
        return {"doubtful": 4, "sky": 1}.get(self.kind, 0)  # SMALL_DELTA_CHI2, SKY

    @property
    def loglam(self) -> np.ndarray:
        return (WIDE.start + WIDE.step * np.arange(self.start, self.start + self.pixels)).astype(np.float32)
