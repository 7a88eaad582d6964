"""Two transactions at once: one has executed and is not committed, the other starts; what comes of it is compared with
both serial orders.

    result = Interleaver(dsn).interleaved(scene, first, second)

A *scene* is a small database: the rows of all tables, kept in a schema of its own and restored before each run. An
*operation* is one statement of the queue. Its reply and all rows afterwards are the *result* of a run; times are kept as
hours, places in line as ranks, so that two runs can be compared.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any, LiteralString

import psycopg
from psycopg import errors as pg

from agentjobs.queue.connection import ROLLBACK_REPEATS
from agentjobs.queue.queue import Queue

TABLES = (
    "job", "waiting", "running", "outcome", "attempt", "session", "queue", "pause", "worker", "lookout", "lost_worker", "outbox", "upkeep",
    "model_breaker", "model_target", "audit", "facet", "tally", "tally_minute", "tally_key", "tally_first", "output_tail",
    "awaited", "saved_file", "walk",
)  # fmt: skip
CHANNELS = ("ready", "due", "control", "outbox", "admit")
DEADLINE_SECONDS = 60.0
VACUUM_EVERY = 300
"""Restores: each leaves the rows of the run before it dead."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-]\d\d(?::\d\d)?)?")
_INTERVAL = re.compile(r"(?:(-?\d+) days? ?)?(?:(-?)(\d+):(\d+):\d+(?:\.\d+)?)?")
_SECONDS = re.compile(r"(?<=waited )\d+(?= s)")
_PLACE_BITS = 56

Statement = tuple[LiteralString, Sequence[Any]]


@dataclass(frozen=True)
class Operation:
    """One statement of the queue, as the client sends it."""

    name: str
    statement: Statement
    passes_by: bool = False
    """True: the operation takes only rows that nobody has locked. The next call finds what it passed by."""
    hints: int = 0
    """So many last columns of the reply tell how the tables look. What commits later is told by notifications."""


@dataclass(frozen=True)
class Scene:
    """The rows that each run begins with, and the operations that are tried on them."""

    name: str
    operations: Mapping[str, Operation]
    built_at: datetime
    """The database's time when the scene was built: the zero of all its times."""

    @property
    def schema(self) -> str:
        return "scene_" + re.sub(r"\W+", "_", self.name)


@dataclass(frozen=True)
class Result:
    """What a run left, comparable."""

    rows: Mapping[str, Any]
    """By table and key."""
    replies: Mapping[str, Any]
    """By operation."""

    def differences(self, other: Result) -> list[str]:
        """Where the other result has another value, one line for each."""
        mine, others = dict(_flat("", self._all())), dict(_flat("", other._all()))
        return [
            f"{key}: {mine.get(key, '-')!r}, not {others.get(key, '-')!r}"
            for key in sorted(mine.keys() | others.keys())
            if mine.get(key, "-") != others.get(key, "-")
        ]

    def _all(self) -> dict[str, Any]:
        return {**self.rows, "reply": self.replies}


@dataclass(frozen=True)
class Interleaved:
    """What came of two transactions at once."""

    result: Result
    waited: bool
    """The second waited until the first had committed."""
    deadlocks: int = 0
    """How often the second was repeated, as the client does."""
    unheard: Sequence[str] = ()
    """Changes of which nobody was notified."""


class _Recorded(BaseException):
    """No Exception: a method of Queue that looks into its own errors must not take it for one."""

    def __init__(self, statement: LiteralString, params: Sequence[Any]) -> None:
        self.statement: Statement = (statement, params)


class _Recorder:
    async def fetch(self, statement: LiteralString, params: Sequence[Any] = ()) -> Any:
        raise _Recorded(statement, params)


def statement_of(call: Callable[[Queue], Any]) -> Statement:
    """The statement that a method of Queue sends first: ``statement_of(lambda queue: queue.cancel(uid))``."""
    queue = Queue("postgresql://nowhere/none", expiry_seconds=EXPIRY_SECONDS)
    queue._db = queue._beats = _Recorder()  # type: ignore[assignment]
    try:
        call(queue).send(None)
    except _Recorded as recorded:
        return recorded.statement
    raise AssertionError("no statement was sent")


EXPIRY_SECONDS = 12 * 3600.0
"""Far from the real time that a run takes: times are compared by the hour."""


def _last(connection: psycopg.Connection[Any], sequence: LiteralString) -> int:
    row = connection.execute(f"select last_value from {sequence}").fetchone()
    assert row is not None
    return int(row[0])


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif value is not None:
        yield prefix, value


