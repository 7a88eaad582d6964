"""What a loop's outage says: one line where it begins, changes and ends, each by its right name."""

from __future__ import annotations

import logging

import pytest

from agentjobs.queue.errors import GrantRefused, LoginRefused, QueueTimeout, QueueUnavailable, SchemaMismatch
from agentjobs.worker.supervisor.outage import Outage


@pytest.mark.parametrize(
    ("error", "event", "end"),
    [
        (QueueUnavailable("no route"), "database.away", "database.back"),
        (LoginRefused("password"), "database.away", "database.back"),
        (QueueTimeout("statement timeout"), "database.slow", "database.back"),
        (SchemaMismatch("no step()"), "database.refuses", "database.back"),
        (GrantRefused("permission denied"), "database.refuses", "database.back"),
        (UnicodeEncodeError("latin-1", "–", 0, 1, "no"), "loop.failed", "loop.recovered"),
    ],
)
def test_an_outage_is_told_by_its_name_once(
    error: Exception, event: str, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage("dispatch", logging.getLogger("test"))
    with caplog.at_level("INFO"):
        for _ in range(3):
            outage.failed(error)
        assert str(error) in outage.problem
        outage.over()
    told = [record.getMessage() for record in caplog.records if record.exc_info is None]
    assert told == [event, end]
    assert (outage.problem, outage.on) == ("", False)


def test_an_outage_that_becomes_another_one_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("tick", logging.getLogger("test"))
    for error in (QueueUnavailable("gone"), QueueUnavailable("gone"), SchemaMismatch("empty")):
        outage.failed(error)
    assert [record.getMessage() for record in caplog.records] == ["database.away", "database.refuses"]


def test_only_a_login_that_is_refused_each_time_counts_as_refused() -> None:
    outage = Outage("heartbeat", logging.getLogger("test"))
    outage.failed(LoginRefused("password"))
    assert outage.login_refused_at is not None
    outage.failed(QueueUnavailable("starting up"))
    assert outage.login_refused_at is None
