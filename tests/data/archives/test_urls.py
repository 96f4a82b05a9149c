"""Addresses as the documentation and other programs have them, and the checksums beside them."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.data.archives import urls as services
from pix2spec.data.archives.checksums import read_sha1sums, sha1sum_files, with_checksums
from pix2spec.data.archives.download import Downloader, target_under
from pix2spec.data.archives.urls import RELEASES, Remote, Services
from pix2spec.errors import InputError
from support.misbehaving_server import answer, serving, status

REAL = Services()
SAS = "https://data.sdss.org/sas"


@pytest.mark.parametrize(
    ("release", "run2d", "plate", "mjd", "fiber", "path"),
    [
        # the first, third and fourth address are in public programs that fetch them
        (
            "dr17",
            "26",
            266,
            51602,
            1,
            "dr17/sdss/spectro/redux/26/spectra/lite/0266/spec-0266-51602-0001.fits",
        ),
        (
            "dr16",
            103,
            1960,
            53289,
            7,
            "dr16/sdss/spectro/redux/103/spectra/lite/1960/spec-1960-53289-0007.fits",
        ),
        (
            "dr17",
            "v5_13_2",
            10235,
            58127,
            6,
            "dr17/eboss/spectro/redux/v5_13_2/spectra/lite/10235/spec-10235-58127-0006.fits",
        ),
        (
            "dr18",
            "v5_13_2",
            3650,
            55244,
            1,
            "dr18/spectro/sdss/redux/v5_13_2/spectra/lite/3650/spec-3650-55244-0001.fits",
        ),
        (
            "dr18",
            "104",
            2812,
            54639,
            640,
            "dr18/spectro/sdss/redux/104/spectra/lite/2812/spec-2812-54639-0640.fits",
        ),
    ],
)
def test_spectra_are_where_the_archive_has_them(release, run2d, plate, mjd, fiber, path):
    remote = services.spec_lite(REAL, release, run2d, plate, mjd, fiber)
    assert remote.url == f"{SAS}/{path}" and remote.kind == "fits"


def test_plates_and_frames_are_where_the_archive_has_them():
    plate = services.plate_file(REAL, "dr16", "26", 266, 51602)
    assert plate.url == f"{SAS}/dr16/sdss/spectro/redux/26/0266/spPlate-0266-51602.fits"
    frame = services.frame(REAL, "dr17", 2505, 3, 38, "r")
    assert frame.url == f"{SAS}/dr17/eboss/photoObj/frames/301/2505/3/frame-r-002505-3-0038.fits.bz2"
    frame = services.frame(REAL, "dr18", 2505, 3, 38, "r")
    prior = f"{SAS}/dr18/prior-surveys/sdss4-dr17-eboss"
    assert frame.url == f"{prior}/photoObj/frames/301/2505/3/frame-r-002505-3-0038.fits.bz2"
    assert frame.kind == "bz2"


@pytest.mark.parametrize("release", RELEASES)
def test_addresses_agree_with_astroquery(release):
    from astroquery.sdss import SDSS, conf

    number, prior = RELEASES[release].number, "prior-surveys/sdss4-dr17-eboss"
    expected = SDSS.IMAGING_URL_SUFFIX.format(
        base=conf.sas_baseurl,
        dr=number,
        instrument=prior if number > 17 else "eboss",
        rerun=301,
        run=94,
        camcol=1,
        band="g",
        field=12,
    )
    assert services.frame(REAL, release, 94, 1, 12, "g").url == expected
    assert REAL.skyserver == conf.skyserver_baseurl and REAL.sas == conf.sas_baseurl


def test_cutouts_ask_for_what_is_wanted():
    jpeg = services.jpeg_cutout(REAL, "dr17", 180.5, -0.25, 64)
    assert jpeg.url == (
        "https://skyserver.sdss.org/dr17/SkyServerWS/ImgCutout/getjpeg"
        "?ra=180.5000000&dec=-0.2500000&scale=0.396&width=64&height=64"
    )
    cutout = services.fits_cutout(REAL, "ls-dr9", 0.5, 5, 64, 0.262, "grz")
    assert cutout.url == (
        "https://www.legacysurvey.org/viewer/cutout.fits"
        "?ra=0.5000000&dec=5.0000000&layer=ls-dr9&size=64&pixscale=0.262&bands=grz"
    )
    assert cutout.approx_bytes == 3 * 64 * 64 * 4 + 2 * 2880
    assert jpeg.name != services.jpeg_cutout(REAL, "dr17", 180.5, 0.25, 64).name


def test_a_mirror_replaces_every_address():
    mirror = Services.at("http://127.0.0.1:8000/x/")
    made = (
        services.spec_lite(mirror, "dr17", "26", 266, 51602, 1),
        services.plate_file(mirror, "dr17", "26", 266, 51602),
        services.frame(mirror, "dr17", 2505, 3, 38, "r"),
        services.jpeg_cutout(mirror, "dr17", 1, 2, 64),
        services.fits_cutout(mirror, "sdss", 1, 2, 64, 0.396, "gri"),
    )
    assert all(remote.url.startswith("http://127.0.0.1:8000/x/") for remote in made)
    for wrong in ("mirror.example.org", "ftp://x/y", "http://", "https://x/y?z=1", "file:///etc"):
        with pytest.raises(InputError):
            Services.at(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: services.spec_lite(REAL, "dr7", "26", 266, 51602, 1),
        lambda: services.spec_lite(REAL, "dr17", "../26", 266, 51602, 1),
        lambda: services.spec_lite(REAL, "dr17", "v6_0_4", 266, 51602, 1),
        lambda: services.spec_lite(REAL, "dr17", "26\n", 266, 51602, 1),
        lambda: services.spec_lite(REAL, "dr17", "26", "266", 51602, 1),
        lambda: services.spec_lite(REAL, "dr17", "26", 266.5, 51602, 1),
        lambda: services.spec_lite(REAL, "dr17", "26", float("nan"), 51602, 1),
        lambda: services.spec_lite(REAL, "dr17", "26", 266, 51602, 0),
        lambda: services.plate_file(REAL, "dr17", "26", -1, 51602),
        lambda: services.frame(REAL, "dr17", 2505, 7, 38, "r"),
        lambda: services.frame(REAL, "dr17", 2505, 3, 38, "y"),
        lambda: services.jpeg_cutout(REAL, "dr17", 400, 0, 64),
        lambda: services.fits_cutout(REAL, "../etc", 0, 0, 64, 0.262, "grz"),
        lambda: services.fits_cutout(REAL, "ls-dr9", 0, 0, 10_000, 0.262, "grz"),
        lambda: services.fits_cutout(REAL, "ls-dr9", 0, 0, 64, float("nan"), "grz"),
        lambda: services.fits_cutout(REAL, "ls-dr9", 0, 0, 64, 0.262, "g/r"),
    ],
)
def test_what_is_no_address_is_refused(make):
    with pytest.raises(InputError):
        make()


@given(
    st.sampled_from(sorted(RELEASES)),
    st.sampled_from(["26", "103", "104", "v5_13_0", "v5_13_2"]),
    st.integers(1, 99_999),
    st.integers(40_000, 99_999),
    st.integers(1, 1_000),
    st.floats(0, 360),
    st.floats(-90, 90),
)
def test_every_name_is_one_that_the_downloader_takes(
    tmp_path_factory, release, run2d, plate, mjd, fiber, ra, dec
):
    folder = tmp_path_factory.getbasetemp() / "names"
    for remote in (
        services.spec_lite(REAL, release, run2d, plate, mjd, fiber),
        services.plate_file(REAL, release, run2d, plate, mjd),
        services.jpeg_cutout(REAL, release, ra, dec, 64),
        services.fits_cutout(REAL, "ls-dr10", ra, dec, 64, 0.262, "griz"),
    ):
        assert target_under(folder, remote.name).name == remote.name.rsplit("/", 1)[1]
        listing = services.checksums(REAL, release, remote)
        assert (listing is None) == ("/sas/" not in remote.url)


def test_sums_are_read_as_the_program_writes_them():
    one, two = "a" * 40, "B" * 40
    text = f"{one}  spec-1.fits\n{two} *3/frame-r.fits.bz2\nno line\n{one[:39]}  x\n"
    assert read_sha1sums(text) == {"spec-1.fits": one, "frame-r.fits.bz2": two.lower()}


def test_only_plain_names_in_the_folder_itself_are_followed():
    listing = Remote("https://data.sdss.org/sas/dr17/x/", "dr17/x/listing.html", "html")
    text = (
        '<a href="../evil.sha1sum">a</a> <a href="https://evil.net/b.sha1sum">b</a> <a href="/c.sha1sum"></a>'
        '<A HREF="x.fits">f</A> <a href="spectra_0266.sha1sum">g</a> <a href="./two.sha1sum">h</a>'
    )
    found = sha1sum_files(listing, text)
    assert [one.name for one in found] == ["dr17/x/spectra_0266.sha1sum", "dr17/x/two.sha1sum"]
    assert found[0].url == "https://data.sdss.org/sas/dr17/x/spectra_0266.sha1sum"


def test_published_checksums_are_found_and_used(tmp_path):
    body = b"SIMPLE  =" + b"x" * 1000
    folder = "sas/dr17/sdss/spectro/redux/26/spectra/lite/0266/"
    first, second = f"{folder}spec-0266-51602-0001.fits", f"{folder}spec-0266-51602-0002.fits"
    run = "sas/dr17/eboss/photoObj/frames/301/94/"
    sums = f"{hashlib.sha1(body).hexdigest()}  {first[-25:]}\n{'0' * 40}  {second[-25:]}\n"
    scripts = {
        folder: [answer(b'<html><a href="lite_0266.sha1sum">lite_0266.sha1sum</a></html>')],
        f"{folder}lite_0266.sha1sum": [answer(sums.encode())],
        f"{run}": [answer(b'<!DOCTYPE html><a href="frames_94.sha1sum">.</a>')],
        f"{run}frames_94.sha1sum": [answer(f"{'1' * 40}  1/frame-r-000094-1-0012.fits.bz2\n".encode())],
        "sas/dr17/sdss/spectro/redux/26/0267/": [status(404)],
        first: [answer(body)],
        second: [answer(body)] * 2,
    }
    with (
        serving(**scripts) as server,
        Downloader(tmp_path, rate=1_000, attempts=2, backoff=0.001) as downloader,
    ):
        here = Services.at(server.url)
        remotes = [services.spec_lite(here, "dr17", "26", 266, 51602, fiber) for fiber in (1, 2)]
        remotes.append(services.frame(here, "dr17", 94, 1, 12, "r"))
        remotes.append(services.plate_file(here, "dr17", "26", 267, 51608))
        remotes.append(services.jpeg_cutout(here, "dr17", 1, 1, 64))
        found = with_checksums(downloader, here, "dr17", remotes)
        assert [one.sha1 for one in found] == [hashlib.sha1(body).hexdigest(), "0" * 40, "1" * 40, None, None]
        assert [replace(one, sha1=None) for one in found] == remotes
        asked = len(server.requests)
        assert with_checksums(downloader, here, "dr17", remotes[:3]) == found[:3]
        assert len(server.requests) == asked == 5
        good, bad = sorted(downloader.fetch(found[:2]), key=lambda got: got.remote.name)
    assert good.path.read_bytes() == body and "sha1" in bad.error