@dataclass
class Interleaver:
    """Three connections to one database: one for each of the two transactions, one that looks."""

    dsn: str
    _serial: dict[tuple[str, tuple[str, ...]], Result] = field(default_factory=dict)
    _marks: int = 0
    _heard: list[tuple[str, str]] = field(default_factory=list)
    _restores: int = 0
    _restored: Scene | None = None
    """The scene whose rows are there, unchanged."""

    def __post_init__(self) -> None:
        options = f"-c search_path=agentjobs -c statement_timeout={int(DEADLINE_SECONDS * 1000)}"

        def connect(*, autocommit: bool) -> psycopg.Connection[Any]:
            return psycopg.connect(self.dsn, autocommit=autocommit, options=options)

        self._look = connect(autocommit=True)
        self._one, self._two = connect(autocommit=False), connect(autocommit=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="second")
        self._look.execute("; ".join(f"listen agentjobs_{channel}" for channel in (*CHANNELS, "mark")))
        self._look.add_notify_handler(lambda notify: self._heard.append((notify.channel, notify.payload)))

    def close(self) -> None:
        for connection in (self._one, self._two, self._look):
            connection.close()
        self._thread.shutdown()

    # -- scenes -----------------------------------------------------------------------------------

    def keep(self, name: str, operations: Mapping[str, Operation]) -> Scene:
        """Makes a scene of the rows that are there now."""
        rows = self._look.execute("select clock_timestamp()").fetchone()
        assert rows is not None
        scene = Scene(name, operations, rows[0])
        copies = "".join(f"create table {scene.schema}.{table} as table {table};" for table in TABLES)
        back = "".join(
            f"insert into {table} overriding system value table {scene.schema}.{table};" for table in TABLES
        )
        # new jobs, claims and breakers have the same numbers in each run
        begin = ", ".join(
            f"setval('{sequence}', {_last(self._look, sequence)})"
            for sequence in ("position", "claim_number", "model_breaker_id_seq")
        )
        gone = "".join(f"delete from {table};" for table in TABLES)
        self._look.execute(
            f"create schema {scene.schema}; {copies}"
            f"create function {scene.schema}.restore() returns void language plpgsql as $$ begin {gone} {back} end $$;"
            f"create function {scene.schema}.begin() returns void language sql as $$ select {begin} $$"
        )
        return scene

    def restore(self, scene: Scene) -> None:
        self._restores += 1
        if self._restores % VACUUM_EVERY == 0:
            self._look.execute(f"vacuum {', '.join(TABLES)}")
        self._look.execute(f"select {scene.schema}.restore(), {scene.schema}.begin()")
        self._restored = scene

    def _fresh(self, scene: Scene) -> None:
        """The scene, for a run that commits."""
        if self._restored is not scene:
            self.restore(scene)
        else:
            self._look.execute(f"select {scene.schema}.begin()")
        self._restored = None

    # -- runs -------------------------------------------------------------------------------------

    def serial(self, scene: Scene, *operations: Operation) -> Result:
        """One after the other; the scene stays as it was.

        In one transaction, which is rolled back: each statement sees what those before it did, as if they had committed.
        """
        key = (scene.name, tuple(operation.name for operation in operations))
        if key not in self._serial:
            if self._restored is not scene:
                self.restore(scene)
            self._one.execute(f"select {scene.schema}.begin()")
            replies = [self._reply(self._one, operation) for operation in operations]
            self._serial[key] = self._result(self._one, scene, operations, replies)
            self._one.rollback()
        return self._serial[key]

    def both_orders(self, scene: Scene, first: Operation, second: Operation) -> list[Result]:
        return [self._in_order(scene, first, second), self._in_order(scene, second, first)]

    def _in_order(self, scene: Scene, first: Operation, second: Operation) -> Result:
        if first is second or self.does_something(scene, first):
            return self.serial(scene, first, second)
        alone = self.serial(scene, second)
        return Result(alone.rows, {**self.serial(scene, first).replies, **alone.replies})

    def does_something(self, scene: Scene, operation: Operation) -> bool:
        """True where the operation alone changes a row of the scene."""
        return self.serial(scene, operation).rows != self.serial(scene).rows

    def interleaved(
        self, scene: Scene, first: Operation, second: Operation, *afterwards: Operation
    ) -> Interleaved:
        """``second`` starts while ``first`` has executed and is not committed; ``afterwards`` follow both."""
        before = self.serial(scene)
        self._fresh(scene)
        list(self._notifications())
        replies = [self._reply(self._one, first)]
        with self._begun(second) as running:
            waited = self._waits(running)
            self._one.commit()
            reply, deadlocks = running.result(DEADLINE_SECONDS)
        self._two.commit()
        replies.append(reply)
        for operation in afterwards:
            replies.append(self._reply(self._one, operation))
            self._one.commit()
        result = self._result(self._look, scene, (first, second, *afterwards), replies)
        unheard = wanted(before.rows, result.rows) - set(self._notifications())
        return Interleaved(result, waited, deadlocks, sorted(unheard))

    def _notifications(self) -> Iterator[str]:
        """What was notified since the last call, by all that has committed."""
        mark = str(self._marks)
        self._marks += 1
        self._look.execute("select pg_notify('agentjobs_mark', %s)", (mark,))
        end = monotonic() + DEADLINE_SECONDS
        while ("agentjobs_mark", mark) not in self._heard:
            self._look.execute("select 1")
            assert monotonic() < end, "the notification of this connection itself does not come"
        heard, self._heard = self._heard, []
        for channel, payload in heard:
            yield channel if channel in ("agentjobs_due", "agentjobs_outbox") else f"{channel} {payload}"

    def passed_by(self, scene: Scene, first: Operation, second: Operation) -> Result:
        """``second`` alone, while the rows that ``first`` locks are locked; then ``first``."""
        self._fresh(scene)
        self._reply(self._one, first)
        with self._begun(second) as running:
            if self._waits(running):
                self._one.rollback()
            reply, _ = running.result(DEADLINE_SECONDS)
        self._two.commit()
        self._one.rollback()
        replies = [reply, self._reply(self._one, first)]
        self._one.commit()
        return self._result(self._look, scene, (second, first), replies)

    @contextmanager
    def _begun(self, operation: Operation) -> Iterator[Future[tuple[Any, int]]]:
        running = self._thread.submit(self._repeated, operation)
        try:
            yield running
        except BaseException:
            self._one.rollback()
            self._two.cancel()
            running.exception(DEADLINE_SECONDS)
            self._two.rollback()
            raise

    def _repeated(self, operation: Operation) -> tuple[Any, int]:
        for repeat in range(ROLLBACK_REPEATS + 1):
            try:
                return self._reply(self._two, operation), repeat
            except (pg.DeadlockDetected, pg.SerializationFailure):
                self._two.rollback()
                if repeat == ROLLBACK_REPEATS:
                    raise
        raise AssertionError("unreachable")

    def _waits(self, running: Future[tuple[Any, int]]) -> bool:
        """True once the second waits for the first; False once it has executed."""
        done = threading.Event()
        running.add_done_callback(lambda _: done.set())
        pids = (self._one.info.backend_pid, self._two.info.backend_pid)
        end = monotonic() + DEADLINE_SECONDS
        while not done.wait(0.001):
            row = self._look.execute("select %s = any(pg_blocking_pids(%s))", pids).fetchone()
            if row is not None and row[0]:
                return True
            assert monotonic() < end, "the second neither ends nor waits for the first"
        return False

    # -- results ----------------------------------------------------------------------------------

    @staticmethod
    def _reply(connection: psycopg.Connection[Any], operation: Operation) -> Any:
        rows = connection.execute(*operation.statement).fetchall()
        return [row[: len(row) - operation.hints] for row in rows]

    @staticmethod
    def _result(
        connection: psycopg.Connection[Any],
        scene: Scene,
        operations: Sequence[Operation],
        replies: Sequence[Any],
    ) -> Result:
        row = connection.execute(_EVERYTHING).fetchone()
        assert row is not None
        rows = json.loads(row[0])
        places = sorted(
            pos & ((1 << _PLACE_BITS) - 1)
            for table in ("waiting", "running")
            for pos in (r["pos"] for r in rows[table].values())
        )
        comparable = _Comparable(scene.built_at, {place: rank for rank, place in enumerate(places)})
        return Result(
            comparable.value(rows),
            _by_name(operations, [comparable.reply(reply) for reply in replies]),
        )


