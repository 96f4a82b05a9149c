"""Files to download, in a folder of the visitor's session, which is removed when the session ends."""

import csv
import hashlib
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from pix2spec.apps.web.inputs import safe_name
from pix2spec.apps.web.results import Observed, Result, Row
from pix2spec.products.units import QUANTILE_NAMES
from pix2spec.runtime.atomic import write_atomically

__all__ = [
    "SESSION_SECONDS",
    "fresh_folder",
    "remove_old_sessions",
    "remove_session",
    "session_folder",
    "write_downloads",
]

SESSION_SECONDS = 3600  # files and results of a closed or idle tab are removed after this time


def session_folder(root: Path, session: str | None) -> Path:
    """Folder of a session. Its name is a hash of the session's name, because the browser chooses that."""
    return root / "sessions" / hashlib.sha256(str(session).encode()).hexdigest()[:32]


def fresh_folder(root: Path, session: str | None, purpose: str) -> Path:
    """A new folder of a session, in the place of its earlier one of this purpose.

    Its name cannot be guessed: anybody who knows it may download the files.
    """
    own = session_folder(root, session)
    for old in own.glob(f"{purpose}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = own / f"{purpose}-{secrets.token_urlsafe(16)}"
    folder.mkdir(parents=True)
    return folder


def remove_session(root: Path, session: str | None) -> None:
    """Remove the files of a session."""
    shutil.rmtree(session_folder(root, session), ignore_errors=True)


def remove_old_sessions(root: Path, seconds: float) -> None:
    """Remove folders that were not used for this time: their tabs were closed while the model worked."""
    for folder in (root / "sessions").glob("*"):
        with suppress(FileNotFoundError):  # removed meanwhile
            if time.time() - folder.stat().st_mtime > seconds:
                shutil.rmtree(folder, ignore_errors=True)


def write_downloads(
    root: Path, session: str | None, result: Result, observed: Observed | None, table: list[Row], draw
) -> list[Path]:
    """Write FITS, two CSV and PNG, replacing the session's earlier files.

    `draw` is called with the arguments of `Ensemble.plot`.

    Returns
    -------
    list of Path
        ``NAME.fits``, ``NAME-spectrum.csv``, ``NAME-quantities.csv``, ``NAME.png``.
    """
    folder = fresh_folder(root, session, "galaxy")
    ensemble, name = result.ensemble, safe_name(result.ensemble.object_id)
    endings = (".fits", "-spectrum.csv", "-quantities.csv", ".png")
    fits, spectrum, quantities, picture = (folder / f"{name}{end}" for end in endings)
    ensemble.write_fits(fits)
    write_atomically(spectrum, lambda path: _write_spectrum(path, result, observed))
    write_atomically(quantities, lambda path: _write_quantities(path, table))
    truth = {} if observed is None else {"truth": observed.galaxy.flux, "truth_ivar": observed.galaxy.ivar}
    draw(ensemble, path=picture, z=result.z if observed is None else observed.galaxy.z, **truth)
    return [fits, spectrum, quantities, picture]


def _write_spectrum(path: Path, result: Result, observed: Observed | None) -> None:
    ensemble = result.ensemble
    columns: dict = {"wavelength": ensemble.grid.wave, "flux": ensemble.flux}
    columns["uncertainty"] = ensemble.uncertainty
    columns |= dict(zip(QUANTILE_NAMES, ensemble.quantiles()))
    if observed is not None:
        columns |= {"observed_flux": observed.galaxy.flux, "observed_ivar": observed.galaxy.ivar}
    _write_csv(path, list(columns), np.column_stack(list(columns.values())).tolist())


def _write_quantities(path: Path, table: list[Row]) -> None:
    names = ["name", "unit", "median", "q16", "q84", "n_measured", "observed", "observed_error"]
    lines = [(r.name, r.unit, r.median, r.low, r.high, r.n, r.observed, r.observed_error) for r in table]
    _write_csv(path, names, lines)


def _write_csv(path: Path, names: list[str], lines: list) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        for line in lines:
            writer.writerow([f"{value:.7g}" if isinstance(value, float) else value for value in line])
