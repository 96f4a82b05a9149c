"""The loopback server against the real files' layouts, the simulated survey behind it, and its own faults."""

import bz2
import hashlib
import json
import re
import signal
import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from conftest import SHARED
from pix2spec.core.scaling import lupton_rgb
from pix2spec.data.archives import urls as sdss
from pix2spec.data.archives.sdss.select_sql import select_by_sql
from pix2spec.data.readers.images import read_cutout
from pix2spec.data.readers.spectra import read_spectrum
from pix2spec.data.readers.tables import assumed_ivar
from pix2spec.data.simulate.noise import SKY_NOISE
from pix2spec.errors import InputError
from support.loopback import frames, sdss_files
from support.loopback.server import serve
from support.loopback.sky import Sky, simulated_block
from support.loopback.targets import KINDS

REAL = sorted((SHARED / "spec").glob("spec-*.fits"))
SKY_R = SKY_NOISE[2]  # nanomaggies per pixel


@pytest.fixture(scope="module")
def sky():
    """Plates of both layouts: SDSS, BOSS, SDSS."""
    return Sky(objects=100, seed=1, fibres=40, per_frame=10, distinct=128, run2ds=("26", "v5_13_2", "103"))


@pytest.fixture(scope="module")
def server(sky):
    with serve(sky) as running:
        yield running


def services(server):
    return sdss.Services.at(server.url)


def get(remote, **options):
    answer = httpx.get(remote.url, timeout=60, **options)
    answer.raise_for_status()
    return answer.content


def lite(server, target):
    plate = target.plate
    return sdss.spec_lite(services(server), "dr17", plate.run2d, plate.plate, plate.mjd, target.fiber)


def some_of_each_plate(sky, kind="galaxy"):
    for plate in sky.plates:
        found = [t for t in sky.targets(plate) if t.kind == kind]
        yield from found[:1] + found[1:][-1:]


# -- the sky -----------------------------------------------------------------------------------------------


def test_a_large_sky_costs_nothing_until_it_is_asked():
    before = simulated_block.cache_info()
    sky = Sky(20_000, seed=3)
    assert simulated_block.cache_info() == before and sky._targets.cache_info().misses == 0
    assert sum(plate.fibres for plate in sky.plates) > 20_000


def test_a_sky_is_a_function_of_its_seed(sky):
    again = Sky(objects=100, seed=1, fibres=40, per_frame=10, distinct=128, run2ds=("26", "v5_13_2", "103"))
    assert list(again.all_targets()) == list(sky.all_targets())
    target = next(again.selected())
    assert sdss_files.spec_lite(again, target) == sdss_files.spec_lite(sky, target)
    other = Sky(objects=100, seed=2, fibres=40, per_frame=10, distinct=128)
    assert next(iter(other.all_targets())) != target


def test_every_kind_of_trouble_is_there():
    sky = Sky(objects=600, seed=1)
    targets = list(sky.all_targets())
    assert sum(t.kind == "galaxy" for t in targets) == 600
    kinds = {kind: sum(t.kind == kind for t in targets) for kind in KINDS}
    assert min(kinds.values()) > 5
    plates = [plate for plate in sky.plates if any(t.near_edge for t in sky.targets(plate))]
    assert len(plates) == len(sky.plates)
    frames_of = {(t.plate.run, t.camcol, t.field) for t in targets}
    assert len(frames_of) < len(targets) / 10
    assert len({t.object_id for t in targets}) == len({t.specobjid for t in targets}) == len(targets)
    assert max(plate.fibres for plate in sky.plates) <= 1000


def test_copies_of_a_galaxy_differ_in_brightness():
    sky = Sky(objects=200, seed=1, fibres=256, distinct=128)
    targets = sky.targets(sky.plates[0])
    first = next(t for t in targets[:128] if t.kind == "galaxy" and targets[t.number + 128].kind == "galaxy")
    one, two = sky.expected_galaxy(first), sky.expected_galaxy(targets[first.number + 128])
    for name in ("image", "photometry", "flux"):
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name) * np.float32(1.01))
    assert one.z == two.z and one.object_id != two.object_id


# -- spectra -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(sky):
    """HDUs of one file of each layout, by the name of the catalogue's row."""
    files = {}
    for boss in (False, True):
        target = next(t for t in sky.selected() if t.plate.boss == boss)
        hdus = fits.open(BytesIO(sdss_files.spec_lite(sky, target)))
        hdus.verify("exception")
        files[hdus[2].name] = hdus
    return files