def wanted(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The notifications without which somebody would learn of a change only by polling."""
    found: set[str] = set()
    paused = {name for name, queue in after["queue"].items() if queue.get("paused_at")}
    for id_, row in after["waiting"].items():
        if row["state"] == before["waiting"].get(id_, {}).get("state") or row["queue"] in paused:
            continue
        match row["state"]:
            case "r" | "q":
                found.add(f"agentjobs_ready {row['queue']}")
            case "n":
                found.add("agentjobs_admit ")
            case "l":
                found.add("agentjobs_due")
    for id_, row in after["running"].items():
        if row.get("control") not in (None, before["running"].get(id_, {}).get("control")):
            found.add(f"agentjobs_control {row['worker']}")
    if after["outbox"]:
        found.add("agentjobs_outbox")
    return found


def _by_name(operations: Sequence[Operation], replies: Sequence[Any]) -> dict[str, Any]:
    """Of the same operation twice it does not count which got which reply."""
    found: dict[str, list[Any]] = {}
    for operation, reply in zip(operations, replies, strict=True):
        found.setdefault(operation.name, []).append(reply)
    return {name: sorted(replies, key=str) for name, replies in found.items()}


def _rows(table: str, key: str) -> str:
    left_out = (
        " - 'id'" if table in ("audit", "facet") else " - 'facet'"
    )  # numbers that a rolled back transaction used up, too
    return f"'{table}', (select coalesce(json_object_agg({key}, jsonb_strip_nulls(to_jsonb(t)) - 'version' - 'pruned_at'{left_out}), '{{}}') from {table} t)"


def _nth(table: str) -> str:
    """The key of a row of tallies. One job has several of the same state and reason, one for each round that ended so: they are
    numbered by their minutes, for rows with the same key would hide each other, by whichever place in the table they got."""
    return (
        "first_id || '/' || state::text || '/' || reason || '/' ||"
        f" (select count(*) from {table} o where (o.first_id, o.state, o.reason) = (t.first_id, t.state, t.reason)"
        " and (o.minute, o.n, o.last_id, o.ctid) <= (t.minute, t.n, t.last_id, t.ctid))"
    )


_KEYS = {
    "attempt": "id || '/' || run",
    "awaited": "uid",
    "session": "key",
    "queue": "name",
    "pause": "queue || '/' || (unpaused_at is null)",
    "upkeep": "'-'",
    "walk": "name",
    "worker": "name",
    "lookout": "queue || '/' || seat",
    "model_target": "breaker || '/' || target",
    "audit": "(select count(*) from audit before where before.id <= t.id)",
    "facet": "namespace || '/' || queue || '/' || agent || '/' || model || '/' || (made_at > now() - interval '7 days')",
    "tally": _nth("tally"),
    "tally_first": "(select count(*) from tally_first o where (o.first_id, o.minute) <= (t.first_id, t.minute))",
    "tally_key": (
        "by::text || '/' || minutes || '/' || key || '/' || state::text || '/' || (select count(*) from tally_key o"
        " where (o.by, o.minutes, o.key, o.state) = (t.by, t.minutes, t.key, t.state) and o.begins <= t.begins)"
    ),
    "tally_minute": _nth("tally_minute"),
}
_EVERYTHING: Any = (
    "select json_build_object("
    + ", ".join(_rows(table, _KEYS.get(table, "id")) for table in TABLES)
    + ")::text"
)


@dataclass(frozen=True)
class _Comparable:
    """Values of one run in a form that those of another can equal."""

    zero: datetime
    ranks: Mapping[int, int]
    """Of places in line."""

    def value(self, value: Any, name: str = "") -> Any:
        match value:
            case dict():
                return {key: self.value(inner, key) for key, inner in value.items()}
            case list():
                return [self.value(inner) for inner in value]
            case tuple():
                return tuple(self.value(inner) for inner in value)
            case bool():
                return value
            case int() if name == "pos":
                return (
                    f"priority {value >> _PLACE_BITS}, in line {self.ranks[value & ((1 << _PLACE_BITS) - 1)]}"
                )
            case int() if name == "bytes":
                return bool(value)  # of a payload with a time in it
            case float():
                return f"{value / 3600:.0f} h"
            case datetime():
                return self._hours(value)
            case str():
                return self._text(value)
        return value

    def reply(self, rows: Sequence[tuple[Any, ...]]) -> Any:
        """Of a claim too: its jobs are a text, in which the third number is a place in line."""
        return [tuple(self._cell(cell) for cell in row) for row in rows]

    def _text(self, text: str) -> str:
        if len(text) < 8 or (":" not in text and "waited" not in text):
            return text  # neither a time nor a text with one in it: the most are
        if _INTERVAL.fullmatch(text):
            days, minus, hours, minutes = _INTERVAL.fullmatch(text).groups("0")  # type: ignore[union-attr]
            part = int(hours) + int(minutes) / 60
            return f"{24 * int(days) + (-part if minus == '-' else part):.0f} h"
        return _SECONDS.sub("...", _TIME.sub(self._match, text))

    def _cell(self, cell: Any) -> Any:
        if isinstance(cell, str) and cell.startswith("[["):
            return [self.value(self._without_place(job)) for job in json.loads(cell)]
        return self.value(cell)

    @staticmethod
    def _without_place(job: list[Any]) -> list[Any]:
        return [*job[:3], job[3] >> _PLACE_BITS, *job[4:]]

    def _match(self, match: re.Match[str]) -> str:
        return self._hours(datetime.fromisoformat(match[0]))

    def _hours(self, time: datetime) -> str:
        return f"{round((time - self.zero).total_seconds() / 3600):+d} h"  # an integer: no -0
