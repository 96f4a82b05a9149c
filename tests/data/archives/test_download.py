"""The downloader against a server that misbehaves as told, request by request."""

import email.utils
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.data.archives import answers
from pix2spec.data.archives.download import Downloader, target_under
from pix2spec.data.archives.urls import Remote
from pix2spec.errors import InputError
from support.misbehaving_server import BODY, answer, cut, reset, serving, status, whole


@pytest.fixture
def downloader(tmp_path):
    with Downloader(tmp_path / "cache", workers=4, rate=5_000, timeout=5, backoff=0.001) as downloader:
        yield downloader


def remote(server, name="a", kind="fits", **more):
    return Remote(f"{server.url}/{name}", f"files/{name}.fits", kind, **more)


def fetch(downloader, *remotes):
    return list(downloader.fetch(remotes))


def files(downloader):
    return sorted(path.name for path in downloader.folder.rglob("*") if path.is_file())


def test_a_file_lands_once_and_is_not_fetched_again(downloader):
    with serving() as server:
        (first,) = fetch(downloader, remote(server, sha1=hashlib.sha1(BODY).hexdigest()))
        (second,) = fetch(downloader, remote(server))
    assert first.path.read_bytes() == BODY and second.path == first.path
    assert (first.n_bytes, first.n_requests, second.n_bytes, second.n_requests) == (len(BODY), 1, 0, 0)
    assert files(downloader) == ["a.fits"] and len(server.requests) == 1
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


FAULTS = {
    "busy": [status(503), status(429), status(500)],
    "truncated": [cut, cut],
    "html": [answer(b"<html><body>Maintenance</body></html>"), answer(b"\n<!DOCTYPE HTML>sorry")],
    "not fits": [answer(b"\x1f\x8b" + b"0" * 100)],
    "reset": [reset, reset],
    "empty": [answer(b"")],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_passing_faults_are_retried_until_the_file_is_right(downloader, fault):
    with serving(a=FAULTS[fault]) as server:
        (got,) = fetch(downloader, remote(server))
    assert got.path and got.path.read_bytes() == BODY, got.error
    assert got.n_requests == len(FAULTS[fault]) + 1 and files(downloader) == ["a.fits"]


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (status(503), "503"),
        (answer(b"<html>Maintenance</html>"), "HTML instead of FITS"),
        (lambda handler: cut(handler, 0), f"received 0 bytes, expected {len(BODY)}"),
        (reset, "connection failed"),
    ],
)
def test_lasting_faults_end_as_temporary_errors_and_leave_no_file(downloader, behaviour, told):
    with serving(a=[behaviour] * 6) as server:
        (got,) = fetch(downloader, remote(server))
    assert got.path is None and told in got.error and not got.permanent and got.n_requests == 6
    assert "a.fits" not in files(downloader)


def test_a_wrong_checksum_is_never_kept(downloader):
    with serving() as server:
        (got,) = fetch(downloader, remote(server, sha1="0" * 40))
    assert got.path is None and "sha1" in got.error and not got.permanent and got.n_requests == 6
    assert files(downloader) == []


@pytest.mark.parametrize(("code", "requests", "permanent"), [(404, 1, True), (410, 1, True), (403, 1, False)])
def test_refusals_are_not_repeated_and_only_absence_is_permanent(downloader, code, requests, permanent):
    with serving(a=[status(code)]) as server:
        (got,) = fetch(downloader, remote(server))
    assert (got.n_requests, got.permanent) == (requests, permanent) and str(code) in got.error


def test_a_broken_transfer_goes_on_where_it_stopped(downloader):
    with serving(a=[cut]) as server:
        (got,) = fetch(downloader, remote(server))
    assert got.path.read_bytes() == BODY and got.n_bytes == len(BODY)
    assert server.requests[1][1]["Range"] == "bytes=20000-" and server.requests[1][1]["If-Range"] == '"v1"'


def test_a_file_that_changed_meanwhile_starts_again(downloader):
    with serving(a=[lambda handler: cut(handler, tag='"v0"')]) as server:
        (got,) = fetch(downloader, remote(server))
    assert got.path.read_bytes() == BODY and got.n_bytes == 20_000 + len(BODY)


def test_without_a_strong_version_nothing_is_resumed(downloader):
    with serving(a=[lambda handler: cut(handler, tag='W/"v1"')]) as server:
        (got,) = fetch(downloader, remote(server))
    assert got.path.read_bytes() == BODY and "Range" not in server.requests[1][1]


def test_a_later_run_resumes_and_a_whole_partial_is_no_trap(downloader):
    folder = downloader.folder / "files"
    folder.mkdir(parents=True)
    for name, size in (("a", 30_000), ("b", len(BODY))):
        (folder / f"{name}.fits.partial").write_bytes(BODY[:size])
        (folder / f"{name}.fits.version").write_text('"v1"')
    with serving() as server:
        got = {got.remote.name: got for got in fetch(downloader, remote(server, "a"), remote(server, "b"))}
    assert all(one.path.read_bytes() == BODY for one in got.values())
    assert got["files/a.fits"].n_bytes == len(BODY) - 30_000
    assert files(downloader) == ["a.fits", "b.fits"]