@pytest.mark.skipif(not REAL, reason=f"real SDSS files are not here ({SHARED / 'spec'})")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_spec_lite_has_the_layout_of_the_real_files(ours, path):
    with fits.open(path) as real:
        mine = ours[real[2].name]
        assert [hdu.name for hdu in mine] == [hdu.name for hdu in real[:4]]
        for our, their in zip(mine[1:], real[1:4]):
            for facts in ("names", "formats", "units", "dims", "disps"):
                assert getattr(our.columns, facts) == getattr(their.columns, facts)
            assert our.data.dtype == their.data.dtype
            assert table_cards(our) == table_cards(their)


def table_cards(hdu):
    """Keywords and comments; only some files say that the column SPECOBJID of SPALL is unsigned."""
    return [(c.keyword, c.comment) for c in hdu.header.cards if c.keyword not in ("TSCAL98", "TZERO98")]


@pytest.mark.skipif(not REAL, reason=f"real SDSS files are not here ({SHARED / 'spec'})")
@pytest.mark.parametrize(
    "row, name", [("SPECOBJ", "spec-0266-51602-0013"), ("SPALL", "spec-4055-55359-0001")]
)
def test_primary_header_is_card_by_card_that_of_a_real_file(ours, row, name):
    with fits.open(SHARED / "spec" / f"{name}.fits") as real:
        for mine, theirs in zip(ours[row][0].header.cards, real[0].header.cards, strict=True):
            assert (mine.keyword, mine.comment) == (theirs.keyword, theirs.comment)
            assert isinstance(mine.value, type(theirs.value)) or isinstance(theirs.value, int | float)
        for key in ("BUNIT", "VACUUM", "COEFF1", "WFITTYPE", "TELESCOP"):
            assert ours[row][0].header[key] == real[0].header[key]


@pytest.mark.skipif(not REAL, reason=f"real SDSS files are not here ({SHARED / 'spec'})")
@pytest.mark.parametrize("row", ["SPECOBJ", "SPALL"])
def test_primary_header_has_what_all_real_ones_have(ours, row):
    headers = []
    for path in REAL:
        with fits.open(path) as hdus:
            if hdus[2].name == row:
                headers.append(set(hdus[0].header))
    assert set.intersection(*headers) <= set(ours[row][0].header) <= set.union(*headers)


def test_spectra_come_back_bit_for_bit(sky, server, tmp_path):
    for target in some_of_each_plate(sky):
        path = tmp_path / Path(lite(server, target).name).name
        path.write_bytes(get(lite(server, target)))
        got, want = read_spectrum(path), sky.expected_galaxy(target)
        for name in ("flux", "ivar", "mask", "photometry"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name), strict=True)
        for name in ("object_id", "group_id", "ra", "dec", "z", "z_err", "spec_class"):
            assert getattr(got, name) == getattr(want, name)
        # the reader adds the survey's calibration error to the catalogue's
        ivar = assumed_ivar(want.photometry, want.photometry_ivar)
        np.testing.assert_allclose(got.photometry_ivar, ivar, rtol=1e-6)


def test_a_short_spectrum_is_refused_by_the_reader(server, tmp_path):
    sky = Sky(objects=200, seed=1, fibres=200, distinct=128)
    target = next(t for t in sky.all_targets() if t.kind == "short")
    path = tmp_path / "spec.fits"
    path.write_bytes(sdss_files.spec_lite(sky, target))
    with pytest.raises(InputError, match="too short"):
        read_spectrum(path)


def test_files_that_do_not_exist_are_404(server, sky):
    target = next(sky.selected())
    url = lite(server, target).url
    for wrong in (
        url.replace("/26/", "/103/"),
        url[:-6] + "9.fits.gz",
        f"{server.url}/sas/dr17/nothing.fits",
    ):
        assert httpx.get(wrong).status_code == 404


