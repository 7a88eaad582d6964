"""TLS of the aggregated door: a client certificate is wanted, and both ends' certificates may change while we serve."""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio import sslproto
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)
READ_BYTES = 16 << 10
"""Of a connection's buffer: as much as one record of TLS holds. asyncio's own has 256 KiB, of which a thousand streams need none."""
sslproto.SSLProtocol.max_size = READ_BYTES
PEER = "peer_common_name"
"""Key in the scope's state: the common name of the client's certificate; None: there is none, or no TLS."""


class PeerProtocol(H11Protocol):
    """HTTP with the client certificate's common name in the scope's state; uvicorn itself does not hand it on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert() if tls is not None else None
        self.app_state = {**self.app_state, PEER: common_name(certificate)}


def common_name(certificate: dict[str, Any] | None) -> str | None:
    """The subject's common name. None: no certificate, or not exactly one name in it."""
    names = [
        value for part in (certificate or {}).get("subject", ()) for key, value in part if key == "commonName"
    ]
    return str(names[0]) if len(names) == 1 else None


class ServingTls:
    """The TLS context of the listener. Each handshake takes the newest certificate and client CA, without a restart."""

    def __init__(self, folder: Path, client_ca: str) -> None:
        """``folder`` has ``tls.crt`` and ``tls.key``. Raises OSError, ssl.SSLError."""
        self._folder = folder
        self._client_ca = client_ca
        self._read = self._contents()
        self._newest = self._context()
        self.context = self._context()
        # a handshake is moved to the newest context before certificates are sent and verified
        self.context.sni_callback = self._move

    def trust(self, client_ca: str) -> None:
        """Client certificates are verified by this CA from now on. Raises ssl.SSLError."""
        if client_ca != self._client_ca:
            before, self._client_ca = self._client_ca, client_ca
            try:
                self._newest = self._context()
            except ssl.SSLError:
                self._client_ca = before
                raise
            log.info("the API server's front proxy has another CA; it is used from now on")

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
        return context

    def _move(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest
