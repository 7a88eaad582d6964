"""A Cloud Storage server for the real client: buckets in memory, generations, and failures that a test asks for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest


class Buckets:
    """The server. ``STORAGE_EMULATOR_HOST`` leads the client to it."""

    def __init__(self) -> None:
        self.blobs: dict[str, dict[str, Any]] = {}
        """Metadata of each blob by name, with its content under ``data``."""
        self.status = 0
        """With what each request is answered. 0: as a server would."""
        self.asked: list[str] = []
        """Method and path of each request."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                outer.answer(self, self.rfile.read(length))

            do_GET = do_POST = do_DELETE = do_PATCH = _any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, call: BaseHTTPRequestHandler, body: bytes) -> None:
        url = urlsplit(call.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.asked.append(f"{call.command} {url.path}")
        if self.status:
            self._json(call, {"error": {"code": self.status, "message": "as the test asks"}}, self.status)
        elif url.path.startswith("/upload/"):
            self._upload(call, body, query)
        elif url.path.endswith("/o"):
            names = [name for name in sorted(self.blobs) if name.startswith(query.get("prefix", ""))]
            self._json(call, {"kind": "storage#objects", "items": [self._told(name) for name in names]})
        else:
            self._one(call, unquote(url.path.split("/o/", 1)[1]), query)

    def _upload(self, call: BaseHTTPRequestHandler, body: bytes, query: dict[str, str]) -> None:
        head = f"Content-Type: {call.headers['Content-Type']}\n\n".encode()
        _, meta, content = message_from_bytes(head + body).walk()
        told = json.loads(str(meta.get_payload()))
        if query.get("ifGenerationMatch") == "0" and told["name"] in self.blobs:
            self._json(call, {"error": {"code": 412, "message": "it is there"}}, 412)
            return
        data = content.get_payload(decode=True)
        self.blobs[told["name"]] = {"contentType": content.get_content_type(), **told, "data": data}
        self._json(call, self._told(told["name"]))

    def _one(self, call: BaseHTTPRequestHandler, name: str, query: dict[str, str]) -> None:
        if name not in self.blobs:
            self._json(call, {"error": {"code": 404, "message": f"No such object: {name}"}}, 404)
        elif call.command == "DELETE":
            del self.blobs[name]
            call.send_response(204)
            call.end_headers()
        elif query.get("alt") == "media":
            self._bytes(call, self.blobs[name]["data"], self.blobs[name]["contentType"])
        else:
            self._json(call, self._told(name))

    def _told(self, name: str) -> dict[str, Any]:
        blob = {key: value for key, value in self.blobs[name].items() if key != "data"}
        return {"kind": "storage#object", "bucket": "b", "generation": "1", "size": str(len(self.blobs[name]["data"])), **blob}  # fmt: skip

    def _json(self, call: BaseHTTPRequestHandler, value: object, status: int = 200) -> None:
        self._bytes(call, json.dumps(value).encode(), "application/json", status)

    def _bytes(self, call: BaseHTTPRequestHandler, data: bytes, kind: str, status: int = 200) -> None:
        call.send_response(status)
        call.send_header("Content-Type", kind)
        call.send_header("Content-Length", str(len(data)))
        call.end_headers()
        call.wfile.write(data)


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    server = Buckets()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    yield server
    server.close()
