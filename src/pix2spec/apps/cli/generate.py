"""The commands `pix2spec generate` and `pix2spec demo`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.options import (
    AnyPixelScale,
    Columns,
    Filters,
    Kind,
    Mirror,
    Model,
    Release,
    Seed,
    Tables,
)
from pix2spec.apps.cli.output import in_options, print_failures, print_text

__all__ = ["columns_command", "demo", "generate"]


def generate(
    out: Annotated[Path, typer.Option(help="Folder for the catalogue and other results.")],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="INPUT",
            help="A table of magnitudes or fluxes (CSV, TSV, text, ECSV, FITS, VOTable, Parquet, HDF5, "
            "IPAC), a dataset, a cutout (FITS, JPEG, PNG), a folder of cutouts, or, with --survey, a table "
            "of positions or names. Not needed with --spectrum.",
        ),
    ] = None,
    model: Model = "default",
    selector: Annotated[
        Path | None,
        typer.Option(help="Run folder of a contrastive network that ranks the candidates of a pixel model."),
    ] = None,
    tables: Tables = None,
    columns: Columns = None,
    kind: Kind = None,
    filters: Filters = None,
    spectrum: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A coarse spectrum of the only object, as a table of wavelength, flux and error or a FITS "
            "spectrum. It is used as photometry in boxes of 100 Angstrom.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Number of candidate spectra per object.")] = 25,
    select: Annotated[
        str | None,
        typer.Option(
            help="Candidates whose mean is the spectrum in the catalogue: single (the first) | best | mean:M "
            "(of the best M) | all. Default: all; best for pixel models."
        ),
    ] = None,
    noise: Annotated[
        str, typer.Option(help="observed: candidates as the survey would record them | none: noise-free.")
    ] = "observed",
    use: Annotated[
        str, typer.Option(help="What the model may know of an object: any of image,photometry,redshift.")
    ] = "image,photometry",
    guidance: Annotated[float, typer.Option(help="Scale of classifier-free guidance; 1 is none.")] = 1.0,
    reweigh: Annotated[
        bool,
        typer.Option("--reweigh", help="Keep candidates as often as their fluxes agree with those given."),
    ] = False,
    shape: Annotated[
        bool,
        typer.Option(help="See shapes in colour pictures too, not only the fluxes that are measured there."),
    ] = False,
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Your own weights of redshifts: a table with the columns z and weight; or with z and n, and "
            "then the magnitude limit of your sample, as in nz.csv:r<19.",
        ),
    ] = None,
    floor: Annotated[
        float, typer.Option(help="Least error of fluxes in magnitudes, added in quadrature for redshifts.")
    ] = 0.01,
    sampler: Annotated[
        str, typer.Option(help="dpm++ | euler | heun; for pixel models dpm++ | ddim | ddpm.")
    ] = "dpm++",
    steps: Annotated[
        int | None,
        typer.Option(
            help="Network evaluations per candidate. Default: 16; for pixel models 25, with ddpm all of its "
            "timesteps."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Objects that go through the network together; more are faster, but need memory."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu | cuda. Default: a GPU where there is one.")] = None,
    seed: Seed = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Largest number of objects; the first ones are taken.")
    ] = None,
    fits: Annotated[
        bool, typer.Option("--fits", help="Also write one FITS file per object, in OUT/spectra.")
    ] = False,
    spec: Annotated[
        bool,
        typer.Option("--spec", help="Also write one file per object in SDSS's spec format, in OUT/spec."),
    ] = False,
    figures: Annotated[
        int,
        typer.Option(min=0, help="Number of objects to draw in OUT/spectra.png; the first ones are taken."),
    ] = 0,
    candidates: Annotated[
        bool,
        typer.Option(
            "--candidates/--no-candidates",
            help="Store all candidates (14 kB each), which `evaluate` needs, and `rank` for some statements.",
        ),
    ] = True,
    spectra: Annotated[
        bool,
        typer.Option(
            "--spectra/--no-spectra",
            help="Store chosen spectra, quantiles and candidates. Without them, the file is small.",
        ),
    ] = True,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure", help="Measure lines, breaks, widths and classes on the candidates."
        ),
    ] = True,
    synthesise: Annotated[
        str | None,
        typer.Option(
            metavar="FILTERS",
            help="Synthetic magnitudes in these filters of speclite, as in lsst2023-* or sdss2010-g.",
        ),
    ] = None,
    columns_out: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Columns to write, as in z,z_q*,ew_*. Always there are object_id, status, error, flags and "
            "n_candidates.",
        ),
    ] = None,
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="parquet | fits | votable: the latter two write OUT/catalog.fits or OUT/catalog.vot besides "
            "the Parquet file, with a value a cell.",
        ),
    ] = "parquet",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, with the same options.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local: this process | ray: the workers of a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of workers with --engine ray. Default: one per GPU, or per core."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster, or auto. Default: a new one on this machine."),
    ] = None,
    any_pixel_scale: AnyPixelScale = False,
    survey: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For a table of positions: the survey to download cutouts from, sdss | legacy | "
            "legacy-north. For cutouts: their survey, if it is not the model's.",
        ),
    ] = None,
    release: Release = "dr17",
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps downloads. Default: OUT/input/cache.")
    ] = None,
    mirror: Mirror = None,
    sesame: Annotated[
        str | None, typer.Option(metavar="URL", help="Name resolver to use instead of CDS's Sesame.")
    ] = None,
    dust: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder with SFD's maps of Galactic dust. Default: $SFD_DIR."),
    ] = None,
    extinction: Annotated[
        str | None,
        typer.Option(
            help="correct: remove Galactic extinction from images and fluxes | keep: only record it. "
            "Default: correct with --dust and for downloaded objects."
        ),
    ] = None,
) -> dict:
    """Generate spectra for every object of INPUT.

    For example

    `pix2spec generate mytable.csv --out predictions`

    `pix2spec generate mytable.fits --columns r=rmag_best,r.error=e_rmag --kind cmodel --out predictions`

    `pix2spec generate cutouts/ --table photometry.csv --out predictions --figures 6`

    `pix2spec generate data/ --model runs/concat --selector runs/contrastive --out predictions`

    `pix2spec generate targets.csv --survey sdss --out predictions`

    `pix2spec generate one.fits --table photometry.csv --spectrum prism.ecsv --out predictions`

    If some objects fail, they are listed with the reason, the others are complete, and the exit code is 3.
    Nothing about objects is downloaded unless INPUT is a table and --survey is given.
    """
    from dataclasses import replace

    from pix2spec.runtime.imports import quick_imports

    with quick_imports():
        from pix2spec.core.survey import survey_of
        from pix2spec.data.archives.targets import Fetch
        from pix2spec.data.archives.urls import Services
        from pix2spec.data.readers.curves import read_curves
        from pix2spec.generate.catalogue import generate_catalogue
        from pix2spec.generate.engines import Engine
        from pix2spec.generate.foreground import check_extinction, choose_foreground
        from pix2spec.generate.load import load
        from pix2spec.generate.sources import check_source, open_source, read_rows
        from pix2spec.models.generator import Settings
        from pix2spec.products.columns import Contents
        from pix2spec.products.synthetic import find_filters
        from pix2spec.products.tables import check_format

    # What the user typed is checked before anything slow happens.
    tokens = tuple(word.strip() for word in use.split(","))
    settings = Settings(
        n, select or "all", sampler, steps, seed, noise, tokens, guidance, floor, prior, reweigh, shape
    )
    place = Engine(engine, workers, address)
    its_survey = survey_of(survey) if survey else None
    services = Services.at(mirror) if mirror else Services()
    fetch = Fetch(services, cache or out / "input" / "cache", release, sesame)
    check_extinction(extinction, dust)
    check_format(file_format)
    check_source(source, its_survey, filters, spectrum)
    rows = read_rows(source, its_survey, columns, kind, filters)
    if rows is not None:
        _print_rows(rows)
        rows = rows.head(limit)
    curves = None if filters is None or rows is not None else read_curves(filters)

    generator = load(model, selector, device)
    settings = replace(settings, select=select or generator.default_select)
    opened = open_source(
        source, out, generator, settings, its_survey, tables, any_pixel_scale, fetch, curves, spectrum,
        rows,
    )  # fmt: skip
    if opened.note:
        print_text(opened.note)
    wanted = find_filters(_words(synthesise), generator.grid, print_text)
    contents = Contents(candidates, spectra, measure, wanted, columns_out=_words(columns_out) or None)
    own = None if rows is None else rows.stated_extinction
    foreground = choose_foreground(opened.dataset.info.survey, opened.extinction, extinction, dust, own)
    rows = opened.rows = None  # the table's memory, before the long work
    summary = generate_catalogue(
        generator, opened.dataset, out, settings, opened.failures, limit, contents, fits=fits, spec=spec,
        figures=figures, batch=batch, foreground=foreground, resume=resume, engine=place,
        file_format=file_format,
    )  # fmt: skip
    return _print_summary(summary, foreground) | {"model": generator.ids}


def columns_command(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A table of magnitudes or fluxes.")],
    columns: Columns = None,
    kind: Kind = None,
    filters: Filters = None,
) -> dict:
    """Show how `generate` reads a table: the filter, kind, unit, error and extinction of each column.

    Example: `pix2spec columns mytable.csv`
    """
    from pix2spec.data.readers.catalogue_rows import read_catalogue

    rows = read_catalogue(table, columns, kind, filters)
    _print_rows(rows)
    return {"table": table, "rows": len(rows), "columns": rows.lines()}


def _words(text: str | None) -> tuple[str, ...]:
    """Words that commas separate."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _print_rows(rows) -> None:
    """Print how a table was read."""
    print_text(f"{rows.where}: {len(rows)} rows")
    for line in rows.lines():
        print_text(f"  {in_options(line)}")


