"""When the runs API is registered with the API server, and when it is withdrawn; pure.

Example: two servers run behind a firewall that lets the API server reach no pod. An endpoint is ready, so the APIService
is made. The API server reports FailedDiscoveryCheck; after 60 s the APIService is withdrawn, an Event says why, and it is
tried again after 2 minutes, 4, 8, up to 6 hours. Between the tries the cluster notices nothing of it.

While an APIService is there and cannot be reached, no namespace of the cluster can be deleted
(kubernetes/kubernetes#60807): whatever is in doubt is decided in favour of the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from uuid import UUID

from agentjobs.controller.runs_api.settings import RegistrationTimes


class Act(Enum):
    """What is done to the APIService."""

    REGISTER = "register"
    UPDATE = "update"
    """It is ours, and does not say what it should: the caBundle, the Service, the installation."""
    WITHDRAW = "withdraw"
    WAIT = "wait"


class State(StrEnum):
    """What is so now; the metric's label."""

    SERVING = "serving"
    UNREACHABLE = "unreachable"
    """Registered, and the API server does not reach it, not for long enough yet."""
    NO_ENDPOINT = "no_endpoint"
    NO_CERTIFICATE = "no_certificate"
    WITHDRAWN = "withdrawn"
    """Until the next try."""
    ELSEWHERE = "elsewhere"
    """Another installation, or a person, owns the APIService."""
    LEAVING = "leaving"
    """The Service or its namespace is being deleted, or the release is being uninstalled."""


@dataclass(frozen=True, slots=True)
class ServiceRef:
    """The Service that an APIService names."""

    namespace: str
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Registered:
    """The APIService as it was found."""

    uid: str
    installation: str
    """Who made it, by the annotation; empty: it has none, so no operator of ours did."""
    service: ServiceRef | None
    bundle: str
    """caBundle, base64."""
    available: bool
    since: datetime
    """When its condition took this value, by the API server's clock; without a condition, when it was made."""
    words: str = ""
    """Reason and message of the condition."""
    unserved: str = ""
    """Why its discovery document did not come through the API server, as every controller of the cluster asks for it; empty:
    it came. The condition alone does not tell: it is also True where the caBundle is wrong."""
    deleting: bool = False

    @property
    def healthy(self) -> bool:
        return self.available and not self.unserved

    @property
    def why(self) -> str:
        """What is wrong, in the API server's words."""
        return self.unserved if self.available else self.words or "it has not answered yet"


@dataclass(frozen=True, slots=True)
class Found:
    """What one look has found in the cluster."""

    installation: UUID | None
    """Ours; None: not known (a release that is being uninstalled has no database)."""
    service: ServiceRef
    """Ours."""
    endpoint_ready: bool
    bundle: str
    """The caBundle that the APIService should have; empty: there is no certificate yet."""
    registered: Registered | None = None
    leaving: str = ""
    """Why the API should not be there any more; empty: it should."""


@dataclass(frozen=True, slots=True)
class History:
    """Earlier attempts; they outlive the operator, in an annotation of the Service."""

    withdrawals: int = 0
    """Since it was last reached for long."""
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What this operator has seen itself. Monotonic seconds."""

    looked_at: float | None = None
    unhealthy_since: float | None = None
    healthy_since: float | None = None
    was_ours: bool = False
    """The last look has found our APIService, or this operator has made it since."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a look."""

    act: Act
    state: State
    why: str = ""
    """In words, for the Event and the log."""
    history: History = History()
    """Earlier attempts, from now on."""
    repeat: bool = False
    """Whether a withdrawal is one after which it is tried again."""


def is_ours(found: Registered, installation: UUID | None, service: ServiceRef) -> bool:
    """Whether this installation may touch the APIService.

    One that an operator made for our very Service is ours too, though the installation is another: its database was replaced,
    and nobody else would ever withdraw it.
    """
    if not found.installation:
        return False
    own = installation is not None and found.installation == str(installation)
    same = found.service is not None and (found.service.namespace, found.service.name) == (
        service.namespace,
        service.name,
    )
    return own or same


def seen_now(before: Seen, found: Found, now: float, times: RegistrationTimes) -> Seen:
    """What this operator has seen by now, with this look."""
    registered = found.registered
    if before.looked_at is None or now - before.looked_at > times.gap:
        before = Seen(was_ours=before.was_ours)
    if registered is None:
        return Seen(now, was_ours=before.was_ours)
    ours = is_ours(registered, found.installation, found.service)
    if registered.healthy:
        since = before.healthy_since
        return Seen(now, healthy_since=now if since is None else since, was_ours=ours)
    since = before.unhealthy_since
    return Seen(now, unhealthy_since=now if since is None else since, was_ours=ours)


