"""Synchronous tools of a run: on the thread of the event loop, as ADK runs them, or in threads where the pool says so.

On the loop's thread one runs after the other, so what belongs to that thread works, such as a connection of sqlite3 or
``asyncio.get_event_loop()``, and so does a tool that reads, changes and writes the session's state. Threads let tools
wait side by side, and break such tools (``AgentSettings.tool_threads``).

Either way a tool passes the lease gate where it begins (H13), and not where its turn was announced: until then, it may
have waited for a callback of its agent, for the loop, or for a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from agentjobs.agents.lease_gate import wait_for_lease

if TYPE_CHECKING:
    from google.adk.tools.base_tool import BaseTool
    from google.adk.tools.tool_context import ToolContext


def gate(tool: BaseTool) -> None:
    """Has ``tool`` wait for the lease where it begins: ADK first calls the agent's own callbacks, which may take long.

    To be called before each call: toolsets copy their tools, with what was set on them.
    """
    present = vars(tool).get("run_async")
    if present is None or (isinstance(present, partial) and present.func is _gated):
        tool.run_async = partial(_gated, tool)  # type: ignore[method-assign]


async def _gated(tool: BaseTool, *, args: dict[str, Any], tool_context: ToolContext) -> Any:
    await wait_for_lease()
    return await type(tool).run_async(tool, args=args, tool_context=tool_context)


@contextmanager
def in_threads(count: int) -> Iterator[None]:
    """Runs the synchronous tools of this task, and of the tasks that it starts, in ``count`` threads. 0: as ADK does."""
    if count == 0:
        yield
        return
    from google.adk.utils._sync_runner import _use_sync_callable_runner

    threads = _Threads(count)
    with _use_sync_callable_runner(threads.run):
        try:
            yield
        finally:
            threads.close()


class _Threads:
    """ADK's own threads take a call before one of them is free, which begins it when the lease may be over."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="tool")
        self._free = asyncio.Semaphore(count)

    async def run(self, target: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        await self._free.acquire()
        try:
            await wait_for_lease()
            called = self._executor.submit(copy_context().run, _call, target, arguments)
        except BaseException:
            self._free.release()
            raise
        # not when this task ends: it may be cancelled, and the thread goes on
        called.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._free.release))
        return await asyncio.wrap_future(called)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


def _call(target: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    from google.adk.utils._sync_runner import _use_sync_callable_runner

    def invoke() -> Any:  # ADK knows by this name that a call did not fit a tool without a signature
        return target(**arguments)

    with _use_sync_callable_runner(None):  # a tool that runs agents of its own has a thread already
        return invoke()
