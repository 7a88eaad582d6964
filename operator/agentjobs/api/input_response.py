"""The annotation that answers a tool's question.

``approve:<id>`` and ``reject:<id>`` are the short forms of a JSON object with ``id`` and ``approved``, which may also
say ``reason`` (text), ``payload`` (any JSON, where the tool asks for something to be filled in) and ``by``. The id is
``status.inputRequest.id``: an answer to any other question is refused, so an old approval never lets a new call pass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

FORMS = (
    'approve:<id>, reject:<id> or {"id": …, "approved": true or false}, with the id in status.inputRequest'
)
_WORDS = {"approve": True, "reject": False}
_FIELDS = {"id": str, "approved": bool, "reason": str, "by": str, "payload": object}


@dataclass(frozen=True, slots=True)
class Response:
    """What a person said."""

    id: str
    approved: bool
    reason: str = ""
    payload: Any = None
    by: str = ""
    """Who says to have said it: a claim of whoever wrote the annotation."""


def parse(text: str) -> Response:
    """Reads the annotation's value. Raises ValueError saying what is wrong, never what was written beside it."""
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
    if not given.get("id") or "approved" not in given:
        raise ValueError(f"id and approved are required; {FORMS} is wanted")
    return Response(**given)


def text_of(response: Response) -> str:
    """The annotation's value, in the short form where nothing more is said."""
    if not (response.reason or response.by) and response.payload is None:
        return f"{'approve' if response.approved else 'reject'}:{response.id}"
    said = {
        "id": response.id,
        "approved": response.approved,
        "reason": response.reason or None,
        "by": response.by or None,
        "payload": response.payload,
    }
    return json.dumps({key: value for key, value in said.items() if value is not None}, ensure_ascii=False)
