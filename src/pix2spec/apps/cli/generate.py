"""The command `pix2spec generate`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.output import in_options, print_failures, print_text
from pix2spec.errors import InputError

__all__ = ["generate"]


def generate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Dataset, cutout (FITS, JPEG, PNG), folder of cutouts; with --survey a table of positions.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for catalog.parquet.")],
    model: Annotated[str, typer.Option(help="Run folder, or the name of a shipped model.")] = "default",
    selector: Annotated[
        Path | None,
        typer.Option(help="Run folder of a contrastive network for a model over pixels."),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Photometry of the cutouts. Repeatable."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Candidates an object.")] = 25,
    select: Annotated[
        str | None,
        typer.Option(help="single | best | mean:M | all. Default: all; best for models over pixels."),
    ] = None,
    noise: Annotated[
        str, typer.Option(help="observed: as the survey would record them | none: noise-free.")
    ] = "observed",
    use: Annotated[
        str, typer.Option(help="What the model may know: any of image,photometry,redshift.")
    ] = "image,photometry",
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance scale; 1 is none.")] = 1.0,
    sampler: Annotated[
        str, typer.Option(help="dpm++ | euler | heun; for models over pixels dpm++ | ddim | ddpm.")
    ] = "dpm++",
    steps: Annotated[
        int | None,
        typer.Option(help="Network evaluations a candidate. Default: 16; over pixels 25, all for ddpm."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Objects a pass: more for throughput, 1 for latency.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Candidate k of an object depends on (seed, object, k) alone.")
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many objects.")] = None,
    fits: Annotated[bool, typer.Option("--fits", help="Also write one FITS file an object.")] = False,
    spec: Annotated[
        bool, typer.Option("--spec", help="Also write one file an object in SDSS's spec format, in OUT/spec.")
    ] = False,
    figures: Annotated[int, typer.Option(min=0, help="Draw the first so many objects in one figure.")] = 0,
    keep_candidates: Annotated[
        bool,
        typer.Option(
            "--candidates/--no-candidates", help="Store all candidates (14 kB each); `evaluate` needs them."
        ),
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was cut off, with the same options.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local: this process | ray: one model a worker of a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers of --engine ray. Default: one a GPU, or one a core.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster, such as auto. Default: one on this machine, for this run."),
    ] = None,
    any_pixel_scale: Annotated[
        bool, typer.Option("--any-pixel-scale", help="Accept cutouts of another pixel scale.")
    ] = False,
    survey: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Fetch cutouts of a table's positions or names: sdss | legacy | legacy-north. For cutouts: "
            "their survey, if not the model's.",
        ),
    ] = None,
    release: Annotated[
        str, typer.Option(help="dr16 | dr17 | dr18: SDSS's fibre photometry of the positions.")
    ] = "dr17",
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps what was fetched. Default: OUT/input/cache.")
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Fetch from URL/skyserver and URL/viewer instead."),
    ] = None,
    sesame: Annotated[
        str | None, typer.Option(metavar="URL", help="Resolver of names instead of CDS's Sesame.")
    ] = None,
    dust: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="SFD's maps of the Milky Way's dust. Default: $SFD_DIR."),
    ] = None,
    extinction: Annotated[
        str | None,
        typer.Option(
            help="correct: take the Milky Way's extinction out of the input | keep. "
            "Default: correct with --dust and for fetched positions."
        ),
    ] = None,
) -> dict:
    """Generate spectra for every object of INPUT; exit code 3 if some failed (they are listed).

    For example

    `pix2spec generate cutouts/ --table photometry.csv --out predictions --figures 6`

    `pix2spec generate data/ --model runs/concat --selector runs/contrastive --out predictions`

    `pix2spec generate targets.csv --survey sdss --out predictions`

    Nothing is ever fetched unless INPUT is a table and --survey is given.
    """
    from dataclasses import replace

    from pix2spec.core.survey import survey_of
    from pix2spec.data.archives.targets import is_position_table

    # What the user typed is checked before anything slow happens.
    if extinction not in (None, "correct", "keep"):
        raise InputError("--extinction", f"{extinction!r} is unknown", "correct or keep")
    its_survey = survey_of(survey) if survey else None
    is_table = is_position_table(source)
    if is_table and its_survey is None:
        raise InputError(
            source, "it is a table of positions, and nothing is fetched unasked",
            "give --survey sdss or legacy to fetch its cutouts; photometry of cutouts belongs to --table",
        )  # fmt: skip
    maps = _open_maps(dust) if is_table or dust or extinction else None

    from pix2spec.generate.catalogue import generate_catalogue
    from pix2spec.generate.engines import Engine
    from pix2spec.generate.load import load
    from pix2spec.generate.sources import open_source
    from pix2spec.models.generator import Settings

    place = Engine(engine, workers, address)
    tokens = tuple(word.strip() for word in use.split(","))
    settings = Settings(
        n=n, select=select or "all", sampler=sampler, steps=steps, seed=seed, noise=noise, use=tokens,
        guidance=guidance,
    )  # fmt: skip
    generator = load(model, selector)
    settings = replace(settings, select=select or generator.default_select)
    known = {}
    if is_table:
        dataset, failures, known = _fetch(
            source, out, generator, settings, its_survey, cache, release, mirror, sesame
        )
    else:
        dataset, failures = open_source(
            source,
            out / "input",
            table or (),
            any_pixel_scale,
            its_survey or generator.survey,
            generator.grid,
        )
        if its_survey and dataset.info.survey.name != its_survey.name:
            raise InputError(
                source, f"it is a dataset of {dataset.info.survey.name}, not {survey}", "leave out --survey"
            )
    foreground = _foreground(dataset, is_table, maps, dust, known, extinction)
    summary = generate_catalogue(
        generator,
        dataset,
        out,
        settings,
        failures,
        limit,
        keep_candidates,
        fits=fits,
        spec=spec,
        figures=figures,
        batch=batch,
        foreground=foreground,
        resume=resume,
        engine=place,
    )
    print_failures(summary.failures, summary.n_failed)
    print_text(f"{summary.n_ok} ensembles of {summary.n_candidates} candidates in {summary.catalogue}")
    if foreground is not None:
        print_text(f"  Galactic extinction: {in_options(str(foreground))}")
    for path in summary.files[:1]:
        print_text(
            f"  also {path}" + (f" and {len(summary.files) - 1} more files" if len(summary.files) > 1 else "")
        )
    return {
        "catalogue": summary.catalogue,
        "objects": summary.n_ok,
        "candidates": summary.n_candidates,
        "failed": summary.n_failed,
        "failures": [(name, in_options(why)) for name, why in summary.failures],
        "files": summary.files,
        "model": generator.ids,
        "exit_code": 3 if summary.n_failed else 0,
    }


def _open_maps(dust: Path | None):
    """Maps of the dust if the user or the environment names some, else None."""
    from pix2spec.core.extinction import find_maps, open_maps

    folder = find_maps(dust)
    return None if folder is None else open_maps(folder)


def _fetch(source, out: Path, generator, settings, survey, cache, release, mirror, sesame):
    """Dataset, failures and known extinction of a table of targets."""
    from pix2spec.data.archives.targets import Fetch, fetch_targets
    from pix2spec.data.archives.urls import Services, release_named
    from pix2spec.generate.catalogue import check_survey
    from pix2spec.generate.sources import check_no_catalogue

    release_named(release)
    check_no_catalogue(out)
    check_survey(generator, source, survey, generator.inputs(settings))
    services = Services.at(mirror) if mirror else Services()
    fetch = Fetch(services, cache or out / "input" / "cache", release, sesame)
    found = fetch_targets(source, survey, out / "input", fetch, generator.grid)
    print_text(
        f"{len(found.dataset)} targets with cutouts of {survey.name}, {found.n_photometry} with photometry, "
        f"{len(found.failures)} failed; kept in {fetch.cache}"
    )
    return found.dataset, found.failures, found.extinction


def _foreground(dataset, is_table: bool, maps, dust, known: dict, extinction: str | None):
    """What to do about extinction; None leaves a dataset as it is and says nothing of it."""
    from pix2spec.generate.foreground import Foreground

    if not is_table and dust is None and extinction is None:
        return None
    if extinction == "correct" and maps is None and not known:
        raise InputError(
            "--extinction correct", "no extinction is known", "give SFD's maps with --dust FOLDER"
        )
    return Foreground(dataset.info.survey, extinction != "keep", maps, known)
