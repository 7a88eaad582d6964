"""Messages on their way out of a run, and JSON on its way into the session store."""

from __future__ import annotations

import json

import pytest

from agentjobs.agents.sessions.rows import storable_json
from agentjobs.agents.verdict.redaction import secrets_of, without
from agentjobs.values.text import clean, shortened


def test_h6_nul_and_lone_surrogates_are_replaced() -> None:
    assert clean("a\x00b\ud800c") == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    "value",
    [
        {"a": "x\x00"},
        {"k\x00": ["\ud800", {"b": "\udfff"}]},
        {"fine": "é \\u0000 \U0001f600", "n": [1, None, True, 1.5]},
    ],
)
def test_h6_json_is_storable(value: object) -> None:
    text = storable_json(value)
    loaded = json.loads(text)
    assert "\x00" not in json.dumps(loaded, ensure_ascii=False)
    json.dumps(loaded, ensure_ascii=False).encode()  # no lone surrogate


def test_an_escaped_backslash_is_not_taken_for_nul() -> None:
    assert json.loads(storable_json({"a": "\\u0000", "b": "\U0001f600"})) == {
        "a": "\\u0000",
        "b": "\U0001f600",
    }


@pytest.mark.parametrize(
    ("text", "limit", "kept"), [("abc", 3, "abc"), ("abcdef", 5, "ab…"), ("ééé", 5, "é…")]
)
def test_h7_text_is_cut_between_characters(text: str, limit: int, kept: str) -> None:
    assert shortened(text, limit) == kept


def test_what_was_said_is_taken_out() -> None:
    told = 'bad value "my secret plan\\nis long" (my secret plan)'
    assert without(told, ["my secret plan\nis long"]) == 'bad value "[text]" ([text])'


def test_short_texts_are_left() -> None:
    assert without("status 500: no", ["no", "500"]) == "status 500: no"


def test_credentials_of_the_environment_are_found_by_name() -> None:
    pairs = {
        "GOOGLE_API_KEY": "abcdefghij",
        "PATH": "/usr/bin:/bin",
        "OPENAI_KEY": "short",
        "DB_PASSWORD": "longenough",
    }
    assert set(secrets_of(pairs.items())) == {"abcdefghij", "longenough"}
