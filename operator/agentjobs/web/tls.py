"""TLS of the aggregated door: a client certificate is wanted, and both ends' certificates may change while we serve."""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio import sslproto
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from agentjobs.web.front_proxy import Peer

log = logging.getLogger(__name__)
READ_BYTES = 16 << 10
"""Of a connection's buffer: as much as one record of TLS holds. asyncio's own has 256 KiB, of which a thousand streams need none."""
sslproto.SSLProtocol.max_size = READ_BYTES
PEER = "peer"
"""Key in the scope's state: the client's certificate, a Peer; None: there is none, or no TLS."""
_open: WeakSet[PeerProtocol] = WeakSet()
"""Connections with TLS."""


HEAD_SECONDS = 20.0
"""How long the first line and the headers of a request may take: from the connection's beginning, later from their first byte."""


class PeerProtocol(H11Protocol):
    """HTTP with the client's certificate in the scope's state, which uvicorn itself does not hand on; and with an end to heads
    that come too slowly, each of which would keep a connection."""

    context: ssl.SSLContext
    """By which the certificate was verified; only with TLS."""
    _head: asyncio.TimerHandle | None = None
    """Closes the connection. None: no head is waited for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self.app_state = {**self.app_state, PEER: None if tls is None else peer_of(tls.getpeercert())}
        if tls is not None:
            self.context = tls.context
            _open.add(self)
        self._time_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head is not None:
            self._head.cancel()
        super().connection_lost(exc)

    def _time_head(self) -> None:
        """Begins or ends the time of a head, which is waited for at first, and then where a part of one is there."""
        begun = self.cycle is None or bool(self.conn.trailing_data[0])
        if self.conn.their_state is h11.IDLE and begun:
            self._head = self._head or self.loop.call_later(HEAD_SECONDS, self.transport.close)
        elif self._head is not None:
            self._head.cancel()
            self._head = None


def peer_of(certificate: dict[str, Any] | None) -> Peer | None:
    """What a certificate says. None: there is none."""
    if not certificate:
        return None
    names = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
    return Peer(
        str(names[0]) if len(names) == 1 else None, float(ssl.cert_time_to_seconds(certificate["notAfter"]))
    )


class ServingTls:
    """The TLS context of the listener. Each handshake takes the newest certificate and client CA, without a restart."""

    def __init__(self, folder: Path, client_ca: str) -> None:
        """``folder`` has ``tls.crt`` and ``tls.key``. Raises OSError, ssl.SSLError."""
        self._folder = folder
        self._client_ca = client_ca
        self._read = self._contents()
        self._verifies_by: WeakKeyDictionary[ssl.SSLContext, str] = WeakKeyDictionary()
        self._newest = self._context()
        self.context = self._context()
        # a handshake is moved to the newest context before certificates are sent and verified
        self.context.sni_callback = self._move

    def trust(self, client_ca: str) -> None:
        """Client certificates are verified by this CA from now on. A connection that was verified by an earlier one answers what
        it is about, and takes no further request. Raises ssl.SSLError, ValueError."""
        if client_ca == self._client_ca:
            return
        before, self._client_ca = self._client_ca, client_ca
        try:
            self._newest = self._context()
        except BaseException:
            self._client_ca = before
            raise
        log.info("the API server's front proxy has another CA; it is used from now on")
        for connection in list(_open):
            if self._verifies_by.get(connection.context, client_ca) != client_ca:
                connection.shutdown()

    def reload(self) -> None:
        """Reads the serving certificate again where its files have changed; one that cannot be used is not taken."""
        try:
            contents = self._contents()
            if contents != self._read:
                self._newest = self._context()
                self._read = contents
                log.info("the serving certificate has changed; the new one is used from now on")
        except (OSError, ssl.SSLError) as error:
            log.warning(
                "the serving certificate in %s cannot be used, the last one stays: %s", self._folder, error
            )

    def _contents(self) -> tuple[bytes, ...]:
        return tuple((self._folder / name).read_bytes() for name in ("tls.crt", "tls.key"))

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self._client_ca)
        context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")
        context.set_alpn_protocols(["http/1.1"])
        # a resumed session would keep the verification of an earlier CA
        context.options |= ssl.OP_NO_TICKET
        self._verifies_by[context] = self._client_ca
        return context

    def _move(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest
