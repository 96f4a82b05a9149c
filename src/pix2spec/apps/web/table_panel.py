"""The part of the page for tables: fields for an upload, and the results of its first rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr

from pix2spec.apps.web import exports, inputs, tables, text
from pix2spec.core.filters import KINDS
from pix2spec.data.readers.column_names import GROUPS
from pix2spec.errors import InputError
from pix2spec.models.generator import Generator

__all__ = ["TablePanel"]

UNSAID = "as the columns say"
SURVEYS = [name for name, group in GROUPS.items() if "g" in group]
PICK = """element.addEventListener("click", (event) => {
  const row = event.target.closest("[data-row]");
  if (row && !String(getSelection())) trigger("click", {row: Number(row.dataset.row)});
});"""
N_OUTPUTS = 6
html = partial(gr.HTML, apply_default_css=False)


@dataclass
class TablePanel:
    """Fields, results and actions for tables.

    Parameters
    ----------
    generator : Generator
        Model of the page.
    model : str
        Its name for the command line.
    root, max_bytes
        As for `pix2spec.apps.web.page.Page`.
    """

    generator: Generator
    model: str
    root: Path
    max_bytes: int

    # ------------------------------------------------------------------------------- actions

    def read(self, *fields) -> str:
        """How the table in the fields is read, or why it cannot be, as HTML."""
        if fields[0] is None:
            return ""
        try:
            return text.understood(self._table(fields))
        except InputError as error:
            return text.alert(inputs.sentence(error, has_options=True))

    def _table(self, fields) -> tables.UserTable:
        path, columns, kind, filters, curves = fields
        kind, filters = ("" if word in (None, UNSAID) else word for word in (kind, filters))
        return tables.read_user_table(path, columns or "", kind, filters, curves, self.max_bytes)

    def generate(
        self, fields, choices: tables.Choices, session: str | None, report: Callable
    ) -> tables.TableResult:
        """Generate the catalogue of a table's first rows."""
        report(0.05, "Reading the table")
        table = self._table(fields)
        report(0.1, f"Sampling {choices.n} candidates for each of {len(table.rows)} rows")
        exports.remove_old_sessions(self.root, exports.SESSION_SECONDS)
        folder = exports.fresh_folder(self.root, session, "table")
        return tables.first_rows(self.generator, table, choices, folder)

    def shown(self, made: tables.TableResult, chosen: int | None, is_new: bool) -> tuple:
        """Values of the outputs of `results`, with row `chosen` marked."""
        command = tables.command(made.table, made.choices, self.generator, self.model)
        names = [(row.object_id + " (failed)" * bool(row.error), i) for i, row in enumerate(made.rows)]
        picker = gr.Dropdown(choices=names, value=chosen) if is_new else gr.Dropdown(value=chosen)
        buttons = [gr.DownloadButton(value=str(path)) if is_new else gr.skip() for path in made.files]
        words = text.row_table(made, chosen, command)
        return (gr.Column(visible=True), words, picker, *buttons, made)

    @staticmethod
    def hidden() -> tuple:
        """Values of the outputs that hide the results of a table."""
        return (gr.Column(visible=False), *(gr.skip() for _ in range(N_OUTPUTS - 1)))

    # -------------------------------------------------------------------------------- layout

    def controls(self):
        """Lay out the fields; returns those of `read`, and the one that lets the model know redshifts."""
        table = gr.File(label="Table of magnitudes or fluxes", height=140, elem_id="table")
        about = (
            f"CSV, FITS, VOTable, Parquet and others, at most {self.max_bytes / 2**20:.0f} MiB. "
            f"The page uses the first {tables.MAX_ROWS} rows, and prints the command for all."
        )
        html(text.note(about))
        understood = html(elem_id="understood")
        with gr.Accordion("What the table does not say", open=False, elem_id="options"):
            columns = gr.Textbox(
                label="--columns", placeholder="r=rmag_best, r.error=e_rmag", elem_id="columns-option",
                max_length=2000,
            )  # fmt: skip
            kind = gr.Dropdown([UNSAID, *KINDS], label="--kind (of the fluxes)", elem_id="kind-option")
            filters = gr.Dropdown(
                [UNSAID, *SURVEYS], label="--filters (of the letters)", elem_id="filters-option"
            )
            curves = gr.File(label="--filters (your own curves)", height=120, elem_id="curves-option")
        redshifts = gr.Checkbox(
            False, label="The model may know the table's redshifts", elem_id="use-redshifts"
        )
        fields = [table, columns, kind, filters, curves]
        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        changes = [field.change for field in (table, kind, filters, curves)]
        gr.on([*changes, columns.submit, columns.blur], self.read, fields, understood, **quiet)
        return fields, redshifts

    @staticmethod
    def results():
        """Lay out the results; returns the outputs of `shown`."""
        with gr.Column(visible=False, elem_id="table-results") as box:
            rows = html(elem_id="rows", js_on_load=PICK)
            with gr.Row():
                picker = gr.Dropdown([], label="Galaxy", elem_id="galaxy", scale=2, min_width=200)
                names = ("Catalogue (Parquet)", "Catalogue (FITS)")
                buttons = [gr.DownloadButton(name, size="md", min_width=130) for name in names]
        made = gr.State(None, time_to_live=exports.SESSION_SECONDS)
        return [box, rows, picker, *buttons, made]
