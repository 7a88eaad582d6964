"""What the API server trusts, and what it should: shared by the loop of certificates and that of the registration."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass


@dataclass(slots=True)
class Trust:
    """PEM of authorities. ``wanted`` empty: there is no certificate yet. Monotonic seconds."""

    wanted: bytes = b""
    given: bytes | None = None
    """The caBundle of our APIService as it was last seen; None: there is none, so nobody can be refused."""
    looked: bool = False
    """Whether ``given`` says anything yet."""
    _since: float = 0.0

    @property
    def bundle(self) -> str:
        """The caBundle that the APIService should have."""
        return base64.b64encode(self.wanted).decode()

    @property
    def earlier(self) -> bytes:
        """PEM of what the API server may trust by now: what it was seen to trust, and what it was to trust at the last look at the
        Secret, which may have been given to it since. A server may show a certificate of any of them."""
        return b"\n".join((self.given or b"", self.wanted))

    def saw(self, bundle: str | None, now: float) -> None:
        """Notes the caBundle of our APIService; None: there is none."""
        given = None if bundle is None else _decoded(bundle)
        if not self.looked or given != self.given:
            self._since = now
        self.given, self.looked = given, True

    def settled(self, authority: bytes, now: float, seconds: float) -> bool:
        """Whether the API server has trusted this authority for so long, or has nothing to trust."""
        if not self.looked:
            return False
        return self.given is None or (authority in self.given and now - self._since >= seconds)


def _decoded(bundle: str) -> bytes:
    try:
        return base64.b64decode(bundle, validate=True)
    except (binascii.Error, ValueError):
        return b""
