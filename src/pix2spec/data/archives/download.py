"""Download files: with a rate limit, retries, resumption, and checks of the content."""

import functools
import hashlib
import os
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from pix2spec.data.archives.answers import Failed, full_length, refusal, same_service, version_tag, wrong_kind
from pix2spec.data.archives.urls import Remote
from pix2spec.errors import InputError

__all__ = ["Downloader", "Fetched"]

MIN_BYTES_PER_SECOND = 1024  # Slower transfers are stopped.
MAX_REDIRECTS = 5
N_LOCKS = 1009  # File names share these locks by their hashes: two threads never write one file.
NAME_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,120}", re.ASCII)


@dataclass
class Fetched:
    """Result of fetching one :class:`Remote`.

    Attributes
    ----------
    remote : Remote
    path : Path or None
        The file, if it was fetched.
    error : str
        The reason, if it was not.
    permanent : bool
        Whether later attempts cannot succeed either.
    n_bytes, n_requests : int
        Received bytes and sent requests.
    """

    remote: Remote
    path: Path | None = None
    error: str = ""
    permanent: bool = False
    n_bytes: int = 0
    n_requests: int = 0


class _Stopped(Exception):
    """The caller has left the loop over `Downloader.fetch`."""


class Downloader:
    """Downloads files into a folder with several threads and one HTTP client.

    A file that exists under its name is complete and is not fetched again. The received part of an incomplete
    file is stored as ``name.partial``, and the tag of its version (ETag or Last-Modified) as
    ``name.version``. A later attempt, or a later run, continues from there.

    Parameters
    ----------
    folder : path
        Folder for the files.
    workers : int
        Largest number of connections at a time.
    rate : float
        Largest number of requests per second, over all threads.
    attempts : int
        Largest number of attempts per file in one call.
    timeout : float
        Seconds without a response or a byte after which an attempt fails.
    max_bytes : int
        Larger files are refused.
    backoff : float
        Seconds. The n-th wait between attempts is random, up to ``backoff * 2**n`` and 30 s.

    Raises
    ------
    InputError
        If `workers`, `rate`, `attempts` or `timeout` is not above zero.
    """

    def __init__(
        self,
        folder: Path,
        workers: int = 8,
        rate: float = 10.0,
        attempts: int = 6,
        timeout: float = 60.0,
        max_bytes: int = 2**30,
        backoff: float = 0.5,
    ):
        import httpx

        import pix2spec

        positive = {"workers": workers, "rate": rate, "attempts": attempts, "timeout": timeout}
        for name, value in positive.items():
            if not value > 0:
                raise InputError(f"`{name}`", f"{value} is not above zero")
        self.folder, self.workers, self.attempts = Path(folder), workers, attempts
        self.timeout, self.max_bytes, self.backoff = timeout, max_bytes, backoff
        self._rate = _Rate(rate)
        self._locks = [threading.Lock() for _ in range(N_LOCKS)]
        self._client = httpx.Client(
            verify=_certificates(),
            timeout=httpx.Timeout(timeout, pool=None),  # Threads may wait for a connection.
            limits=httpx.Limits(max_connections=workers),
            # With "identity", Content-Length is the length of the file, and httpx unpacks nothing.
            headers={"User-Agent": f"pix2spec/{pix2spec.__version__}", "Accept-Encoding": "identity"},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(self, remotes: Iterable[Remote]) -> Iterator[Fetched]:
        """Fetch files and yield each result as soon as it is there.

        Only a few items of `remotes` are read ahead. Leaving the loop (break, an error, Ctrl-C) stops the
        transfers. Received parts stay on disk, and a later call continues from there.

        Raises
        ------
        OSError
            If a file cannot be written. Other faults of one file are in its :class:`Fetched`.
        """
        todo: queue.SimpleQueue = queue.SimpleQueue()
        done: queue.SimpleQueue = queue.SimpleQueue()
        threads: list[threading.Thread] = []
        stop, waiting = threading.Event(), 0
        source = iter(remotes)
        try:
            while True:
                while waiting < 2 * self.workers and (remote := next(source, None)) is not None:
                    todo.put(remote)
                    waiting += 1
                    if len(threads) < min(waiting, self.workers):
                        threads.append(self._start(todo, done, stop))
                if not waiting:
                    return
                try:
                    result = done.get(timeout=1)  # A signal just before `get` is handled when `get` ends.
                except queue.Empty:
                    continue
                waiting -= 1
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            stop.set()
            for _ in threads:
                todo.put(None)
            until = time.monotonic() + 2
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))

    def _start(self, *queues) -> threading.Thread:
        # A daemon thread that waits for a silent server does not delay the end of the program.
        thread = threading.Thread(target=self._work, args=queues, daemon=True)
        thread.start()
        return thread

    def _work(self, todo: queue.SimpleQueue, done: queue.SimpleQueue, stop: threading.Event) -> None:
        while (remote := todo.get()) is not None and not stop.is_set():
            try:
                done.put(self._one(remote, stop))
            except _Stopped:
                return
            except BaseException as error:
                done.put(error)

    def _one(self, remote: Remote, stop: threading.Event) -> Fetched:
        import tenacity

        result = Fetched(remote)
        try:
            target = target_under(self.folder, remote.name)
        except InputError as error:
            result.error, result.permanent = str(error), True
            return result
        jitter = tenacity.wait_random_exponential(multiplier=self.backoff, max=30)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Failed) and error.retry),
            wait=lambda state: jitter(state) + state.outcome.exception().after,  # type: ignore[union-attr]
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
            reraise=True,
        )
        with self._locks[hash(remote.name) % len(self._locks)]:  # A second thread then finds the file.
            try:
                if not target.is_file():
                    retrying(self._attempt, result, target, stop)
                result.path = target
            except Failed as error:
                result.error, result.permanent = str(error), error.permanent
        if stop.is_set():
            raise _Stopped
        return result

    def _attempt(self, result: Fetched, target: Path, stop: threading.Event) -> None:
        import httpx

        partial, version = (target.with_name(target.name + end) for end in (".partial", ".version"))
        tag = version.read_text("ascii", "replace") if version.is_file() and partial.is_file() else ""
        tag = tag if tag.isascii() and tag.isprintable() else ""
        have = partial.stat().st_size if tag else 0
        headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
        try:
            response = self._open(result, headers, stop)
            try:
                total = self._begin(response, have, partial, version)
                self._stream(result, response, partial, stop)
            finally:
                response.close()
        except httpx.TimeoutException as error:
            raise Failed(f"the server did not answer within {self.timeout:g} s") from error
        except httpx.HTTPError as error:
            raise Failed(f"the connection failed: {error or type(error).__name__}") from error
        self._check(result.remote, partial, version, total)
        os.replace(partial, target)
        version.unlink(missing_ok=True)

    def _open(self, result: Fetched, headers: dict, stop: threading.Event):
        """Send a request, follow redirects, and return the response. Other statuses raise `Failed`."""
        import httpx

        url = result.remote.url
        for _ in range(MAX_REDIRECTS + 1):
            self._rate.take(stop)
            result.n_requests += 1
            try:
                request = self._client.build_request("GET", url, headers=headers)
            except (httpx.InvalidURL, ValueError, TypeError) as error:
                raise Failed(f"it is not a valid address: {error}", permanent=True) from error
            response = self._client.send(request, stream=True, follow_redirects=False)
            if response.status_code in (200, 206):
                return response
            response.close()
            if response.status_code == 416:  # The file ends before the requested range: start again.
                headers.clear()
                continue
            if not response.has_redirect_location:
                raise refusal(response)
            url = urljoin(url, response.headers["Location"])
            if not same_service(result.remote.url, url):
                where = urlsplit(url).netloc[:100]
                raise Failed(f"the server redirected to another service ({where})", retry=False)
        raise Failed(f"more than {MAX_REDIRECTS} redirects", retry=False)

    def _begin(self, response, have: int, partial: Path, version: Path) -> int | None:
        """Prepare `partial` for the body of `response`. Returns the file's full length in bytes, if known."""
        total = full_length(response, have)
        if total is not None and total > self.max_bytes:
            raise Failed(f"it has {total} bytes, more than the {self.max_bytes} allowed", permanent=True)
        if response.status_code == 200:  # The body is complete: the file has changed, or cannot be resumed.
            partial.write_bytes(b"")
            version.write_text(version_tag(response), "ascii")
        elif total is None:
            partial.unlink()
            raise Failed("the server resumed at the wrong place")
        return total

    def _stream(self, result: Fetched, response, partial: Path, stop: threading.Event) -> None:
        began, here = time.monotonic(), 0
        with open(partial, "ab") as stream:
            for chunk in response.iter_raw():
                if stop.is_set():
                    raise _Stopped
                stream.write(chunk)
                here += len(chunk)
                result.n_bytes += len(chunk)
                if stream.tell() > self.max_bytes:
                    stream.truncate(0)
                    what = f"the server sends more than the {self.max_bytes} bytes allowed"
                    raise Failed(what, permanent=True)
                if time.monotonic() - began > self.timeout + here / MIN_BYTES_PER_SECOND:
                    raise Failed(f"the transfer is slower than {MIN_BYTES_PER_SECOND} bytes per second")
            stream.flush()
            os.fsync(stream.fileno())

    def _check(self, remote: Remote, partial: Path, version: Path, total: int | None) -> None:
        """Check length, kind and checksum. A file of the wrong kind or content is deleted."""
        size = partial.stat().st_size
        if total is not None and size < total:
            raise Failed(f"it is truncated: {size} of {total} bytes")
        wrong = ""
        if total is not None and size > total:
            wrong = f"it has {size} bytes, but the server announced {total}"
        else:
            with open(partial, "rb") as stream:
                wrong = wrong_kind(remote.kind, stream.read(512))
                stream.seek(0)
                sha1 = hashlib.file_digest(stream, "sha1").hexdigest() if remote.sha1 and not wrong else None
                if sha1 not in (None, remote.sha1):
                    wrong = "its checksum (sha1) is not the published one"
        if wrong:
            partial.unlink()
            version.unlink(missing_ok=True)
            raise Failed(wrong)


def target_under(folder: Path, name: str) -> Path:
    """The path of file `name` under `folder`. Its parent folder is made.

    Raises
    ------
    InputError
        If the name has unusual characters, or the name or a link leads out of `folder`.
    """
    parts = name.split("/")
    if not all(NAME_PART.fullmatch(part) for part in parts) or name.endswith((".partial", ".version")):
        raise InputError(name, "it is not an allowed file name")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(name, "it leads out of the folder through a link")
    return target


@functools.cache
def _certificates():
    """The certificate authorities. Reading them takes half a second, so they are read once."""
    import httpx

    return httpx.create_ssl_context()


class _Rate:
    """Rate limit as a token bucket, which holds the requests of one second."""

    def __init__(self, rate: float):
        self._step, self._lock = 1 / rate, threading.Lock()
        self._burst = max(0.0, 1.0 - self._step)
        self._next = time.monotonic()

    def take(self, stop: threading.Event) -> None:
        """Wait until the next request is allowed."""
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now - self._burst)
            wait = self._next - now
            self._next += self._step
        if stop.wait(max(0.0, wait)):
            raise _Stopped
