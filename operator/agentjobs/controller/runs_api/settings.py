"""What the operator is told of the runs API: which Service serves it, and who makes its certificates."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RegistrationTimes:
    """When an APIService is withdrawn, and tried again. Seconds."""

    unavailable: float = 60.0
    """Not reached for so long: withdrawn. A rollout or a move to another node takes less."""
    seen: float = 15.0
    """Of them this operator must have seen so much itself: neither the clock of another machine nor a first look
    decides."""
    first_retry: float = 120.0
    longest_retry: float = 6 * 3600.0
    """Between a withdrawal and the next try: twice as long each time. Behind a firewall that never opens, the cluster's
    namespaces can be deleted for all but some 70 seconds of each six hours."""
    calm: float = 600.0
    """Reached for so long: earlier withdrawals are forgotten."""
    gap: float = 30.0
    """After so long without a look, what was seen before says nothing any more."""


@dataclass(frozen=True, slots=True)
class CertificateTimes:
    """How long certificates live."""

    life: timedelta = timedelta(days=90)
    """Renewed at two thirds of it."""
    settle_seconds: float = 60.0
    """The API server has trusted the next authority for so long before a server shows a certificate of it: each of several
    API servers reads the APIService on its own."""


@dataclass(frozen=True, slots=True)
class RunsApiSettings:
    """One runs API."""

    namespace: str
    service: str
    """The Service, in ``namespace``."""
    secret: str
    """The Secret with the serving certificate, in ``namespace``."""
    port: int = 443
    """Of the Service."""
    wanted: bool = True
    """False: it is switched off, and only a registration that is left over is withdrawn."""
    makes_certificates: bool = True
    """False: the Secret is somebody else's (cert-manager's); only its ``ca.crt`` is read."""
    look_seconds: float = 5.0
    """How often all is looked at. Four requests each time."""
    namespace_seconds: float = 1.0
    """How often it is asked, from the API server's cache, whether the namespace is being deleted: the operator's own token
    dies with it within seconds."""
    secret_seconds: float = 15.0
    times: RegistrationTimes = field(default_factory=RegistrationTimes)
    certificates: CertificateTimes = field(default_factory=CertificateTimes)

    @property
    def host(self) -> str:
        """The name by which the API server calls the server, and checks its certificate."""
        return f"{self.service}.{self.namespace}.svc"
