"""Files fetched from servers politely: limited, retried, resumed, checked, and named only when complete."""

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

SLOWEST = 1024  # bytes a second, below which a body is given up
REDIRECTS = 5
TURNS = 1009  # one thread a file: files with the same name, and few others, take turns
PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,120}", re.ASCII)


@dataclass
class Fetched:
    """What became of one :class:`Remote`: `path` where it is, or `error` and whether that is `permanent`."""

    remote: Remote
    path: Path | None = None
    error: str = ""
    permanent: bool = False
    n_bytes: int = 0
    n_requests: int = 0


class _Stopped(Exception):
    """The caller has left."""


class Downloader:
    """Threads over one HTTP client; files land under `folder`.

    A file present under its name is complete and is not fetched again. The body of one under way lies at
    ``name.partial`` with what identifies its version (ETag or Last-Modified) at ``name.version``; a later
    attempt, or a later run, continues there.

    Parameters
    ----------
    folder : path
    workers : int
        Connections at a time.
    rate : float
        Requests a second, over all threads.
    attempts : int
        How often a file is tried in one call.
    timeout : float
        Seconds without an answer or a byte before an attempt is given up.
    max_bytes : int
        Larger files are refused.
    backoff : float
        Seconds: the n-th wait between attempts is random up to ``backoff * 2**n``, 30 at most.
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
        self._turns = [threading.Lock() for _ in range(TURNS)]
        self._client = httpx.Client(
            verify=_certificates(),
            timeout=httpx.Timeout(timeout, pool=None),  # a thread may wait for its turn
            limits=httpx.Limits(max_connections=workers),
            # identity: the length that is promised is that of the body, and nothing unpacks on arrival
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
        """Fetch `remotes`, which is read only a few items ahead, and yield each as it is finished.

        Leaving the loop (break, an error, Ctrl-C) stops the transfers; what has arrived stays and is resumed.

        Raises
        ------
        OSError
            If the disk refuses; whatever goes wrong with one file is told in its :class:`Fetched`.
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
                    result = done.get(timeout=1)  # a signal just before it would go unseen until it ends
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
        # a daemon: one that hangs on a silent server does not hold up the end of the program
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
        with self._turns[hash(remote.name) % len(self._turns)]:  # the second to ask finds the file
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
            raise Failed(f"no answer within {self.timeout:g} s") from error
        except httpx.HTTPError as error:
            raise Failed(f"connection failed: {error or type(error).__name__}") from error
        self._check(result.remote, partial, version, total)
        os.replace(partial, target)
        version.unlink(missing_ok=True)

    def _open(self, result: Fetched, headers: dict, stop: threading.Event):
        """The response to a request, after redirects; whatever is not a body to read is an error."""
        import httpx

        url = result.remote.url
        for _ in range(REDIRECTS + 1):
            self._rate.take(stop)
            result.n_requests += 1
            try:
                request = self._client.build_request("GET", url, headers=headers)
            except (httpx.InvalidURL, ValueError, TypeError) as error:
                raise Failed(f"not an address: {error}", permanent=True) from error
            response = self._client.send(request, stream=True, follow_redirects=False)
            if response.status_code in (200, 206):
                return response
            response.close()
            if response.status_code == 416:  # nothing after what we have: start again
                headers.clear()
                continue
            if not response.has_redirect_location:
                raise refusal(response)
            url = urljoin(url, response.headers["Location"])
            if not same_service(result.remote.url, url):
                raise Failed(f"redirected to another service ({urlsplit(url).netloc[:100]})", retry=False)
        raise Failed(f"more than {REDIRECTS} redirects", retry=False)

    def _begin(self, response, have: int, partial: Path, version: Path) -> int | None:
        """Prepare `partial` for the body that follows and return its full length in bytes, if told."""
        total = full_length(response, have)
        if total is not None and total > self.max_bytes:
            raise Failed(f"has {total} bytes, more than the {self.max_bytes} allowed", permanent=True)
        if response.status_code == 200:  # from the start: the file has changed, or the server does not resume
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
                    raise Failed(f"sends more than the {self.max_bytes} bytes allowed", permanent=True)
                if time.monotonic() - began > self.timeout + here / SLOWEST:
                    raise Failed(f"slower than {SLOWEST} bytes a second")
            stream.flush()
            os.fsync(stream.fileno())

    def _check(self, remote: Remote, partial: Path, version: Path, total: int | None) -> None:
        """Length, kind and checksum; a body of the wrong kind or content is not resumed."""
        size = partial.stat().st_size
        if total is not None and size < total:
            raise Failed(f"truncated: {size} of {total} bytes")
        wrong = ""
        if total is not None and size > total:
            wrong = f"{size} bytes where {total} were promised"
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
    """The path of a name under `folder`, which is made; nothing in a name, and no link, leads out of it."""
    parts = name.split("/")
    if not all(PART.fullmatch(part) for part in parts) or name.endswith((".partial", ".version")):
        raise InputError(name, "is not a file name to be used here")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(name, "leads out of the folder through a link")
    return target


@functools.cache
def _certificates():
    """Reading the authorities takes half a second; one reading serves all."""
    import httpx

    return httpx.create_ssl_context()


class _Rate:
    """A token bucket that holds a second's worth of requests."""

    def __init__(self, rate: float):
        self._step, self._lock = 1 / rate, threading.Lock()
        self._burst = max(0.0, 1.0 - self._step)
        self._next = time.monotonic()

    def take(self, stop: threading.Event) -> None:
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now - self._burst)
            wait = self._next - now
            self._next += self._step
        if stop.wait(max(0.0, wait)):
            raise _Stopped