def _print_summary(summary, foreground) -> dict:
    """Print what a run made; returns it for scripts."""
    print_failures(summary.failures, summary.n_failed)
    print_text(f"{summary.n_ok} ensembles of {summary.n_candidates} candidates in {summary.catalogue}")
    if foreground is not None:
        print_text(f"  Galactic extinction: {in_options(str(foreground))}")
    if summary.files:
        more = f" and {len(summary.files) - 1} more files" if len(summary.files) > 1 else ""
        print_text(f"  also {summary.files[0]}{more}")
    return {
        "catalogue": summary.catalogue,
        "objects": summary.n_ok,
        "candidates": summary.n_candidates,
        "failed": summary.n_failed,
        "failures": [(name, in_options(why)) for name, why in summary.failures],
        "files": summary.files,
        "exit_code": 3 if summary.n_failed else 0,
    }


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    seed: Seed = 0,
) -> dict:
    """Generate 25 candidate spectra for each of six simulated galaxies that the model never saw.

    Writes a figure, `catalog.parquet` and one FITS file per object. Takes under a minute on two cores.

    Example: `pix2spec demo --out demo-output`
    """
    from pix2spec.runtime.imports import quick_imports

    with quick_imports():
        from pix2spec.generate.demo import demo as run

    summary = run(out, seed=seed)
    galaxies = out / "galaxies"
    for line in (
        f"Made 25 candidate spectra for each of {summary.n_ok} galaxies.",
        f"  figure     {out / 'spectra.png'}",
        f"  catalogue  {summary.catalogue}",
        f"  FITS       {out / 'spectra'}/*.fits",
        "These galaxies are simulated. Scores and limits of the model: `pix2spec info default`. Try next:",
        f"  pix2spec evaluate {out} --truth {galaxies}",
        f"  pix2spec generate {galaxies} --out noise-free --noise none --figures 6",
        f"  pix2spec generate {galaxies} --out with-redshift --use image,photometry,redshift --figures 6",
        "  pix2spec generate YOUR-CUTOUT.fits --out mine --figures 1",
    ):
        print_text(line)
    return {
        "figure": out / "spectra.png",
        "catalogue": summary.catalogue,
        "files": summary.files,
        "galaxies": galaxies,
        "objects": summary.n_ok,
    }
