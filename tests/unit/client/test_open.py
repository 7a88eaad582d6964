"""What opening a queue refuses at once: what waiting for the database does not cure."""

from __future__ import annotations

import pytest

from agentjobs import InvalidUrl, Queue, SyncQueue

UNREADABLE = ("postgre://me:secret@db/jobs", "nonsense")


@pytest.mark.parametrize("url", UNREADABLE)
async def test_a_url_that_cannot_be_read_is_refused_where_it_is_given_without_its_password(url: str) -> None:
    for opened in (Queue.open(url), Queue.open("", direct_dsn=url)):
        with pytest.raises(
            InvalidUrl, match="postgresql://user:password@host:5432/database is wanted"
        ) as refused:
            await opened
        assert "secret" not in str(refused.value)
    with pytest.raises(InvalidUrl):
        SyncQueue(url)


async def test_a_database_that_is_away_is_no_error_before_the_first_call() -> None:
    async with await Queue.open("postgresql://nobody@127.0.0.1:1/away"):
        pass
