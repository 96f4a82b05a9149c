"""The command `pix2spec export --format`: a catalogue for another program."""

import inspect
from pathlib import Path

from pix2spec.apps.cli.output import print_text
from pix2spec.errors import InputError

__all__ = ["export_catalogue"]

NEXT = {
    "qp": "Read it with `qp.read({path!r})`.",
    "4most": "Put the survey's rulesets.csv and rules.csv into {folder}, where etc.yml names them.",
    "specsim": "quickspectra -i {path} -o noisy.fits --program BRIGHT --source-type bgs",
    "desi-truth": "Its table is TRUTH.",
}


def export_catalogue(catalogue: str, form: str, out: Path | None, **options) -> dict:
    """Write a catalogue in one of the formats of `pix2spec.products.handover`; None leaves an option out.

    Raises
    ------
    InputError
        If there is no `out`, or the format does not take an option.
    """
    from pix2spec.products.catalogue import open_catalogue
    from pix2spec.products.handover import FORMATS, write_handover

    if out is None:
        raise InputError("export", "a catalogue is written to a file or a folder", "give --out")
    given = {name: value for name, value in options.items() if value is not None}
    taken = inspect.signature(FORMATS[form]).parameters if form in FORMATS else given
    if unused := sorted(set(given) - set(taken)):
        name = unused[0].replace("_", "-")
        raise InputError(f"--{name}", f"the format {form} does not use it", "leave it out")
    files = write_handover(open_catalogue(catalogue), form, out, **given)
    print_text(f"Wrote {files[0]}" + (f" and {len(files) - 1} more files." if len(files) > 1 else "."))
    print_text(NEXT[form].format(path=str(files[0]), folder=str(out)))
    return {"format": form, "files": files}
