"""``--state KEY=VALUE``: JSON where it is JSON, else a text."""

from __future__ import annotations

from typing import Any

import pytest

from agentjobs.cli.errors import BadInput
from agentjobs.cli.kubectl.manifests import Flags, changed
from agentjobs.cli.state_flag import state_of


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("17", 17),
        ('"17"', "17"),
        ("true", True),
        ('{"a": [1.5, null]}', {"a": [1.5, None]}),
        ("", ""),
        ("a=b", "a=b"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("1" * 5000, "1" * 5000),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_value_is_json_where_it_can_be_read_as_json_else_a_text(value: str, read: Any) -> None:
    assert state_of([f"key={value}"]) == {"key": read}


@pytest.mark.parametrize("given", ["key", "=value", ""])
def test_what_has_no_key_or_no_value_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match=r"--state: wants KEY=VALUE, got"):
        state_of([given])


def test_a_flag_changes_one_key_of_a_files_state() -> None:
    job = {"spec": {"agent": {"module": "a"}, "state": {"city": "Rome", "name": "Ada"}}}
    assert changed(job, Flags(state={"city": "Oslo"}))["spec"]["state"] == {"city": "Oslo", "name": "Ada"}
    assert changed(job, Flags())["spec"]["state"] == {"city": "Rome", "name": "Ada"}
