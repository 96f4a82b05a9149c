"""Who reads the inputs: functions of a path that raise `InputError` for a bad one."""

from pathlib import Path

from support.tiny import GRID


def _cutout(path):
    from pix2spec.data.readers.images import read_cutout

    read_cutout(path)


def _pictures(path):
    from pix2spec.data.readers.picture_bundle import ImageBundle

    bundle = ImageBundle(path)
    for i in range(len(bundle)):
        bundle.keys(i), bundle.image(i)


def _spectrum(path):
    from pix2spec.data.readers.spectra import read_spectrum

    read_spectrum(path)


def _spectra(path):
    from pix2spec.data.readers.spectra import read_spectra_bundle

    list(read_spectra_bundle(path))


def _coadd(path):
    from pix2spec.data.readers.desi import DesiCoadd
    from pix2spec.errors import InputError

    coadd = DesiCoadd(path)
    if not len(coadd):
        raise InputError(path, "it holds no targets")
    for i in range(len(coadd)):
        coadd.galaxy(i)


def _table(path):
    from pix2spec.data.readers.catalogue_rows import read_catalogue

    list(read_catalogue(path).galaxies())


def _curves(path):
    from pix2spec.data.readers.curves import read_curves

    read_curves(path)


def _observed(path):
    from pix2spec.data.coarse_spectra import coarse_spectrum
    from pix2spec.data.readers.observed_spectrum import read_observed_spectrum

    seen = read_observed_spectrum(path)
    coarse_spectrum(seen.wave, seen.flux, seen.error, relative=seen.is_relative, where=str(path))


def _universe(path):
    from pix2spec.data.mmu.read import read_rows

    for row in read_rows(Path(path), "spectrum", ("object_id", "ra", "dec")):
        for name in ("flux", "ivar", "lambda"):
            row.field(name)


def _dataset(path):
    from pix2spec.data.dataset import Dataset

    for _ in Dataset(path):
        pass


def _catalogue(path):
    from pix2spec.products.catalogue import open_catalogue

    list(open_catalogue(path))


def _predictions(path):
    from pix2spec.errors import InputError
    from pix2spec.evaluation.predictions.open import open_predictions

    predictions = open_predictions(path, GRID)
    for _ in predictions:
        pass
    for reason in predictions.failures.values():
        raise InputError(path, reason)


def _preset(path):
    from pix2spec.models.presets import load_preset

    load_preset(path)


def _model(path):
    from pix2spec.models.storage import load_model

    load_model(path)


READERS = {
    "cutout": _cutout, "pictures": _pictures, "spectrum": _spectrum, "spectra": _spectra, "coadd": _coadd,
    "table": _table, "curves": _curves, "observed": _observed, "measured": _dataset,
    "universe": _universe, "dataset": _dataset, "catalogue": _catalogue,
    "predictions": _predictions, "preset": _preset, "model": _model,
}  # fmt: skip
