"""What stands for a job's model before anybody has run it."""

from __future__ import annotations

from typing import Any

import pytest

from agentjobs.queue.breakers import TARGET_CHARACTERS, model_rows, target_of
from agentjobs.queue.records import Ack, AckKind, ModelReport
from agentjobs.values.model_answer import ModelAnswer


@pytest.mark.parametrize(
    ("agent", "target"),
    [
        ({"inline": {"model": "gemini-2.5-flash"}}, "gemini-2.5-flash"),
        ({"module": "team.agent:root"}, "module:team.agent:root"),
        ({"inline": {"model": "m\x00"}}, "m\ufffd"),
        ({"module": "m" * 1000}, "module:" + "m" * (TARGET_CHARACTERS - 7)),
        ({"inline": {}}, None),
        ({"inline": {"model": 7}}, None),
        ({"module": ""}, None),
        ("m", None),
        (None, None),
    ],
)
def test_an_inline_agents_model_else_the_module_stands_for_the_model(agent: Any, target: str | None) -> None:
    assert target_of({"agent": agent}) == target


def test_a_report_says_only_what_there_is_to_say() -> None:
    answered = ModelReport("a", ModelAnswer.ANSWERED)
    limited = ModelReport("b", ModelAnswer.RATE_LIMITED, "ModelRateLimited", 7)
    rows = model_rows([Ack(1, 2, AckKind.SNOOZE, models=(answered, limited)), Ack(3, 4, AckKind.COMPLETE)])
    assert rows == [
        {"i": 1, "t": 2, "m": "a", "h": "o"},
        {"i": 1, "t": 2, "m": "b", "h": "r", "y": "ModelRateLimited", "w": 7},
    ]
