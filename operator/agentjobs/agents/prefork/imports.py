"""Imports one of the pool's modules in the template that executors are forked from, and says whether it is fit for it.

Forking a process with a second thread can hang the child (measured: 12 of 12, for a module whose thread held a lock),
and a thread cannot be taken back. So modules come one at a time, with the number of threads counted around each; one
that adds a thread, or fails, spoils the template: it is to be started anew without it. Such a module is loaded in
each executor instead, which costs every job its import.
"""

from __future__ import annotations

import os

from agentjobs.agents.definition.resolve import import_module, parse
from agentjobs.agents.verdict.errors import AgentError


def load(reference: str) -> str:
    """Imports the module of ``reference`` (``pkg.mod[:attr]``).

    :returns: why this process must not be forked from any more, and what to do about it; empty: all is well.
    """
    before = threads()
    try:
        import_module(parse(reference)[0])
        failure = ""
    except AgentError as error:
        failure = str(error)
    if (added := threads() - before) > 0:
        return (
            f"its import starts {added} thread(s), which makes forking unsafe. It is loaded in each executor instead, "
            f"at the cost of its import per job. Start threads in functions, not at import. {failure}"
        ).rstrip()
    if failure:
        return f"it is loaded in each executor instead, where its jobs get this error: {failure}"
    return ""


def threads() -> int:
    """Threads of this process, also those that Python does not know of."""
    return len(os.listdir("/proc/self/task"))
