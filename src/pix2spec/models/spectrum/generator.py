"""Generation with the default model: redshifts, coefficients given these, spectra, noise."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from pix2spec.core.extinction import extinction_law
from pix2spec.data.measurements import Measurements
from pix2spec.data.pictures import with_picture_photometry
from pix2spec.data.readers.picture_photometry import FROM_PICTURE, IMAGE_UNUSABLE
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.generator import Generator, Settings
from pix2spec.models.redshift.network import RedshiftModel
from pix2spec.models.shape.network import ShapeModel
from pix2spec.models.shared.checks import check_image
from pix2spec.models.shared.device import to_device, to_host
from pix2spec.models.shared.settings import FLOW_SAMPLERS
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.draw import Draws, Stack, draw_vectors
from pix2spec.models.spectrum.graph import MANY, Graph
from pix2spec.models.spectrum.inputs import Seen, as_seen, light_of_picture, of_one_kind
from pix2spec.models.spectrum.likelihood import Misfit, misfits
from pix2spec.models.spectrum.noise import EnsembleNoise
from pix2spec.models.spectrum.redshifts import draw_redshifts
from pix2spec.models.spectrum.shapes import types_of
from pix2spec.models.spectrum.spectra import Drawn, make_spectra
from pix2spec.models.storage import find_model, load_model, model_id
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.selection import select
from pix2spec.products.units import PHYSICAL, RELATIVE

__all__ = ["SpectrumGenerator"]

TOGETHER = 64  # candidates of a network up to which all networks draw at once: more calls cost more than they
OVERSAMPLED = 4  # candidates of which one is kept, where candidates are weighed by their misfit
MAX_TABLES = 512  # filters whose tables are kept
MAX_BRIGHTNESS_ERROR = 0.2  # magnitudes; fluxes that share a larger one do not fix the amplitude
# Flags of models that know the bands of one survey, in the fibre, alone.
OF_OTHER_MODELS = {
    "photometry-not-fibre", "filters-unused", "filters-approximated", "spectrum-from-redshift-alone",
}  # fmt: skip


@dataclass(repr=False)
class SpectrumGenerator(Generator):
    """The default model: from any of measurements, picture and redshift to spectra in physical flux."""

    redshifts: RedshiftModel | None = None
    shapes: ShapeModel | None = None
    fold: int = -1  # of real galaxies that the networks in use never saw; -1: all networks are in use
    compiled: bool | None = (
        None  # whether a batch is one compiled graph; by default on a GPU, for many galaxies
    )
    bfloat16: bool = False  # whether the flow computes in it: faster on most GPUs, and less precise
    _known_tables: list[dict] = field(default_factory=list)
    _last_tables: tuple | None = field(default=None, init=False)  # filters, and the tables of the stack

    takes_redshift = True
    measures_pictures = True
    no_selector = "this model has a contrastive network of its own"

    @classmethod
    def open(cls, folder, model, ids, config, device, selector=None):
        """Make the generator of a loaded model, with the redshift model that its preset names.

        Redshifts of measurements, tables of filters and random numbers are made on the CPU, also where there
        is a GPU: candidates are then the same on every device, to rounding.
        """
        device = device if device.startswith("cuda") else "cpu"  # others lack double precision
        made = super().open(folder, model, ids, config, device, selector)
        other = find_model(model.preset.redshift)
        made.redshifts = load_model(other)[0].fixed()
        shapes = find_model(model.preset.shape)
        made.shapes = load_model(shapes)[0].to(device)
        made.ids = ids | {"redshift_model": model_id(other), "shape_model": model_id(shapes)}
        return made

    def __post_init__(self):
        super().__post_init__()
        self.members = self.model.members(self.fold)
        self._known_tables = self._known_tables or [{} for _ in self.model.networks]
        if not self.members:
            raise InputError(
                "`fold`", f"all networks were trained on fold {self.fold}", "-1, or another fold"
            )

    def without(self, fold: int) -> "SpectrumGenerator":
        """The same with the networks alone that never saw a fold of the real galaxies, to test them on it."""
        return replace(self, fold=fold)

    @property
    def default_select(self) -> str:
        """The whole ensemble, because any other rule would narrow its distribution."""
        return "all"

    @property
    def default_batch(self) -> int:
        """Enough galaxies to make matrix products efficient, with less than 1 GB of memory on the CPU."""
        return 64 if self.device == "cpu" else 256

    def takes_any_filter(self) -> bool:
        """It does."""
        return True

    def inputs(self, settings: Settings) -> set[str]:
        """Photometry that the settings allow to use. A redshift is not photometry."""
        return set(settings.use) & {"image", "photometry"}

    def check_settings(self, settings: Settings) -> None:
        """Raise `InputError` if the sampler is for models over pixels."""
        if settings.sampler not in FLOW_SAMPLERS:
            known = ", ".join(FLOW_SAMPLERS)
            raise InputError(
                "`sampler`", f"{settings.sampler!r} is for models over pixels", f"one of {known}"
            )

    def check(self, galaxy: Galaxy, settings: Settings) -> None:
        """Raise `InputError` if `galaxy` has none of the inputs in `use`, or z is out of range."""
        known_z = "redshift" in settings.use and np.isfinite(galaxy.z)
        if known_z and not -0.001 <= galaxy.z <= self.model.z_max:
            z_range = f"beyond the model's range, 0 to {self.model.z_max}"
            raise InputError(galaxy.object_id, f"its redshift {galaxy.z:.3f} is {z_range}")
        if known_z or self._light(galaxy, settings) is not None:
            return
        if "image" in settings.use:
            check_image(galaxy, self.survey.image_bands)
            return
        raise InputError(galaxy.object_id, f"it has none of: {', '.join(settings.use)}", "see `use`")

    def _prepared(self, galaxy: Galaxy, image_kind: str) -> Galaxy:
        """The galaxy with its fluxes as they were given, which is all that this model needs."""
        if galaxy.photometry is None:
            galaxy = with_picture_photometry(galaxy, image_kind, self.survey)
        made = super()._prepared(galaxy, image_kind)
        return replace(made, flags=tuple(flag for flag in made.flags if flag not in OF_OTHER_MODELS))

    @staticmethod
    def _light(galaxy: Galaxy, settings: Settings) -> Measurements | None:
        """The galaxy's fluxes, as far as they may be used; those of a picture belong to the picture."""
        from_picture = FROM_PICTURE in galaxy.flags
        may = "photometry" in settings.use or (from_picture and "image" in settings.use)
        measured = galaxy.measured if may else None
        if measured is None or not measured.filters:
            return None
        fibre = [k for k, kind in enumerate(measured.kinds) if kind == "fibre"]
        return measured.of(fibre) if from_picture and len(fibre) > 1 else measured

    def _with_light(self, galaxy: Galaxy, image_kind: str, settings: Settings) -> Galaxy:
        """The galaxy with the fluxes of its picture, where those that were given may not be used."""
        if self._light(galaxy, settings) is not None:
            return galaxy
        bare = replace(galaxy, photometry=None, photometry_ivar=None, filters=(), measured=None, removed=())
        return self._prepared(with_picture_photometry(bare, image_kind, self.survey), image_kind)

    def _restrict(self, galaxy: Galaxy, image_kind: str, settings: Settings) -> tuple[Galaxy, list[str]]:
        """Remove inputs that the settings exclude and an unusable image. Return flags for the latter.

        Colour pictures count by their fluxes alone, unless the user asks for shapes: on real galaxies the
        network gains nothing from them.
        """
        image, flags = galaxy.image if "image" in settings.use else None, []
        if image is not None:
            try:
                check_image(galaxy, self.survey.image_bands)
            except InputError:
                image, flags = None, [IMAGE_UNUSABLE]
        if image is not None:
            galaxy = self._with_light(galaxy, image_kind, settings)
            is_seen = image_kind == "linear" or settings.shape or self._light(galaxy, settings) is None
            image = galaxy.image if is_seen and IMAGE_UNUSABLE not in galaxy.flags else None
        known_z = "redshift" in settings.use and np.isfinite(galaxy.z)
        z, z_err = (galaxy.z, np.nan_to_num(galaxy.z_err)) if known_z else (np.nan, np.nan)
        return replace(galaxy, image=image, z=z, z_err=z_err), flags

    def _ensembles(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> list[Ensemble]:
        restricted, flags = zip(*(self._restrict(galaxy, image_kind, settings) for galaxy in galaxies))
        given = [self._light(galaxy, settings) for galaxy in restricted]
        light = [of_one_kind(some, "total") for some in given]
        pictured = [
            light_of_picture(g.image, image_kind, self.survey)
            if some is None and g.image is not None
            else of_one_kind(some, "fibre")
            for g, some in zip(restricted, given)
        ]
        seen = as_seen(
            list(restricted), pictured, image_kind, settings.floor, self.model.pictures, self.survey
        )
        tables = self.tables(seen.filters)
        weighed = settings.reweigh or self._sees_shapes(image_kind, settings)
        more = replace(settings, n=settings.n * (OVERSAMPLED if weighed else 1))
        drawn = draw_redshifts(
            self.model, self.redshifts, self.stack, tables, seen, list(restricted), light, more, self.fold
        )
        every = self._drawn(seen, drawn.z, tables, more, galaxies, weighed)
        ids, weights = [g.object_id for g in galaxies], self._weights(every, galaxies, image_kind, settings)
        kept = every.misfit.chosen(settings.n, settings.seed, ids, weights)
        spectra, observed = self._spectra(seen, every, kept, settings, galaxies)
        scores = self._scores(seen, observed) if settings.select.startswith(("best", "mean")) else None
        chosen, z = spectra if settings.noise == "none" else observed, np.take_along_axis(drawn.z, kept, 1)
        noise_free = self._measurable(spectra, z)
        made, provenance = [], self.provenance(settings)
        for i, galaxy in enumerate(galaxies):
            unit, origin = self._amplitude(restricted[i], light[i], pictured[i])
            own = None if scores is None else scores[i]
            made.append(self._ensemble(
                galaxy, image_kind, settings, candidates=chosen[i], redshifts=z[i].astype(np.float32),
                selected=select(settings.select, settings.n, own), scores=own, unit=unit,
                chi2=every.misfit.best(i), noise_free=noise_free[i], provenance=dict(provenance),
                flags=[*flags[i], *drawn.flags[i], *every.misfit.flags(i), origin],
            ))  # fmt: skip
        return made

    def _sees_shapes(self, image_kind: str, settings: Settings) -> bool:
        """Whether candidates are chosen by shapes: for all galaxies alike, so that batches do not matter."""
        return settings.shape and image_kind == "composite" and "image" in settings.use

    def _weights(self, every: Drawn, galaxies, image_kind: str, settings: Settings) -> np.ndarray:
        """Log weights (N, n) of candidates."""
        log_weight = np.zeros(every.misfit.chi2.shape)
        if settings.reweigh:
            log_weight += every.misfit.log_likelihood()
        if self.shapes is not None and self._sees_shapes(image_kind, settings):
            types = types_of(self.shapes.to(self.device), galaxies, image_kind, self.survey)
            lines = every.vectors[..., 1 + self.model.basis.n_components :]
            log_weight += to_host(self.shapes.log_weights(types, lines, self.fold))[0]
        return log_weight

    def _measurable(self, spectra: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Spectra (N, n, L) to measure: NaN for redshifts (N, n) to which the basis does not reach."""
        beyond = z > self.model.z_max + 1e-3
        return np.where(beyond[..., None], np.float32(np.nan), spectra) if beyond.any() else spectra

    @staticmethod
    def _amplitude(galaxy: Galaxy, light: Measurements | None, pictured: Measurements | None):
        """The unit of spectra, and a flag that says where their amplitude comes from."""
        known = pictured is not None and pictured.brightness_error <= MAX_BRIGHTNESS_ERROR
        if not known:
            return RELATIVE, "relative-flux"
        of_picture = light is None or FROM_PICTURE in galaxy.flags
        return PHYSICAL, "amplitude-from-image" if of_picture else "amplitude-from-photometry"

    @cached_property
    def stack(self) -> Stack:
        """The networks in use, as one."""
        return Stack.of(self.model.networks, self.members, self.bfloat16)

    @cached_property
    def graph(self) -> Graph | None:
        """What draws and decodes a batch at once; None on the CPU, which is faster in small blocks."""
        is_there = self.device.startswith("cuda")
        if self.compiled is None:
            return Graph(MANY) if is_there else None
        return Graph(0 if self.compiled else math.inf) if is_there or self.compiled else None

    @cached_property
    def noise(self) -> EnsembleNoise:
        """The noise of all networks."""
        return EnsembleNoise([network.noise for network in self.model.networks])

    def tables(self, filters) -> BandTables:
        """Tables of the networks in use in `filters`; those of a filter are kept for the next galaxies."""
        if self._last_tables is None or self._last_tables[0] != filters:
            if len(self._known_tables[0]) > MAX_TABLES:
                self._known_tables = [{} for _ in self.model.networks]
            pairs = ((self.model.networks[k], self._known_tables[k]) for k in self.members)
            made = BandTables.stacked([network.tables(filters, known) for network, known in pairs])
            self._last_tables = filters, made.to(self.device)
        return self._last_tables[1]

    def _drawn(
        self, seen: Seen, z: np.ndarray, tables: BandTables, settings: Settings, galaxies, is_choice: bool
    ) -> Drawn:
        """Coefficients of candidates at redshifts z (N, n), which the networks draw in turn.

        If there is a `graph` and no choice among candidates, it makes their spectra too.
        """
        (count, n), networks = z.shape, min(z.shape[1], len(self.members))
        numbers = np.arange(-(-n // networks) * networks).reshape(-1, networks)  # of a galaxy's candidates
        every = np.log10(1 + np.clip(z, 0, self.model.z_max))[:, np.minimum(numbers, n - 1)]
        zeta = to_device(every.astype(np.float32), self.device).movedim(2, 0)  # (networks, N, n / networks)
        vectors = zeta.new_empty(*zeta.shape, self.stack.network.dimension)
        r, chi2, counted = torch.empty_like(zeta), torch.empty_like(zeta), zeta.new_zeros(count)
        ids, seen = [galaxy.object_id for galaxy in galaxies], seen.on(self.device)
        size = networks if self.graph or zeta[0].numel() <= TOGETHER else 1
        for first in range(0, networks, size):
            places, mine = slice(first, first + size), slice(0, len(range(first, n, networks)))
            stack, some = self.stack.part(first, first + size), tables.part(places)
            draws = Draws(settings.seed, ids, stack.numbers, numbers[mine].T[places])
            drawn, known, spectra = draw_vectors(
                stack, seen, some, zeta[places, :, mine], settings, draws, self.graph, not is_choice
            )
            vectors[places, :, mine] = drawn.unflatten(1, (count, -1))
            r[places, :, mine] = known.r.unflatten(1, (count, -1))
            chi2[places, :, mine], seen_by = misfits(stack.network, seen, drawn, known)
            counted = torch.maximum(counted, seen_by.amax(0))

        def in_order(values: torch.Tensor) -> torch.Tensor:
            return values.movedim(0, 2).flatten(1, 2)[:, :n]

        misfit = Misfit(*to_host(in_order(chi2), counted))
        number = np.resize(self.members[:networks], n)
        made = None if spectra is None else in_order(spectra.unflatten(1, (count, -1)))
        return Drawn(in_order(vectors), in_order(zeta), in_order(r), number, misfit, made)

    def _spectra(self, seen: Seen, every: Drawn, kept: np.ndarray, settings, galaxies):
        """Noise-free and observed spectra (N, n, L) of the candidates `kept` (N, n)."""
        dust, ids = self._dust(seen) if seen.ebv.any() else None, [galaxy.object_id for galaxy in galaxies]
        return make_spectra(self.model.networks, self.noise, every, kept, settings.seed, ids, dust)

    def _dust(self, seen: Seen) -> torch.Tensor:
        """Transmission (N, L) of the dust in front of galaxies."""
        dust = 10 ** (-0.4 * seen.ebv[:, None] * extinction_law(self.grid.wave)).astype(np.float32)
        return to_device(dust, self.device)

    def _scores(self, seen: Seen, observed: np.ndarray) -> np.ndarray:
        """Cosine similarities (N, n) of candidates with what is known of the galaxies."""
        there = seen.on(self.device)
        condition = self.model.judge.galaxy(there.tokens, there.picture, there.has_picture)
        return to_host(self.model.judge.ranker.scores(condition, to_device(observed, self.device)))[0]

    @torch.no_grad()
    def queries(self, galaxies: list[Galaxy], image_kind: str, settings: Settings) -> np.ndarray:
        """Ranker's codes (galaxies, D) of the inputs of each galaxy, to compare with its codes of spectra."""
        prepared = [self._prepared(galaxy, image_kind) for galaxy in galaxies]
        restricted = [self._restrict(galaxy, image_kind, settings)[0] for galaxy in prepared]
        light = [of_one_kind(self._light(galaxy, settings), "fibre") for galaxy in restricted]
        seen = as_seen(restricted, light, image_kind, settings.floor, self.model.pictures, self.survey)
        judge, there = self.model.judge, seen.on(self.device)
        return to_host(judge.ranker.query(judge.galaxy(there.tokens, there.picture, there.has_picture)))[0]
