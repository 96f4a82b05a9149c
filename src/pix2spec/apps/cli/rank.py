"""The command `pix2spec rank`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.options import MeasuringWorkers
from pix2spec.apps.cli.output import print_failures, print_text
from pix2spec.errors import InputError

SHOWN = 10


def rank(
    catalogue: Annotated[Path, typer.Argument(help="Folder that `generate` wrote.")],
    statement: Annotated[
        str | None,
        typer.Argument(help="Condition on a spectrum, as in 'ew(Halpha) > 50'; optional with --by."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the list. Default: CATALOGUE/ranking.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Length of the list.")] = 100,
    by: Annotated[
        str | None,
        typer.Option(
            help="Score to sort by, as in 'probability * information'. Known: probability, "
            "information_statement, information_z, information_class, information (their sum), novelty, sn, "
            "hours, hours_q84, numbers of the catalogue such as mag_r. Default: probability."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset that the catalogue was made from; gives novelty and pictures."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Training dataset; novelty is the distance from it.")
    ] = None,
    instrument: Annotated[
        str | None,
        typer.Option(help="sdss | boss | desi | 4most: adds the S/N and telescope time of a line."),
    ] = None,
    line: Annotated[str, typer.Option(help="Emission line that the instrument has to detect.")] = "Halpha",
    sn: Annotated[float, typer.Option(help="Signal-to-noise ratio that the line needs.")] = 5.0,
    exposure: Annotated[float, typer.Option(help="Exposure time of the S/N, in hours.")] = 1.0,
    hours: Annotated[
        float | None, typer.Option(help="Telescope time of one fibre, in hours, after which the list ends.")
    ] = None,
    sheet: Annotated[
        int, typer.Option(min=0, help="Number of objects on the contact sheet (HTML and PDF).")
    ] = 24,
    workers: MeasuringWorkers = None,
) -> dict:
    """Rank objects by the probability of a condition on their spectrum, or by the information in it.

    For example

    `pix2spec rank predictions "ew(Halpha) > 50"`

    `pix2spec rank predictions "z > 0.2 and dn4000 < 1.3" --instrument desi --hours 20`

    `pix2spec rank predictions --by information_z --top 20`

    Conditions may use ew(LINE), flux(LINE), sn(LINE), colour(g, r), z, bpt, dn4000, hdelta_a, mgb, fe,
    sigma_v and sigma_gas. Lines are Halpha, Hbeta, OII3727, OIII5007, NII6583 and SII6716. Candidates are
    measured once: the next ranking takes seconds. A catalogue without candidates is ranked by its columns.
    """
    from pix2spec.ranking.contact_sheet import write_sheets
    from pix2spec.ranking.output import write_tables
    from pix2spec.ranking.ranking import Observing
    from pix2spec.ranking.ranking import rank as run

    if hours is not None and instrument is None:
        raise InputError("--hours", "telescope time needs an instrument", "give --instrument")
    observing = Observing(instrument, line, sn, exposure, hours) if instrument else None
    found = run(catalogue, statement, by, top, data, train, observing, workers)
    out = out or found.catalogue.path.parent / "ranking"
    write_tables(found, out)
    sheet *= bool(len(found.table)) and found.catalogue.has_candidates
    if sheet:
        write_sheets(found, out, sheet)
    _print(found)
    print_failures(found.failures, len(found.failures))
    print_text(
        f"{len(found.table)} of {found.n_objects} objects in {out}/ranking.parquet, .csv, .fits and .vot"
    )
    if sheet:
        print_text(f"  contact sheet: {out}/contact.html and .pdf")
    return {
        "ranking": out / "ranking.parquet",
        "listed": len(found.table),
        "objects": found.n_objects,
        "first": list(found.table["object_id"][:SHOWN]),
        "contact_sheet": out / "contact.html" if sheet else None,
        "failed": len(found.failures),
        "exit_code": 3 if found.failures else 0,
    }


def _print(found) -> None:
    """Print the head of the list, and the number of objects that are not in it."""
    wanted = (
        "rank",
        "object_id",
        "probability",
        "probability_error",
        "score",
        "z",
        "hours",
        "hours_q84",
        "hours_total",
    )
    names = [name for name in wanted if name in found.table.colnames]
    shown = found.table[names][:SHOWN]
    for name in names[2:]:
        shown[name].format = ".3f"
    if found.metadata["statement"]:
        print_text(f"The statement is about {found.metadata['about']}.")
    for text in shown.pformat(max_lines=-1, max_width=-1) if len(shown) else ():
        print_text(f"  {text}")
    if found.n_unranked:
        print_text(f"{found.n_unranked} objects have no score and are not listed.")
    if found.n_unreachable:
        print_text(f"{found.n_unreachable} objects are passed over: their line is not within reach.")
