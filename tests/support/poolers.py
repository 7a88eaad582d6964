"""What a pooler does to a client, with PgBouncer's words and protocol.

``refusing_options``: it takes no settings at the start of a connection; all else goes through, as in session mode.
``in_transaction_mode``: a client has a server connection for a transaction only.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_UNTOLD = (b"in_hot_standby", b"default_transaction_read_only")
"""Of a server's parameters PgBouncer tells clients those alone that it keeps apart: libpq then asks for these."""
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


@asynccontextmanager
async def in_transaction_mode(dsn: str) -> AsyncIterator[str]:
    """The URL of the same database through a pool whose last used connection is the next one's, as PgBouncer's is.

    Each client logs in by a server connection of its own, which is the pool's from then on.
    """
    parts = urlsplit(dsn)
    pool: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    opened: list[asyncio.StreamWriter] = []
    busy: set[asyncio.Task[None]] = set()

    async def until_ready(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> bool:
        """Hands on what the server says until it is ready. True: no transaction is open."""
        while True:
            head, body = await _message(server)
            client.write(head + body)
            if head[:1] == b"Z":
                await client.drain()
                return body == b"I"
            if head[:1] in b"RG":  # it asks for a password, or for rows
                await client.drain()
                return False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        mine = None
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            startup = await _startup(reader, writer)
            mine = await asyncio.open_connection(parts.hostname, parts.port)
            opened.append(mine[1])
            mine[1].write(startup)
            ready = False
            while not ready:  # the login, by its own connection
                head, body = await _message(mine[0])
                if head[:1] != b"S" or body.split(b"\0")[0] not in _UNTOLD:
                    writer.write(head + body)
                ready = head[:1] == b"Z"
                if head[:1] == b"R" and struct.unpack("!I", body[:4])[0] in (3, 5, 10, 11):
                    await writer.drain()
                    mine[1].write(b"".join(await _message(reader)))
            await writer.drain()
            pool.append(mine)
            mine = None
            while True:
                head, body = await _message(reader)
                if head[:1] == b"X":
                    break
                mine = mine or pool.pop()
                mine[1].write(head + body)
                if head[:1] in b"QSc" and await until_ready(mine[0], writer):
                    pool.append(mine)
                    mine = None
        if mine is not None:
            mine[1].close()  # it was left within a transaction
        writer.close()
        busy.discard(task)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        yield urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        for task in busy:
            task.cancel()
        for one in opened:
            one.close()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One message of the protocol: its type with its length, and the rest."""
    head = await reader.readexactly(5)
    return head, await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


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
