"""Score redshifts and spectra on the real sky: every target of the released models, by cross-validation.

    python benchmarks/real_sky.py --data DIR [--half redshifts|spectra] [--model FOLDER] [--spectrum-model
        FOLDER] [--train-folds] [--out OUT]

DIR holds tables of real galaxies with redshifts; docs/guides/real-data.md says how anybody gets them. The
released models are ensembles whose networks were each trained without a fold of these tables: a galaxy is
scored by networks alone that never saw its fold. With `--unseen`, DIR holds other galaxies than training's,
and all networks answer.

`--train-folds` first trains such ensembles from nothing on DIR, of the half or halves that are scored, and
continues where a killed training stopped.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from pix2spec.errors import InputError
from pix2spec.models.storage import find_model, load_model, model_id, read_config
from pix2spec.runtime.provenance import run_provenance
from pix2spec.training.real_sky import digest, load_real
from pix2spec.training.redshift.train import RECIPES
from pix2spec.training.redshift.train import train as redshift_train
from pix2spec.training.spectrum.train import RECIPES as SPECTRUM_RECIPES
from pix2spec.training.spectrum.train import train as spectrum_train
from sky import atlas, faint, figure, flags, report, rows, simulated, spectra, surveys
from sky.context import Sky
from sky.ensembles import Judge
from sky.scores import Row

ROWS = {  # name: what yields its rows, and the tables that it needs
    "sdss": (rows.sdss, ["sdss"]),
    "mgs": (rows.mgs, ["mgs"]),
    "gama": (rows.gama, ["gama"]),
    "zcosmos": (rows.zcosmos, ["zcosmos"]),
    "deep": (rows.deep, ["deep"]),
    "errors": (rows.errors, ["sdss", "mgs"]),
    "spectra": (rows.spectra, ["spectra"]),
    "surveys": (surveys.surveys, ["gama"]),
    "fors2": (rows.fors2, ["fors2"]),
    "flags": (flags.known, []),
    "simulated": (flags.simulated, []),
    "stars": (flags.stars, []),
    "timing": (flags.timing, []),
}
SPECTRA = {  # the half that needs the model of spectra
    "fibre": (spectra.fibre, ["spectra"]),
    "own": (spectra.own_fluxes, ["spectra"]),
    "narrow": (spectra.narrow, ["spectra"]),
    "faint": (faint.fors2, ["fors2"]),
    "seen": (simulated.seen, ["gama"]),
    "atlas": (atlas.atlas, []),
}
HALVES = {"redshifts": list(ROWS), "spectra": list(SPECTRA), "both": [*ROWS, *SPECTRA]}
RELEASED, RELEASED_SPECTRUM = "redshift", "default"
FOLDS_FOLDER, SPECTRA_FOLDER = Path("runs/real-sky"), Path("runs/real-sky-spectra")


def train_folds(data: Path, folder: Path, recipe: str, train) -> Path:
    """Train the networks of all folds on DIR, unless the folder holds them: the folder of the model."""
    if not (folder / "config.json").exists():
        train(data, folder, recipe=recipe, resume=True)
    return folder


def check_folds(record: dict, tables) -> None:
    """Refuse to score by folds on other tables than those of a model's training.

    Parameters
    ----------
    record : dict
        The record of the training, with the `digest` of its tables.
    tables : dict of RealTable

    Raises
    ------
    InputError
        If a table or its folds differ.
    """
    known = record.get("tables", {})
    other = [name for name, value in digest(tables).items() if known.get(name) != value]
    if other:
        what = f"the model was not trained on these galaxies in these folds: {', '.join(other)}"
        raise InputError("--data", what, "score galaxies that it never saw with --unseen")


def score(sky: Sky, names: list[str]) -> Iterator[Row]:
    """All rows of these names whose tables are there."""
    for name in names:
        function, needed = (ROWS | SPECTRA)[name]
        missing = [table for table in needed if table not in sky.tables]
        if missing:
            print(f"{name}: left out, because the folder has no table {', '.join(missing)}")
            continue
        began = time.monotonic()
        yield from function(sky)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real tables")
    parser.add_argument("--model", help="folder of a redshift model, or a name; else the released one")
    parser.add_argument("--unseen", action="store_true", help="training never saw these tables")
    parser.add_argument(
        "--train-folds",
        action="store_true",
        help=f"train first, in {FOLDS_FOLDER} and {SPECTRA_FOLDER}, or in --model and --spectrum-model",
    )
    parser.add_argument(
        "--recipe", default="release", choices={**RECIPES, **SPECTRUM_RECIPES}, help="of --train-folds"
    )
    parser.add_argument("--half", choices=HALVES, default="both", help="redshifts alone, or spectra alone")
    parser.add_argument(
        "--spectrum-model", help="folder of a model of spectra, or a name; else the released one"
    )
    parser.add_argument("--only", nargs="+", choices=HALVES["both"], help="some of the rows")
    parser.add_argument("--timing", action="store_true", help="measure speeds as well")
    parser.add_argument("--out", type=Path, default=Path("runs/real-sky-scores"))
    args = parser.parse_args()
    tables = load_real(args.data)
    names = args.only or [name for name in HALVES[args.half] if name != "timing" or args.timing]
    needs_spectra = bool(set(names) & {*SPECTRA, "surveys"})
    folder, spectrum_folder = args.model or RELEASED, args.spectrum_model or RELEASED_SPECTRUM
    if args.train_folds and set(names) - {*SPECTRA}:
        folder = train_folds(args.data, Path(args.model or FOLDS_FOLDER), args.recipe, redshift_train)
    if args.train_folds and needs_spectra:
        where = Path(args.spectrum_model or SPECTRA_FOLDER)
        spectrum_folder = train_folds(args.data, where, args.recipe, spectrum_train)
    folder = find_model(folder)
    model, config = load_model(folder)
    if not args.unseen:
        check_folds(config["record"], tables)
        if needs_spectra:
            check_folds(read_config(find_model(spectrum_folder))["record"], tables)
    judge = Judge(str(spectrum_folder), folds=not args.unseen)
    sky = Sky(model, tables, args.data, folds=not args.unseen, judge=judge)
    found = list(score(sky, names))
    report.show(found)
    facts = {"model": model_id(folder), "data": str(args.data), "unseen": args.unseen, **run_provenance()}
    if needs_spectra:
        facts["spectrum_model"] = model_id(find_model(spectrum_folder))
    report.write(found, args.out, facts)
    if sky.kept:
        report.draw(sky.kept, args.out / "real_sky.png")
    if sky.ranks:
        figure.draw(sky, args.out / "real_sky_spectra.png")
    judge.close()
    failed = sum(row.reached(measure) is False for row in found for measure in row.values)
    print(f"{args.out}: real_sky.md, .json, .parquet, .png; {failed} targets are not reached")


if __name__ == "__main__":
    main()
