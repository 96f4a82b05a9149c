import csv
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from pix2spec.data.crossmatch import group_ids
from pix2spec.data.dataset import Dataset, split_of
from pix2spec.data.import_files import import_data
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from support.fake_sdss import (
    BESTOBJID,
    cutout,
    wcs_header,
    write_bundle,
    write_cube,
    write_picture,
    write_spec,
)
from support.paths import SHARED

HEADER = "plate,mjd,fiberid,ra,dec,u,g,r,i,z\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PIX2SPEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def spec(tmp_path):
    """Folder of three spectra of different objects."""
    folder = tmp_path / "spec" / "0266"
    folder.mkdir(parents=True)
    for fiber in (1, 2, 3):
        write_spec(
            folder / f"spec-0266-51602-{fiber:04d}.fits",
            fiber=fiber,
            ra=150 + fiber,
            bestobjid=str(int(BESTOBJID) + fiber),
            seed=fiber,
        )
    return tmp_path / "spec"


def read_report(report):
    with open(report.path, newline="") as stream:
        return list(csv.reader(stream))


def reasons(report):
    return "\n".join(f"{source}: {reason}" for source, reason in report.failures)


def galaxies_of(out):
    return {galaxy.object_id: galaxy for galaxy in Dataset(out)}


def test_folder_of_spectra(tmp_path, spec):
    report = import_data(tmp_path / "out", [spec])
    assert (report.n_written, report.n_spectra, report.n_images, report.failures) == (3, 3, 0, [])
    galaxies = galaxies_of(tmp_path / "out")
    assert sorted(galaxies) == [f"0266-51602-000{i}" for i in (1, 2, 3)]
    assert galaxies["0266-51602-0002"].flux.shape == (3598,)
    info = Dataset(tmp_path / "out").info
    assert info.image_kind is None
    assert info.provenance["spectra"] == [str(spec)] and "5%" in info.provenance["photometry_errors"]
    assert info.provenance["version"] and info.provenance["command"]
    assert read_report(report)[0] == ["source", "reason"]  # written, also when all went well
    assert read_report(report)[-1][0] == "(summary)"