def test_a_part_from_the_wrong_place_is_refused(downloader):
    def wrong(handler):
        handler.send(206, BODY[5:], Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}")

    with serving(a=[cut, wrong]) as server:
        (got,) = fetch(downloader, remote(server))
    assert got.path.read_bytes() == BODY and got.n_requests == 3


def test_a_part_that_is_only_a_part_is_not_the_end(downloader):
    def some(handler):
        handler.send(206, BODY[20_000:30_000], ETag='"v1"', Content_Range=f"bytes 20000-29999/{len(BODY)}")

    with serving(a=[cut, some]) as server:
        (got,) = fetch(downloader, remote(server))
    assert got.path.read_bytes() == BODY and got.n_bytes == len(BODY) and got.n_requests == 3


def test_retry_after_is_waited_for_in_seconds_and_as_a_date(downloader):
    def at_a_date(handler):  # dates have whole seconds: 1 to 2 s from now
        handler.send(429, Retry_After=email.utils.formatdate(time.time() + 2, usegmt=True))

    with serving(a=[status(503, Retry_After="1")], b=[at_a_date]) as server:
        began = time.monotonic()
        list(downloader.fetch([remote(server, "a")]))
        middle = time.monotonic()
        list(downloader.fetch([remote(server, "b")]))
        end = time.monotonic()
    assert middle - began >= 1 and end - middle >= 0.95


def test_a_server_that_asks_for_an_hour_gets_it(downloader):
    with serving(a=[status(503, Retry_After="3600")]) as server:
        (got,) = fetch(downloader, remote(server))
    assert not got.permanent and got.n_requests == 1 and "3600 s" in got.error


def test_too_large_is_refused_before_and_while_streaming(tmp_path):
    def endless(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(BODY), BODY))
        handler.wfile.write(b"0\r\n\r\n")

    with serving(b=[endless]) as server, Downloader(tmp_path, rate=1_000, max_bytes=70_000) as downloader:
        told, streamed = sorted(
            fetch(downloader, remote(server, "a"), remote(server, "b")), key=lambda got: got.remote.name
        )
    assert told.permanent and told.n_bytes == 0 and "more than the 70000" in told.error
    assert streamed.permanent and streamed.n_bytes < 300_000 and "more than the 70000" in streamed.error


def test_redirects_stay_with_the_service(downloader):
    def to(where):
        return lambda handler: handler.send(302, Location=where)

    with serving(a=[to("/elsewhere")], b=[to("http://example.com/b")], c=[to("/c")] * 9) as server:
        a, b, c = sorted(
            fetch(downloader, *(remote(server, name) for name in "abc")), key=lambda got: got.remote.name
        )
    assert a.path and "another service (example.com)" in b.error and "redirects" in c.error
    assert not b.permanent and not c.permanent


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("https://data.sdss.org/sas/a", "https://dr17.sdss.org/sas/a", True),
        ("http://data.sdss.org/a", "https://data.sdss.org/a", True),
        ("https://data.sdss.org/a", "http://data.sdss.org/a", False),
        ("https://data.sdss.org/a", "https://sdss.org.evil.net/a", False),
        ("https://data.sdss.org/a", "https://evilsdss.org/a", False),
        ("https://data.sdss.org/a", "https://data.sdss.org@evil.net/a", False),
        ("https://data.sdss.org/a", "file:///etc/passwd", False),
        ("https://data.sdss.org/a", "https://data.sdss.org:22/a", False),
        ("http://127.0.0.1:80/a", "http://127.0.1.1:80/a", False),
        ("http://localhost:80/a", "http://localhost:80/b", True),
        ("https://a.b/a", "https://[", False),
    ],
)
def test_what_counts_as_the_same_service(first, second, same):
    assert answers.same_service(first, second) is same


@pytest.mark.parametrize(
    "name",
    [
        "../a.fits",
        "/etc/a.fits",
        "a/../../b",
        "a//b",
        "",
        ".hidden",
        "a\\b",
        "a\0b",
        "a/..",
        "a.partial",
        "ü.fits",
    ],
)
def test_no_name_leads_out_of_the_folder(downloader, name):
    (got,) = fetch(downloader, Remote("http://127.0.0.1:9/x", name, "fits"))
    assert (
        got.permanent and got.path is None and "not an allowed file name" in got.error and got.n_requests == 0
    )


def test_no_link_leads_out_of_the_folder(downloader, tmp_path):
    downloader.folder.mkdir()
    (downloader.folder / "files").symlink_to(tmp_path)
    with serving() as server:
        (got,) = fetch(downloader, remote(server))
    assert got.permanent and "link" in got.error and not server.requests


