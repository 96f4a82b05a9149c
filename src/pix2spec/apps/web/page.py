"""The web page: its layout and the actions of its buttons. One object serves all visitors and stores none."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock

import gradio as gr
import numpy as np

from pix2spec.apps.web import exports, inputs, results, tables, text
from pix2spec.apps.web.exports import SESSION_SECONDS
from pix2spec.apps.web.figure import spectrum_figure
from pix2spec.apps.web.table_panel import N_OUTPUTS, TablePanel
from pix2spec.data.readers.picture_photometry import FROM_PICTURE
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.generator import Generator
from pix2spec.products.ensemble import Ensemble

__all__ = ["SOURCES", "Page"]

SOURCES = ("Simulated example", "My cutout", "My magnitudes", "My table")
EXAMPLE, CUTOUT, MAGNITUDES, TABLE = SOURCES
MAX_REDSHIFT = 0.8  # of the slider
MAX_SEED = 2**31 - 1
N_FIELDS = 5  # of `TablePanel.read`
WAITING = 64  # visitors in the queue, at most
START = "Choose a galaxy and press “Generate”."
# On a narrow screen the results are below the fold.
SHOW_RESULTS = """() => { if (matchMedia("(max-width: 760px)").matches)
  document.querySelector("#results")?.scrollIntoView({behavior: "smooth"}); }"""


html = partial(gr.HTML, apply_default_css=False)


@dataclass
class Page:
    """The web page of one model.

    Parameters
    ----------
    generator : Generator
        Model of the page, shared by all visitors.
    examples : dict of str to Galaxy
        Galaxies to choose from, by label.
    root : Path
        Temporary folder. The files of visitors are in its subfolder ``sessions``.
    max_bytes : int
        Largest size of an upload.
    workers : int
        Number of visitors served at a time; others wait.
    model : str
        Name of the model for the command line.
    """

    generator: Generator
    examples: dict[str, Galaxy]
    root: Path
    max_bytes: int = 20 * 2**20
    workers: int = 1
    model: str = "default"
    _drawing: Lock = field(default_factory=Lock, repr=False)  # matplotlib is not made for threads

    def __post_init__(self):
        self.table = TablePanel(self.generator, self.model, self.root, self.max_bytes)

    # ------------------------------------------------------------------------------- actions

    def read_input(self, source: str, example: str, cutout, z, values) -> tuple[Galaxy, str]:
        """The galaxy that the visitor chose, and the kind of its image."""
        if source == EXAMPLE:
            if example not in self.examples:
                raise InputError("example", "there is no such example", "choose one of the list")
            galaxy, kind = self.examples[example], "linear"
            galaxy = replace(galaxy, z=np.nan, z_err=np.nan)  # it would be the truth
        elif source == CUTOUT:
            survey, measures = self.generator.survey, self.generator.measures_pictures
            galaxy, kind = inputs.cutout_galaxy(cutout, survey, self.max_bytes, measures)
        else:
            galaxy, kind = Galaxy("magnitudes"), "linear"
        if source != EXAMPLE:
            bands = len(self.generator.survey.photometry_bands)
            flux, ivar = inputs.fluxes_of_magnitudes(values[:bands], values[bands:], self.generator.survey)
            if source == MAGNITUDES and flux is None:
                raise InputError("magnitudes", "there are none yet", "type the magnitudes that you know")
            if flux is not None:
                galaxy = _with_magnitudes(galaxy, flux, ivar)
        known = inputs.number(z, "redshift")
        return (galaxy if known is None else replace(galaxy, z=known, z_err=0.0)), kind

    def generate(
        self, source, example, cutout, n, seed, noise, z, observed, use_redshifts, request: gr.Request,
        progress=gr.Progress(), *values,  # noqa: B008
    ):  # fmt: skip
        """Generate spectra for a visitor; returns the values of all outputs, as `_show` and the table do."""
        try:
            progress(0.0, "Reading")
            n = inputs.whole_number(n, "candidates", 1, inputs.MAX_CANDIDATES)
            seed = inputs.whole_number(seed, "seed", 0, MAX_SEED)
            fields, typed = values[:N_FIELDS], values[N_FIELDS:]
            if source == TABLE:
                choices = tables.Choices(n, seed, bool(noise), bool(use_redshifts))
                return self._generate_table(fields, choices, observed, request, progress)
            galaxy, kind = self.read_input(source, example, cutout, z, typed)
            given = self._observed(observed)
            seen = replace(galaxy, flux=None, ivar=None, mask=None)
            result = results.generate(self.generator, seen, kind, n, seed, bool(noise), progress)
            if galaxy.flux is not None:
                own = replace(galaxy, z=self.examples[example].z)
                result = replace(result, own=results.measure_observed(own, self.generator))
            progress(0.8, "Drawing")
            return (*self._show(result, given or result.own, request), *TablePanel.hidden())
        except InputError as error:
            return self._refuse(error)

    def _generate_table(self, fields, choices, observed, request, progress):
        try:
            made = self.table.generate(fields, choices, request.session_hash, progress)
        except InputError as error:
            return self._refuse(error, has_options=True)
        progress(0.7, "Drawing")
        return self._show_row(made, made.first or 0, observed, request, is_new=True)

    def choose(self, made, row, observed, request: gr.Request):
        """Show another row of the table that was generated last."""
        if made is None or row is None:
            return self._say("")
        try:
            return self._show_row(made, int(row), observed, request)
        except InputError as error:
            return self._refuse(error)

    def pick(self, made, observed, event: gr.EventData, request: gr.Request):
        """Show the row of the table that the visitor clicked on."""
        return self.choose(made, event._data["row"], observed, request)

    def _show_row(self, made: tables.TableResult, i: int, observed, request, is_new: bool = False):
        """Values of all outputs for row number `i`; if it has no spectrum, the message says why."""
        given = self._observed(observed)
        try:
            result = tables.row_result(self.generator, made, i, lambda *_: None)
            shown = self._show(result, given, request)
        except InputError as error:
            shown = (text.alert(inputs.sentence(error)), None, gr.Slider(interactive=False), "", "",
                     *[gr.DownloadButton(interactive=False)] * 4, None)  # fmt: skip
        return (*shown, *self.table.shown(made, i, is_new))

    def compare(self, result, observed, request: gr.Request):
        """Show the last result again, with another observed spectrum or with none; see `_show`."""
        try:
            given = self._observed(observed)
            if result is None:
                return self._say(text.note("It will be compared with what you generate.") if given else "")
            return (*self._show(result, given or result.own, request), *[gr.skip()] * N_OUTPUTS)
        except InputError as error:
            return self._refuse(error)

    def _observed(self, path) -> results.Observed | None:
        if path is None:
            return None
        galaxy, native, notes = inputs.observed_spectrum(path, self.generator.grid, self.max_bytes)
        return results.measure_observed(galaxy, self.generator, native, notes)

    def _show(self, result: results.Result, observed: results.Observed | None, request: gr.Request):
        """Values of all outputs, in the order of the layout's list."""
        table = results.rows(result, observed)
        ensemble = result.ensemble
        exports.remove_old_sessions(self.root, SESSION_SECONDS)
        files = exports.write_downloads(
            self.root, request.session_hash, result, observed, table, self._draw_picture
        )
        known = observed is not None and np.isfinite(observed.galaxy.z)
        z = float(observed.galaxy.z if observed is not None and known else result.z)
        figure = spectrum_figure(ensemble, z, None if observed is None else observed.galaxy)
        return (
            text.summary(result, observed, table, self.generator.survey),
            figure,
            gr.Slider(value=float(np.clip(round(z, 4), 0, MAX_REDSHIFT)), interactive=True),
            text.quantity_table(table),
            text.candidate_table(ensemble),
            *(gr.DownloadButton(value=str(path), interactive=True) for path in files),
            result,
        )

    def _draw_picture(self, ensemble: Ensemble, **arguments) -> None:
        with self._drawing:
            ensemble.plot(**arguments)

    @staticmethod
    def _refuse(error: InputError, has_options: bool = False):
        return Page._say(text.alert(inputs.sentence(error, has_options)))

    @staticmethod
    def _say(words: str):
        """Values of all outputs that change only the message."""
        return (words, *(gr.skip() for _ in range(9 + N_OUTPUTS)))

    # -------------------------------------------------------------------------------- layout

    def build(self) -> gr.Blocks:
        """Lay out the page, ready to launch."""
        page = gr.Blocks(
            title="pix2spec", analytics_enabled=False, delete_cache=(SESSION_SECONDS // 4, SESSION_SECONDS)
        )
        with page:
            html(text.header(self.generator.ids["model"]), elem_id="top")
            with gr.Row(elem_id="columns"):
                with gr.Column(scale=1, min_width=320, elem_id="controls"):
                    arguments, observed, button = self._controls()
                with gr.Column(scale=3, min_width=320, elem_id="results"):
                    of_table = self.table.results()
                    outputs, plot = self._results()
            action = {"outputs": outputs + of_table, "show_progress_on": plot, "api_visibility": "private"}
            action |= {"concurrency_limit": self.workers, "concurrency_id": "model"}
            button.click(self.generate, arguments, **action).then(js=SHOW_RESULTS)
            observed.change(self.compare, [outputs[-1], observed], **action)
            _, rows, picker, *_, made = of_table
            picker.input(self.choose, [made, picker, observed], **action)
            rows.click(self.pick, [made, observed], **action)
            page.unload(self.forget)
        return page.queue(max_size=WAITING, api_open=False)

    def forget(self, request: gr.Request) -> None:
        """Remove a session's files when its tab closes."""
        exports.remove_session(self.root, request.session_hash)

    def _controls(self):
        """Lay out input and settings; returns arguments of `generate`, upload and button."""
        source = gr.Radio(SOURCES, value=EXAMPLE, label="What to start from", elem_id="source")
        example = gr.Dropdown(
            list(self.examples), value=next(iter(self.examples)), label="Example", filterable=False,
            elem_id="example",
        )  # fmt: skip
        survey = self.generator.survey
        with gr.Column(visible=False) as upload:
            cutout = gr.File(label="Cutout (FITS, JPEG or PNG)", height=160, elem_id="cutout")
            about = (
                f"About {64 * survey.pixel_scale:.0f}″ across or more, the galaxy near the middle. FITS: "
                f"bands {', '.join(survey.image_bands)}. At most {self.max_bytes / 2**20:.0f} MiB."
            )
            html(text.note(about))
        with gr.Accordion("Magnitudes", open=True, visible=False, elem_id="magnitudes") as typed:
            html(
                text.note(f"AB, within the fibre ({survey.fibre_diameter:g}″). Leave empty what is unknown.")
            )
            values = [self._magnitude(band) for band in survey.photometry_bands]
        with gr.Column(visible=False) as table:
            fields, use_redshifts = self.table.controls()
        n = gr.Slider(1, inputs.MAX_CANDIDATES, 25, step=1, label="Candidates", elem_id="n", buttons=[])
        with gr.Row():
            seed = gr.Number(0, label="Seed", min_width=120, elem_id="seed")
            z = gr.Textbox(label="Redshift, if known", min_width=120, elem_id="known")
        free = results.can_be_noise_free(self.generator)
        noise = gr.Checkbox(
            not free, label="With the noise of an exposure", interactive=free, elem_id="noise"
        )
        button = gr.Button("Generate", variant="primary", elem_id="generate")
        observed = gr.File(label="Compare: a spectrum (optional)", height=160, elem_id="observed")

        def switch(choice):
            typing = choice in (CUTOUT, MAGNITUDES)
            shown = (choice == EXAMPLE, choice == CUTOUT, typing, choice == TABLE, choice != TABLE)
            title = "Magnitudes" + (" (optional)" if choice == CUTOUT else "")
            kinds = (gr.Dropdown, gr.Column, gr.Accordion, gr.Column, gr.Textbox)
            updates = [kind(visible=visible) for kind, visible in zip(kinds, shown)]
            updates[2] = gr.Accordion(visible=shown[2], open=choice == MAGNITUDES, label=title)
            return updates

        source.change(
            switch, source, [example, upload, typed, table, z], queue=False, show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip
        magnitudes = [*(value for value, _ in values), *(error for _, error in values)]
        settings = [source, example, cutout, n, seed, noise, z, observed, use_redshifts]
        return [*settings, *fields, *magnitudes], observed, button

    @staticmethod
    def _magnitude(band: str) -> tuple[gr.Textbox, gr.Textbox]:
        # no gr.Number: it fills an empty field with zero
        with gr.Row():
            return (
                gr.Textbox(label=f"{band} magnitude", min_width=100, elem_id=f"mag-{band}"),
                gr.Textbox(label=f"{band} error", min_width=100, elem_id=f"error-{band}"),
            )

    @staticmethod
    def _results():
        """Lay out the results; returns the outputs of actions, and the plot, which shows their progress."""
        message = html(text.note(START), elem_id="message")
        plot = gr.Plot(label="Spectrum", show_label=False, elem_id="spectrum")
        z = gr.Slider(
            0, MAX_REDSHIFT, 0, step=0.0005, label="Redshift of the marked lines", elem_id="redshift",
            buttons=[], interactive=False,
        )  # fmt: skip
        z.change(None, z, js="(z) => window.pix2specMoveLines(Number(z))")
        with gr.Row(elem_id="downloads"):
            names = ("Save FITS", "Save spectrum (CSV)", "Save quantities (CSV)", "Save figure (PNG)")
            buttons = [gr.DownloadButton(name, interactive=False, size="md", min_width=130) for name in names]
        quantities, candidates = html(elem_id="quantities"), html(elem_id="candidates")
        state = gr.State(None, time_to_live=SESSION_SECONDS)
        return [message, plot, z, quantities, candidates, *buttons, state], plot


def _with_magnitudes(galaxy: Galaxy, flux: np.ndarray, ivar: np.ndarray) -> Galaxy:
    """A galaxy with typed fluxes in the place of those of its picture."""
    flags = tuple(flag for flag in galaxy.flags if flag != FROM_PICTURE)
    return replace(
        galaxy, photometry=flux, photometry_ivar=ivar, filters=(), kind="unknown", extinction="unknown",
        brightness_error=0.0, flags=flags,
    )  # fmt: skip
