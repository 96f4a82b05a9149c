"""Spectra of other programs, read as ensembles: formats, other wavelengths, bad rows, hostile files."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.resample import resample
from pix2spec.errors import InputError
from pix2spec.evaluation.predictions import open as module
from pix2spec.evaluation.predictions.open import open_predictions
from pix2spec.products.catalogue import Catalogue, CatalogueWriter
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL, RELATIVE
from support.fake_sdss import write_spec
from support.paths import DOCS

GRID = SpectralGrid(3.6, 1e-3, 300)
PAGE = DOCS / "reference" / "evaluate-formats.md"


def make(object_id, n=4, seed=0, **changes):
    rng = np.random.default_rng(seed)
    values = {"candidates": 10 + rng.normal(size=(n, GRID.size)), "scores": rng.uniform(-1, 1, n)}
    values |= {"selected": np.arange(n), "select": "all", "z": 0.1}
    return Ensemble(object_id, GRID, **values | changes)


ENSEMBLES = [make("a", seed=1), make("b", seed=2), make("c", seed=3)]


def write_catalogue(path):
    with CatalogueWriter(path, GRID, {"model": "m"}) as writer:
        for ensemble in ENSEMBLES:
            writer.add(ensemble)
    return path


def write_own_fits(path):
    path.mkdir()
    for k, ensemble in enumerate(ENSEMBLES):
        ensemble.write_fits(path / f"file{k}.fits")
    return path


def rows_of(ensembles, **shared):
    for e in ensembles:
        for candidate, score in zip(e.candidates, e.scores):
            yield {"object_id": e.object_id, "flux": candidate, "score": score, "z": e.z, **shared}


def write_rows(path, rows, metadata=None, **settings):
    """Parquet with float32 lists."""
    rows = list(rows)
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        vector = name in ("flux", "candidates", "wavelength", "loglam", "scores")
        kind = pa.list_(pa.float32() if name in ("flux", "candidates") else pa.float64()) if vector else None
        columns[name] = pa.array(values, kind)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, **settings)
    return path


def write_repeated_rows(path):
    return write_rows(path, rows_of(ENSEMBLES, unit=PHYSICAL))


def write_scattered_rows(path):
    rows = list(rows_of(ENSEMBLES))
    order = [k + 4 * i for k in range(4) for i in range(3)]  # the first candidates, the second ones, ...
    return write_rows(path, [rows[i] for i in order], {"unit": PHYSICAL}, row_group_size=5)


def write_flat_rows(path):
    rows = [
        {"object_id": e.object_id, "candidates": e.candidates.ravel(), "scores": e.scores, "z": e.z}
        for e in ENSEMBLES
    ]
    return write_rows(path, rows, {"loglam": json.dumps(GRID.loglam.tolist()), "unit": "1e-17 erg/s/cm2/A"})


def write_npz(path, save=np.savez, **changes):
    arrays = {
        "object_id": [e.object_id for e in ENSEMBLES],
        "flux": np.stack([e.candidates for e in ENSEMBLES]),
        "scores": np.stack([e.scores for e in ENSEMBLES]),
        "wavelength": GRID.wave,
        "unit": PHYSICAL,
        "z": [e.z for e in ENSEMBLES],
    } | changes
    save(path, **{name: values for name, values in arrays.items() if values is not None})
    return path


def write_compressed_npz(path):
    return write_npz(path, np.savez_compressed)


FORMATS = {
    "catalogue": write_catalogue,
    "fits": write_own_fits,
    "rows.parquet": write_repeated_rows,
    "scattered.parquet": write_scattered_rows,
    "flat.parquet": write_flat_rows,
    "plain.npz": write_npz,
    "compressed.npz": write_compressed_npz,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_ensembles(tmp_path, name):
    predictions = open_predictions(FORMATS[name](tmp_path / name), GRID)
    assert predictions.ids == ["a", "b", "c"] and len(predictions) == 3
    assert predictions.grid == GRID and predictions.has_candidates and not predictions.failures
    for _ in range(2):  # a second iteration is like the first
        read = {e.object_id: e for e in predictions}
        assert not predictions.failures
        for before in ENSEMBLES:
            after = read.pop(before.object_id)
            np.testing.assert_array_equal(after.candidates, before.candidates)
            np.testing.assert_array_equal(after.scores, before.scores)
            np.testing.assert_array_equal(after.flux, before.flux)
            assert (after.unit, after.select, after.z) == (PHYSICAL, "all", 0.1)
        assert not read


def test_scattered_rows_are_gathered_in_little_memory(tmp_path, monkeypatch):
    path = write_scattered_rows(tmp_path / "s.parquet")
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 4 * 8 * GRID.size)  # one object
    predictions = open_predictions(path, GRID)
    passes = list(module._passes(predictions.ids * 4, dict.fromkeys("abc", 4), predictions._source.row_bytes))
    assert passes == [{"a"}, {"b"}, {"c"}]
    for before, after in zip(ENSEMBLES, predictions, strict=True):
        np.testing.assert_array_equal(after.candidates, before.candidates)


def test_own_files_keep_what_they_say_of_themselves(tmp_path):
    facts = {"provenance": {"normalisation": "minmax", "model": "m"}, "unit": RELATIVE, "flags": ["faint"]}
    ensemble = make("a/b", selected=[2], select="best", ra=1.0, **facts)
    ensemble.write_fits(tmp_path / "a_b.fits")
    predictions = open_predictions(tmp_path, GRID)
    (read,) = predictions
    assert predictions.ids == ["a/b"] and predictions.provenance == ensemble.provenance
    for name in ("unit", "flags", "provenance", "select", "z", "ra"):
        assert getattr(read, name) == getattr(ensemble, name)
    assert read.selected.tolist() == [2] and np.isnan(read.dec)


def test_own_files_without_candidates_give_the_chosen_spectrum(tmp_path):
    ensemble = make("a", selected=[1, 2], select="mean:2")
    ensemble.write_fits(tmp_path / "a.fits", candidates=False)
    make("b").write_fits(tmp_path / "b.fits")
    predictions = open_predictions(tmp_path, GRID)
    assert not predictions.has_candidates
    first, second = predictions
    np.testing.assert_array_equal(first.candidates[0], ensemble.flux)
    assert (len(first), first.select, len(second)) == (1, "mean:2", 1)


def test_sdss_files_are_physical_and_keep_native_pixels(tmp_path):
    write_spec(tmp_path / "spec-0266-51602-0013.fits")
    path = tmp_path / "spec-0266-51602-0013.fits"
    fits.setval(path, "BUNIT", value="1E-17 erg/cm^2/s/Ang")
    grid = SpectralGrid(3.585, 1e-4, 3586)
    (read,) = open_predictions(tmp_path, grid)
    assert (read.object_id, read.unit) == ("0266-51602-0013", PHYSICAL)
    np.testing.assert_array_equal(read.candidates[0], fits.getdata(path, 1)["flux"][50 : 50 + 3586])


def line(wave, centre=5000.0, sigma=3.0):
    return np.exp(-0.5 * ((wave - centre) / sigma) ** 2)


def centroid(flux, wave):
    good = np.isfinite(flux)
    return (flux * wave)[good].sum() / flux[good].sum()


FINE = SpectralGrid(3.65, 1e-4, 1000)  # 4467 to 5622 Angstrom
NATIVE = {
    "coarser": np.arange(4000.0, 6000, 2.1),
    "finer": np.arange(4000.0, 6000, 0.37),
    "shifted by a third": 10 ** (FINE.loglam + 1e-4 / 3),
    "irregular": 4000 + 2000 * np.linspace(0, 1, 2500) ** 1.2,
}


@pytest.mark.parametrize("wave", NATIVE.values(), ids=NATIVE)
def test_resampling_conserves_flux_centroids_and_flat_spectra(wave):
    flux = np.stack([np.ones(len(wave)), line(wave, 5000.3), line(wave, 4700.0, 8.0)])
    out = resample(flux, wave, FINE)
    flat = out[0][np.isfinite(out[0])]
    np.testing.assert_allclose(flat, 1, rtol=1e-12)
    assert len(flat) >= FINE.size - 1
    width = np.diff(10 ** (3.65 + 1e-4 * (np.arange(1001) - 0.5)))
    old = np.diff(np.concatenate([[wave[0]], (wave[1:] + wave[:-1]) / 2, [wave[-1]]]))
    for k in (1, 2):
        assert np.nansum(out[k] * width) == pytest.approx((flux[k] * old).sum(), rel=1e-9)
        shift = FINE.pixel(centroid(out[k] * width, FINE.wave)) - FINE.pixel(centroid(flux[k] * old, wave))
        assert abs(shift) < 0.1


def test_resampling_agrees_with_specutils():
    """To the difference between pixel edges in the middle of wavelengths and of their logarithms."""
    import astropy.units as u
    from specutils import Spectrum
    from specutils.manipulation import FluxConservingResampler

    wave, grid = np.arange(4480.0, 4600, 0.8), SpectralGrid(3.652, 2e-4, 40)
    flux = np.random.default_rng(0).normal(5, 1, len(wave))
    spectrum = Spectrum(flux=flux * u.Jy, spectral_axis=wave * u.AA)
    expected = FluxConservingResampler()(spectrum, grid.wave * u.AA).flux.value
    np.testing.assert_allclose(resample(flux[None], wave, grid)[0], expected, rtol=5e-5)


def test_missing_pixels_stay_missing_and_spoil_no_neighbour():
    wave, flux = np.arange(4400.0, 5700, 0.5), np.full((1, 2600), 3.0)
    flux[0, 1000:1020] = np.nan  # 4899.75 to 4909.75
    flux[0, 2000] = np.inf
    out = resample(flux, wave, FINE)[0]
    gap = np.isnan(out)
    assert FINE.wave[gap].min() > 4899 and FINE.wave[gap].max() < 4910.5 and gap.sum() in (8, 9)
    np.testing.assert_allclose(out[~gap], 3, rtol=1e-12)
    late = resample(flux, wave + 200, FINE)[0]  # begins at 4600
    assert np.isnan(late[FINE.wave < 4599]).all() and np.isfinite(late[FINE.wave > 5111]).all()


def write_image(folder, name, flux, **header):
    folder.mkdir(exist_ok=True)
    image = fits.PrimaryHDU(flux)
    image.header.update({key.replace("_dash_", "-"): value for key, value in header.items()})
    image.writeto(folder / name)
    return folder


LINEAR = {"CRVAL1": 4400.0, "CRPIX1": 1.0}
AXES = {
    "linear": (LINEAR | {"CDELT1": 0.8}, lambda k: 4400 + 0.8 * k),
    "CD matrix": (LINEAR | {"CD1_1": 0.8, "CTYPE1": "LINEAR"}, lambda k: 4400 + 0.8 * k),
    "reference pixel": (LINEAR | {"CDELT1": 0.8, "CRPIX1": 11.0}, lambda k: 4392 + 0.8 * k),
    "nanometres": (
        {"CRVAL1": 440.0, "CDELT1": 0.08, "CUNIT1": "nm", "CTYPE1": "WAVE"},
        lambda k: 4400 + 0.8 * k,
    ),
    "log10": ({"CRVAL1": 3.645, "CD1_1": 8e-5, "DC_dash_FLAG": 1}, lambda k: 10 ** (3.645 + 8e-5 * k)),
    "WAVE-LOG": (
        LINEAR | {"CDELT1": 0.8, "CTYPE1": "WAVE-LOG", "CUNIT1": "Angstrom"},
        lambda k: 4400 * np.exp(0.8 * k / 4400),
    ),
    "descending": (LINEAR | {"CRVAL1": 5680.0, "CDELT1": -0.8}, lambda k: 5680 - 0.8 * k),
}


@pytest.mark.parametrize(("header", "axis"), AXES.values(), ids=AXES)
def test_images_with_a_wavelength_axis(tmp_path, header, axis):
    wave = axis(np.arange(1600))
    spectra = np.stack([line(wave), line(wave, 5200.0)]) + 1
    write_image(tmp_path / "f", "a.fits", spectra, BUNIT="erg/s/cm2/A", **header)
    (read,) = open_predictions(tmp_path / "f", FINE)
    assert read.object_id == "a" and read.candidates.shape == (2, FINE.size) and read.unit == PHYSICAL
    order = slice(None, None, -1 if wave[0] > wave[-1] else 1)
    expected = 1e17 * resample(spectra[:, order], wave[order], FINE)
    np.testing.assert_allclose(read.candidates, expected, rtol=1e-5)
    assert np.isfinite(read.candidates).mean() > 0.99


def test_a_table_of_rows_holds_candidates(tmp_path):
    wave, flux = np.arange(4400.0, 5700, 0.9), np.random.default_rng(0).normal(5, 1, (3, 1445))
    (tmp_path / "f").mkdir()
    unit = "10**-17 erg / (s cm2 Angstrom)"
    columns = [fits.Column("WAVE", f"{len(wave)}D", "nm", array=np.tile(wave / 10, (3, 1)))]
    columns += [fits.Column("FLUX", f"{len(wave)}E", unit, array=flux)]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "f/a.fit")
    (read,) = open_predictions(tmp_path / "f", FINE)
    np.testing.assert_allclose(read.candidates, resample(flux, wave, FINE), rtol=1e-5)
    assert read.unit == PHYSICAL


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("1e-17 erg/s/cm2/A", 1),
        ("1E-17 erg/cm^2/s/Ang", 1),
        ("ERG/CM2/S/ANGSTROM", 1e17),
        ("W m-2 um-1", 1e16),
        ("Jy", 2.99792458e-5 * 1e17 / GRID.wave**2),
        ("erg / (s cm2 Hz)", 2.99792458e18 * 1e17 / GRID.wave**2),
    ],
)
def test_units_that_convert_are_physical(tmp_path, unit, factor):
    path = write_npz(tmp_path / "u.npz", unit=unit)
    for before, after in zip(ENSEMBLES, open_predictions(path, GRID), strict=True):
        assert after.unit == PHYSICAL
        np.testing.assert_allclose(after.candidates, before.candidates * factor, rtol=1e-5)


@pytest.mark.parametrize("unit", [None, "relative", "adu", "ct", "furlong", "10 A"])
def test_other_units_are_relative(tmp_path, unit):
    for after in open_predictions(write_npz(tmp_path / "u.npz", unit=unit), GRID):
        assert after.unit == RELATIVE and after.has_zero_point


def test_stated_unit_wins_over_the_option(tmp_path):
    silent, stated = write_npz(tmp_path / "a.npz", unit=None), write_npz(tmp_path / "b.npz", unit="adu")
    assert {e.unit for e in open_predictions(silent, GRID, unit=PHYSICAL)} == {PHYSICAL}
    assert {e.unit for e in open_predictions(stated, GRID, unit=PHYSICAL)} == {RELATIVE}


def test_minmax_has_no_zero_point(tmp_path):
    for after in open_predictions(write_npz(tmp_path / "u.npz", unit="minmax"), GRID):
        assert after.unit == RELATIVE and not after.has_zero_point
        np.testing.assert_array_equal(after.minmax, after.candidates)


@pytest.mark.parametrize("unit", ["mag", "mag(AB)"])
def test_magnitudes_are_not_flux(tmp_path, unit):
    predictions = open_predictions(write_npz(tmp_path / "u.npz", unit=unit), GRID)
    assert not list(predictions) and "logarithmic" in predictions.failures["a"]


def test_air_is_converted_only_where_declared(tmp_path):
    """[O III] 5006.843 in air is 5008.240 in vacuum (NIST)."""
    wave = np.arange(4400.0, 5700, 0.8)
    flux = line(wave, 5006.843)[None]
    for k, facts in enumerate([{"medium": "air"}, {"medium": "vacuum"}, {}]):
        path = tmp_path / f"{k}.npz"
        np.savez(path, object_id=["a"], flux=flux, wavelength=wave, **facts)
        (read,) = open_predictions(path, FINE)
        expected = 5008.240 if facts == {"medium": "air"} else 5006.843
        assert centroid(read.flux.astype(float), FINE.wave) == pytest.approx(expected, abs=0.05)
    for k, facts in enumerate([{"VACUUM": False}, {"AIRORVAC": "air"}, {"CTYPE1": "AWAV"}]):
        write_image(
            tmp_path / "f", f"{k}.fits", flux[0], CRVAL1=4400.0, CDELT1=0.8, CUNIT1="Angstrom", **facts
        )
    found = [centroid(read.flux.astype(float), FINE.wave) for read in open_predictions(tmp_path / "f", FINE)]
    np.testing.assert_allclose(found, 5008.240, atol=0.05)


def good_row(object_id, **changes):
    return {"object_id": object_id, "flux": make(object_id, seed=9).candidates[0]} | changes


def test_bad_rows_fail_alone(tmp_path):
    nothing, hole = np.full(GRID.size, np.nan, np.float32), make("x").candidates[0].copy()
    hole[: GRID.size // 2 + 1] = np.nan
    rows = [
        good_row("good"),
        good_row("nan", flux=nothing),
        good_row("hole", flux=hole),
        good_row("short", flux=np.ones(7)),
        good_row("none", flux=None),
        good_row(None),
        good_row("off", wavelength=np.linspace(1e4, 2e4, GRID.size)),
        good_row("back", wavelength=np.r_[GRID.wave[:-1], 4000.0]),
        good_row("infinite", wavelength=np.r_[GRID.wave[:-2], np.inf, np.inf]),
        good_row("pair"),
        good_row("pair", flux=nothing),
        good_row("some scores", score=0.5),
        good_row("some scores"),
        good_row("units", unit=PHYSICAL),
        good_row("units", unit="adu"),
        good_row("last"),
    ]
    predictions = open_predictions(write_rows(tmp_path / "r.parquet", rows, row_group_size=4), GRID)
    read = list(predictions)
    assert [e.object_id for e in read] == ["good", "last"]
    for ensemble in read:
        np.testing.assert_array_equal(ensemble.candidates[0], rows[0]["flux"])
    says = {
        "nan": "0 % of the grid",
        "hole": "50 % are needed",
        "short": "7 values, but",
        "none": "no flux",
        "row 5": "no object_id",
        "off": "from 10000 to 20000 Angstrom",
        "back": "do not increase",
        "infinite": "not finite",
        "pair": "0 % of the grid",
        "some scores": "only some",
        "units": "differ in unit",
    }
    assert set(predictions.failures) == set(says)
    for name, text in says.items():
        assert text in predictions.failures[name]
    assert set(predictions.ids) == {*says, "good", "last"}


def test_bad_fits_files_fail_alone(tmp_path):
    make("good").write_fits(tmp_path / "good.fits")
    make("twice").write_fits(tmp_path / "p.fits")
    make("twice").write_fits(tmp_path / "q.fits")
    make("cut").write_fits(tmp_path / "cut.fits")
    whole = (tmp_path / "cut.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.fits").write_bytes(b"<html>not found</html>")
    (tmp_path / "empty.fits").touch()
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    texts = fits.Column("flux", "4A", array=["abcd"] * 9)
    fits.BinTableHDU.from_columns([texts]).writeto(tmp_path / "text.fits")
    ragged = fits.Column("flux", "PE()", array=np.array([np.ones(3), np.ones(4)], object))
    fits.BinTableHDU.from_columns([ragged]).writeto(tmp_path / "ragged.fits")
    fits.PrimaryHDU(np.ones((2, 2, 300))).writeto(tmp_path / "cube.fits")
    (tmp_path / "notes.txt").write_text("not a spectrum")
    predictions = open_predictions(tmp_path, GRID)
    (read,) = predictions
    np.testing.assert_array_equal(read.candidates, make("good").candidates)
    says = {
        "twice": "p.fits and q.fits",
        "cut": "truncated",
        "page": "web page",
        "empty": "empty",
        "bare": "neither a table",
        "text": "does not hold numbers",
        "ragged": "of variable length",
        "cube": "3 axes",
    }
    assert set(predictions.failures) == set(says) and len(predictions) == 9
    for name, text in says.items():
        assert text in predictions.failures[name]


@pytest.mark.parametrize("compressed", [False, True])
def test_images_that_only_claim_to_be_huge_cost_no_memory(tmp_path, compressed):
    size = 2_000_000_000
    if compressed:
        hdu = fits.CompImageHDU(np.zeros((4, 300), np.float32))
        hdu.writeto(tmp_path / "a.fits")
        raw = (tmp_path / "a.fits").read_bytes()
        raw = raw.replace(b"ZNAXIS1 =                  300", b"ZNAXIS1 =           2000000000")
    else:
        fits.PrimaryHDU(np.zeros(300, np.float32)).writeto(tmp_path / "a.fits")
        raw = (tmp_path / "a.fits").read_bytes()
        raw = raw.replace(b"NAXIS1  =                  300", b"NAXIS1  =           2000000000")
    assert str(size).encode() in raw
    (tmp_path / "a.fits").write_bytes(raw)
    predictions = open_predictions(tmp_path, GRID)
    assert not list(predictions)
    assert ("MiB of memory" if compressed else "truncated") in predictions.failures["a"]


def npy(array, **changes):
    """Bytes of an .npy file, whose header may lie."""
    stream = io.BytesIO()
    facts = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | changes
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue() + array.tobytes()


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def test_pickles_and_lies_in_npz_are_refused(tmp_path):
    ids, flux = np.array(["a", "b"]), np.ones((2, GRID.size), np.float32)
    np.savez(tmp_path / "o.npz", object_id=ids, flux=np.array([[1, None], [2, 3]], object))
    with pytest.raises(InputError, match="'flux' holds Python objects"):
        open_predictions(tmp_path / "o.npz", GRID)
    np.savez(tmp_path / "o.npz", object_id=np.array(["a", None], object), flux=flux)
    with pytest.raises(InputError, match="'object_id' holds Python objects"):
        open_predictions(tmp_path / "o.npz", GRID)
    zipped(tmp_path / "l.npz", object_id=npy(ids), flux=npy(flux, shape=(2, 10**15)))
    with pytest.raises(InputError, match="is not the 2400 bytes"):
        open_predictions(tmp_path / "l.npz", GRID)
    zipped(tmp_path / "n.npz", object_id=npy(ids, shape=(10**15,)), flux=npy(flux))
    with pytest.raises(InputError, match="is not the 8 bytes"):
        open_predictions(tmp_path / "n.npz", GRID)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"object_id": None}, "no object_id.*predictions and truth"),
        ({"object_id": None, "objid": ["a", "b", "c"]}, "is 'objid' meant"),
        ({"object_id": [1.0, 2.0, 3.0]}, "not one text per object"),
        ({"object_id": ["a", "b"]}, "for 2 objects"),
        ({"flux": None}, "no array 'flux'"),
        ({"flux": np.ones(3)}, "shape"),
        ({"flux": np.ones((3, 0))}, "no spectra"),
        ({"flux": np.array([["a"] * 300] * 3)}, "objects, pixels"),
        ({"flux": np.ones((300, 3)).T}, "Fortran order"),
        ({"scores": np.ones((3, 9))}, "'scores' is"),
        ({"wavelength": "4000"}, "'wavelength' is"),
        ({"medium": "water"}, "'air' or 'vacuum'"),
        ({"z": np.ones(2)}, "'z' is"),
    ],
)
def test_npz_that_cannot_be_used_says_why(tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        open_predictions(write_npz(tmp_path / "x.npz", **changes), GRID)


@pytest.mark.parametrize(
    ("columns", "metadata", "says"),
    [
        ({"name": ["a"], "flux": [[1.0]]}, None, "it has name, flux.*is 'name' meant"),
        ({"object": ["a"], "flux": [[1.0]]}, None, "is 'object' meant"),
        ({"object_id": [1.5], "flux": [[1.0]]}, None, "of type double"),
        ({"object_id": ["a"], "spectrum": [[1.0]]}, None, "no column flux"),
        ({"object_id": ["a"], "flux": [1.0]}, None, "not lists of numbers"),
        ({"object_id": ["a"], "flux": [["x"]]}, None, "not lists of numbers"),
        ({"object_id": ["a"], "flux": [[[1.0]]]}, None, "not lists of numbers"),
        ({"object_id": ["a"], "flux": [[1.0]], "score": ["best"]}, None, "not numbers"),
        ({"object_id": ["a"], "flux": [[1.0]], "unit": [1]}, None, "not text"),
        ({"object_id": ["a"], "flux": [[1.0]]}, {"wavelength": "[1, [2]]"}, "not a JSON list"),
        ({"object_id": ["a"], "flux": [[1.0]]}, {"medium": "ether"}, "'air' or 'vacuum'"),
        (
            {"object_id": pa.array([], pa.string()), "flux": pa.array([], pa.list_(pa.float32()))},
            None,
            "no rows",
        ),
    ],
)
def test_parquet_that_cannot_be_used_says_why(tmp_path, columns, metadata, says):
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=says):
        open_predictions(tmp_path / "x.parquet", GRID)


def test_other_paths_are_refused_clearly(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_predictions(tmp_path / "nowhere", GRID)
    with pytest.raises(InputError, match=r"neither catalog\.parquet nor FITS"):
        open_predictions(tmp_path, GRID)
    np.save(tmp_path / "flux.npy", np.ones((2, 300)))
    with pytest.raises(InputError, match=r"\.npy.*np\.savez"):
        open_predictions(tmp_path / "flux.npy", GRID)
    (tmp_path / "x.csv").write_text("object_id,flux\na,1\n")
    with pytest.raises(InputError, match=r"\.csv is not known.*FITS spectra.*Parquet.*npz"):
        open_predictions(tmp_path / "x.csv", GRID)
    make("a").write_fits(tmp_path / "a.fits")
    with pytest.raises(InputError, match="give the folder"):
        open_predictions(tmp_path / "a.fits", GRID)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match="Parquet"):
        open_predictions(tmp_path / "bad.parquet", GRID)


def test_the_content_decides_not_the_name(tmp_path):
    write_npz(tmp_path / "x.npz").rename(tmp_path / "predictions")
    assert open_predictions(tmp_path / "predictions", GRID).ids == ["a", "b", "c"]
    assert isinstance(open_predictions(write_catalogue(tmp_path / "c") / "catalog.parquet", GRID), Catalogue)


def test_a_damaged_row_group_costs_its_own_objects(tmp_path):
    rows = [good_row(f"object-{k}") for k in range(6)]
    path = write_rows(tmp_path / "d.parquet", rows, row_group_size=2, use_dictionary=["object_id"])
    facts = pq.read_metadata(path).row_group(1)
    (flux,) = (c for c in (facts.column(j) for j in range(facts.num_columns)) if "flux" in c.path_in_schema)
    data = bytearray(path.read_bytes())
    data[flux.data_page_offset : flux.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(data)
    predictions = open_predictions(path, GRID)
    assert [e.object_id for e in predictions] == ["object-0", "object-1", "object-4", "object-5"]
    assert set(predictions.failures) == {"object-2", "object-3"}


def test_damaged_npz_data_cost_what_follows(tmp_path):
    path = write_npz(tmp_path / "d.npz", scores=None)
    data = bytearray(path.read_bytes())
    where = data.index(ENSEMBLES[1].candidates.tobytes())
    data[where] ^= 1
    path.write_bytes(data)
    predictions = open_predictions(path, GRID)
    np.testing.assert_array_equal(next(iter(predictions)).candidates, ENSEMBLES[0].candidates)
    assert len(list(predictions)) + len(predictions.failures) == 3
    assert "c" in predictions.failures  # the checksum is known at the end


floats = st.floats(width=32) | st.just(np.nan)
vectors = st.none() | st.lists(floats | st.none(), max_size=12) | st.just([1.0] * 10)
fuzzed = st.fixed_dictionaries(
    {"object_id": st.sampled_from(["a", "b", "", None, "ü"]), "flux": vectors},
    optional={
        "wavelength": vectors | st.just(np.linspace(3900, 4100, 10).tolist()),
        "candidates": vectors | st.just([2.0] * 20),
        "scores": vectors,
        "score": st.none() | st.floats(),
        "unit": st.none() | st.sampled_from(["Jy", "relative", "minmax", "mag", "??", PHYSICAL]),
        "z": st.none() | st.floats(),
    },
)
TINY = SpectralGrid(3.6, 1e-3, 10)


def check_all_accounted_for(path, raw_ids):
    try:
        predictions = open_predictions(path, TINY)
    except InputError:
        return
    done = [e.object_id for e in predictions]
    assert len(done) == len(set(done)) and not set(done) & set(predictions.failures)
    assert {*done, *predictions.failures} == set(predictions.ids)
    assert all(i in predictions.ids for i in raw_ids if i)


@given(st.lists(fuzzed, min_size=1, max_size=6), st.integers(1, 3))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_malformed_rows_only_fail(tmp_path, rows, group):
    path = write_rows(tmp_path / "f.parquet", rows, row_group_size=group)
    check_all_accounted_for(path, [row["object_id"] for row in rows])


shapes = st.sampled_from([(2, 10), (3, 10), (2, 3, 10), (2, 9), (2,), (0, 10), (2, 3, 1, 10), (10,), ()])
kinds = st.sampled_from(["f4", ">f8", "f2", "i8", "U3", "S2", "b1", "c8"])


@given(
    st.dictionaries(
        st.sampled_from(["object_id", "flux", "wavelength", "loglam", "scores", "unit", "z", "medium"]),
        st.tuples(shapes, kinds, st.sampled_from([0, 1, 4e3, 1e300])),
    ),
    st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_malformed_npz_only_fail(tmp_path, members, usual):
    usual = {"object_id": np.array(["a", "b"]), "flux": np.ones((2, 10))} if usual else {}
    with np.errstate(all="ignore"):
        arrays = {
            name: np.full(s, v).astype(k) for name, (s, k, v) in members.items() if k != "i8" or v < 1e9
        }
    np.savez(tmp_path / "f.npz", **arrays | usual)
    check_all_accounted_for(tmp_path / "f.npz", [])


def flipped(path, flips):
    data = bytearray(path.read_bytes())
    for place, value in flips:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(data)


flips = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4)


@given(flips, st.sampled_from(["f.parquet", "f.npz", "f"]))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_only_fail(tmp_path, flips, name):
    path = tmp_path / name
    ids, flux = ["a", "b"], np.ones((2, 10), np.float32)
    if name == "f.parquet":
        write_rows(path, [{"object_id": i, "flux": f} for i, f in zip(ids, flux)])
    elif name == "f.npz":
        np.savez(path, object_id=ids, flux=flux)
    else:
        path.mkdir(exist_ok=True)
        Ensemble("a", TINY, flux, [0]).write_fits(path / "a.fits")
    flipped(path / "a.fits" if path.is_dir() else path, flips)
    check_all_accounted_for(path, [])


def test_examples_of_the_documentation_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    grid = SpectralGrid(3.585, 1e-4, 3586)
    expected = [resample(f, names["wave"], grid) for f in names["flux"]]
    for path in ("mine.npz", "mine.parquet", "mine-shared.parquet", "mine-tables", "mine-images"):
        predictions = open_predictions(tmp_path / path, grid)
        read = list(predictions)
        assert [e.object_id for e in read] == predictions.ids == names["ids"] and not predictions.failures
        for k, ensemble in enumerate(read):
            np.testing.assert_allclose(ensemble.candidates, expected[k], rtol=1e-5)
            assert ensemble.unit == PHYSICAL
            if Path(path).suffix:
                np.testing.assert_allclose(ensemble.scores, names["scores"][k])
