"""Items that cannot be sent are found by halves, whatever they are; errors that no item can cause are not searched."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors as pg

from agentjobs.queue.bisection import each_alone, is_about_a_row
from agentjobs.queue.errors import JobRejected, QueueUnavailable, SchemaMismatch

FAULTS = [
    TypeError("Integer exceeds 64-bit range"),
    UnicodeEncodeError("latin-1", "–", 0, 1, "ordinal not in range"),
    RecursionError("too deep"),
    OverflowError("too large"),
    psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
    pg.NumericValueOutOfRange("smallint out of range"),
    pg.UntranslatableCharacter("no equivalent in encoding LATIN1"),
    pg.CheckViolation("job_retry"),
    pg.UniqueViolation("outcome_pkey"),
    pg.ProgramLimitExceeded("index row size 2712 exceeds btree version 4 maximum 2704"),
    pg.StatementTooComplex("stack depth limit exceeded"),
    pg.DataCorrupted("invalid page in block 7"),
    JobRejected("payload", "2 MB", "at most 1 MB"),
]
OTHERS = [
    QueueUnavailable("away"),
    SchemaMismatch("old"),
    psycopg.OperationalError("the connection is lost"),
    pg.InsufficientPrivilege("permission denied"),
    pg.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"),
    pg.DeadlockDetected("deadlock detected"),
    pg.QueryCanceled("canceling statement due to statement timeout"),
    pg.DiskFull("no space left on device"),
    pg.UndefinedFunction("function does not exist"),
]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_h6_an_error_that_one_value_can_cause_is_searched_for(error: Exception) -> None:
    assert is_about_a_row(error)


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_h6_an_error_of_connection_role_or_statement_is_not(error: Exception) -> None:
    assert not is_about_a_row(error)


@given(st.lists(st.booleans(), min_size=1, max_size=100), st.sampled_from(FAULTS))
async def test_h6_every_good_item_is_sent_once_and_every_bad_one_is_refused_alone(
    bad: list[bool], error: Exception
) -> None:
    sent: list[int] = []
    refused: list[int] = []

    async def send(some: Sequence[int]) -> list[int]:
        if any(bad[item] for item in some):
            raise error
        sent.extend(some)
        return list(some)

    async def refuse(item: int, why: Exception) -> list[int]:
        assert why is error
        refused.append(item)
        return [item]

    answers = await each_alone(range(len(bad)), send, refuse)
    assert [item for part in answers for item in part] == list(range(len(bad)))
    assert sent == [item for item, is_bad in enumerate(bad) if not is_bad]
    assert refused == [item for item, is_bad in enumerate(bad) if is_bad]


async def test_h6_an_outage_in_the_middle_is_raised() -> None:
    async def send(some: Sequence[int]) -> None:
        raise TypeError if len(some) > 1 else QueueUnavailable("away")

    async def refuse(item: int, why: Exception) -> None:
        raise AssertionError

    with pytest.raises(QueueUnavailable):
        await each_alone([1, 2], send, refuse)