def test_a_plate_file_has_the_spectra_of_the_single_files(sky, server):
    for plate in sky.plates[:2]:
        remote = sdss.plate_file(services(server), "dr17", plate.run2d, plate.plate, plate.mjd)
        with fits.open(BytesIO(get(remote))) as hdus:
            hdus.verify("exception")
            assert [hdu.is_image for hdu in hdus] == [True] * 5 + [False, True]
            header, shape = hdus[0].header, (plate.fibres, plate.pixels)
            assert all(hdu.data.shape == shape for hdu in hdus if hdu.is_image)
            kinds = [hdu.data.dtype.str for hdu in hdus if hdu.is_image]
            assert kinds == [">f4", ">f4", ">i4", ">i4", ">f4", ">f4"]
            plug = hdus[5].data
            assert list(plug["FIBERID"]) == list(range(1, plate.fibres + 1))
            for target in [t for t in sky.targets(plate) if t.kind in ("galaxy", "short", "star")][:5]:
                row, single = target.fiber - 1, sdss_files.native(sky, target)
                first = round((single["loglam"][0] - header["COEFF0"]) / header["COEFF1"])
                pixels = slice(first, first + target.pixels)
                for hdu, name in ((0, "flux"), (1, "ivar"), (2, "and_mask"), (3, "or_mask"), (6, "sky")):
                    np.testing.assert_array_equal(hdus[hdu].data[row, pixels], single[name])
                assert (hdus[1].data[row, :first] == 0).all()
                assert (plug["RA"][row], plug["DEC"][row]) == (target.ra, target.dec)


# -- images ------------------------------------------------------------------------------------------------


def test_fits_cutouts_are_the_simulated_images(sky, server, tmp_path):
    for target in some_of_each_plate(sky):
        path = tmp_path / "cutout.fits"
        remote = sdss.fits_cutout(services(server), "sdss", target.ra, target.dec, 64, 0.396, "gri")
        path.write_bytes(get(remote))
        image, kind, info = read_cutout(path)
        assert kind == "linear" and not info["notes"]
        np.testing.assert_array_equal(image, sky.expected_galaxy(target).image, strict=True)
        assert np.hypot(info["ra"] - target.ra, info["dec"] - target.dec) * 3600 < 0.01


def test_a_cutout_beside_an_object_shows_it_shifted(sky, server):
    target = next(sky.selected())
    east = target.ra + 5 * 0.396 / 3600 / np.cos(np.radians(target.dec))
    remote = sdss.fits_cutout(services(server), "sdss", east, target.dec - 3 * 0.396 / 3600, 64, 0.396, "r")
    with fits.open(BytesIO(get(remote))) as hdus:
        image = hdus[0].data  # the object lies 5 pixels west (right), 3 north (up)
    np.testing.assert_allclose(image[3:, 5:], sky.band_image(target, "r")[:-3, :-5], atol=0.002)


def test_legacy_cutouts_are_per_legacy_pixel(sky, server):
    """Flux within 4 arcsec, once summed over 0.262 arcsec pixels and once over 0.396 arcsec pixels."""
    target = next(sky.selected())
    sums = []
    for layer, scale, size in (("sdss", 0.396, 64), ("ls-dr9", 0.262, 96)):
        remote = sdss.fits_cutout(services(server), layer, target.ra, target.dec, size, scale, "grz")
        with fits.open(BytesIO(get(remote))) as hdus:
            assert hdus[0].header["BANDS"] == "grz" and hdus[0].header["BAND2"] == "z"
            y, x = (np.indices((size, size)) - (size - 1) / 2) * scale
            sums.append((hdus[0].data * np.exp(-(x**2 + y**2) / 8)).sum((1, 2)))
    np.testing.assert_allclose(sums[1], sums[0], rtol=0.01)


def test_jpegs_are_composites(sky, server, tmp_path):
    target = next(sky.selected())
    path = tmp_path / "cutout.jpg"
    path.write_bytes(get(sdss.jpeg_cutout(services(server), "dr17", target.ra, target.dec, 64)))
    image, kind, _ = read_cutout(path)
    assert kind == "composite"
    want = lupton_rgb(sky.expected_galaxy(target).image)[:, ::-1]  # pictures begin at the top
    blocks = (
        (image - want).reshape(3, 16, 4, 16, 4).mean((2, 4))
    )  # JPEG keeps the colour of single pixels badly
    assert abs(blocks).max() < 12 < want.std()


