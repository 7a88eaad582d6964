"""Words and numbers as people read them: ages, durations, counts, states. All pure; templates use them as filters."""

from __future__ import annotations

from datetime import UTC, datetime
from json import dumps, loads
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
from agentjobs.values.reasons import Follows, Reason, reason_named

TONES = {
    "Complete": "good",
    "Failed": "bad",
    "Rejected": "bad",
    "Running": "live",
    "InputRequired": "ask",
    "Retrying": "warn",
    "Suspended": "mute",
    "Cancelled": "mute",
    "Scheduled": "mute",
    "Queued": "mute",
}
"""How a state is coloured. Its name always stands beside the colour."""
FINAL = frozenset({"Complete", "Failed", "Cancelled", "Rejected"})
"""The states of jobs that have ended."""

LINE = 100
"""The most characters of a JSON value on one line."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def tone(state: str) -> str:
    """The class of a state's colour; ``mute`` for one that a newer version has."""
    return TONES.get(state, "mute")


def final(state: str) -> bool:
    """Whether a job in this state has ended."""
    return state in FINAL


def duration(seconds: float) -> str:
    """Seconds in at most two units, such as 42s, 3m 5s, 2h 10m; below ten seconds with one decimal."""
    if seconds < 0:
        return "0s"
    if seconds < 9.95:
        return f"{seconds:.1f}s".replace(".0s", "s")
    left = round(seconds)
    for size, unit in _UNITS:
        if left >= size:
            first, rest = divmod(left, size)
            smaller = next((u for u in _UNITS if u[0] < size), None)
            second = rest // smaller[0] if smaller else 0
            return f"{first}{unit}" + (f" {second}{smaller[1]}" if smaller and second else "")
    return "0s"


def moment(text: str) -> datetime:
    """The time that an object of the API carries."""
    return datetime.fromisoformat(text)


def between(start: str | None, end: str | None) -> str:
    """The time from start to end; empty where one is not known."""
    return "" if start is None or end is None else duration((moment(end) - moment(start)).total_seconds())


def number(value: int) -> str:
    """A count with thin spaces between thousands: always exact."""
    return f"{value:,}".replace(",", "\u202f")


def short(value: float) -> str:
    """A count in at most four characters and a scale: 999, 1.2k, 340M. The exact one stands in a title."""
    for size, letter in _SCALES:
        if value >= size:
            scaled = value / size
            return (f"{scaled:.1f}" if scaled < 100 else f"{scaled:.0f}").removesuffix(".0") + letter
    return f"{value:.0f}"


