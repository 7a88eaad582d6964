"""What ADK swallows, reports beside the answer, or under another name: each failure has its verdict and is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, gemini
from runs import Job, module

from adk_failures import FAILURES, HEAD, Failure
from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["gemini", "write_module"]


def source_of(root: str) -> str:
    *own, last = root.rsplit("\n", 1)
    made = last if last.startswith("app = ") else f"root_agent = {last}"
    return f"{HEAD}\n{''.join(own)}\n{made}\n"


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Some agents of the table switch loggers off."""
    yield
    logging.getLogger("google_adk").setLevel(logging.WARNING)
    for logger in logging.getLogger().manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.mark.parametrize("failure", [pytest.param(f, id=f.name) for f in FAILURES])
async def test_each_failure_that_adk_goes_on_after_has_its_verdict(
    failure: Failure, write_module: Write, gemini: FakeGemini, capfd: pytest.CaptureFixture[str]
) -> None:
    gemini.script(*failure.model)
    write_module("under_test", source_of(failure.root))
    job = Job(module("under_test"), failure.message, modules=("under_test",))
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.reason) == (failure.verdict, failure.reason), outcome.message
    for part in failure.told:
        assert part in outcome.message
    assert failure.result is None or outcome.result == failure.result
    assert failure.requests is None or len(gemini.requests) == failure.requests
    if failure.verdict is Verdict.COMPLETE:
        assert [warning.split(":")[0] for warning in outcome.warnings] == list(failure.warns)
    said = "".join(capfd.readouterr()) + outcome.message + "".join(outcome.warnings)
    assert "heron" not in said.replace("no server for heron 4711", ""), "no text of the conversation is told"
