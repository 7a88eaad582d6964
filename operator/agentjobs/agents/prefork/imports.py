"""Preloaded modules: the template imports those of the pool's setting ``preload``, and counts its threads.

For example, a module starts a thread when it is imported. A process forked from one with a second thread can
hang (12 of 12 hung where the thread held a lock), and nobody can end another's thread. So the template
imports one module at a time and counts the threads before and after. A module that adds a thread, or fails,
makes the template unfit: the supervisor starts a new one without that module, and each executor imports it,
which costs every job the import.
"""

from __future__ import annotations

import os

from agentjobs.agents.definition import yaml_agents
from agentjobs.agents.definition.importing import import_module
from agentjobs.agents.definition.resolve import parse, yaml_file_of
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.errors import AgentError


def preload(reference: str, settings: AgentSettings) -> str:
    """Imports the module of ``reference`` (``pkg.mod[:attr]``) into this process, the template; of a yaml agent also the
    modules that its files name.

    :returns: why nothing may be forked from this process any more, and what to do about it. Empty: it may.
    """
    before = thread_count()
    try:
        name, _ = parse(reference)
        module = import_module(name, settings)
        if file := yaml_file_of(module, settings):
            yaml_agents.import_named(file, settings, package=name)
        failure = ""
    except AgentError as error:
        failure = str(error)
    if (added := thread_count() - before) > 0:
        return (
            f"its import starts {added} thread(s), which makes forking unsafe. It is loaded in each executor instead, "
            f"at the cost of its import per job. Start threads in functions, not at import. {failure}"
        ).rstrip()
    if failure:
        return f"it is loaded in each executor instead, where its jobs get this error: {failure}"
    return ""


def thread_count() -> int:
    """Number of threads of this process, those that Python does not know of included."""
    return len(os.listdir("/proc/self/task"))
