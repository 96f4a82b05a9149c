"""The Galaxy: what the project knows about one galaxy, and how that lies in Parquet."""

import json
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.errors import InputError

__all__ = ["SCHEMA_VERSION", "DatasetInfo", "Galaxy"]

SCHEMA_VERSION = 1
DEFAULT_GRID = SpectralGrid()


@dataclass
class Galaxy:
    """One galaxy: photometry, spectrum, or both. ``None`` means not observed.

    A *batch* of pairs is a dictionary with the same names, each value an array with one more leading
    axis (missing optional values are NaN there, and ivar 0).
    """

    object_id: str  # unique in a dataset: one spectrum
    group_id: str = ""  # the object on the sky; repeat spectra share it, and the split follows it
    ra: float = np.nan  # deg, ICRS
    dec: float = np.nan
    z: float = np.nan
    z_err: float = np.nan
    spec_class: str = ""  # GALAXY, QSO, STAR
    image: np.ndarray | None = None  # float32 [band, y, x]: nanomaggies, or 0-255 for a composite
    photometry: np.ndarray | None = None  # float32 [band], nanomaggies
    photometry_ivar: np.ndarray | None = None  # float32 [band], 1/nanomaggies^2
    flux: np.ndarray | None = None  # float32 [L], 1e-17 erg/s/cm2/Angstrom
    ivar: np.ndarray | None = None  # float32 [L]; 0 means missing, everywhere
    mask: np.ndarray | None = None  # int32 [L], the survey's own bits (SDSS and_mask)
    truth: dict = field(default_factory=dict)  # simulated pairs: true_* columns

    def __post_init__(self):
        self.group_id = self.group_id or self.object_id


@dataclass(frozen=True)
class DatasetInfo:
    """Facts that hold for every pair of a dataset; they travel in the Parquet metadata.

    `image_kind` is ``"linear"`` (nanomaggies) or ``"composite"`` (8-bit colour picture, 0 to 255, its
    channels stored in the order of `survey.image_bands`), or ``None`` without images.
    """

    grid: SpectralGrid = DEFAULT_GRID
    survey: Survey = SDSS
    image_kind: str | None = "linear"
    image_size: int = 64
    truth: dict = field(default_factory=dict)  # true_* column -> 0 (scalar), -1 (text) or its length
    provenance: dict = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(band, y, x)."""
        return (len(self.survey.image_bands), self.image_size, self.image_size)

    def arrow_schema(self) -> pa.Schema:
        """Schema of the Parquet shards, with these facts as metadata."""
        f32 = pa.float32()
        spectrum = pa.list_(f32, self.grid.size)
        bands = pa.list_(f32, len(self.survey.photometry_bands))
        columns = [pa.field(n, pa.string()) for n in ("object_id", "group_id", "spec_class")]
        columns += [pa.field(n, pa.float64()) for n in ("ra", "dec", "z", "z_err")]
        columns += [
            pa.field("image", pa.list_(f32, int(np.prod(self.image_shape)))),
            pa.field("photometry", bands),
            pa.field("photometry_ivar", bands),
            pa.field("flux", spectrum),
            pa.field("ivar", spectrum),
            pa.field("mask", pa.list_(pa.int32(), self.grid.size)),
        ]
        for name, size in self.truth.items():
            kind = {0: pa.float64(), -1: pa.string()}.get(size) or pa.list_(f32, size)
            columns.append(pa.field(name, kind))
        return pa.schema(columns, metadata={"pix2spec": json.dumps(self.as_dict())})

    def as_dict(self) -> dict:
        """Plain dictionary for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"grid": self.grid.as_dict(), "survey": self.survey.as_dict()}

    @classmethod
    def from_schema(cls, schema: pa.Schema, where="dataset") -> "DatasetInfo":
        """Read the facts back from a shard's schema; fields of a survey that it lacks are SDSS's."""
        raw = (schema.metadata or {}).get(b"pix2spec")
        if raw is None:
            raise InputError(
                where, "it is Parquet, but not a pix2spec dataset", "make one with `pix2spec data`"
            )
        try:
            values = json.loads(raw)
            version = values["schema_version"]
            if version == SCHEMA_VERSION:
                grid, survey = SpectralGrid(**values.pop("grid")), Survey.from_dict(values.pop("survey"))
                info = cls(grid=grid, survey=survey, **values)
                info.arrow_schema()  # facts of wrong kinds have none
                return info
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(where, f"its pix2spec metadata are damaged: {error}", "make it again") from error
        raise InputError(
            where,
            f"schema version {version} is not {SCHEMA_VERSION}",
            "read it with the version of pix2spec that made it, or make it again",
        )
