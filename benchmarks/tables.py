"""Compare what is read from tables and spectra with the right values, which astropy computes.

    python benchmarks/tables.py --cases ../shared/cases --page docs/results/tables.md

The right values of the shared tables come from the columns that this program names, read and converted by
astropy alone; those of the layouts are the values from which `tests/support/layouts.py` writes them; those of
the spectra are the files' numbers. With `--page`, the tables of a page of the documentation are replaced,
between its lines of comment.
"""

import argparse
import re
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from astropy import units as u
from astropy.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # its layouts

from pix2spec.data.readers.catalogue_rows import CatalogueRows, read_catalogue
from pix2spec.data.readers.column_names import LONG_NAMES
from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
from pix2spec.data.schema import Galaxy
from support.layouts import LAYOUTS
from support.spectrum_cases import FILES, expected

ZERO = u.zero_point_flux(3631 * u.Jy)
HEADS = ["values", "largest difference [mag]", "of errors [%]", "redshifts"]
CSV, TAB, FITS = "ascii.csv", "ascii.tab", "fits"
PLAIN = {"value": "{}", "error": "err_{}", "z": "redshift"}
FIBRE = {"value": "fiberMag_{}", "error": "fiberMagErr_{}", "kind": "fibre"}
LEGACY = {"value": "FLUX_{}", "error": "FLUX_IVAR_{}", "ivar": True}
RAIL = {"value": "mag_{}_lsst", "error": "mag_err_{}_lsst", "bands": "ugrizy", "group": "lsst2023"}


def _kind(name: str) -> dict:
    return {"value": f"{name}Mag_{{}}", "error": f"{name}MagErr_{{}}", "z": "z"}


# file: how astropy reads it, its columns, and the kind that its names tell
TABLES: dict[str, tuple[str, dict]] = {
    "01_maggies.fits": (FITS, LEGACY | {"bands": "UGRIZ", "unit": u.mgy}),
    "01_plain.csv": (CSV, PLAIN),
    "03_negative_ra.csv": (CSV, FIBRE | {"z": "redshift"}),
    "04_floatid.csv": (CSV, PLAIN),
    "05_hash_id.tsv": ("hash", FIBRE | {"z": "redshift"}),
    "06_semicolon_comma.csv": ("comma", PLAIN),
    "08_kaggle.csv": (CSV, PLAIN | {"kind": "model"}),
    "09_vizier.tsv": (TAB, {"value": "{}mag", "error": "e_{}mag", "z": "zsp"}),
    "10_extinction.csv": (CSV, PLAIN),
    "10_unnamed_index.parquet": ("parquet", FIBRE | {"z": "redshift"}),
    "11_Z_then_z.csv": (CSV, {"value": "{}", "error": "{}_err", "z": "Z"}),
    "11_dered.csv": (CSV, {"value": "dered_{}", "error": "deredErr_{}", "z": "z", "kind": "model"}),
    "11_fiberMag.csv": (CSV, _kind("fiber") | {"kind": "fibre"}),
    "11_modelMag.csv": (CSV, _kind("model") | {"kind": "model"}),
    "11_petroMag.csv": (CSV, _kind("petro") | {"kind": "petrosian"}),
    "11_psfMag.csv": (CSV, _kind("psf") | {"kind": "psf"}),
    "12_model_and_fiber.csv": (CSV, _kind("model") | {"kind": "model"}),
    "12_uJy.parquet": ("parquet", {"value": "flux_{}", "error": "flux_err_{}", "unit": u.uJy}),
    "13_tractor.fits": (FITS, LEGACY | {"bands": "GRZ", "unit": u.nmgy, "kind": "model",
                                       "group": "decam2014"}),
    "13_wild_negative.fits": (FITS, LEGACY | {"unit": u.nmgy}),
    "14_masked.ecsv": ("ascii.ecsv", PLAIN),
    "14_masked.fits": (FITS, PLAIN),
    "14_rail_columns.parquet": ("parquet", RAIL),
    "16_zwarn.csv": (CSV, FIBRE | {"z": "Z", "warned": "ZWARN"}),
    "17_star.csv": (CSV, PLAIN),
    "23_ps1.csv": (CSV, {"value": "{}MeanKronMag", "error": "{}MeanKronMagErr", "z": "z", "bands": "grizy",
                         "group": "panstarrs", "kind": "kron"}),
    "ipac.tbl": ("ascii.ipac", FIBRE),
    "neg.csv": (CSV, FIBRE | {"z": "z"}),
    "u64.csv": (CSV, FIBRE),
}  # fmt: skip


