"""Which class of fault each SQLSTATE is, and what the queue and its callers make of it."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from agentjobs.database.fault import Fault, fault_of, one_line
from agentjobs.queue.connection import queue_error
from agentjobs.queue.errors import GrantRefused, QueueTimeout, QueueUnavailable, SchemaMismatch

TABLE = {
    Fault.READ_ONLY: ["25006"],
    Fault.AWAY: [
        *("08000", "08003", "08006", "08P01", "25001", "28000", "28P01", "3D000", "53000", "53100", "53200"),
        *("53300", "53400", "55000", "57P01", "57P02", "57P03", "57P04", "57P05", "58000", "58030"),
    ],
    Fault.SLOW: ["57014", "55P03", "25P03", "25P04"],
    Fault.ROLLED_BACK: ["40001", "40P01"],
    Fault.SCHEMA: ["3F000", "42P01", "42883", "42703", "42704"],
    Fault.RIGHT: ["42501"],
    Fault.DATA: ["22021", "22P02", "22P05", "22003", "54000", "54001"],
    Fault.KEY: ["23502", "23505", "23514"],
    Fault.OTHER: ["25P02", "42601", "0A000", "P0001", "XX000", "XX001", "21000"],
}


@pytest.mark.parametrize(("state", "fault"), [(state, fault) for fault in TABLE for state in TABLE[fault]])
def test_a_sqlstate_is_of_one_class(state: str, fault: Fault) -> None:
    assert fault_of(errors.lookup(state)("said")) is fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), Fault.AWAY),
        (psycopg.InterfaceError("the connection is closed"), Fault.AWAY),
        (errors.ConnectionTimeout("no answer for 5 s"), Fault.AWAY),
        (ConnectionResetError(), Fault.AWAY),
        (TimeoutError(), Fault.AWAY),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), Fault.DATA),
        (psycopg.ProgrammingError("the query has 0 placeholders but 1 parameters were passed"), Fault.OTHER),
        (ValueError(), Fault.OTHER),
    ],
)
def test_an_error_without_a_sqlstate_is_judged_by_its_type(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ("25006", QueueUnavailable),
        ("53100", QueueUnavailable),
        ("57014", QueueTimeout),
        ("40001", QueueUnavailable),
        ("42883", SchemaMismatch),
        ("42501", GrantRefused),
        ("22P02", None),
        ("XX001", None),
    ],
)
def test_the_queue_has_an_error_for_all_but_data_and_defects(state: str, wanted: type | None) -> None:
    assert type(queue_error(errors.lookup(state)("said"))) is (wanted or type(None))


def test_an_error_is_told_in_one_line() -> None:
    assert one_line(psycopg.OperationalError("first\n  second ")) == "first second"
    assert one_line(TimeoutError()) == "TimeoutError"