def test_one_bad_file_costs_no_other(tmp_path, spec):
    (spec / "spec-page.fits").write_bytes(b"<html>404</html>")
    (spec / "spec-empty.fits").write_bytes(b"")
    fits.PrimaryHDU(np.ones(10)).writeto(spec / "other.fits")
    whole = (spec / "0266" / "spec-0266-51602-0001.fits").read_bytes()
    (spec / "spec-half.fits").write_bytes(whole[: len(whole) // 2])
    report = import_data(tmp_path / "out", [spec])
    assert report.n_written == 3
    rows = read_report(report)[1:-1]
    assert [tuple(row) for row in rows] == report.failures and len(rows) == 4
    for name, says in (
        ("page", "web page"),
        ("empty", "empty"),
        ("half", "truncated"),
        ("other", "states no wavelengths"),
    ):
        assert any(name in source and says in reason for source, reason in rows)


def test_spectrum_whose_data_are_bad_but_header_good(tmp_path, spec):
    write_spec(spec / "spec-zero.fits", fiber=9, columns={"ivar": np.zeros(3850, np.float32)})
    report = import_data(tmp_path / "out", [spec])
    assert report.n_written == 3 and "spec-zero.fits: ivar: no valid pixel" in reasons(report)


def test_duplicates(tmp_path, spec):
    write_spec(spec / "zz-copy.fits", fiber=2)
    report = import_data(tmp_path / "out", [spec, spec, spec / "0266" / "spec-0266-51602-0001.fits"])
    assert report.n_written == 3  # the same file named twice is one
    ((source, reason),) = report.failures
    assert "zz-copy" in source and "duplicate of object id 0266-51602-0002" in reason


def test_bundle_with_one_bad_spectrum(tmp_path):
    ivar = np.ones((4, 3598), np.float32)
    ivar[2] = 0
    report = import_data(tmp_path / "out", [write_bundle(tmp_path / "b.npz", ivar=ivar)])
    assert report.n_written == 3 and "b.npz[2]: ivar: no valid pixel" in reasons(report)


def test_bad_bundle_beside_good_files(tmp_path, spec):
    report = import_data(tmp_path / "out", [write_bundle(tmp_path / "b.npz", flux=None), spec])
    assert report.n_written == 3 and "no array 'flux'" in reasons(report)


def test_repeats_share_a_group_by_id_or_position(tmp_path):
    folder = tmp_path / "spec"
    folder.mkdir()
    arcsec = 1 / 3600
    write_spec(folder / "a.fits", fiber=1, ra=150.0, dec=0.0, bestobjid="111")
    write_spec(folder / "b.fits", fiber=2, ra=150.0 + 1.5 * arcsec, dec=0.0, bestobjid="")
    write_spec(folder / "c.fits", fiber=3, ra=150.0 + 3 * arcsec, dec=0.0, bestobjid="0")
    write_spec(folder / "d.fits", fiber=4, ra=10.0, dec=0.0, bestobjid="111")
    write_spec(folder / "e.fits", fiber=5, ra=150.0, dec=5 * arcsec, bestobjid="")
    import_data(tmp_path / "out", [folder])
    groups = {name[-1]: galaxy.group_id for name, galaxy in galaxies_of(tmp_path / "out").items()}
    assert groups == {"1": "111", "2": "111", "3": "111", "4": "111", "5": "0266-51602-0005"}


def test_groups_of_few_or_unplaced_pairs():
    assert group_ids([]) == []
    assert group_ids([Galaxy("a")]) == ["a"]
    assert group_ids([Galaxy("a"), Galaxy("b", ra=1, dec=1), Galaxy("c", "9")]) == ["a", "b", "9"]
    # across ra = 0
    assert group_ids([Galaxy("a", ra=359.9999, dec=0), Galaxy("b", ra=0.0001, dec=0)]) == ["a", "a"]


def test_linear_cutouts_by_name(tmp_path, spec):
    images = tmp_path / "images"
    images.mkdir()
    write_cube(images / "0266-51602-0001.fits", ra=151, seed=1)
    for k, band in enumerate("gri"):
        fits.PrimaryHDU(cutout(seed=2)[k], wcs_header()).writeto(images / f"0266-51602-0002-{band}.fits")
    write_cube(images / "0266-51602-0003.fits", scale=0.2)
    write_cube(images / "0266-51602-0099.fits")
    report = import_data(tmp_path / "out", [spec], images)
    assert (report.n_written, report.n_images) == (3, 2)
    galaxies = galaxies_of(tmp_path / "out")
    np.testing.assert_array_equal(galaxies["0266-51602-0001"].image, cutout(seed=1))
    np.testing.assert_array_equal(galaxies["0266-51602-0002"].image, cutout(seed=2))
    assert galaxies["0266-51602-0003"].image is None and galaxies["0266-51602-0003"].flux is not None
    assert "64 x 64 pixels of 0.2 arcsec" in reasons(report) and "no spectrum has the object id" in reasons(
        report
    )
    assert Dataset(tmp_path / "out").info.image_kind == "linear"
    report = import_data(tmp_path / "out2", [spec], images, any_pixel_scale=True)
    assert report.n_images == 3


def test_two_kinds_of_image_do_not_mix(tmp_path, spec):
    images = tmp_path / "images"
    images.mkdir()
    write_picture(images / "0266-51602-0001.jpg")
    write_picture(images / "0266-51602-0002.png")
    write_cube(images / "0266-51602-0003.fits")
    report = import_data(tmp_path / "out", [spec], images)
    assert report.n_images == 2 and Dataset(tmp_path / "out").info.image_kind == "composite"
    assert "0003.fits: it is a linear image, but most images are composite" in reasons(report)


def image_bundle(path, fibers, **arrays):
    n = len(fibers)
    rgb = np.random.default_rng(1).integers(0, 255, (n, 3, 64, 64), dtype=np.uint8)
    keys = {"plate": np.full(n, 266), "mjd": np.full(n, 51602), "fiber": np.array(fibers)}
    np.savez(path, image64=rgb, **keys, **arrays)
    return path, rgb


def test_image_bundle_joins_by_id_and_position(tmp_path, spec):
    arrays = {"ra": np.array([151.0, 153.0001]), "dec": np.array([-0.6704, -0.6704])}
    path, rgb = image_bundle(tmp_path / "i.npz", [1, 77], **arrays)
    report = import_data(tmp_path / "out", [spec], path)
    galaxies = galaxies_of(tmp_path / "out")
    assert report.n_images == 2
    np.testing.assert_array_equal(galaxies["0266-51602-0001"].image, rgb[0, ::-1])
    np.testing.assert_array_equal(galaxies["0266-51602-0003"].image, rgb[1, ::-1])  # 0.4 arcsec away


def test_catalogue_joins_by_id_and_position(tmp_path, spec):
    table = tmp_path / "t.csv"
    table.write_text(
        HEADER
        + "266,51602,1,0,0,20,20,20,20,20\n"
        + "0,0,0,152.0001,-0.6704,21,21,21,21,21\n"
        + "266,51602,3,0,0,-9999,-9999,-9999,-9999,-9999\n"
    )
    report = import_data(tmp_path / "out", [spec], tables=[table])
    galaxies = galaxies_of(tmp_path / "out")
    assert galaxies["0266-51602-0001"].photometry[0] == pytest.approx(10)
    assert galaxies["0266-51602-0002"].photometry[0] == pytest.approx(10**0.6)
    assert galaxies["0266-51602-0003"].photometry[0] == pytest.approx(4.4)  # its own CALIBFLUX
    assert "t.csv, row 3: no usable flux" in reasons(report)


def test_images_without_spectra(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    write_cube(images / "galaxy-a.fits", ra=10.0)
    write_cube(images / "galaxy-b.fits", ra=20.0)
    write_cube(images / "small.fits", size=20)
    table = tmp_path / "t.csv"
    table.write_text("ra,dec,u,g,r,i,z,redshift\n10.0,-0.6704,20,20,20,20,20,0.3\n")
    report = import_data(tmp_path / "out", [], images, [table])
    assert (report.n_written, report.n_spectra, report.n_images, report.n_photometry) == (2, 0, 2, 1)
    galaxies = galaxies_of(tmp_path / "out")
    assert galaxies["galaxy-a"].z == pytest.approx(0.3) and galaxies["galaxy-a"].ra == pytest.approx(10)
    assert galaxies["galaxy-b"].flux is None and galaxies["galaxy-b"].photometry is None
    assert len(report.failures) == 1 and "small.fits" in reasons(report)


def test_catalogue_alone(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(HEADER + "266,51602,1,1,1,20,20,20,20,20\n266,51602,2,2,2,20,20,20,20,20\n")
    report = import_data(tmp_path / "out", [], tables=[table])
    assert report.n_written == 2 and galaxies_of(tmp_path / "out")["0266-51602-0001"].image is None


def test_what_cannot_begin_writes_nothing(tmp_path, spec):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    faults = [
        (([],), {}, "nothing to import"),
        (([tmp_path / "none.fits"],), {}, "no such file or folder"),
        (([spec], tmp_path / "none"), {}, "no such file or folder"),
        (([spec], tmp_path / "empty"), {}, "holds no images"),
        (([spec],), {"tables": [tmp_path / "t.csv"]}, "no column"),
    ]
    for arguments, options, says in faults:
        with pytest.raises(InputError, match=says):
            import_data(out, *arguments, **options)
        assert not out.exists()
    import_data(out, [spec])
    with pytest.raises(InputError, match="already holds a dataset"):
        import_data(out, [spec])


def test_nothing_usable_is_reported(tmp_path):
    folder = tmp_path / "spec"
    folder.mkdir()
    (folder / "a.fits").write_bytes(b"no")
    report = import_data(tmp_path / "out", [folder])
    assert report.n_written == 0 and len(report.failures) == 1 and report.path.exists()
    (tmp_path / "none").mkdir()
    report = import_data(tmp_path / "out", [tmp_path / "none"])
    assert "holds no FITS files" in reasons(report)


def test_full_disk_still_leaves_a_report(tmp_path, spec, monkeypatch):
    from pix2spec.data import dataset

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset.pq, "write_table", full)
    with pytest.raises(OSError, match=r"No space left.*pairs-00000\.parquet"):
        import_data(tmp_path / "out", [spec])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["import-report.csv"]


def test_silent_when_not_on_a_terminal(tmp_path, spec):
    call = f"import_data({str(tmp_path / 'out')!r}, [{str(spec)!r}])"
    code = f"from pix2spec.data.import_files import import_data; {call}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_progress_on_a_terminal(tmp_path, spec, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert import_data(tmp_path / "out", [spec]).n_written == 3
    assert import_data(tmp_path / "out2", [spec], progress=False).n_written == 3
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real SDSS data in {SHARED} (set PIX2SPEC_SHARED)")
def test_real_data(tmp_path):
    sources = [SHARED / "sdss_galaxies.npz", SHARED / "spec"]
    report = import_data(tmp_path / "out", sources, SHARED / "sdss_pairs.npz")
    assert (report.n_written, report.n_images) == (1062, 38)
    bundle = np.load(SHARED / "sdss_galaxies.npz")
    names = [f"{p:04d}-{m}-{f:04d}" for p, m, f in zip(bundle["plate"], bundle["mjd"], bundle["fiber"])]
    groups = {galaxy.object_id: galaxy.group_id for galaxy in Dataset(tmp_path / "out")}
    sides = {}
    for name, group in zip(names, bundle["object_group"]):
        assert sides.setdefault(group, groups[name]) == groups[name]
        assert split_of(groups[name]) in ("train", "val", "test")
    assert len(set(sides.values())) == len(sides)


def test_redshifts_and_positions_of_spectra_come_from_a_table_without_photometry(tmp_path):
    wave = np.arange(3800.0, 9300.0, 2.0)
    folder = tmp_path / "spectra"
    folder.mkdir()
    for name in ("a", "b", "c"):
        np.savetxt(folder / f"{name}.txt", np.transpose([wave, 9 + np.sin(wave / 50), np.ones(len(wave))]))
    (tmp_path / "t.csv").write_text(
        "filename,ra,dec,z\na.txt,150,2,0.1\nspectra/b.txt,151,2,0.2\nother.txt,152,2,0.3\n"
    )
    report = import_data(tmp_path / "out", [folder], tables=[tmp_path / "t.csv"], progress=False)
    galaxies = {galaxy.object_id: galaxy for galaxy in Dataset(tmp_path / "out")}
    assert report.n_written == 3 and report.failures == []
    found = {name: (galaxy.z, galaxy.ra) for name, galaxy in galaxies.items()}
    np.testing.assert_equal(found, {"a": (0.1, 150.0), "b": (0.2, 151.0), "c": (np.nan, np.nan)})
    assert all(galaxy.photometry is None for galaxy in galaxies.values())
    with pytest.raises(InputError):  # without spectra, rows are objects and need photometry
        import_data(tmp_path / "alone", [], tables=[tmp_path / "t.csv"], progress=False)


def test_rows_without_a_flux_still_give_redshifts_to_spectra(tmp_path):
    wave = np.arange(3800.0, 9300.0, 2.0)
    for name in ("a", "b"):
        np.savetxt(tmp_path / f"{name}.txt", np.transpose([wave, 9 + np.sin(wave / 50), np.ones(len(wave))]))
    (tmp_path / "t.csv").write_text(
        "id,filename,z,fiberMag_g,fiberMag_r\n7,a.txt,0.1,18,17.5\n8,b.txt,0.2,-99,-99\n9,,,-99,-99\n"
    )
    spectra = [tmp_path / "a.txt", tmp_path / "b.txt"]
    report = import_data(tmp_path / "out", spectra, tables=[tmp_path / "t.csv"], progress=False)
    galaxies = {galaxy.object_id: galaxy for galaxy in Dataset(tmp_path / "out")}
    assert {name: galaxy.z for name, galaxy in galaxies.items()} == {"a": 0.1, "b": 0.2}
    assert galaxies["a"].photometry is not None and galaxies["b"].photometry is None
    assert [where.rpartition(", ")[2] for where, _ in report.failures] == ["row 2", "row 3"]
    notes = [note for _, note in report.notes]
    assert "filename → name of the spectrum's file" in notes