def right_values(path: Path, form: str, columns: dict) -> SimpleNamespace:
    """Fluxes and errors (galaxy, band) in nanomaggies, and redshifts; NaN where a value is missing."""
    about = {"bands": "ugriz", "group": "sdss2010", "kind": "unknown", "unit": None, "ivar": False} | columns
    if form == "comma":
        table = Table.read(path.read_text().replace(",", ".").replace(";", ","), format=CSV)
    elif form == "hash":
        table = Table.read(path.read_text().lstrip("#"), format=TAB)
    elif form == "parquet":
        import pandas as pd

        table = Table.from_pandas(pd.read_parquet(path))
    else:
        table = Table.read(path, format=form)
    flux, sigma = [], []
    for band in about["bands"]:
        value, error = (_numbers(table[about[key].format(band)]) for key in ("value", "error"))
        error = np.where(error > 0, error, np.nan)
        if about["unit"] is None:
            flux.append((value * u.ABmag).to_value(u.nmgy, ZERO))
            error = np.where(error < 10, error, np.nan)  # 99 is none
            sigma.append(0.4 * np.log(10) * error * flux[-1])
            continue
        error = error**-0.5 if about["ivar"] else error
        flux.append((value * about["unit"]).to_value(u.nmgy, ZERO))
        sigma.append((error * about["unit"]).to_value(u.nmgy, ZERO))
    z = _numbers(table[about["z"]]) if "z" in about else np.full(len(table), np.nan)
    if "warned" in about:
        z = np.where(_numbers(table[about["warned"]]) != 0, np.nan, z)
    z = np.where(z < -0.01, np.nan, z)
    filters = [f"{about['group']}-{band.lower()}" for band in about["bands"]]
    kinds = [about["kind"]] * len(filters)
    return SimpleNamespace(filters=filters, kinds=kinds, flux=np.array(flux).T, sigma=np.array(sigma).T, z=z)


def _numbers(column) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)


def compare(rows: CatalogueRows, right: SimpleNamespace) -> list[str]:
    """Cells of a row: as what it was read, and the largest differences."""
    magnitude = error = 0.0
    redshifts = found = 0
    for k, galaxy in enumerate(rows.galaxies()):
        if not isinstance(galaxy, Galaxy):
            continue
        place = {key: j for j, key in enumerate(zip(galaxy.filters, galaxy.kind))}
        for j, key in enumerate(zip(right.filters, right.kinds)):
            if not np.isfinite(right.flux[k, j]):
                magnitude = max(magnitude, np.inf if key in place else 0)
                continue
            if key not in place:
                magnitude = np.inf
                continue
            found += 1
            got, wanted = galaxy.photometry[place[key]], right.flux[k, j]
            magnitude = max(magnitude, 2.5 / np.log(10) * abs(got / wanted - 1))
            if np.isfinite(right.sigma[k, j]):
                error = max(error, abs(galaxy.photometry_ivar[place[key]] ** -0.5 / right.sigma[k, j] - 1))
        redshifts += np.isclose(galaxy.z, right.z[k], atol=1e-6, equal_nan=True)
    has_z = bool(rows.columns.first("redshift"))
    return [
        _read_as(rows), f"{found}", f"{magnitude:.5f}", f"{100 * error:.2f}",
        f"{redshifts} of {len(right.z)}" if has_z or np.isfinite(right.z).any() else "none",
    ]  # fmt: skip


