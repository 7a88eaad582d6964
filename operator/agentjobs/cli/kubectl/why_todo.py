"""What ``why`` says is to be done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl.acts import asked
from agentjobs.cli.kubectl.filters import FINAL, cause_of, time_of
from agentjobs.cli.kubectl.surroundings import Surroundings
from agentjobs.cli.kubectl.why_findings import WAITS_FOR_MODEL, cause_now, is_old, unseen
from agentjobs.values.next_steps import (
    GOES_ON,
    INPUT_UNAVAILABLE,
    ITS_OWN,
    KEY_REFUSED,
    STORE_AWAY,
    STORES,
    before_a_retry,
    comes_again,
    queue_closed,
)
from agentjobs.values.reasons import Reason

JsonObject = Mapping[str, Any]
STALE_SECONDS = 60.0
"""A waiting job whose time has passed by more was promoted by nobody."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that a user can be told to type."""

    program: str = "kubectl agentjobs"
    verbs: frozenset[str] | None = None
    """None: all of the plugin's."""
    health: str = "kubectl agentjobs doctor"
    """What tells whether anybody serves the job."""

    def line(self, words: str, verb: str, arguments: str) -> str:
        """The words with a command after them, where there is such a verb."""
        if self.verbs is not None and verb not in self.verbs:
            return f"{words}."
        return f"{words}: {self.program} {verb} {arguments}"


PLUGIN = Commands()


def todo_of(
    job: JsonObject, around: Surroundings, now: datetime, flags: str, commands: Commands
) -> Iterator[str]:
    """What to do, the first first."""
    metadata, spec, status = job["metadata"], job.get("spec") or {}, job.get("status") or {}
    this, state = f"{metadata['name']}{flags}", str(status.get("state") or "")
    reason = cause_now(status, around) if state == "Queued" else str(status.get("reason") or "")
    if around.database_away and state not in FINAL:
        yield "Nothing: it goes on by itself when the database answers, which whoever runs the installation looks after."
    elif around.elsewhere and state not in FINAL:
        yield (
            "Look where that installation runs; or hand the object over; or have one of the two watch other namespaces "
            "(watchNamespaces)."
        )
    elif not state:
        yield from _unseen(job, now, flags, commands)
    elif is_old(job, around, now):
        yield f"This object shows what was: its operator is away, or behind. Look with: {commands.health}{flags}"
    elif state in ("Failed", "Cancelled") and asked(job):
        yield "Nothing: a retry is asked for, and the operator takes it up."
    elif state in ("Failed", "Cancelled") and not spec.get("cancel"):
        yield commands.line(
            before_a_retry(cause_of(status), module="module" in (spec.get("agent") or {})), "retry", this
        )
    elif state in ("Rejected", "Cancelled"):
        yield "This object can run no more: create a corrected one under another name."
    elif state == "InputRequired":
        if (status.get("inputRequest") or {}).get("kind"):
            yield commands.line("Answer it", "answer", f"{this} --payload JSON")
        else:
            yield commands.line("Answer it (or reject it)", "approve", this)
    elif spec.get("suspend") and state == "Suspended":
        yield commands.line("Let it go on", "resume", this)
    elif state == "Complete":
        yield "Nothing: it is done."
    elif state == "Running":
        yield commands.line("Wait for its end", "wait", this)
    elif (told := _WAITS.get(reason)) is not None:
        yield told(job, around, flags, commands)
    elif (
        reason not in WAITS_FOR_MODEL
        and (due := time_of(status.get("nextAttemptTime")))
        and (now - due).total_seconds() > STALE_SECONDS
    ):
        yield f"Its time has passed, and nobody took it up: look with {commands.health}{flags}"
    elif state == "Retrying" and comes_again(reason):
        yield commands.line(ITS_OWN, "cancel", this)
    else:
        yield f"{GOES_ON}."


def _unseen(job: JsonObject, now: datetime, flags: str, commands: Commands) -> Iterator[str]:
    if not unseen(job, now):
        yield "Wait a moment: the operator has not seen it yet."
    else:
        yield (
            "No operator has taken it up: it is away, does not watch this namespace, or its database does not serve it. Look with: "
            f"{commands.health}{flags}"
        )


def _no_workers(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    queue = (job.get("spec") or {}).get("queue")
    return (
        f"Submit it anew with one of the queues that are served; or have a worker started that serves {queue}: this job goes "
        "on by itself then."
    )


def _paused(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    queue = str((job.get("spec") or {}).get("queue") or "")
    return commands.line(
        "Whoever may steer queues can let it go on", "unpause", f"{queue}{_without_namespace(flags)}"
    )


def _full(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    queue = (job.get("spec") or {}).get("queue")
    return commands.line(
        "Nothing: it goes on when one of the running jobs has ended. Those that you may see",
        "list",
        f"--state Running --queue {queue}{flags}",
    )


def _not_allowed(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    queue = str((job.get("spec") or {}).get("queue") or "")
    return f"{queue_closed(queue)}."


def _behind_session(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    if not around.holder:
        return "Nothing: it goes on when the session's other job has ended."
    return commands.line(
        f"Nothing: it goes on when {around.holder} has ended", "why", f"{around.holder}{flags}"
    )


def _key_refused(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    return f"{KEY_REFUSED}."


def _store_away(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    return f"{STORE_AWAY}."


def _restored(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    return commands.line(
        "To run it, suspend it and let it go on", "suspend", f"{job['metadata']['name']}{flags}"
    )


def _input_unavailable(job: JsonObject, around: Surroundings, flags: str, commands: Commands) -> str:
    return f"{INPUT_UNAVAILABLE}."


_WAITS: Mapping[str, Callable[[JsonObject, Surroundings, str, Commands], str]] = {
    Reason.NO_WORKERS.value: _no_workers,
    Reason.QUEUE_PAUSED.value: _paused,
    Reason.QUEUE_FULL.value: _full,
    Reason.QUEUE_NOT_ALLOWED.value: _not_allowed,
    Reason.BEHIND_SESSION.value: _behind_session,
    Reason.MODEL_AUTH_FAILED.value: _key_refused,
    **dict.fromkeys((one.value for one in STORES), _store_away),
    Reason.RESTORED.value: _restored,
    Reason.INPUT_UNAVAILABLE.value: _input_unavailable,
}


def _without_namespace(flags: str) -> str:
    """The flags for a command on what is of the whole installation."""
    words = flags.split(" ")
    return " ".join(words[:1] + words[3:]) if words[1:2] == ["-n"] else flags