def test_frames_hold_the_cutouts_where_the_wcs_says(sky, server):
    """Reprojected with cubic splines, a cutout differs from the simulated one by less than the sky noise, as
    turning pixels smooths their noise, and nothing else. Fluxes agree to half a percent."""
    from reproject import reproject_interp

    target = next(t for t in sky.selected() if not t.near_edge)
    plate = target.plate
    remote = sdss.frame(services(server), "dr17", plate.run, target.camcol, target.field, "r")
    with fits.open(BytesIO(bz2.decompress(get(remote)))) as hdus:
        hdus.verify("exception")
        header, data = hdus[0].header, hdus[0].data
        assert data.shape == (1489, 2048) and data.dtype == ">f4" and header["BUNIT"] == "nanomaggy"
        assert (header["RUN"], header["CAMCOL"], header["FRAME"]) == (plate.run, target.camcol, target.field)
        assert header["FILTER"] == "r"
        assert hdus[1].data.shape == (2048,) and hdus[1].data.dtype == ">f4"
        sky_row = hdus[2].data[0]
        assert sky_row["ALLSKY"].shape == (192, 256)
        assert sky_row["XINTERP"].shape == (2048,) and sky_row["YINTERP"].shape == (1489,)
        assert len(hdus[3].data) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)  # RADECSYS, as real frames have it
            wcs = WCS(header)
        turn = np.degrees(np.arctan2(header["CD1_1"], header["CD1_2"]))
        assert 0.5 < abs(turn) < 30 and np.linalg.det(wcs.wcs.cd) < 0
        image, _ = reproject_interp((data, wcs), frames.north_up(target), shape_out=(64, 64), order="bicubic")
        check_as_trans(hdus[3].data[0], wcs)
    image *= (0.396 / frames.SCALE) ** 2
    want = sky.band_image(target, "r")
    inner = (image - want)[3:-3, 3:-3]
    assert np.sqrt(np.mean(inner**2)) < 0.6 * SKY_R and abs(inner).max() < 4 * SKY_R
    y, x = np.indices((64, 64)) - 31.5
    fibre = np.hypot(x, y) < 1.5 / 0.396
    assert image[fibre].sum() == pytest.approx(want[fibre].sum(), rel=0.005)


def check_as_trans(row, wcs):
    """mu and nu of asTrans turned to the sky agree with the WCS to a tenth of a pixel."""
    rows, columns = np.array([10.0, 700.0, 1480.0]), np.array([30.0, 2000.0, 900.0])
    mu = np.radians(row["A"] + row["B"] * rows + row["C"] * columns - row["NODE"])
    nu = np.radians(row["D"] + row["E"] * rows + row["F"] * columns)
    incl = np.radians(row["INCL"])
    # https://classic.sdss.org/dr7/products/general/astrometry.html: great-circle to equatorial coordinates
    y = np.sin(mu) * np.cos(nu) * np.cos(incl) - np.sin(nu) * np.sin(incl)
    z = np.sin(mu) * np.cos(nu) * np.sin(incl) + np.sin(nu) * np.cos(incl)
    ra = (np.degrees(np.arctan2(y, np.cos(mu) * np.cos(nu))) + row["NODE"]) % 360
    found = np.array(wcs.wcs_world2pix(ra, np.degrees(np.arcsin(z)), 0))
    assert abs(found - [columns - 0.5, rows - 0.5]).max() < 0.2


def test_frames_keep_ten_bits():
    values = np.float32([0, 1, -1, 0.1, 3.14159, -1e-3, 123.456])
    kept = frames.ten_bits(values)
    assert (abs(kept - values) <= abs(values) * 2**-10).all()
    assert (kept[1:].view(np.uint32) & 0x3FFF == 0).all()
    mantissa = np.frexp(kept)[0] * 2**10
    np.testing.assert_array_equal(mantissa, np.rint(mantissa))


def test_an_object_near_the_edge_is_half_outside(sky):
    target = next(t for t in sky.selected() if t.near_edge)
    plate, there = sky.in_frame(target.plate.run, target.camcol, target.field)
    image = frames.frame_image(sky, plate, there, (target.camcol, target.field), "r")
    x, y = sky.wcs(plate, target.camcol, target.field, "r").wcs_world2pix(target.ra, target.dec, 0)
    assert x == pytest.approx(12.3, abs=0.01)
    assert image[round(float(y)), :30].max() > 3 * SKY_R


def test_noisy_frames_have_the_sky_noise():
    sky = Sky(objects=10, seed=1, fibres=20, distinct=128, noisy=True)
    image = frames.frame_image(sky, sky.plates[0], [], (1, 11), "i")
    assert image.std() == pytest.approx(SKY_NOISE[3], rel=0.01)
    assert frames.frame_image(sky, sky.plates[0], [], (1, 11), "i").tobytes() == image.tobytes()


# -- SkyServer ---------------------------------------------------------------------------------------------


