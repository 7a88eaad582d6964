"""ADK's compaction of a conversation: its model call counts like any other, and the budget may forbid it.

The call goes around the plugins, and it is made after the answer. So a compaction that the budget forbids is left
out, and the answer counts.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from google.adk.models import BaseLlm

from agentjobs.agents.lease_gate import wait_for_lease
from agentjobs.agents.run.budget import Meter, bound
from agentjobs.agents.run.events import tokens

if TYPE_CHECKING:
    from google.adk.apps import App
    from google.adk.models.llm_request import LlmRequest
    from google.adk.models.llm_response import LlmResponse


class _Metered(BaseLlm):
    """A model whose calls the run's meter counts."""

    def __init__(self, inner: BaseLlm, meter: Meter, timeout_ms: int) -> None:
        super().__init__(model=inner.model)
        self._inner = inner
        self._meter = meter
        self._timeout_ms = timeout_ms

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        await wait_for_lease()
        if not self._meter.begin_extra_call():
            return
        bound(llm_request, self._timeout_ms)
        async for response in self._inner.generate_content_async(llm_request, stream=stream):
            if not response.partial:
                self._meter.add_answer("compaction", tokens(response.usage_metadata))
            yield response


def metered(app: App, meter: Meter, timeout_ms: int) -> App:
    """``app`` with a compaction whose model calls are counted. A summariser that is not ADK's own stays as it is."""
    from google.adk.agents import LlmAgent
    from google.adk.apps.llm_event_summarizer import LlmEventSummarizer

    config = app.events_compaction_config
    if config is None:
        return app
    summarizer = config.summarizer
    if summarizer is None and isinstance(app.root_agent, LlmAgent):  # as ADK would
        summarizer = LlmEventSummarizer(llm=app.root_agent.canonical_model)
    if not isinstance(summarizer, LlmEventSummarizer):
        return app
    own = copy.copy(summarizer)
    own._llm = _Metered(summarizer._llm, meter, timeout_ms)
    return app.model_copy(update={"events_compaction_config": config.model_copy(update={"summarizer": own})})