def decide(
    found: Found, history: History, seen: Seen, at: datetime, now: float, times: RegistrationTimes
) -> Decision:
    """What follows. ``seen``: with this look; ``at`` and ``now``: the same time, as a date and monotonic."""
    history = bounded(history, at, times)
    registered = found.registered
    if registered is not None and not is_ours(registered, found.installation, found.service):
        owner = registered.installation or "nobody that we know"
        why = f"the APIService belongs to another installation ({owner}), and is left alone"
        return Decision(Act.WAIT, State.ELSEWHERE, why, history)
    if found.leaving:
        act = Act.WAIT if registered is None or registered.deleting else Act.WITHDRAW
        return Decision(act, State.LEAVING, found.leaving, history)
    if registered is None:
        return _absent(found, history, seen, at, times)
    return _present(found, registered, history, seen, at, now, times)


def _absent(found: Found, history: History, seen: Seen, at: datetime, times: RegistrationTimes) -> Decision:
    if seen.was_ours:
        # a person, or the hook of an uninstallation: whoever took it away wants it away for a while
        why = "somebody else has deleted the APIService"
        return Decision(Act.WAIT, State.WITHDRAWN, why, _withdrawn(history, at, times), repeat=True)
    if history.retry_at is not None and at < history.retry_at:
        why = f"it was withdrawn, and is tried again at {history.retry_at:%Y-%m-%d %H:%M:%S} UTC"
        return Decision(Act.WAIT, State.WITHDRAWN, why, history)
    if not found.bundle:
        return Decision(Act.WAIT, State.NO_CERTIFICATE, "there is no certificate to serve with yet", history)
    if not found.endpoint_ready:
        return Decision(Act.WAIT, State.NO_ENDPOINT, "no endpoint of the Service is ready", history)
    return Decision(Act.REGISTER, State.UNREACHABLE, "an endpoint is ready", replace(history, retry_at=None))


def _present(
    found: Found,
    registered: Registered,
    history: History,
    seen: Seen,
    at: datetime,
    now: float,
    times: RegistrationTimes,
) -> Decision:
    if registered.deleting:
        return Decision(Act.WAIT, State.WITHDRAWN, "the APIService is being deleted", history)
    state = State.SERVING if registered.healthy else State.UNREACHABLE
    own = 0.0 if seen.unhealthy_since is None else now - seen.unhealthy_since
    told = 0.0 if registered.available else (at - registered.since).total_seconds()
    if not registered.healthy and (
        own >= times.unavailable or (own >= times.seen and told >= times.unavailable)
    ):
        why = unreached(max(own, told), registered.why, found.endpoint_ready)
        return Decision(Act.WITHDRAW, State.WITHDRAWN, why, _withdrawn(history, at, times), repeat=True)
    calm = seen.healthy_since is not None and now - seen.healthy_since >= times.calm
    history = History() if calm else history
    installation = registered.installation if found.installation is None else str(found.installation)
    wanted = (found.bundle or registered.bundle, found.service, installation)
    if (registered.bundle, registered.service, registered.installation) != wanted:
        return Decision(
            Act.UPDATE, state, "the caBundle, the Service or the installation is another", history
        )
    return Decision(Act.WAIT, state, "" if registered.healthy else registered.why, history)


def unreached(seconds: float, words: str, endpoint_ready: bool) -> str:
    """Why it is withdrawn, and what to look at."""
    hint = (
        "An endpoint is ready: does a firewall or a network policy keep the control plane from port 10250 of the pods?"
        if endpoint_ready
        else "No endpoint of the Service is ready: look at its pods."
    )
    return f"the API server has not reached it for {seconds:.0f} s ({words}). {hint}"


def retry_seconds(withdrawals: int, times: RegistrationTimes) -> float:
    """From so many withdrawals in a row to the next try."""
    return float(min(times.first_retry * 2.0 ** min(max(withdrawals - 1, 0), 20), times.longest_retry))


def _withdrawn(history: History, at: datetime, times: RegistrationTimes) -> History:
    count = history.withdrawals + 1
    return History(count, at + timedelta(seconds=retry_seconds(count, times)))


def bounded(history: History, at: datetime, times: RegistrationTimes) -> History:
    """The history, whatever a clock or a person has written: nobody waits for longer than the longest time."""
    latest = at + timedelta(seconds=times.longest_retry)
    if history.retry_at is not None and history.retry_at > latest:
        return replace(history, retry_at=latest)
    return history
