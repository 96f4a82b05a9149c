import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from pix2spec.apps.cli.main import app
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import LEGACY, LEGACY_NORTH, SDSS
from pix2spec.data.check import check_dataset
from pix2spec.data.dataset import Dataset
from pix2spec.data.mmu.importer import import_universe
from pix2spec.errors import InputError
from support import fake_universe as fake

CROP = slice(48, 112)  # the middle 64 of 160 pixels


def write(folder, arrays, form):
    if form == "hdf5":
        return fake.write_hdf5(folder / "healpix=583" / "001-of-001.hdf5", arrays)
    if form == "hats":
        return fake.write_hats(folder, arrays)
    return fake.write_parquet(folder / "all" / "train-00000-of-00001.parquet", arrays, form)


@pytest.mark.parametrize("form", ["hdf5", "datasets", "hats"])
def test_sdss_spectra_are_cut_out_to_the_bit(tmp_path, form):
    arrays = fake.sdss()
    report = import_universe(tmp_path / "out", [write(tmp_path / "in", arrays, form)], progress=False)
    assert (report.n_written, report.n_images, report.failures) == (6, 0, [])
    data = Dataset(tmp_path / "out")
    assert data.info.survey == SDSS and data.info.image_kind is None
    for i, galaxy in enumerate(data):
        first = 100  # the files begin at 3.58, the grid at 3.59
        np.testing.assert_array_equal(galaxy.flux, arrays["spectrum_flux"][i, first : first + 3598])
        np.testing.assert_array_equal(galaxy.ivar, arrays["spectrum_ivar"][i, first : first + 3598])
        np.testing.assert_array_equal(galaxy.mask, arrays["spectrum_mask"][i, first : first + 3598])
        assert galaxy.object_id == f"0410-51816-{i + 1:04d}"
        if np.isfinite(galaxy.z_err):
            assert galaxy.z == pytest.approx(arrays["Z"][i])
        assert np.isnan(galaxy.z) == np.isnan(galaxy.z_err) and galaxy.photometry is None
        if form == "datasets":  # it has no positions
            assert np.isnan(galaxy.ra)
        else:
            assert (galaxy.ra, galaxy.dec) == (arrays["ra"][i], arrays["dec"][i])
        if form == "hdf5":
            assert galaxy.spec_class == "GALAXY" and galaxy.group_id == arrays["BESTOBJID"][i].decode()
    # MANY_OUTLIERS is harmless where the flag is there as a whole; Parquet has only whether there is one
    assert [np.isnan(galaxy.z_err) for galaxy in data][:4] == [False, True, form != "hdf5", False]


@pytest.mark.parametrize("form", ["hdf5", "datasets", "hats"])
def test_desi_spectra_are_resampled(tmp_path, form):
    arrays = fake.desi()
    arrays["spectrum_flux"][:] = 1 + fake.DESI_WAVE / 1000
    arrays["spectrum_ivar"][0, 1000:1050] = 0
    report = import_universe(tmp_path / "out", [write(tmp_path / "in", arrays, form)], progress=False)
    assert report.failures == []
    data, grid = Dataset(tmp_path / "out"), SpectralGrid()
    assert data.info.survey == LEGACY
    width = np.diff(10 ** (3.59 + 1e-4 * (np.arange(3599) - 0.5)))
    gap, beyond = np.abs(grid.wave - 4419.6) < 19, np.abs(grid.wave - 4419.6) > 21
    for i, galaxy in enumerate(data):
        assert galaxy.object_id == str(arrays["object_id"][i])
        np.testing.assert_allclose(galaxy.flux, 1 + grid.wave / 1000, rtol=1e-4)
        assert (galaxy.ivar[beyond] > 0.5 * width[beyond] / 0.8 - 1e-5).all()
        assert (galaxy.ivar[gap] == 0).all() == (i == 0)
        assert np.isnan(galaxy.z_err) == (i == 1)
        np.testing.assert_array_equal(galaxy.photometry, [2, 2, 2])
        assert galaxy.photometry_ivar[0] == pytest.approx(1 / (0.1**2 + 0.05**2 + 0.05**2), rel=1e-5)