def _read_as(rows: CatalogueRows) -> str:
    names = []
    for band in rows.columns.bands:
        kind = "" if band.kind == "unknown" else f" {band.kind}"
        state = ", dereddened" if band.meaning.dereddened else ", with extinction" * bool(band.extinction)
        unit = f" in {band.unit}" if band.form == "flux" else ""
        form = f"flux{unit}" if unit else "magnitudes"
        what = f"{LONG_NAMES.get(band.meaning.group, '')}{kind} {form}{state}"
        names.append(what.strip())
    return "; ".join(dict.fromkeys(names)).replace("|", "/")


def _row(cells: list) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def shared_tables(folder: Path) -> list[str]:
    heads = ["file", "read as", *HEADS, "said"]
    lines = [_row(heads), "|---" * len(heads) + "|"]
    for name, (form, columns) in TABLES.items():
        rows = read_catalogue(folder / name)
        said = "; ".join(rows.notes + rows.columns.notes).replace("|", "/")
        lines.append(_row([f"`{name}`", *compare(rows, right_values(folder / name, form, columns)), said]))
    return lines


def own_layouts() -> list[str]:
    heads = ["layout", "source", "read as", *HEADS]
    lines = [_row(heads), "|---" * len(heads) + "|"]
    for name, layout in LAYOUTS.items():
        kinds = [layout.kind] * len(layout.bands) if isinstance(layout.kind, str) else list(layout.kind)
        z = np.array(layout.z or (np.nan, np.nan))
        sigma = layout.sigmas if layout.has_errors else np.full(layout.fluxes.shape, np.nan)
        right = SimpleNamespace(
            filters=[f for f, _ in layout.bands], kinds=kinds, flux=layout.fluxes, sigma=sigma, z=z
        )
        with tempfile.TemporaryDirectory() as folder:
            rows = read_catalogue(layout.write(Path(folder)), **layout.options)
        options = f" (`--columns {layout.options['columns']}`)" if layout.options else ""
        lines.append(_row([name + options.replace("|", "/"), layout.source, *compare(rows, right)]))
    return lines


def spectra(folder: Path) -> list[str]:
    heads = ["file", "pixels", "wavelengths", "fluxes", "errors", "id", "redshift", "said"]
    lines = [_row(heads), "|---" * len(heads) + "|"]
    unit = "1e-17 erg / (s cm2 Angstrom)"
    for name in FILES:
        seen = read_observed_spectrum(folder / name)
        wave, flux, error = expected(name)
        values = [x if x is None or seen.is_relative else x.to_value(unit) for x in (seen.flux, seen.error)]
        good = np.isfinite(flux) & (flux != 0)
        cells = [len(seen.wave), f"{np.abs(seen.wave / wave - 1).max():.0e}"]
        cells.append(f"{np.abs(values[0][good] / flux[good] - 1).max():.0e}")
        if error is not None and values[1] is not None:
            known = np.isfinite(error) & (error > 0)
            cells.append(f"{np.abs(values[1][known] / error[known] - 1).max():.0e}")
        else:
            cells.append("none in the file")
        cells += [seen.galaxy.object_id, f"{seen.galaxy.z:.5f}", "; ".join(seen.notes)]
        lines.append(_row([f"`{name}`", *cells]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, required=True, help="folder with tables and spectra")
    parser.add_argument("--page", type=Path, help="page of the documentation to renew")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # astropy's about units and headers
    parts = {"tables": shared_tables(options.cases / "tables"), "layouts": own_layouts()}
    parts["spectra"] = spectra(options.cases / "spectra")
    if options.page is None:
        print("\n\n".join("\n".join(lines) for lines in parts.values()))
        return
    page = options.page.read_text(encoding="utf8")
    for name, lines in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        text = begin + "\n" + "\n".join(lines) + "\n\n" + end
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        page, count = pattern.subn(lambda _, new=text: new, page)
        if count != 1:
            raise SystemExit(f"{options.page} has no lines {begin.strip()} and {end}")
    options.page.write_text(page, encoding="utf8")


if __name__ == "__main__":
    main()