def clock(at: str) -> str:
    """A time in UTC as people read it."""
    return moment(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock_time(at: str) -> str:
    """The time of day in UTC, to the second."""
    return moment(at).astimezone(UTC).strftime("%H:%M:%S")


def day_hour(at: str) -> str:
    """Day, hour and minute in UTC."""
    return moment(at).astimezone(UTC).strftime("%a %H:%M")


def hour(at: str) -> str:
    """Hour and minute in UTC."""
    return moment(at).astimezone(UTC).strftime("%H:%M")


def trace_link(template: str, trace_id: str) -> str:
    """The address of a trace; empty where no tracing system is set, or where it is no web address."""
    known = template.startswith(("https://", "http://")) and "{trace_id}" in template
    return template.replace("{trace_id}", quote(trace_id, safe="")) if known else ""


def clock_in(at: str, zone: str) -> str:
    """A time with its weekday in a zone; in UTC where this machine does not know the zone."""
    try:
        local = moment(at).astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        local = moment(at).astimezone(UTC)
    return local.strftime("%a %Y-%m-%d %H:%M %Z")


def plural(count: int, word: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number(count)} {word}{'' if count == 1 else 's'}"


def meaning(reason: str) -> str:
    """What a reason means and what to do, from the one table of reasons; empty for an unknown one."""
    known = reason_named(reason)
    return known.doc if known else ""


SAYINGS = {
    "text": "says",
    "thought": "thinks",
    "call": "calls",
    "result": "got from",
    "question": "asks a person about",
    "answer": "answers",
    "transfer": "hands over to",
    "code": "runs code",
    "code_result": "got from its code",
    "file": "adds a file",
    "state": "notes",
    "output": "gives",
    "compaction": "sums up",
    "error": "failed",
    "empty": "says nothing",
}
"""Kinds of a transcript's entries as verbs of their authors."""


def saying(kind: str, note: str | None = None) -> str:
    """What the author of an entry of this kind does; the kind itself where it has no verb."""
    return "got an error from" if (kind, note) == ("result", "error") else SAYINGS.get(kind, kind)


def word(text: str) -> str:
    """The text where it is one plain word, for a class; else ``other``."""
    return text if text.isascii() and text.replace("_", "").isalpha() else "other"


def json(value: object) -> str:
    """A JSON value: on one line where it fits, else on as many as it needs."""
    line = dumps(value, ensure_ascii=False)
    return line if len(line) <= LINE else dumps(value, ensure_ascii=False, indent=2)


def laid_out(text: str) -> str:
    """A JSON object or array as ``json`` writes it. Any other text as it is; so is JSON in which that would change more
    than blanks, such as a number's digits or a key that stands twice."""
    try:
        value = loads(text)
        again = dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    same = "".join(again.split()) == "".join(text.split())
    return json(value) if isinstance(value, dict | list) and same else text


_BY_STATE = {
    "Cancelled": "Nothing, or run it again as a new object",
    "Rejected": "This object can run no more: create a corrected one under another name",
    "InputRequired": "Answer the question below",
}
_WAITS = {
    Reason.INPUT_UNAVAILABLE.value: INPUT_UNAVAILABLE,
    Reason.NO_WORKERS.value: "Start workers for this queue: the job goes on by itself then",
    Reason.QUEUE_PAUSED.value: "Resume the queue when it may go on: the job goes on by itself then",
    Reason.QUEUE_NOT_ALLOWED.value: queue_closed(),
    Reason.RESTORED.value: "To run it, suspend it and resume it",
    Reason.MODEL_AUTH_FAILED.value: KEY_REFUSED,
    **dict.fromkeys((one.value for one in STORES), STORE_AWAY),
}


def held(reason: str | None) -> bool:
    """Whether a job waits because its object is not accepted, and not because somebody has suspended it."""
    known = reason_named(reason or "")
    return known is not None and known.follows is Follows.CURABLE


def to_do(state: str, reason: str | None, may_act: bool, module: bool) -> str:
    """The next step of a person; empty: the job goes on by itself, or is done.

    :param module: whether the job's agent is a module, and not in its object.
    """
    if state == "InputRequired" and not may_act:
        return ""
    if state == "Failed":
        return f"{before_a_retry(reason or '', module=module)}."
    if state == "Retrying" and comes_again(reason or ""):
        return f"{ITS_OWN}."
    found = _BY_STATE.get(state) or ("" if final(state) else _WAITS.get(reason or "", ""))
    if state == "Suspended" and not held(reason):
        found = "Resume it when it may go on"
    return f"{found}." if found else f"{GOES_ON}." if state == "Retrying" else ""


_ENDS = {
    "complete": "The agent gave its answer.",
    "fail": "This error is permanent: the job ended, whatever attempts were left.",
    "ask": "A tool asked a person, and the slot was given back. Refunded: no attempt was used up.",
    "cancel": "Stopped on request.",
}


def explanation(outcome: str, charged: bool, attempt: int, wait: str) -> str:
    """A sentence or two on what an ended run cost, and what followed.

    :param wait: how long after its end the next run was due; empty: none was planned.
    """
    if outcome in _ENDS:
        return _ENDS[outcome]
    lost = "Its worker's heartbeat stopped. " if outcome == "lost" else ""
    cost = (
        f"Charged as attempt {attempt}."
        if charged
        else "Refunded: the job was not at fault, and no attempt was used up."
    )
    then = f" The next run was due {wait} later." if wait else ""
    return lost + cost + then