@pytest.mark.parametrize("spectra", ["hdf5", "hats"])
@pytest.mark.parametrize("images", ["hdf5", "hats"])
def test_images_are_matched_by_position_and_cropped(tmp_path, spectra, images):
    pictures = fake.legacy(8, offset=0.9)
    pictures["dec"][2] += 0.2 / 3600  # 1.1 arcsec: beyond
    shuffled = {name: values[::-1] for name, values in pictures.items()}
    report = import_universe(
        tmp_path / "out",
        [write(tmp_path / "spectra", fake.desi(), spectra)],
        [write(tmp_path / "images", shuffled, images)],
        progress=False,
    )
    assert (report.n_written, report.n_images, report.failures) == (6, 5, [])
    assert ("images", "3 of 8 belong to no spectrum") in report.notes
    assert "its redshift 0.08 is not used: ZWARN is 1" in [note for _, note in report.notes]
    data = Dataset(tmp_path / "out")
    assert data.info.image_shape == (3, 64, 64) and data.info.survey.pixel_scale == 0.262
    for i, galaxy in enumerate(data):
        if i == 2:
            assert galaxy.image is None
        else:
            np.testing.assert_array_equal(galaxy.image, pictures["image_array"][i][[0, 1, 3], CROP, CROP])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "import-report.csv",
        "pairs-00000.parquet",
    ]
    assert check_dataset(tmp_path / "out").ok


@pytest.mark.parametrize("form", ["datasets", "list of structs"])
def test_images_are_matched_by_id_where_they_share_it(tmp_path, form):
    pictures = fake.legacy(3)
    pictures["object_id"] = fake.desi()["object_id"][[4, 0, 2]]
    images = write(tmp_path / "images", pictures, form)
    report = import_universe(
        tmp_path / "out", [write(tmp_path / "s", fake.desi(), "hdf5")], [images], progress=False
    )
    assert report.n_images == 3 and not report.failures
    found = [galaxy.image for galaxy in Dataset(tmp_path / "out")]
    for spectrum, image in ((4, 0), (0, 1), (2, 2)):
        expected = pictures["image_array"][image][[0, 1, 3], CROP, CROP]
        np.testing.assert_array_equal(found[spectrum], expected)


def test_nothing_in_common_is_an_error_before_anything_is_written(tmp_path):
    spectra = write(tmp_path / "s", fake.sdss(), "hdf5")
    images = write(tmp_path / "i", fake.legacy(3), "datasets")
    with pytest.raises(InputError, match=r"no object id.*positions.*HATS or HDF5"):
        import_universe(tmp_path / "out", [spectra], [images], progress=False)
    assert not list((tmp_path / "out").glob("*.parquet")) and not list((tmp_path / "out").glob("*.partial"))


def test_surveys_with_sdss_spectra_keep_sdss_fibres(tmp_path):
    spectra = write(tmp_path / "s", fake.sdss(), "hdf5")
    images = write(tmp_path / "i", fake.legacy(6), "hdf5")
    import_universe(tmp_path / "out", [spectra], [images], progress=False)
    survey = Dataset(tmp_path / "out").info.survey
    assert (survey.name, survey.fibre_diameter) == ("legacy", 3.0)
    import_universe(tmp_path / "north", [spectra], [images], survey=LEGACY_NORTH, progress=False)
    assert Dataset(tmp_path / "north").info.survey.filters == LEGACY_NORTH.filters


def test_margins_and_indices_of_a_collection_are_not_read(tmp_path):
    arrays = fake.sdss()
    fake.write_hats(tmp_path / "mmu" / "mmu_sdss_sdss", arrays)
    fake.write_hats(tmp_path / "mmu" / "mmu_sdss_sdss_10arcs", arrays, "margin")
    fake.write_hats(tmp_path / "mmu" / "id_index", arrays, "index")
    (tmp_path / "mmu" / "collection.properties").write_text("hats_primary_table_url=mmu_sdss_sdss\n")
    report = import_universe(tmp_path / "out", [tmp_path / "mmu"], progress=False)
    assert (report.n_written, report.failures) == (6, [])


def test_repeats_share_a_group_and_limit_counts_spectra(tmp_path):
    arrays = fake.sdss()
    arrays["dec"][3] = arrays["dec"][0] + 1.5 / 3600
    del arrays["BESTOBJID"]
    path = write(tmp_path / "s", arrays, "hdf5")
    import_universe(tmp_path / "out", [path], progress=False)
    groups = [galaxy.group_id for galaxy in Dataset(tmp_path / "out")]
    assert groups[3] == groups[0] and len(set(groups)) == 5
    assert import_universe(tmp_path / "two", [path, path], limit=2, progress=False).n_written == 2


