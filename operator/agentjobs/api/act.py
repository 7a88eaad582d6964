"""The annotation ``agentjobs.dev/act``: who changes an object, and why, as whoever writes the change says.

For example ``{"by": "alice", "verb": "retry", "reason": "the provider is back", "at": "2026-03-01T10:00:00Z"}``. It is
written in the same request as the change that it speaks of, and counts for that change alone: the operator puts it
into the audit's row (docs/audit.md). Nothing proves it unless the chart's ``audit.ownName`` is on: then an admission
policy compares the begin of the value with the name of who asks, which is why ``by`` comes first and once, and why
this module writes the value in exactly one form.

``verb`` is one of ``VERBS``. Optional are ``reason``, ``at`` (for a schedule's run now: the value of
``agentjobs.dev/run-requested-at``), ``via`` (the program: ``kubectl``, ``web``) and ``origin`` (of a new object: the
name of the one that it repeats).

This module imports no other package, since the kubectl plugin starts anew for each command.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from agentjobs.values.verbs import ACTOR_CHARACTERS, REASON_CHARACTERS, SOURCE_CHARACTERS, Verb

VERBS = frozenset(
    {
        Verb.CREATE,
        Verb.RUN_AGAIN,
        Verb.CANCEL,
        Verb.SUSPEND,
        Verb.RESUME,
        Verb.RETRY,
        Verb.REPRIORITISE,
        Verb.SET_MAX_ATTEMPTS,
        Verb.DELETE,
        Verb.RUN_NOW,
    }
)
"""What is done to an object. Answers to a tool's question name their author themselves (``input_response``)."""
MOST_CHARACTERS = 16_384
"""Of a value that is read."""
_LIMITS = {
    "by": ACTOR_CHARACTERS,
    "verb": 32,
    "reason": REASON_CHARACTERS,
    "at": 64,
    "via": SOURCE_CHARACTERS,
    "origin": 253,
}
FORM = '{"by": "<your name>", "verb": "<verb>"} with, where wanted, reason, at, via and origin'


@dataclass(frozen=True, slots=True)
class ObjectAct:
    """Who changes an object, and why, as the annotation says."""

    by: str
    verb: Verb
    reason: str = ""
    at: str = ""
    via: str = ""
    origin: str = ""


def parse(text: str) -> ObjectAct:
    """The act in the annotation's value.

    :raises ValueError: the value is none. The message says what is wrong, and quotes no reason.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters; at most {MOST_CHARACTERS} are wanted")
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        value = None
    except ValueError as error:
        raise ValueError(f"it is no act ({error}); {FORM} is wanted") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is no act; {FORM} is wanted")
    if unknown := sorted(value.keys() - _LIMITS.keys()):
        raise ValueError(f"{unknown[0][:40]}: unknown field; known are {', '.join(_LIMITS)}")
    for field, limit in _LIMITS.items():
        given = value.get(field, "")
        if not isinstance(given, str) or len(given) > limit:
            raise ValueError(f"{field}: a text of at most {limit} characters is wanted")
    if next(iter(value), None) != "by" or not value["by"]:
        raise ValueError(f"by comes first, and is not empty; {FORM} is wanted")
    if value.get("verb") not in VERBS:
        raise ValueError(f"verb: {value.get('verb', '')!r}: one of {', '.join(sorted(VERBS))} is wanted")
    return ObjectAct(**{**value, "verb": Verb(value["verb"])})


def text_of(act: ObjectAct) -> str:
    """The annotation's value, in the form that the admission policy knows. Texts are cut to their limits."""
    said = {field: text[: _LIMITS[field]] for field, text in asdict(act).items() if text}
    return json.dumps({"by": act.by[:ACTOR_CHARACTERS], **said}, ensure_ascii=False)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose names occur once: of two, the policy would see the first and a reader take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field occurs twice")
    return found
