"""A small stand-in for the Hugging Face hub on the loopback address: it keeps what arrives, and fails where asked."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class StandInHub:
    """What the hub does, and what it was sent.

    Attributes
    ----------
    token
        Which alone may write.
    failure
        Status that ``fails_at`` (a part of the path) answers; 0 for none.
    repositories
        Path of each repository that was made -> whether it is private.
    files
        Path of a repository -> names and bytes.
    """

    token: str
    failure: int = 0
    fails_at: str = "/commit/"
    repositories: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub

    def log_message(self, *_: Any) -> None:
        pass

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, content: Any = None) -> None:
        text = json.dumps(content if content is not None else {}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _refused(self) -> bool:
        hub = self.hub
        if hub.failure and hub.fails_at in self.path:
            self._body()
            self._answer(hub.failure, {"error": "as asked"})
            return True
        if not self.path.startswith("/large/") and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._body()
            self._answer(401, {"error": "who are you"})
            return True
        return False

    def do_GET(self) -> None:
        if self._refused():
            return
        kind, name = self.path.removeprefix("/api/").partition("?")[0].split("/", 1)
        name = name.removesuffix("/revision/main")
        place = f"{kind}/{name}"
        if place not in self.hub.repositories:
            self._answer(404, {"error": "not there"})
            return
        found = {"id": name, "private": self.hub.repositories[place], "sha": "0" * 40, "siblings": [], "tags": []}
        self._answer(200, found)

    def do_POST(self) -> None:
        if self._refused():
            return
        body = self._body()
        if self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            mode = {True: "lfs", False: "regular"}
            files = [{"path": f["path"], "uploadMode": mode[f["path"].endswith(".safetensors")]} for f in asked]
            self._answer(200, {"files": [{**file, "shouldIgnore": False, "oid": None} for file in files]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            upload = [{**o, "actions": {"upload": {"href": f"{self.hub.url}/large/{o['oid']}"}}} for o in objects]
            self._answer(200, {"transfer": "basic", "objects": upload})
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            self._answer(200)

    def do_PUT(self) -> None:
        if self._refused():
            return
        body = self._body()
        self.hub.large[hashlib.sha256(body).hexdigest()] = body
        self._answer(200)

    def _create(self, asked: dict[str, Any]) -> None:
        owner = f"{asked['organization']}/" if asked.get("organization") else ""
        kind, name = asked.get("type") or "model", f"{owner}{asked['name']}"
        place = f"{kind}s/{name}"
        url = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if place in self.hub.repositories:
            self._answer(409, {"error": "You already created this repo", "url": url})
            return
        self.hub.repositories[place] = bool(asked.get("private", asked.get("visibility") == "private"))
        self._answer(200, {"url": url, "name": name})

    def _commit(self, body: bytes) -> None:
        place = self.path.removeprefix("/api/").split("/commit/")[0]
        files = self.hub.files.setdefault(place, {})
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        url = f"{self.hub.url}/{place.removeprefix('models/')}/commit/{'1' * 40}"
        self._answer(200, {"commitUrl": url, "commitOid": "1" * 40, "success": True})


@contextmanager
def stand_in_hub(token: str = "hf_" + "x" * 34) -> Iterator[StandInHub]:
    """Serve a hub while the context lasts."""
    hub = StandInHub(token=token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
