"""The server of the local door: threads of the standard library, a connection to ``kubectl proxy`` for each request."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from agentjobs.cli.errors import BadInput
from agentjobs.cli.kubectl.door import (
    GUARDS,
    Asked,
    Door,
    Turned,
    body_bytes,
    passed_back,
    passed_on,
)
from agentjobs.cli.kubectl.proxy import connected

IDLE_SECONDS = 60.0
"""Silence of the browser on a kept connection, after which it is closed."""
ANSWER_SECONDS = 120.0
"""Silence of the API server: streams have a sign of life every 15 s."""
CHUNK_BYTES = 65_536


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, port: int, socket: Path, start: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.socket_path = socket
        self.door = Door(self.server_address[1], start)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of an answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of the browser."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "agentjobs", ""
    timeout: ClassVar[float | None] = IDLE_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged: the first visit's path holds the secret."""

    def handle_one(self) -> None:
        """Answers one request."""
        asked = Asked(self.command, self.path, self.headers.items())
        try:
            if (headers := self.server.door.opened(asked)) is not None:
                self._answer(
                    HTTPStatus.OK,
                    {**headers, "Content-Type": "text/html"},
                    self.server.door.leads_on.encode(),
                )
                return
            self.server.door.check(asked)
            body = self.rfile.read(body_bytes(asked))
        except Turned as turned:
            # what is left of a body would be read as the next request
            self.close_connection = True
            self._answer(turned.status, {"Content-Type": "text/plain; charset=utf-8"}, f"{turned}\n".encode())
            return
        self._pass_on(asked, body)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_OPTIONS = handle_one

    def _pass_on(self, asked: Asked, body: bytes) -> None:
        connection = http.client.HTTPConnection("localhost", timeout=ANSWER_SECONDS)
        try:
            try:
                connection.sock = connected(self.server.socket_path, ANSWER_SECONDS)
                connection.request(asked.method, asked.target, body or None, passed_on(asked))
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                words = f"kubectl proxy does not answer: {error}\n".encode()
                self._answer(HTTPStatus.BAD_GATEWAY, {"Content-Type": "text/plain; charset=utf-8"}, words)
                return
            self._pass_back(asked, response)
        finally:
            connection.close()

    def _pass_back(self, asked: Asked, response: http.client.HTTPResponse) -> None:
        headers = passed_back(response.getheaders())
        self.send_response(response.status)
        for key, value in headers.items():
            self.send_header(key, value)
        if asked.method == "HEAD" or response.status in (204, 304):
            self.end_headers()
            return
        if response.length is not None:
            self.send_header("Content-Length", str(response.length))
        else:
            # a stream, whose end is that of the connection
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        try:
            while chunk := response.read1(CHUNK_BYTES):
                self.wfile.write(chunk)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # one side is gone: the answer ends here, short

    def _answer(self, status: HTTPStatus, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in {**GUARDS, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def open_door(port: int, socket: Path, start: str) -> Iterator[Door]:
    """The door, open until the block ends.

    :param port: 0: any free one.
    :raises BadInput: the port is taken.
    """
    try:
        server = _Server(port, socket, start)
    except OSError as error:
        raise BadInput(
            f"--port: {port} cannot be opened: {error.strerror}. Leave it out for a free one."
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server.door
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
