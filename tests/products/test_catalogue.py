"""The catalogue on disk: streamed, atomic, readable by others."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pix2spec.core.filters import Filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.data.measurements import Measurements
from pix2spec.errors import InputError
from pix2spec.products import catalogue as module
from pix2spec.products.catalogue import CatalogueWriter, open_catalogue
from pix2spec.products.columns import Contents
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.synthetic import find_filters
from pix2spec.products.units import PHYSICAL, RELATIVE

GRID = SpectralGrid(size=3598)
SMALL = SpectralGrid(3.6, 1e-3, 300)


def make(object_id="a", n=5, grid=SMALL, unit=PHYSICAL, scores=True, **changes):
    rng = np.random.default_rng(len(object_id))
    scores = rng.uniform(-1, 1, n) if scores else None
    candidates = 10 + rng.normal(size=(n, grid.size))
    return Ensemble(object_id, grid, candidates, [1, 2], scores, unit, "mean:2", z=0.1, ra=1, **changes)


def write(path, ensembles, grid=SMALL, **settings):
    with CatalogueWriter(path, grid, {"model": "default", "seed": 3}, **settings) as writer:
        for ensemble in ensembles:
            writer.add(ensemble)
        writer.add_failure("broken", "broken: no image (give one)")
    return open_catalogue(path)


def test_ensembles_come_back(tmp_path):
    written = [make("a", flags=["faint", "edge"]), make("bb", n=7, scores=False), make("ccc", unit=RELATIVE)]
    catalogue = write(tmp_path, written)
    assert catalogue.ids == ["a", "bb", "ccc", "broken"] and len(catalogue) == 4
    assert catalogue.grid == SMALL and catalogue.provenance == {"model": "default", "seed": 3}
    read = list(catalogue)
    assert len(read) == 3
    for before, after in zip(written, read):
        np.testing.assert_array_equal(after.candidates, before.candidates)
        np.testing.assert_array_equal(after.selected, before.selected)
        assert (after.scores is None) == (before.scores is None)
        assert (after.unit, after.flags, after.z) == (before.unit, before.flags, before.z)
    assert catalogue.ensemble("bb").object_id == "bb"


WAVE = np.linspace(4000, 6000, 21)
CURVES = {"NB 500": Filter("NB 500", WAVE, np.exp(-0.5 * ((WAVE - 5000) / 200) ** 2))}
GIVEN = Measurements(
    ("sdss2010-r", "wise2010-W1", "NB 500"), np.array([3.0, -1, 2]), np.array([0.5, 2, 0.1]),
    ("model", "total", "unknown"), (), 0.25, CURVES,
)  # fmt: skip


def assert_same_measurements(a, b):
    assert (a.filters, a.kinds, a.extinction) == (b.filters, b.kinds, b.extinction)
    np.testing.assert_array_equal(a.flux, b.flux)
    np.testing.assert_allclose(a.error, b.error, rtol=1e-6)


def test_measurements_come_back_as_they_were_given(tmp_path):
    other = replace(GIVEN, filters=GIVEN.filters[:2], flux=GIVEN.flux[:2], error=GIVEN.error[:2])
    other = replace(other, kinds=("fibre", "aperture"), extinction="dereddened")
    written = [make("a", measurements=GIVEN), make("bb"), make("ccc", measurements=other)]
    catalogue = write(tmp_path, written, curves=CURVES)
    first, second, third = catalogue
    assert_same_measurements(first.measurements, GIVEN)
    assert_same_measurements(third.measurements, other)
    assert second.measurements is None and catalogue.curves == CURVES
    assert first.measurements.curves is catalogue.curves
    rows = catalogue.read(["filters", "photometry", "extinction"]).to_pylist()
    assert rows[0] == {"filters": list(GIVEN.filters), "photometry": [3, -1, 2], "extinction": "0.25"}
    assert rows[3] == {"filters": [], "photometry": [], "extinction": ""}  # failed


def test_a_catalogue_that_lost_its_curves_says_so(tmp_path):
    catalogue = write(tmp_path, [make("a", measurements=GIVEN)])
    with pytest.raises(InputError, match=r"a: its filter 'NB 500': .*give the curve as `filters`"):
        list(catalogue)


def test_catalogues_of_earlier_versions_have_no_measurements(tmp_path):
    """Their files lack the columns; a run that they began is continued with empty ones."""
    catalogue = write(tmp_path / "new", [make("a", measurements=GIVEN)], curves=CURVES)
    table = pq.read_table(catalogue.path).drop_columns(list(module.LATER_COLUMNS))
    old = tmp_path / "old" / "catalog.parquet"
    old.parent.mkdir()
    pq.write_table(table, old)
    (ensemble,) = open_catalogue(old)
    assert ensemble.measurements is None
    with CatalogueWriter(tmp_path / "joined", SMALL, {}) as writer:
        writer.append_file(old)
        writer.append_file(catalogue.path)
    rows = open_catalogue(tmp_path / "joined").read(["object_id", "filters", "extinction"]).to_pylist()
    assert [len(row["filters"]) for row in rows] == [0, 0, 3, 0] and rows[0]["extinction"] == ""


def test_fits_files_hold_the_measurements(tmp_path):
    from astropy.table import Table

    make("a", measurements=GIVEN).write_fits(tmp_path / "a.fits")
    table = Table.read(tmp_path / "a.fits", hdu="PHOTOMETRY")
    assert list(table["filter"]) == list(GIVEN.filters) and list(table["kind"]) == list(GIVEN.kinds)
    np.testing.assert_allclose(table["flux"].quantity.to_value("Jy"), GIVEN.flux * 3631e-9, rtol=1e-6)
    np.testing.assert_allclose(table["error"], 3.631 * GIVEN.error, rtol=1e-6)
    assert table.meta["EXTINCT"] == "0.25"


def test_failures_keep_their_error(tmp_path):
    catalogue = write(tmp_path, [make()])
    assert catalogue.failures == {"broken": "broken: no image (give one)"}
    with pytest.raises(InputError, match="no image"):
        catalogue.ensemble("broken")
    with pytest.raises(InputError, match="no such object"):
        catalogue.ensemble("elsewhere")


def test_row_groups_bound_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 40_000)
    ensembles = [make(f"object-{i}") for i in range(20)]
    catalogue = write(tmp_path, ensembles)
    assert catalogue._files[0].num_row_groups > 4
    assert [e.object_id for e in catalogue] == [e.object_id for e in ensembles]
    assert catalogue.ensemble("object-17").object_id == "object-17"


def test_a_catalogue_in_many_shards_has_few_of_them_open(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OPEN_FILES", 2)
    names = [f"object-{i}" for i in range(6)]
    for k, name in enumerate(names):
        folder = write(tmp_path / f"{k}", [make(name)]).path
        (tmp_path / "catalog").mkdir(exist_ok=True)
        folder.rename(tmp_path / "catalog" / f"part-{k:06d}.parquet")
    catalogue = open_catalogue(tmp_path)
    assert len(catalogue) == 12 and catalogue.ids[::2] == names
    assert [ensemble.object_id for ensemble in catalogue] == names
    assert catalogue.ensemble("object-4").object_id == "object-4"
    assert catalogue._files._opened.cache_info().currsize == 2


def test_without_candidates_the_chosen_flux_stays(tmp_path):
    ensemble = make()
    catalogue = write(tmp_path, [ensemble], contents=Contents(candidates=False))
    back = catalogue.ensemble("a")
    np.testing.assert_allclose(back.flux, ensemble.flux, rtol=1e-6)
    assert len(back) == 1
    assert catalogue.table["n_candidates"][0].as_py() == 5
    np.testing.assert_allclose(catalogue.table["q84"][0].as_py(), ensemble.quantiles((0.84,))[0])


def test_magnitudes_and_colours(tmp_path):
    """A spectrum flat in f_nu has AB colours of zero; ten times the flux is 2.5 magnitudes."""
    flat = 1e3 * (5000 / GRID.wave) ** 2
    candidates = flat * np.array([0.9, 1, 1.1])[:, None]
    bright = Ensemble("a", GRID, candidates, [0], unit=PHYSICAL)
    faint = Ensemble("b", GRID, candidates / 10, [0], unit=PHYSICAL)
    relative = Ensemble("c", GRID, candidates, [0], unit=RELATIVE)
    minmax = Ensemble("d", GRID, candidates, [0], unit=RELATIVE, provenance={"normalisation": "minmax"})
    table = write(tmp_path, [bright, faint, relative, minmax], GRID).table.to_pydict()
    for band in "gri":
        a, b, c = table[f"mag_{band}"][:3]
        assert b - a == pytest.approx(2.5, abs=1e-4) and np.isnan(c)
        assert table[f"mag_{band}_lo"][0] < a < table[f"mag_{band}_hi"][0]
    for colour in ("g_r", "r_i"):
        np.testing.assert_allclose(table[colour][:3], 0, atol=1e-4)
        assert np.isnan(table[colour][3:]).all()


def test_opens_in_pandas_and_astropy(tmp_path):
    import pandas as pd
    from astropy.table import Table

    catalogue = write(tmp_path, [make("a", flags=["faint"]), make("bb", n=7)])
    frame = pd.read_parquet(catalogue.path)
    assert list(frame.status) == ["ok", "ok", "failed"] and len(frame.q50[0]) == SMALL.size
    with pytest.warns(UserWarning, match="table::len"):  # astropy's remark on any text column
        table = Table.read(catalogue.path)
    assert table["flux"].shape == (3, SMALL.size) and np.isnan(table["flux"][2]).all()


def test_nothing_is_there_before_the_end_or_after_an_error(tmp_path):
    writer = CatalogueWriter(tmp_path, SMALL, {})
    writer.add(make())
    assert not (tmp_path / "catalog.parquet").exists()
    writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["catalog.parquet"]
    with pytest.raises(RuntimeError), CatalogueWriter(tmp_path / "b", SMALL, {}) as writer:
        writer.add(make())
        raise RuntimeError("killed")
    assert not list((tmp_path / "b").iterdir())


def test_results_are_not_overwritten_and_grids_not_mixed(tmp_path):
    write(tmp_path, [])
    with pytest.raises(InputError, match="exists already"):
        CatalogueWriter(tmp_path, SMALL, {})
    with CatalogueWriter(tmp_path / "b", SMALL, {}) as writer, pytest.raises(InputError, match="grid"):
        writer.add(make(grid=GRID))


def test_other_files_are_refused_clearly(tmp_path):
    with pytest.raises(InputError, match=r"no catalog\.parquet"):
        open_catalogue(tmp_path)
    (tmp_path / "catalog.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match="not a Parquet file"):
        open_catalogue(tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not a generated catalogue"):
        open_catalogue(tmp_path / "other.parquet")


def test_the_posterior_redshift_and_its_quantiles(tmp_path):
    z = np.linspace(0.1, 0.3, 25)
    own = make(n=25, redshifts=z)
    table = write(tmp_path, [own, make("bb")]).table.to_pydict()
    levels = {"z": 0.5, "z_q05": 0.05, "z_q16": 0.16, "z_q50": 0.5, "z_q84": 0.84, "z_q95": 0.95}
    for name, level in levels.items():
        assert table[name][0] == pytest.approx(np.quantile(z, level, method="weibull"), rel=1e-6)
        assert np.isnan(table[name][1:]).all()
    assert table["z_given"][:2] == [0.1, 0.1]


def test_catalogues_of_version_1_are_read_under_todays_names(tmp_path):
    """There, z was the redshift that was given, and z_model the median of the candidates."""
    catalogue = write(tmp_path / "new", [make(redshifts=np.full(5, 0.25))])
    old_names = {new: old for old, new in module.RENAMED.items()}
    keep = {f.name for f in module.core_fields(SMALL)} - set(module.LATER_COLUMNS) | set(old_names)
    rows = pq.read_table(catalogue.path).select([n for n in catalogue.schema.names if n in keep])
    rows = rows.rename_columns([old_names.get(n, n) for n in rows.column_names])
    metadata = json.loads(catalogue.schema.metadata[b"pix2spec"]) | {"catalogue_version": 1}
    old = tmp_path / "old" / "catalog.parquet"
    old.parent.mkdir()
    pq.write_table(rows.replace_schema_metadata({"pix2spec": json.dumps(metadata)}), old)
    read = open_catalogue(old)
    assert {"z", "z_given", "z_q16"} <= set(read.schema.names) and "z_model" not in read.schema.names
    assert read.read(["z", "z_given"]).to_pylist()[0] == {"z": 0.25, "z_given": 0.1}
    (own,) = read
    assert own.z == 0.1 and len(own) == 5 and read.table["z_q84"][0].as_py() == 0.25
    with CatalogueWriter(tmp_path / "joined", SMALL, {}) as writer:
        writer.append_file(old)
    assert open_catalogue(tmp_path / "joined").read(["z", "z_given"]).to_pylist()[0]["z"] == 0.25


def test_without_spectra_the_numbers_stay(tmp_path):
    catalogue = write(tmp_path, [make(redshifts=np.full(5, 0.2))], contents=Contents(spectra=False))
    assert not catalogue.has_spectra and not catalogue.has_candidates
    assert not {"flux", "q50", "candidates", "selected"} & set(catalogue.schema.names)
    row = catalogue.table.to_pylist()[0]
    assert row["z"] == pytest.approx(0.2) and len(row["redshifts"]) == 5 and row["flags"] == []
    for read in (lambda: list(catalogue), lambda: catalogue.ensemble("a")):
        with pytest.raises(InputError, match="the catalogue has no spectra"):
            read()


def test_columns_are_picked_by_pattern(tmp_path):
    contents = Contents(columns_out=("z", "ew_*_lo"))
    catalogue = write(tmp_path, [make()], contents=contents)
    names = set(catalogue.schema.names)
    assert names == {"object_id", "status", "error", "n_candidates", "flags", "z"} | {
        f"ew_{line}_lo" for line in ("oii", "hbeta", "oiii", "halpha", "nii", "sii")
    }
    assert catalogue.failures == {"broken": "broken: no image (give one)"}
    with pytest.raises(InputError, match=r"`columns_out`: no column is called 'ew_hα'"):
        CatalogueWriter(tmp_path / "b", SMALL, {}, Contents(columns_out=("ew_hα",)))


def test_photometry_as_it_was_given(tmp_path):
    """100 nanomaggies are 17.5 AB magnitudes; the model saw them without 0.2 mag of extinction."""
    filters = ("sdss2010-r", "sdss2010-r", "NB 500")
    given = Measurements(
        filters,
        np.array([100.0, 10, -1]),
        np.array([1.0, 1, 1]),
        ("model", "fibre", "unknown"),
        (),
        0.0,
        CURVES,
    )
    contents = Contents(photometry=tuple(zip(filters, given.kinds)))
    own = make(measurements=given, removed_extinction=np.array([0.2, 0.3, 0.1]))
    row = write(tmp_path, [own], contents=contents, curves=CURVES).table.to_pylist()[0]
    assert row["phot_sdss2010-r"] == pytest.approx(17.7) and row["ext_sdss2010-r"] == pytest.approx(0.2)
    assert row["phot_sdss2010-r_err"] == pytest.approx(2.5 / np.log(10) / 100)
    assert row["phot_sdss2010-r_fibre"] == pytest.approx(20.3) and np.isnan(row["phot_NB 500"])
    assert row["ext_NB 500"] == pytest.approx(0.1) and row["phot_kind"] == "model unknown"


def test_magnitudes_in_other_filters(tmp_path):
    flat = 1e3 * (5000 / GRID.wave) ** 2 * np.ones((3, 1))
    said: list[str] = []
    wanted = find_filters(["lsst2023-*"], GRID, said.append)
    assert wanted == ("lsst2023-g", "lsst2023-i", "lsst2023-r")
    assert len(said) == 1 and "in lsst2023-u, lsst2023-y, lsst2023-z: the spectra end at" in said[0]
    own = Ensemble("a", GRID, flat, [0], unit=PHYSICAL)
    row = write(tmp_path, [own], GRID, contents=Contents(synthesised=wanted)).table.to_pylist()[0]
    for name in ("mag_lsst2023-g", "mag_lsst2023-i_lo"):
        assert row[name] == pytest.approx(row["mag_r"], abs=1e-3)
    for pattern, message in (("lsst2023-u", "do not cover it"), ("lsst-*", "does not have")):
        with pytest.raises(InputError, match=message):
            find_filters([pattern], GRID)
