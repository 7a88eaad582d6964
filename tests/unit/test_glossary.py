"""docs/glossary.md: each word once, and every table, column, metric and status field that it names is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from agentjobs.api.agentjob_status import AgentJobStatus
from agentjobs.api.scheduledagentjob import ScheduledAgentJobStatus
from agentjobs.telemetry.metrics import Metric

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "glossary.md"
PACKAGE = ROOT / "operator" / "agentjobs"
NOT_COLUMNS = {"primary", "unique", "constraint", "foreign", "check", "exclude", "like"}

REQUIRED = """
queue, job, attempt, run, round, token, state, worker, pool, slot, supervisor, template, executor, claim,
ack, release, drain, snooze, refund, asking, blocked by its model, breaker, in hand, unaccepted, lease,
expiry, grace, heartbeat, beat, tick, stage, admit, promote, expire a job, rescue, prune, retention,
tombstone, outbox, projection, intake, watch event, sweep, due times, event recorder, child, child
creation, CRD, RBAC, database, session, session fence, invocation, verdict, outcome
"""


class Entry(NamedTuple):
    word: str
    """With what tells it apart: ``tick (of the queue)``."""
    means: str
    columns: list[str]
    metrics: list[str]
    fields: list[str]


def entries() -> list[Entry]:
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| **"):
            word, means, *names = line.strip("| ").split(" | ")
            assert len(names) == 3, f"docs/glossary.md: {word} has {len(names) + 2} cells instead of 5"
            columns, metrics, fields = (re.findall(r"`([^`]+)`", cell) for cell in names)
            found.append(Entry(word, means, columns, metrics, fields))
    return found


def columns_of(sql: str, tables: dict[str, set[str]]) -> None:
    """Applies the ``create``, ``alter`` and ``drop table`` statements of a text to ``tables``."""
    sql = re.sub(r"--[^\n]*", "", sql)
    statement = re.compile(
        r"\b(create table(?: if not exists)?|alter table|drop table(?: if exists)?)\s+([\w.]+)", re.I
    )
    for match in statement.finditer(sql):
        verb, table = match[1].split()[0].lower(), match[2].lower().removeprefix("agentjobs.")
        rest = sql[match.end() :]
        if verb == "drop":
            tables.pop(table, None)
        elif verb == "create":
            tables[table] = {
                word for part in parts(rest) if (word := part.split()[0].strip('"')) not in NOT_COLUMNS
            }
        else:
            change = rest.partition(";")[0]
            columns = tables.setdefault(table, set())
            columns -= set(re.findall(r"drop column (?:if exists )?(\w+)", change))
            columns |= set(re.findall(r"add column (?:if not exists )?(\w+)", change))
            for old, new in re.findall(r"rename column (\w+) to (\w+)", change):
                columns.discard(old)
                columns.add(new)


def parts(text: str) -> list[str]:
    """What stands between the commas of the first parentheses: ``(a int, b numeric(1, 2)) with (…)`` has two."""
    found, depth, part = [], 0, ""
    for character in text:
        if character == ")" and (depth := depth - 1) == 0:
            break
        if depth == 1 and character == ",":
            found.append(part)
            part = ""
        elif depth > 0:
            part += character
        depth += character == "("
    return [one.strip() for one in [*found, part] if one.strip()]


@cache
def tables() -> dict[str, set[str]]:
    """Columns by table, as the schema's steps leave them."""
    found: dict[str, set[str]] = {}
    steps = [path for path in sorted((PACKAGE / "queue").rglob("*.sql")) if ".down." not in path.name]
    for path in [*steps, *sorted((PACKAGE / "agents").rglob("*.py"))]:
        columns_of(path.read_text(), found)
    return found


def status_fields() -> set[str]:
    own = {f"status.{field.alias or name}" for name, field in AgentJobStatus.model_fields.items()}
    return own | {
        f"saj.status.{field.alias or name}" for name, field in ScheduledAgentJobStatus.model_fields.items()
    }


def test_a_word_stands_there_once() -> None:
    words = [entry.word for entry in entries()]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("word", " ".join(REQUIRED.split()).split(", "))
def test_a_word_of_the_project_is_there(word: str) -> None:
    bold = re.findall(r"\*\*([^*]+)\*\*", PAGE.read_text())
    assert word in bold


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.word.strip("*"))
def test_what_carries_a_word_is_there(entry: Entry) -> None:
    assert entry.means
    for column in entry.columns:
        known = tables()
        if column in known:
            continue
        table, _, name = column.rpartition(".")
        assert name in known.get(table, set()), (
            f"docs/glossary.md, {entry.word}: the schema has no {column}; {table} has {sorted(known.get(table, ()))}"
        )
    for metric in entry.metrics:
        assert metric in set(Metric), f"docs/glossary.md, {entry.word}: there is no metric {metric}"
    for field in entry.fields:
        assert field in status_fields(), f"docs/glossary.md, {entry.word}: there is no status field {field}"


def test_the_schemas_columns_are_read() -> None:
    assert {"id", "queue", "pos", "state"} <= tables()["waiting"]
    assert tables()["session"] == {"key", "holder"}
