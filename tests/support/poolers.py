"""What a pooler in transaction mode does to a client: it takes no settings at the start of a connection.

PgBouncer's words and protocol for that; everything else goes through as it is.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_MESSAGE = "unsupported startup parameter: options"


@asynccontextmanager
async def refusing_options(dsn: str) -> AsyncIterator[str]:
    """The URL of the same database through it."""
    parts = urlsplit(dsn)
    busy: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            startup = await _startup(reader, writer)
            if b"options\0" in startup:
                fields = f"SFATAL\0C08P01\0M{_MESSAGE}\0\0".encode()
                writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
                await writer.drain()
            else:
                server = await asyncio.open_connection(parts.hostname, parts.port)
                server[1].write(startup)
                await asyncio.gather(_pump(reader, server[1]), _pump(server[0], writer))
        writer.close()
        busy.discard(task)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        yield urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        for task in busy:
            task.cancel()


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The packet with the user's name in it; requests for encryption before it are declined."""
    while True:
        length = await reader.readexactly(4)
        body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
        if struct.unpack("!I", body[:4])[0] >> 16 == 3:
            return length + body
        writer.write(b"N")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
