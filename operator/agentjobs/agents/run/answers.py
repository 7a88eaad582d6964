"""The result of a run whose root ends in several places, such as parallel agents: each answer, by the name of its end.

For example, ``{"optimist": "Buy.", "pessimist": "Sell."}``. A run in which one end has answered has that answer's text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from agentjobs.agents.run.events import Ending, ending_of
from agentjobs.agents.run.steps import authors_of, kind_of
from agentjobs.values.bounds import RESULT_BYTES
from agentjobs.values.text import shortened

if TYPE_CHECKING:
    from google.adk.events.event import Event


def answers_of(root: Any, events: Iterable[Event], ending: Ending) -> Mapping[str, Ending]:
    """The answers of a run that ended well, by the names of their ends. Where one end alone has answered: ``ending``, without a name.

    :param events: those of the invocation, also of earlier runs: a retry does not enter again what has finished.
    :param ending: of the run as a whole.
    """
    ends = list(_ends(root))
    if len(ends) < 2:
        return {"": ending}
    said = list(events)
    answers = {
        end.name: ending_of([event for event in said if _is_of(event, end)], end=end.name) for end in ends
    }
    answers = {name: answer for name, answer in answers.items() if answer.answer}
    return answers if len(answers) > 1 else {"": ending}


def result_of(answers: Mapping[str, str]) -> str:
    """The result, of 1 MiB at most: the text of the answer without a name, or the answers by name as JSON."""
    return shortened(answers[""], RESULT_BYTES) if "" in answers else _as_json(answers)


def _ends(root: Any) -> Iterator[Any]:
    """The agents and nodes below ``root`` behind which nothing runs."""
    kind = kind_of(root)
    if kind == "ParallelAgent":
        for agent in root.sub_agents:
            yield from _ends(agent)
    elif kind == "SequentialAgent" and root.sub_agents:
        yield from _ends(root.sub_agents[-1])
    elif kind == "Workflow" and root.graph is not None:
        left = {edge.from_node.name for edge in root.graph.edges}
        for node in root.graph.nodes:
            if node.name not in left:
                yield from _ends(node)
    else:
        yield root


def _is_of(event: Event, end: Any) -> bool:
    """Whether ``event`` is of the agent or node, or of one below it. The author of a function's event is its workflow."""
    path = event.node_info.path if event.node_info is not None else ""
    names = {event.author, *(part.partition("@")[0] for part in (path or "").split("/"))}
    return not names.isdisjoint(authors_of(end))


def _as_json(answers: Mapping[str, str]) -> str:
    """The answers as JSON. Where that would be too long, the longest of them are cut, not the JSON."""
    share = RESULT_BYTES
    while True:
        cut = {name: shortened(answer, share) for name, answer in answers.items()}
        text = json.dumps(cut, ensure_ascii=False)
        if len(text.encode()) <= RESULT_BYTES:
            return text
        share //= 2