def test_the_galaxy_cut_leaves_what_the_sky_says(sky, server):
    rows = list(select_by_sql(services(server), "dr17"))
    want = {t.object_id: t for t in sky.selected()}
    assert {row.object_id for row in rows} == set(want) and len(rows) == sky.objects
    for row in rows[::7]:
        target = want[row.object_id]
        flux, ivar = sky.photometry(target)
        np.testing.assert_array_equal(np.float32(row.photometry), flux)
        np.testing.assert_array_equal(np.float32(row.photometry_ivar), ivar)
        np.testing.assert_array_equal(np.float32(row.extinction), sky.extinction(target))
        assert (row.ra, row.dec, np.float32(row.z)) == (target.ra, target.dec, sky.redshift(target))
        assert (row.run, row.camcol, row.field) == (target.plate.run, target.camcol, target.field)
        assert row.bestobjid == target.objid and row.run2d == target.plate.run2d


def ask(server, query, form="csv"):
    url = f"{server.url}/skyserver/dr17/en/tools/search/x_results.aspx"
    return httpx.get(url, params={"cmd": query, "format": form, "searchtool": "SQL"}, timeout=60)


def test_sql_near_a_position(sky, server):
    target = next(sky.selected())
    dec = target.dec + 2 / 3600
    for function, least in (("Nearby", 1), ("Nearest", 1)):
        text = ask(
            server,
            f"SELECT TOP 5 p.objID, n.distance FROM dbo.fGet{function}ObjEq({target.ra}, {dec}, 0.1) AS n "
            "JOIN PhotoPrimary AS p WITH (NOLOCK) ON p.objID = n.objID -- the nearest\nORDER BY n.distance",
        ).text
        head, names, *rows = text.splitlines()
        assert (head, names) == ("#Table1", "objID,distance") and len(rows) >= least
        objid, distance = rows[0].split(",")
        assert int(objid) == target.objid and float(distance) * 60 == pytest.approx(2, abs=1e-3)


def test_sql_pages_and_json(server):
    query = "select plate, mjd, fiberID from SpecObjAll order by plate, mjd, fiberID"
    every = ask(server, query).text.splitlines()[2:]
    assert ask(server, query.replace("select", "select top 3")).text.splitlines()[2:] == every[:3]
    page = ask(server, f"{query} offset 10 rows fetch next 7 rows only").text.splitlines()[2:]
    assert page == every[10:17]
    rows = ask(server, query, "json").json()[0]["Rows"]
    assert len(rows) == len(every) and set(rows[0]) == {"plate", "mjd", "fiberID"}


@pytest.mark.parametrize(
    "query", ["select nonsense from SpecObj", "drop table everything", "", "select 1; drop x"]
)
def test_sql_that_fails_says_so(server, query):
    answer = ask(server, query)
    assert answer.status_code == 400 and "error_message" in answer.json()


# -- the server --------------------------------------------------------------------------------------------


def test_folders_list_their_files_and_checksums(sky, server):
    target = next(sky.selected())
    remote = lite(server, target)
    folder = remote.url.rsplit("/", 1)[0]
    names = re.findall(r'href="([^"]+)"', httpx.get(f"{folder}/").text)
    sums = next(name for name in names if name.endswith(".sha1sum"))
    assert f"spec-{target.object_id}.fits" in names and len(names) == target.plate.fibres + 2
    lines = dict(reversed(line.split("  ")) for line in httpx.get(f"{folder}/{sums}").text.splitlines())
    assert lines[f"spec-{target.object_id}.fits"] == hashlib.sha1(get(remote)).hexdigest()