def test_bad_rows_cost_no_other(tmp_path):
    spectra, pictures = fake.sdss(9), fake.legacy(9)
    spectra["spectrum_ivar"][0] = 0
    spectra["spectrum_lambda"][1, 3000:] = -1  # too short
    spectra["spectrum_lambda"][2, 50] = np.nan
    spectra["object_id"][4] = spectra["object_id"][3]
    pictures["image_array"][5, 0] = np.nan
    pictures["image_scale"][6] = 0.5
    pictures["image_band"][7] = b"hsc-y"
    report = import_universe(
        tmp_path / "out",
        [write(tmp_path / "s", spectra, "hdf5")],
        [write(tmp_path / "i", pictures, "hdf5")],
        progress=False,
    )
    assert (report.n_written, report.n_images) == (5, 2)
    with open(tmp_path / "out" / "import-report.csv", newline="") as stream:
        rows = {row["source"].rpartition("/")[2]: row["reason"] for row in csv.DictReader(stream)}
    says = [
        ("001-of-001.hdf5[0]", "no valid pixel"),
        ("001-of-001.hdf5[1]", "range is too short"),
        ("001-of-001.hdf5[4]", "duplicate of object id 0410-51816-0004"),
        ("001-of-001.hdf5[5]", "NaN"),
        ("001-of-001.hdf5[6]", "pixel scale is 0.5"),
        ("001-of-001.hdf5[7]", "g, r, z missing, only hsc-y"),
    ]
    for source, reason in says:
        assert reason in rows[source]
    assert len(report.failures) == 7


def test_nulls_of_parquet_cost_their_row_alone(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write(tmp_path / "s", fake.sdss(), "hats") / "dataset/Norder=4/Dir=0/Npix=583.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["spectrum"] = None
    rows[1]["spectrum"]["flux"] = None
    rows[2] |= {"object_id": None, "ra": None, "Z": None}
    rows[2]["spectrum"]["ivar"][200] = None
    rows[2]["spectrum"]["mask"][200] = None
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    report = import_universe(tmp_path / "out", [path], progress=False)
    assert (
        report.n_written == 1
        and [why for _, why in report.failures] == ["its flux, ivar or lambda is missing"] * 2
    )
    galaxy = Dataset(tmp_path / "out")[0]
    assert np.isnan(galaxy.z) and np.isnan(galaxy.ra) and (galaxy.ivar[100], galaxy.mask[100]) == (0, 1)
    assert "Npix=583.parquet[2]" in galaxy.object_id


def test_files_that_are_something_else(tmp_path):
    good = write(tmp_path / "s", fake.sdss(), "hdf5")
    page = tmp_path / "s" / "page.parquet"
    page.write_text("<!DOCTYPE html>")
    cut = tmp_path / "s" / "cut.parquet"
    cut.write_bytes(b"PAR1" + bytes(100))
    images = write(tmp_path / "s", fake.legacy(1), "datasets")
    half = tmp_path / "s" / "half.hdf5"
    half.write_bytes(good.read_bytes()[:5000])
    report = import_universe(tmp_path / "out", [tmp_path / "s"], progress=False)
    assert report.n_written == 6
    says = {source.rpartition("/")[2]: why for source, why in report.failures}
    assert "html file, not Parquet" in says["page.parquet"] and "cannot be read" in says["cut.parquet"]
    assert "no spectrum.flux" in says[images.name] and "half.hdf5" in says
    for paths, what in (([tmp_path / "no"], "no such"), ([tmp_path / "out" / "x"], "no such")):
        with pytest.raises(InputError, match=what):
            import_universe(tmp_path / "out2", paths, progress=False)
    with pytest.raises(InputError, match="already holds"):
        import_universe(tmp_path / "out", [good], progress=False)


def test_command(tmp_path):
    spectra, pictures = fake.sdss(), fake.legacy(4)
    spectra["spectrum_ivar"][5] = 0
    path = write(tmp_path / "s", spectra, "hdf5")
    images = write(tmp_path / "i", pictures, "hats")
    command = ["data", "universe", str(tmp_path / "out"), str(path), "--images", str(images)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 3, result.output
    assert "5 pairs written (5 with a spectrum, 4 with an image" in result.output
    result = CliRunner().invoke(app, [*command[:2], str(tmp_path / "few"), str(path), "--limit", "3"])
    assert result.exit_code == 0 and "3 pairs written" in result.output
