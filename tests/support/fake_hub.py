"""A hub on the loopback address: the part of the Hugging Face hub's interface that models travel through."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_of_this_test"


class Hub:
    """Repositories in memory. `fault(path)` may be "wrong", "short", "cut" or a status; see `_send_file`."""

    def __init__(self):
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}  # repository, commit, file; the last is main
        self.blobs: dict[str, bytes] = {}  # by sha256
        self.fetched: list[str] = []
        self.faults: dict[str, str | int] = {}
        self.url = ""

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        commits = self.repos.setdefault(repo, {})
        content = {**(list(commits.values())[-1] if commits else {}), **files}
        oid = hashlib.sha1(repr((len(commits), sorted(content.items()))).encode()).hexdigest()
        commits[oid] = content
        return oid

    def find(self, repo: str, revision: str) -> str | None:
        commits = self.repos.get(repo, {})
        return (
            next(reversed(commits), None) if revision == "main" else revision if revision in commits else None
        )


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag(name: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if is_large(name) else git_id(content)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, headers=(), stated=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": stated or len(body), **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if stated:
            self.close_connection = True

    def refuse(self, status, code):
        self.answer({"error": code}, status, {"X-Error-Code": code, "X-Error-Message": code})

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self._send_info(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            self._send_tree(*match.groups())
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._send_file(*match.groups())
        else:
            self.refuse(404, "EntryNotFound")

    def _send_tree(self, repo, revision):
        oid = self.hub.find(repo, revision)
        files = [
            {"type": "file", "path": name, "size": len(content), "oid": git_id(content)}
            | (
                {"lfs": {"oid": etag(name, content), "size": len(content), "pointerSize": 134}}
                if is_large(name)
                else {}
            )
            for name, content in self.hub.repos[repo][oid].items()
        ]
        self.answer(files)

    def _send_info(self, repo, revision):
        if repo not in self.hub.repos:
            return self.refuse(404, "RepoNotFound")
        oid = self.hub.find(repo, revision)
        if oid is None:
            return self.refuse(404, "RevisionNotFound")
        siblings = []
        for name, content in self.hub.repos[repo][oid].items():
            file = {"rfilename": name, "size": len(content), "blobId": git_id(content)}
            if is_large(name):
                file["lfs"] = {"sha256": etag(name, content), "size": len(content), "pointerSize": 134}
            siblings.append(file)
        self.answer({"id": repo, "modelId": repo, "sha": oid, "siblings": siblings, "tags": []})

    def _send_file(self, repo, revision, name):
        oid = self.hub.find(repo, revision)
        content = self.hub.repos.get(repo, {}).get(oid, {}).get(name)
        if content is None:
            return self.refuse(404, "EntryNotFound")
        headers = {"ETag": f'"{etag(name, content)}"', "X-Repo-Commit": oid, "X-Linked-Size": len(content)}
        fault = self.hub.faults.get(name) if self.command == "GET" else None
        if self.command == "GET":
            self.hub.fetched.append(name)
        if isinstance(fault, int):
            return self.refuse(fault, "EntryNotFound")
        if fault == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault == "short":
            content = content[: len(content) // 2]
        if fault == "cut":  # once, in the middle; then the rest is asked for
            del self.hub.faults[name]
            return self.answer(content[: len(content) // 2], 200, headers, stated=len(content))
        if start := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            first = int(start[1])
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return self.answer(content[first:], 206, headers)
        self.answer(content, 200, headers)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_PUT(self):
        oid, content = self.path.rpartition("/")[2], self.body()
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.blobs[oid] = content
        self.answer({})

    def do_POST(self):
        body, path = self.body(), self.path.partition("?")[0]
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid username or password."}, 401)
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            if repo in self.hub.repos:
                return self.answer({"error": "You already created this model repo"}, 409)
            self.hub.repos[repo] = {}
            self.answer({"url": f"{self.hub.url}/{repo}", "name": repo, "id": "1"})
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
            files = [
                {"path": f["path"], "uploadMode": "lfs" if is_large(f["path"]) else "regular"}
                for f in json.loads(body)["files"]
            ]
            self.answer({"files": [{**file, "shouldIgnore": False} for file in files]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            files = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
            oid = self.hub.commit(match[1], files)
            url = f"{self.hub.url}/{match[1]}/commit/{oid}"
            self.answer({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})
        else:
            self.refuse(404, "EntryNotFound")


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