@given(st.text("aZ09._-+/\\\0 ü~", max_size=12))
def test_any_name_is_under_the_folder_or_refused(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "names"
    try:
        target = target_under(folder, name)
    except InputError:
        return
    assert target.resolve().is_relative_to(folder.resolve()) and target != folder


@given(st.text("0123456789 :,+-.GMTehuJanODc\0", max_size=30))
def test_any_retry_after_is_a_wait_that_makes_sense(told):
    assert answers.retry_after(told) >= 0


def test_one_bad_item_costs_itself_alone(downloader):
    with serving(b=[status(404)]) as server:
        got = fetch(downloader, *(remote(server, name) for name in "abc"), Remote("ftp://x/y", "y", "fits"))
    assert sorted(bool(one.path) for one in got) == [False, False, True, True]


def test_the_same_name_twice_is_one_request(downloader):
    with serving() as server:
        got = fetch(downloader, *[remote(server)] * 10)
    assert len(server.requests) == 1 and all(one.path for one in got)


def test_the_rate_holds_over_all_threads_and_so_does_the_number_of_connections(tmp_path):
    def slow(handler):
        time.sleep(0.02)
        whole(handler)

    names = [f"n{i}" for i in range(30)]
    with (
        serving(**{name: [slow] for name in names}) as server,
        Downloader(tmp_path, workers=3, rate=20) as downloader,
    ):
        began = time.monotonic()
        assert all(got.path for got in downloader.fetch(remote(server, name) for name in names))
        assert time.monotonic() - began >= 10 / 20 * 0.95  # a second's worth goes out at once
    assert server.most <= 3


def test_remotes_are_read_only_a_little_ahead(downloader):
    read = []

    def source(server):
        for i in range(100):
            read.append(i)
            yield remote(server, f"n{i}")

    with serving() as server:
        for i, _ in enumerate(downloader.fetch(source(server))):
            assert len(read) <= i + 1 + 2 * downloader.workers
    assert len(read) == 100


def test_a_full_disk_stops_everything(downloader, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with serving() as server, pytest.raises(OSError, match="No space"):
        fetch(downloader, remote(server))
    assert "a.fits" not in files(downloader)


def test_a_silent_server_is_given_up(tmp_path):
    with (
        serving(a=[lambda handler: time.sleep(0.5)] * 2) as server,
        Downloader(tmp_path, attempts=2, timeout=0.1, backoff=0.001) as downloader,
    ):
        (got,) = fetch(downloader, remote(server))
    assert got.error == "the server did not answer within 0.1 s" and not got.permanent


def test_a_dripping_server_is_given_up(tmp_path):
    def drip(handler):
        handler.send(200, b"SIMPLE  =", length=5_000)
        for _ in range(20):
            time.sleep(0.05)
            handler.wfile.write(b"x")

    with (
        serving(a=[drip]) as server,
        Downloader(tmp_path, attempts=1, timeout=0.2, backoff=0.001) as downloader,
    ):
        (got,) = fetch(downloader, remote(server))
    assert "slower than" in got.error and not got.permanent


def test_leaving_the_loop_stops_the_transfers(downloader):
    def slow(handler):
        handler.send(200, BODY[:1000], length=len(BODY), ETag='"v1"')
        time.sleep(0.3)

    names = [f"n{i}" for i in range(8)]
    with serving(**{name: [slow] for name in names}) as server:
        for _ in downloader.fetch([remote(server, "quick"), *(remote(server, name) for name in names)]):
            break
        assert len(server.requests) < 9


PROGRAM = """
import signal, sys
from pix2spec.data.archives.download import Downloader
from pix2spec.data.archives.urls import Remote

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background passes it on as ignored
with Downloader(sys.argv[2], rate=1000, timeout=60) as downloader:
    for got in downloader.fetch([Remote(sys.argv[1] + "/a", "a.fits", "fits")]):
        print(got)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_program_ends_at_once_and_its_work_is_resumed(tmp_path, how):
    arrived = threading.Event()

    def stall(handler):
        handler.send(200, BODY[:40_000], length=len(BODY), ETag='"v1"')
        arrived.set()
        time.sleep(12)

    with serving(a=[stall]) as server:
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), server.url, str(tmp_path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as program:
            assert arrived.wait(120)
            partial = tmp_path / "a.fits.partial"
            while not partial.is_file() or not partial.stat().st_size:
                time.sleep(0.01)
            program.send_signal(how)
            began = time.monotonic()
            program.communicate(timeout=30)
            assert time.monotonic() - began < 10 and program.returncode
        left = partial.stat().st_size
        with Downloader(tmp_path, rate=1_000) as downloader:
            (got,) = downloader.fetch([Remote(f"{server.url}/a", "a.fits", "fits")])
    assert got.path.read_bytes() == BODY and got.n_bytes == len(BODY) - left > 0


def test_impossible_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="rate"):
        Downloader(tmp_path, rate=0)
