"""Names of what the board shows: two models, or two workers, are two objects, for a watch and for a get."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentjobs.queue.board import Board, WorkerOnBoard
from agentjobs.queue.breakers import Breaker
from agentjobs.web.board_objects import dns_name, model_of, workers_of
from agentjobs.web.watching import by_identity, differences, since

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
TEXTS = st.text("aAb/.-:é 0", min_size=1, max_size=8) | st.text(min_size=1, max_size=320)


def breaker(model: str, pool: str = "p") -> Breaker:
    return Breaker(pool, model, "ModelUnavailable", 5, NOON, "ModelUnavailable", NOON, 1, 0, 0, ())


@pytest.mark.parametrize(
    "models",
    [
        ("openai/gpt-4", "openai-gpt-4", "openai:gpt-4", "OpenAI/gpt-4"),
        ("m" * 252 + "1", "m" * 252 + "2"),
        ("/", "-", ":", "é"),
        ("a..b", "a.-b", "a.b"),
    ],
    ids=lambda models: models[0][:12],
)
def test_models_whose_names_read_alike_are_two_objects_of_a_watch(models: tuple[str, ...]) -> None:
    seen = by_identity([model_of(breaker(model), None) for model in models])
    assert {item.status.model for _, item in since(seen, "")} == set(models)
    names = [item.metadata.name for _, item in since(seen, "")]
    assert len(set(names)) == len(models)
    gone = by_identity([model_of(breaker(model), None) for model in models[1:]])
    assert [(kind, item.status.model) for kind, item in differences(seen, gone)] == [("deleted", models[0])]


@given(st.lists(TEXTS, unique=True, max_size=8))
@example(["p.a/b", dns_name("p.a/b")])
@example(["p." + "m" * 260, dns_name("p." + "m" * 260)])
def test_different_texts_have_different_names_each_a_dns_name(texts: list[str]) -> None:
    names = [dns_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    for name in names:
        assert SUBDOMAIN.fullmatch(name), name
        assert len(name) <= 253


@pytest.mark.parametrize("text", ["default.gemini-2.5-flash", "default.echo", "p.claude-sonnet-4-5-20250929"])
def test_a_name_that_is_one_already_stays(text: str) -> None:
    assert dns_name(text) == text


def test_workers_of_one_name_are_two_objects_of_a_watch() -> None:
    """Two processes on one machine, or one that was just replaced by the next."""
    workers = [
        WorkerOnBoard(UUID(int=n), "here", "default", {"agents": 10}, "1", NOON, 0.0, 0, accepting=True)
        for n in (1, 2)
    ]
    board = Board([], workers, [])
    seen = by_identity(workers_of(board, None, NOON))
    assert [item.metadata.uid for _, item in since(seen, "")] == [str(UUID(int=1)), str(UUID(int=2))]
