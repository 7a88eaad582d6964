"""A model provider on a bare socket, so that it can do what web servers do not: cut, reset, stall, promise more than
it sends.

    with FakeProvider() as provider:
        provider.answer = Answer(failure=Failure(500))     # the same to every request
        … provider.url …
        assert provider.requests == 1

It runs in a thread of its own, on a free loopback port, and speaks Gemini, OpenAI and Anthropic by the request's path.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Self

from provider_shapes import Answer, body_of

_NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST instead of FIN."""


class FakeProvider:
    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        self._certificate, self._key = certificate, key
        self.answer = Answer()
        self.requests = 0
        """Since the last reset by a test."""
        self.port = self.tls_port = 0
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """The same behind the certificate, where one was given."""
        return f"https://127.0.0.1:{self.tls_port}"

    def __enter__(self) -> Self:
        ready: Future[tuple[int, int]] = Future()
        threading.Thread(target=self._serve, args=(ready,), name="fake-provider", daemon=True).start()
        self.port, self.tls_port = ready.result(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)

    def _serve(self, ready: Future[tuple[int, int]]) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main(ready))

    async def _main(self, ready: Future[tuple[int, int]]) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=64)
        servers, ports = [server], [server.sockets[0].getsockname()[1], 0]
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._key)
            servers.append(await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=context))
            ports[1] = servers[1].sockets[0].getsockname()[1]
        ready.set_result((ports[0], ports[1]))
        await self._stopping.wait()
        for one in servers:
            one.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._exchange(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone: it gave up, or has what it wanted
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ", 2)[1]
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        request = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests += 1
        answer = self.answer
        shape, streaming = _asked(path, request)
        kind, text = body_of(answer, shape, streaming)
        body = text.encode()
        status = answer.failure.status if answer.failure is not None else 200
        own = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        start = (
            f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\n{own}\r\n"
        ).encode()
        half = body[: len(body) // 2]
        match answer.fault:
            case "reset":
                _reset(writer)
            case "closed":
                return
            case "silent":
                await self._stopping.wait()
            case "silent_midway":
                writer.write(start + half)
                await writer.drain()
                await self._stopping.wait()
            case "reset_midway":
                writer.write(start + half)
                await writer.drain()
                _reset(writer)
            case "truncated":
                writer.write(start + half)
            case _:
                writer.write(start + body)
        await writer.drain()


def _asked(path: str, request: bytes) -> tuple[str, bool]:
    """(shape, whether a stream is wanted)."""
    if "generateContent" in path or "streamGenerateContent" in path:
        return "gemini", "streamGenerateContent" in path
    if not request.startswith(b"{"):  # a form: OAuth's
        return "openai", False
    return ("anthropic" if path.endswith("/messages") else "openai"), bool(json.loads(request).get("stream"))


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


def full_backlog() -> tuple[str, list[socket.socket]]:
    """(address, what holds it): a port that no connection can be made to, nor is refused by: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    held = [listener]
    for _ in range(3):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
        held.append(waiting)
    return f"http://127.0.0.1:{listener.getsockname()[1]}", held
