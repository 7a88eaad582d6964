"""The annotation ``agentjobs.dev/input-response``, by which a person answers a question of a job.

For example, ``approve:<id>`` or ``reject:<id>``. These are short forms of a JSON object with ``id`` and
``approved``. The object may also have ``reason`` (text), ``payload`` (any JSON, for a tool that wants to have
something filled in), ``by`` and ``at`` (texts). The result of a long-running tool, and an input, are a ``payload``
without ``approved``. Each value is handled once: so the same answer, given again, needs
another ``at``. The id is ``status.inputRequest.id``. The operator refuses an answer to any other question, so an old
approval never lets a new call pass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

FORMS = (
    'approve:<id>, reject:<id>, {"id": …, "approved": true or false} or {"id": …, "payload": …}, with the id in '
    "status.inputRequest"
)
_WORDS = {"approve": True, "reject": False}
_FIELDS = {"id": str, "approved": bool, "reason": str, "by": str, "at": str, "payload": object}


@dataclass(frozen=True, slots=True)
class Response:
    """A person's answer to a question."""

    id: str
    approved: bool | None = None
    """None: the question wants a payload alone."""
    reason: str = ""
    payload: Any = None
    by: str = ""
    """The person's name, as whoever wrote the annotation claims it."""
    at: str = ""
    """When it was given; only whether it differs matters."""


def parse(text: str) -> Response:
    """The answer in the annotation's value.

    :raises ValueError: the value is no answer. The message says what is wrong, and quotes no reason or
        payload.
    """
    word, colon, id = text.strip().partition(":")
    if colon and word in _WORDS:
        if not id.strip():
            raise ValueError(f"there is no id; {FORMS} is wanted")
        return Response(id.strip(), _WORDS[word])
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"it is no answer; {FORMS} is wanted")
    given = {key: inner for key, inner in value.items() if inner is not None}
    if unknown := sorted(given.keys() - _FIELDS.keys()):
        raise ValueError(f"{unknown[0][:40]}: unknown field; known are {', '.join(_FIELDS)}")
    for field, kind in _FIELDS.items():
        if field in given and not isinstance(given[field], kind):
            raise ValueError(f"{field}: {'true or false' if kind is bool else 'text'} is wanted")
    if not given.get("id") or not given.keys() & {"approved", "payload"}:
        raise ValueError(f"id, and approved or payload, are required; {FORMS} is wanted")
    return Response(**given)


def text_of(response: Response) -> str:
    """The annotation's value for an answer: in the short form if the answer has nothing but the decision."""
    if response.approved is not None and not (
        response.reason or response.by or response.at or response.payload is not None
    ):
        return f"{'approve' if response.approved else 'reject'}:{response.id}"
    said = {
        "id": response.id,
        "approved": response.approved,
        "reason": response.reason or None,
        "by": response.by or None,
        "at": response.at or None,
        "payload": response.payload,
    }
    return json.dumps({key: value for key, value in said.items() if value is not None}, ensure_ascii=False)
