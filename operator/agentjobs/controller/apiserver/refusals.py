"""What follows from an answer of the API server: one decision for every call and every refusal; pure.

Example: a webhook of one tenant answers 500 to status writes. The decision for the first job is to try that
object again after half a second; for the third in a row, that no status of its namespace is written for a
while. Other namespaces are not mentioned. "Request is too large" is another decision: write a smaller status.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.reply import Reply

Answer = Reply | ApiUnavailable

FIRST_SECONDS = 0.5
SLOWEST_SECONDS = 12.0
"""What is refused is tried again at least so often, also where ``Retry-After`` asks for more: with
``ANSWER_SECONDS`` it is a bound of 30 s on how late the end of a refusal is noticed."""
SLOWEST_EVERYBODY_SECONDS = 5.0
"""An API server that is back is noticed within this time."""
SEVERAL = 3
"""So many objects (namespaces) that were refused, and none that was taken since: a refusal concerns their
namespace (everybody)."""
REDUCE_AFTER = 5
"""Refusals in a row by a webhook, a policy or RBAC before a smaller status is tried, some 15 s."""


OF_ONE_OBJECT = frozenset({400, 409, 410, 413, 422})
"""Answers by which this object is the trouble, and no other of its namespace."""


class Call(Enum):
    """What the API server is asked."""

    STATUS = "status patch"
    EVENT = "event"
    MARK = "mark"
    """The annotation that says to which installation an object belongs."""
    CREATE = "create"
    DELETE = "delete"
    LIST = "list"
    WATCH = "watch"
    GET = "get"
    LEASE = "lease"


class Act(Enum):
    """What the caller does next."""

    DONE = "done"
    CONFIRM = "confirm"
    """The object may be gone, or there already: a GET says so, nothing else does."""
    GONE = "gone"
    """Only ever the answer to a GET: there is no such object."""
    OLDER = "older"
    """The object shows a newer revision: a newer leader was here (H3)."""
    REDUCE = "reduce"
    """This status will never be taken: write the part of it that is."""
    GIVE_UP = "give up"
    """No repeat can change the answer: say so, and go on."""
    RETRY = "retry"


class Concerns(Enum):
    """Who has to wait where the act is RETRY."""

    OBJECT = "object"
    NAMESPACE = "namespace"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class History:
    """What happened before, without this answer."""

    refusals: int = 0
    """Of this object, in a row."""
    reduced: bool = False
    """Whether what was refused is the reduced status."""
    confirmed: bool = False
    """Whether a GET has just said that the object is there (for a creation: that it is not)."""
    objects: int = 0
    """Other objects of this namespace that were refused since the last one was taken."""
    pauses: int = 0
    """Of this namespace, in a row."""
    namespaces: int = 0
    """Other namespaces that were refused since anything was taken anywhere."""
    everybody_pauses: int = 0
    """In a row."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``seconds``: until it is tried again; 0 where the act is not RETRY."""

    act: Act
    concerns: Concerns = Concerns.OBJECT
    seconds: float = 0.0


FRESH = History()


def decide(call: Call, answer: Answer, history: History = FRESH) -> Decision:
    """What follows from this answer to this call."""
    act = Act.RETRY if isinstance(answer, ApiUnavailable) else _act(call, answer, history)
    if act is not Act.RETRY:
        return Decision(act)
    about_the_object = call not in (Call.LIST, Call.WATCH) and answer.status in OF_ONE_OBJECT
    return _retry(answer, history, own=about_the_object)


def is_too_large(answer: Reply) -> bool:
    """Whether the object does not fit into etcd or into a request: no repeat can change that.

    413 is the API server's own limit on requests; etcd's comes as a 500.
    https://github.com/kubernetes/kubernetes/issues/19781
    """
    return answer.status == 413 or (answer.status == 500 and "request is too large" in answer.message)


def _act(call: Call, answer: Reply, history: History) -> Act:
    if answer.ok:
        return Act.DONE
    if call is Call.GET:
        return Act.GONE if answer.object_missing else Act.RETRY
    if call is Call.STATUS:
        return _act_on_status(answer, history)
    if call is Call.EVENT:
        return _act_on_event(answer)
    if call is Call.MARK:
        # it is gone, has changed, or another installation was first: its watch event is on the way
        return Act.DONE if answer.object_missing or answer.status == 409 else Act.RETRY
    if call is Call.CREATE:
        if answer.status == 409 and not history.confirmed:
            return Act.CONFIRM
        # 422 with fields: the CRD refuses this very object. Without: a webhook, which people can mend
        never = answer.status == 400 or (answer.status == 422 and answer.fields) or is_too_large(answer)
        return Act.GIVE_UP if never else Act.RETRY
    if call is Call.DELETE and (answer.object_missing or answer.status == 409) and not history.confirmed:
        return Act.CONFIRM
    return Act.RETRY


def _act_on_status(answer: Reply, history: History) -> Act:
    if "status.revision" in answer.fields:
        return Act.OLDER
    # a failed test on the uid looks like a webhook's 422
    gone = answer.object_missing or (answer.status == 422 and not answer.causes)
    if gone and not history.confirmed:
        return Act.CONFIRM
    if history.reduced:
        return Act.RETRY  # less than that cannot be written
    if is_too_large(answer) or (answer.status == 422 and answer.fields):
        return Act.REDUCE
    if answer.status in (400, 403, 422) and history.refusals >= REDUCE_AFTER:
        return Act.REDUCE
    return Act.RETRY


def _act_on_event(answer: Reply) -> Act:
    if answer.status == 409:
        return Act.DONE  # AlreadyExists: names of Events are fixed
    terminating = any(cause.get("reason") == "NamespaceTerminating" for cause in answer.causes)
    never = answer.status == 400 or (answer.status == 422 and answer.fields)
    return Act.GIVE_UP if never or terminating or is_too_large(answer) else Act.RETRY


def _retry(answer: Answer, history: History, *, own: bool) -> Decision:
    asked = min(max(answer.retry_after_seconds or 0.0, 0.0), SLOWEST_SECONDS)
    if isinstance(answer, ApiUnavailable) and answer.unreachable:
        return _everybody(history, 0.0)
    if own or history.objects + 1 < SEVERAL:
        return Decision(Act.RETRY, Concerns.OBJECT, max(asked, growing(history.refusals)))
    vague = answer.status in (None, 429)
    if vague and history.namespaces + 1 >= SEVERAL:
        return _everybody(history, asked)
    return Decision(Act.RETRY, Concerns.NAMESPACE, max(asked, growing(history.pauses)))


def _everybody(history: History, asked: float) -> Decision:
    seconds = min(max(asked, 0.2 * 2.0 ** min(history.everybody_pauses, 10)), SLOWEST_EVERYBODY_SECONDS)
    return Decision(Act.RETRY, Concerns.EVERYBODY, seconds)


def growing(failures: int) -> float:
    """The delay after so many failures before this one."""
    return min(FIRST_SECONDS * 2.0 ** min(failures, 10), SLOWEST_SECONDS)
