"""Rows of ADK's tables, from sessions and events and back, as ADK's own service stores them. Pure."""

from __future__ import annotations

import copy
import json
import math
from datetime import UTC, datetime
from typing import Any

from google.adk.events.event import Event
from google.adk.sessions import Session
from pydantic_core import PydanticSerializationError, to_jsonable_python

from agentjobs.values.text import clean_json

State = dict[str, Any]
_UNSTORABLE_ESCAPES = ("\\u0000", "\\ud")


def storable_json(value: Any) -> str:
    """JSON for a jsonb column, without what a model or a tool may give and Postgres refuses.

    NUL and lone surrogates become U+FFFD; NaN and infinities, which JSON lacks, become null, as in an event's own JSON.
    Keys become texts as JSON makes them: 1 is "1".
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), allow_nan=False)
    if any(escape in text for escape in _UNSTORABLE_ESCAPES):
        return json.dumps(clean_json(json.loads(text)))
    return text


def _finite(value: Any) -> Any:
    """``value`` with null for each number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key) if isinstance(key, float) else key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def event_json(event: Event) -> str:
    """The event as the text of the column ``event_data``."""
    try:
        text = event.model_dump_json(exclude_none=True)
    except PydanticSerializationError:  # lone surrogates
        text = ""
    if text and "\\u0000" not in text:
        return text
    try:
        return storable_json(event.model_dump(exclude_none=True, mode="json"))
    except UnicodeEncodeError:  # lone surrogates in keys
        cleaned = clean_json(event.model_dump(exclude_none=True))
        return storable_json(to_jsonable_python(cleaned, bytes_mode="base64", inf_nan_mode="null"))


def event_of(event_id: str, invocation_id: str, timestamp: datetime, data: State | None) -> Event:
    """The event of a row. The time inside ``data`` is taken, since it is more exact than the column's."""
    stored = data or {}
    at = stored.get("timestamp")
    return Event.model_validate(
        {
            **stored,
            "id": event_id,
            "invocation_id": invocation_id,
            "timestamp": seconds_of(timestamp) if at is None else at,
        }
    )


def session_of(
    app_name: str, user_id: str, session_id: str, state: State, events: list[Event], update_time: datetime
) -> Session:
    """The session of a row, marked with the row's revision."""
    session = Session(
        app_name=app_name,
        user_id=user_id,
        id=session_id,
        state=state,
        events=events,
        last_update_time=seconds_of(update_time),
    )
    mark(session, update_time)
    return session


def mark(session: Session, update_time: datetime) -> None:
    """Notes on ``session``, in ADK's own attributes, that it is as of the revision ``update_time``."""
    session.last_update_time = seconds_of(update_time)
    session._storage_update_marker = update_time.isoformat(timespec="microseconds")


def revision_of(session: Session) -> datetime | None:
    """The revision that ``mark`` noted. None: the session comes from no store."""
    marker = session._storage_update_marker
    return None if marker is None else datetime.fromisoformat(marker)


def merged(app_state: State, user_state: State, session_state: State) -> State:
    """The three states as the one that an agent sees: keys of app and user get their prefix."""
    return {
        **copy.deepcopy(session_state),
        **{f"app:{key}": value for key, value in app_state.items()},
        **{f"user:{key}": value for key, value in user_state.items()},
    }


def column_time(seconds: float) -> datetime:
    """Unix seconds as a time of ADK's columns: in UTC, of type timestamp without time zone."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def seconds_of(column: datetime) -> float:
    """Unix seconds of a time from ADK's columns."""
    return column.replace(tzinfo=UTC).timestamp()
