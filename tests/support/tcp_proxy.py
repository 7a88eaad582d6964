"""A TCP proxy before Postgres: it can be led to another server while old connections live on, go silent, or are cut."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass
class TcpProxy:
    """``lead_to`` and ``refuse`` are for connections to come, ``silence``, ``lose_answers`` and ``cut`` for those that are there."""

    url: str = ""
    """The URL of the database through the proxy."""
    server: str = ""
    """The URL of the server that new connections are led to."""
    refusal: tuple[str, str] | None = None
    """SQLSTATE and message that new connections are refused with, in the server's place."""
    accepted: int = 0
    lost_answers: int = 0
    """Pieces of what the servers said that were lost, since ``lose_answers`` was last called."""
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _silent: set[asyncio.StreamWriter] = field(default_factory=set)

    def lead_to(self, server: str) -> None:
        self.server, self.refusal = server, None

    def refuse(self, state: str, message: str) -> None:
        self.refusal = state, message

    def silence(self) -> None:
        """What the connections that are there still say arrives nowhere; both ends believe that they live."""
        self._silent |= self._writers

    def lose_answers(self) -> None:
        """The server does what the connections that are there ask for, and its answers arrive nowhere."""
        self._silent |= self._clients
        self.lost_answers = 0

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusal is not None:
            await self._refuse(reader, writer, *self.refusal)
            return
        parts = urlsplit(self.server)
        pair = [writer]
        try:
            back, forth = await asyncio.open_connection(parts.hostname, parts.port)
            pair.append(forth)
            self._writers |= {writer, forth}
            self._clients.add(writer)
            await asyncio.gather(self._pump(reader, forth), self._pump(back, writer))
        except OSError:
            pass
        finally:
            for one in pair:
                one.close()
            self._writers -= set(pair)
            self._silent -= set(pair)
            self._clients -= set(pair)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
                elif writer in self._clients:
                    self.lost_answers += 1
        if writer not in self._silent:
            writer.close()

    async def _refuse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: str, message: str
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            (code,) = struct.unpack("!I", (await reader.readexactly(length - 4))[:4])
            if code >> 16 != 3:  # asks for encryption first
                writer.write(b"N")
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                await reader.readexactly(length - 4)
            fields = f"SFATAL\0VFATAL\0C{state}\0M{message}\0\0".encode()
            writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def tcp_proxy(server: str) -> AsyncIterator[TcpProxy]:
    """A proxy on a free port that leads to ``server``, for the same user and database."""
    proxy = TcpProxy(server=server)
    async with await asyncio.start_server(proxy._serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        parts = urlsplit(server)
        login = parts.netloc.rpartition("@")[0]
        proxy.url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        try:
            yield proxy
        finally:
            proxy.cut()
