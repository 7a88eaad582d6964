"""The annotation that answers a tool's question."""

from __future__ import annotations

import json

import pytest

from agentjobs.api.input_response import Response, parse, text_of


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("approve:adk-1", Response("adk-1", True)),
        (" reject: adk-1\n", Response("adk-1", False)),
        ('{"id": "q", "approved": false}', Response("q", False)),
        (
            '{"id": "q", "approved": true, "reason": "ok", "by": "alice", "payload": {"n": [1]}}',
            Response("q", True, "ok", {"n": [1]}, "alice"),
        ),
        ('{"id": "q", "approved": true, "reason": null}', Response("q", True)),
    ],
)
def test_each_form_is_read(text: str, wanted: Response) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("approve", "it is no answer"),
        ("approve:", "there is no id"),
        ("Approve:q", "it is no answer"),
        ("true", "it is no answer"),
        ("[" * 100_000, "it is no answer"),
        ('{"approved": true}', "id, and approved or payload, are required"),
        ('{"id": "q"}', "id, and approved or payload, are required"),
        ('{"id": "q", "approve": true}', "approve: unknown field"),
        ('{"id": "q", "approved": "yes"}', "approved: true or false is wanted"),
        ('{"id": 7, "approved": true}', "id: text is wanted"),
    ],
)
def test_what_is_no_answer_is_never_taken_for_one(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(text)


@pytest.mark.parametrize(
    "response",
    [
        Response("q", True),
        Response("q", False),
        Response("q", True, "wörds: {}", {"a": None}, "system:x"),
        Response("q", True, payload=0),
    ],
)
def test_what_is_written_is_read_back(response: Response) -> None:
    assert parse(text_of(response)) == response


def test_the_short_form_is_written_where_it_says_all() -> None:
    assert text_of(Response("q", False)) == "reject:q"
    assert json.loads(text_of(Response("q", True, by="alice"))) == {
        "id": "q",
        "approved": True,
        "by": "alice",
    }
