"""The structured log: one JSON object a line, one line per transition.

``tell(log, "job.claimed", uid=…)`` writes ``{"time": …, "level": "info", "event": "job.claimed", "uid": …}``.
Fields are names and counts. At info level no field has the text of a message or an answer.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any

import orjson

_FIELDS = "agentjobs_fields"


def tell(log: logging.Logger, event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Writes one line for an event. Fields whose value is None are left out."""
    if log.isEnabledFor(level):
        kept = {key: value for key, value in fields.items() if value is not None}
        log.log(level, event, extra={_FIELDS: kept}, stacklevel=2)


class JsonFormatter(logging.Formatter):
    """The format for machines: JSON with time (RFC 3339, UTC), level, logger, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = _head(record)
        line.update(getattr(record, _FIELDS, {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _dumps(line)


class TextFormatter(logging.Formatter):
    """The format for people: ``12:00:01 info job.claimed queue=agents``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in getattr(record, _FIELDS, {}).items())
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        text = f"{clock} {record.levelname.lower()} {record.getMessage()} {fields}".rstrip()
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def configure(level: str = "info", *, json: bool = True, stream: IO[str] | None = None) -> None:
    """Sends all logging of the process to ``stream`` (None: standard error). Replaces earlier handlers."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if root.level > logging.DEBUG:
        # a line for each try to connect: our own line about an outage has the reason
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def _head(record: logging.LogRecord) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": record.getMessage(),
    }


def _dumps(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # a lone surrogate must not lose the line
        clean = {key: str(value).encode("utf-8", "replace").decode() for key, value in line.items()}
        return orjson.dumps(clean).decode()
