"""A loopback server that answers like SDSS's archive, SkyServer and the Legacy Survey viewer, and misbehaves.

    with serve(Sky(objects=300)) as server:
        services = Services.at(server.url)

or as a process, from the folder tests: ``python -m loopback.server --objects 2000 --faults 0.1``.
"""

import argparse
import hashlib
import json
import re
import signal
import socket
import struct
import sys
import threading
import zlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from support.loopback.answers import Answer, answer
from support.loopback.sky import Sky
from support.loopback.skyserver import SkyServer

FAULTS = ("503", "429", "500", "hang", "trickle", "truncate", "corrupt", "html", "reset", "404")
TEMPORARY = ("503", "hang", "truncate", "corrupt", "html", "reset")  # what --faults draws from
MODIFIED = "Sun, 02 Mar 2008 16:31:14 GMT"
CACHE_BYTES = 200_000_000


@dataclass
class Request:
    """One request as the server saw it."""

    method: str
    path: str  # with the query
    range: str | None
    agent: str
    status: int = 0
    fault: str | None = None
    bytes_sent: int = 0  # of the body, whether or not the client stayed for them


@dataclass
class Faults:
    """Which requests go wrong.

    Parameters
    ----------
    probability : float
        Of a fault on any request, drawn from `kinds`: a function of (seed, path, how often it was asked for).
    hang : float
        Seconds before a hanging answer ends.
    retry_after : int
        Seconds announced with 503 and 429.
    """

    probability: float = 0.0
    kinds: tuple[str, ...] = TEMPORARY
    seed: int = 0
    hang: float = 30.0
    retry_after: int = 1
    planned: list = field(default_factory=list)  # [pattern, kind, times left]

    def plan(self, pattern: str, kind: str, times: int = 1) -> None:
        """Let the next `times` requests whose path matches the regular expression fail; -1 is for ever."""
        if kind not in FAULTS:
            raise ValueError(f"{kind!r} is not one of {', '.join(FAULTS)}")
        self.planned.append([re.compile(pattern), kind, times])

    def draw(self, path: str, count: int) -> str | None:
        for rule in self.planned:
            if rule[2] and rule[0].search(path):
                rule[2] -= 1
                return rule[1]
        rng = np.random.default_rng([self.seed, zlib.crc32(path.encode()), count])
        kinds = [kind for kind in self.kinds if detectable(kind, path)]
        return str(rng.choice(kinds)) if kinds and rng.random() < self.probability else None


def detectable(kind: str, path: str) -> bool:
    """Whether a client can tell: wrong bytes need a published checksum, a folder's listing is HTML anyway."""
    file = path.startswith("/sas/") and not path.endswith(("/", ".sha1sum"))
    return file if kind == "corrupt" else not (kind == "html" and path.endswith("/"))


