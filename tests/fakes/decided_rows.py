"""Which rows of the table of outcomes decide, in this process."""

from __future__ import annotations

import pytest

from agentjobs.agents.run import attempt, events
from agentjobs.agents.verdict import classify


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled as attempts are judged."""
    decided: list[str] = []
    for module, name in ((attempt, "judge_exception"), (events, "judge_code")):
        judge = getattr(classify, name)

        def noted(*args: object, _judge: object = judge, **more: object) -> object:
            judgement = _judge(*args, **more)  # type: ignore[operator]
            decided.append(judgement.row)
            return judgement

        monkeypatch.setattr(module, name, noted)
    return decided