def test_ranges_as_apache_serves_them(sky, server):
    url = lite(server, next(sky.selected())).url
    whole = httpx.get(url)
    size, tag = len(whole.content), whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes" and int(whole.headers["Content-Length"]) == size
    part = httpx.get(url, headers={"Range": "bytes=1000-", "If-Range": tag})
    assert part.status_code == 206 and part.content == whole.content[1000:] and part.headers["ETag"] == tag
    assert part.headers["Content-Range"] == f"bytes 1000-{size - 1}/{size}"
    assert httpx.get(url, headers={"Range": "bytes=5-9"}).content == whole.content[5:10]
    assert httpx.get(url, headers={"Range": "bytes=-10"}).content == whole.content[-10:]
    changed = httpx.get(url, headers={"Range": "bytes=1000-", "If-Range": '"other"'})
    assert changed.status_code == 200 and changed.content == whole.content
    dated = {"Range": "bytes=1000-", "If-Range": whole.headers["Last-Modified"]}
    assert httpx.get(url, headers=dated).status_code == 206
    beyond = httpx.get(url, headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == f"bytes */{size}"
    head = httpx.head(url)
    assert int(head.headers["Content-Length"]) == size and not head.content


def test_requests_and_bytes_are_counted(sky):
    with serve(sky) as server:
        targets = list(sky.selected())[:2]
        sizes = [len(get(lite(server, target))) for target in targets]
        get(lite(server, targets[0]), headers={"Range": "bytes=100-199"})
        assert server.count() == 3 and server.count(f"{targets[0].fiber:04d}.fits$") == 2
        assert server.bytes_sent() == sum(sizes) + 100
        assert server.seen()[-1].range == "bytes=100-199" and server.seen()[-1].status == 206
        summary = httpx.get(f"{server.url}/requests").json()
        assert summary[httpx.URL(lite(server, targets[0]).url).path] == {
            "requests": 2,
            "bytes": sizes[0] + 100,
            "faults": [],
        }


def test_each_fault_happens_as_often_as_planned_and_then_all_is_well(sky):
    target = next(sky.selected())
    want = sdss_files.spec_lite(sky, target)
    with serve(sky, hang=20.0, retry_after=7) as server:
        url = lite(server, target).url
        for kind, status in (("503", 503), ("429", 429), ("500", 500), ("404", 404)):
            server.faults.plan("spec-", kind, 2)
            for _ in range(2):
                answer = httpx.get(url)
                assert answer.status_code == status
                assert answer.headers.get("Retry-After") == ("7" if kind in ("503", "429") else None)
            assert httpx.get(url).content == want
        server.faults.plan("spec-", "html")
        answer = httpx.get(url)
        assert answer.status_code == 200 and answer.content.startswith(b"<!DOCTYPE html>")
        server.faults.plan("spec-", "corrupt")
        spoilt = httpx.get(url).content
        assert len(spoilt) == len(want) and spoilt != want and spoilt[:2880] == want[:2880]
        for kind, error in (
            ("truncate", httpx.RemoteProtocolError),
            ("reset", (httpx.ReadError, httpx.RemoteProtocolError)),
            ("hang", httpx.ReadTimeout),
        ):
            server.faults.plan("spec-", kind)
            with httpx.stream("GET", url, timeout=0.5) as answer:
                assert int(answer.headers["Content-Length"]) == len(want)
                with pytest.raises(error):
                    answer.read()
        assert httpx.get(url).content == want
        server.faults.plan("spec-", "trickle")
        with httpx.stream("GET", url, timeout=5) as answer:
            assert next(answer.iter_raw()) == want[:1]
        assert [r.fault for r in server.seen()].count(None) == 5
    with pytest.raises(ValueError, match="is not one of"):
        server.faults.plan("spec-", "explode")


def test_random_faults_follow_probability_and_seed(sky):
    def drawn(seed):
        with serve(sky, probability=0.3, seed=seed, kinds=("503", "corrupt")) as server:
            return [[server.faults.draw(f"/sas/{i}.fits", n) for i in range(200)] for n in range(3)]

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    share = np.mean([fault is not None for row in first for fault in row])
    assert share == pytest.approx(0.3, abs=0.06)
    assert {fault for row in first for fault in row} == {None, "503", "corrupt"}


def test_random_faults_are_such_that_a_client_can_tell(sky):
    with serve(sky, probability=1.0, kinds=("corrupt", "html")) as server:
        kinds = {
            p: {server.faults.draw(p, n) for n in range(50)}
            for p in ("/sas/a.fits", "/sas/a/", "/viewer/cutout.fits")
        }
    assert kinds == {"/sas/a.fits": {"corrupt", "html"}, "/sas/a/": {None}, "/viewer/cutout.fits": {"html"}}


@pytest.mark.slow
def test_the_server_runs_as_a_process():
    command = "-m support.loopback.server --objects 20 --seed 1 --fibres 30 --distinct 128".split()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().strip()
        target = next((sky := Sky(20, 1, 30, distinct=128)).selected())
        folder = f"/sas/dr17/sdss/spectro/redux/26/spectra/lite/{target.object_id[:4]}"
        path = f"{folder}/spec-{target.object_id}.fits"
        body = httpx.get(url + path, timeout=60).content
        assert body == sdss_files.spec_lite(sky, target)
        assert json.loads(httpx.get(f"{url}/requests").text)[path]["bytes"] == len(body)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
