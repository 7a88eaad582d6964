"""The check of a pool's services by URI, before its worker starts: ``python -m agentjobs.agents.sessions.services_check``.

It makes each service once, in a process of its own: a worker's supervisor imports nothing of ADK, and what a service opens must
not be inherited by the runs. Reads ``{settings, path}`` as JSON from standard input; each line that it writes refuses the start.
"""

from __future__ import annotations

import json
import sys
import warnings

from agentjobs.agents.definition.settings import AgentSettings


def problems(settings: AgentSettings) -> list[str]:
    """What is wrong with the pool's services by URI, a line for each; none where there is none."""
    from agentjobs.agents.sessions.uri_services import ARTIFACTS, MEMORY, ServiceInvalid, made

    found = []
    for kind in (ARTIFACTS, MEMORY):
        try:
            if kind.uri(settings) is not None:
                made(kind, settings)
        except ServiceInvalid as error:
            found.append(" ".join(str(error).split()))
    return found


def main() -> None:
    asked = json.load(sys.stdin)
    sys.path[:0] = asked["path"]
    answers, sys.stdout = sys.stdout, sys.stderr  # what a module prints at its import is no answer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = problems(AgentSettings.from_json(asked["settings"]))
    print(*found, sep="\n", file=answers, flush=True)


if __name__ == "__main__":
    main()
