"""Which class of fault each SQLSTATE is, and what the queue and its callers make of it."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from agentjobs.database.fault import Fault, fault_of, login_refused, one_line, waiting_may_cure
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


def test_what_libpq_asks_below_an_error_is_left_out() -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect("postgresql://127.0.0.1:1/none")
    assert one_line(refused.value).endswith('server at "127.0.0.1", port 1 failed: Connection refused')


FAILED = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("told", "login", "cures"),
    [
        ('FATAL:  password authentication failed for user "a"', True, False),
        ("fe_sendauth: no password supplied", True, False),
        ("FATAL:  SASL authentication failed", True, False),
        ('FATAL:  role "a" does not exist', True, False),
        ('FATAL:  role "a" is not permitted to log in', True, False),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "a", database "b", no encryption', False, False),
        ('FATAL:  database "b" does not exist', False, False),
        ("FATAL:  no such database: b", False, False),
        ('FATAL:  permission denied for database "b"', False, False),
        ('FATAL:  database "b" is not currently accepting connections', False, False),
        ("server does not support SSL, but SSL was required", False, False),
        ('root certificate file "/run/secrets/ca.crt" does not exist', False, False),
        ("SSL error: certificate verify failed", False, False),
        ("Connection refused", False, True),
        ("timeout expired", False, True),
        ("FATAL:  the database system is starting up", False, True),
        ("FATAL:  sorry, too many clients already", False, True),
        ("FATAL:  Passwort-Authentifizierung für Benutzer »a« fehlgeschlagen", False, True),
    ],
)  # fmt: skip
def test_a_connect_that_failed_tells_whether_waiting_may_cure_it(told: str, login: bool, cures: bool) -> None:
    assert login_refused(FAILED + told) is login
    assert waiting_may_cure(psycopg.OperationalError(FAILED + told)) is cures


@pytest.mark.parametrize(
    ("state", "cures"),
    [("28P01", False), ("28000", False), ("3D000", False), ("42501", False), ("57P03", True), ("53300", True), ("55000", True)],
)  # fmt: skip
def test_with_a_sqlstate_the_words_do_not_count(state: str, cures: bool) -> None:
    assert waiting_may_cure(errors.lookup(state)("gesagt")) is cures