class LoopbackServer(ThreadingHTTPServer):
    """Use `serve`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sky: Sky, faults: Faults, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.sky, self.faults, self.skyserver = sky, faults, SkyServer(sky)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[Request] = []
        self.asked: Counter = Counter()
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.building: defaultdict = defaultdict(threading.Lock)
        self.cache: OrderedDict[str, Answer] = OrderedDict()

    def make(self, path: str, query: dict) -> Answer | None:
        """The answer, made once however many ask for it, and kept while there is room."""
        key = json.dumps([path, query], sort_keys=True)
        with self.lock:
            own = self.building[key]
        with own:
            with self.lock:
                if key in self.cache:
                    self.cache.move_to_end(key)
                    return self.cache[key]
            made = answer(self.sky, self.skyserver, path, query)
            with self.lock:
                if made is not None:
                    self.cache[key] = made
                    while len(self.cache) > 1 and sum(len(a.body) for a in self.cache.values()) > CACHE_BYTES:
                        self.cache.popitem(last=False)
                self.building.pop(key, None)
            return made

    def note(self, request: Request) -> str | None:
        """Log a request and say what goes wrong with it."""
        with self.lock:
            count = self.asked[request.path]
            self.asked[request.path] += 1
            request.fault = self.faults.draw(request.path, count)
            self.requests.append(request)
            return request.fault

    def seen(self, pattern: str = "") -> list[Request]:
        """Requests whose path matches a regular expression."""
        with self.lock:
            return [r for r in self.requests if re.search(pattern, r.path)]

    def count(self, pattern: str = "") -> int:
        return len(self.seen(pattern))

    def bytes_sent(self, pattern: str = "") -> int:
        return sum(r.bytes_sent for r in self.seen(pattern))

    def summary(self) -> dict:
        """Requests, bytes and faults by path."""
        out: dict = {}
        for r in self.seen():
            entry = out.setdefault(r.path, {"requests": 0, "bytes": 0, "faults": []})
            entry["requests"] += 1
            entry["bytes"] += r.bytes_sent
            entry["faults"] += [r.fault] if r.fault else []
        return out

    def handle_error(self, request, client_address):
        """Clients that go away are part of the game; anything else is a defect and is printed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Apache/2.4", ""
    server: LoopbackServer
    entry: Request | None = None

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self.handle_request()

    def do_HEAD(self):
        self.handle_request()

    def handle_request(self):
        parts = urlsplit(self.path)
        self.entry = None
        if parts.path == "/requests":  # the server's own; neither logged nor faulty
            return self.send(200, json.dumps(self.server.summary()).encode(), "application/json")
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        self.entry = Request(
            self.command, self.path, self.headers.get("Range"), self.headers.get("User-Agent", "")
        )
        fault = self.server.note(self.entry)
        if fault in ("503", "429", "500", "404"):
            retry = {"Retry-After": f"{self.server.faults.retry_after}"} if fault in ("503", "429") else {}
            return self.send(int(fault), b"<html><body>Sorry.</body></html>", "text/html", retry)
        if fault == "html":
            return self.send(200, b"<!DOCTYPE html><html><body>Maintenance.</body></html>", "text/html")
        try:
            made = self.server.make(unquote(parts.path), query)
        except (KeyError, ValueError) as error:
            return self.send(400, f"<html><body>{error!r}</body></html>".encode(), "text/html")
        if made is None:
            return self.send(404, b"<html><body>404 Not Found</body></html>", "text/html")
        self.serve_answer(made, fault)

    def serve_answer(self, made: Answer, fault: str | None):
        """The body, or the part of it that Range and If-Range ask for, as Apache serves static files."""
        if made.status != 200 or made.dynamic:
            return self.send(made.status, made.body, made.mime, fault=fault)
        etag = f'"{hashlib.sha1(made.body).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Last-Modified": MODIFIED, "Accept-Ranges": "bytes"}
        body, size, asked = made.body, len(made.body), self.headers.get("Range")
        if asked and self.headers.get("If-Range", etag) in (etag, MODIFIED):
            found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.strip())
            if found and any(found.groups()):
                first, last = found.groups()
                start = int(first) if first else max(size - int(last), 0)
                stop = min(int(last) + 1, size) if first and last else size
                if start >= size or stop <= start:
                    return self.send(416, b"", made.mime, headers | {"Content-Range": f"bytes */{size}"})
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
                return self.send(206, body[start:stop], made.mime, headers, fault)
        self.send(200, body, made.mime, headers, fault)

    def send(
        self, status: int, body: bytes, mime: str, headers: dict | None = None, fault: str | None = None
    ):
        """Send an answer, or spoil it on the way."""
        if fault == "corrupt":
            body = bytearray(body)
            for place in range(len(body) // 3, len(body), max(len(body) // 5, 1)):
                body[place] ^= 0x5A
        self.send_response(status)
        headers = {"Content-Type": mime, "Content-Length": str(len(body))} | (headers or {})
        for name, value in headers.items():
            self.send_header(name, value)
        if fault in ("truncate", "reset", "hang", "trickle"):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            body = b""
        if fault == "trickle":
            return self.trickle(body)
        if fault in ("truncate", "reset", "hang"):
            body = body[: len(body) // 2]
        self.count(status, len(body))  # before: the client may ask at once what was counted
        self.wfile.write(body)
        if fault == "hang":
            self.server.stopping.wait(self.server.faults.hang)
        if fault == "reset":  # a closed socket that lingers for 0 s sends RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()  # it keeps the socket open
            self.connection.close()

    def trickle(self, body: bytes):
        """A few bytes a second, then nothing more."""
        steps = 20
        for i in range(steps):
            self.count(200, 1)
            self.wfile.write(body[i : i + 1])
            if self.server.stopping.wait(self.server.faults.hang / steps):
                return

    def count(self, status: int, sent: int):
        if self.entry is not None:
            with self.server.lock:
                self.entry.status = status
                self.entry.bytes_sent += sent


@contextmanager
def serve(sky: Sky | None = None, port: int = 0, **faults) -> Iterator[LoopbackServer]:
    """Run a server in threads of this process; see its `url`, `sky`, `faults`, `requests`, `count`."""
    server = LoopbackServer(sky or Sky(), Faults(**faults), port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve until SIGTERM or SIGINT; the first line of output is the address."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fibres", type=int, default=640, help="of an SDSS plate")
    parser.add_argument("--per-frame", type=int, default=25)
    parser.add_argument("--distinct", type=int, default=512, help="simulated galaxies, a multiple of 128")
    parser.add_argument("--noisy", action="store_true", help="sky noise all over the frames")
    parser.add_argument("--faults", type=float, default=0.0, help="probability")
    parser.add_argument("--kinds", default=",".join(TEMPORARY), help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--hang", type=float, default=30.0)
    parser.add_argument("--retry-after", type=int, default=1)
    a = parser.parse_args()
    sky = Sky(a.objects, a.seed, a.fibres, a.per_frame, a.distinct, noisy=a.noisy)
    faults = {"probability": a.faults, "kinds": tuple(a.kinds.split(",")), "seed": a.seed}
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with serve(sky, a.port, **faults, hang=a.hang, retry_after=a.retry_after) as server:
        print(server.url, flush=True)
        done.wait()


if __name__ == "__main__":
    main()
