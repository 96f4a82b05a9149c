"""A server that answers each request as a test told it to."""

import http.server
import socket
import threading
from collections import defaultdict
from contextlib import contextmanager

BODY = b"SIMPLE  =" + bytes(range(256)) * 300


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request to a path with that path's next scripted behaviour, then with the whole body."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        server.now += 1
        server.most = max(server.most, server.now)
        try:
            script = server.scripts[self.path]
            (script.pop(0) if script else whole)(self)
        finally:
            server.now -= 1

    def send(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def whole(handler, tag='"v1"'):
    """The body, or the rest of it where the client asks with the right version."""
    wanted = handler.headers.get("Range")
    if wanted and handler.headers.get("If-Range") == tag:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(BODY):
            return handler.send(416, Content_Range=f"bytes */{len(BODY)}")
        told = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        return handler.send(206, BODY[start:], ETag=tag, Content_Range=told)
    return handler.send(200, BODY, ETag=tag)


def status(code, **headers):
    return lambda handler: handler.send(code, b"<html>no</html>", **headers)


def cut(handler, n=20_000, tag='"v1"'):
    """Promise everything, send `n` bytes, and hang up."""
    handler.send(200, BODY[:n], length=len(BODY), ETag=tag)
    handler.close_connection = True


def reset(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()
    handler.close_connection = True


def answer(body, **headers):
    return lambda handler: handler.send(200, body, **headers)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up is part of the test."""


@contextmanager
def serving(**scripts):
    with Server(("127.0.0.1", 0), Handler) as server:
        server.scripts = defaultdict(list, {f"/{name}": list(script) for name, script in scripts.items()})
        server.requests, server.now, server.most = [], 0, 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
