"""Steps of a sequence, a loop, parallel agents or a workflow, and sub-agents that a model calls: which have failed
and not answered since.

For example, the first step of a sequence is blocked. ADK stores that as an event, runs the next step without what
the first one would have said, and ends well. Where the author's own code decides what an error means, it may: an own
agent, of its sub-agents, and the node of a workflow that chooses the way behind the one that failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from agentjobs.agents.definition.nodes import is_a
from agentjobs.agents.run.events import Ending, ending_of

if TYPE_CHECKING:
    from google.adk.events.event import Event

_KINDS = {
    "SequentialAgent": "google.adk.agents.sequential_agent",
    "LoopAgent": "google.adk.agents.loop_agent",
    "ParallelAgent": "google.adk.agents.parallel_agent",
    "Workflow": "google.adk.workflow",
}
"""Agents that run their sub-agents whatever comes of them. Not imported here: each run would pay for that."""


_CALLED_MODES = ("single_turn", "task")
"""Modes of sub-agents whose end is the result of a tool's call."""


class StepFailed(Exception):
    """A sequence would go on after a step that failed. Raised where its next step begins."""


class Steps:
    """The steps below ``root``, and the endings of those that have failed."""

    def __init__(self, root: Any) -> None:
        self._step_of: dict[str, tuple[str, Mapping[str, int]]] = {}
        for step, places in _steps(root, {}):
            for author in authors_of(step):
                self._step_of[author] = (step.name, places)
        self._failed: dict[str, tuple[Ending, Mapping[str, int]]] = {}

    def hear(self, event: Event) -> None:
        """Takes in an event: its step has failed, has answered, or neither."""
        step, places = self._step_of.get(event.author, ("", {}))
        if not step or event.partial:
            return
        ending = ending_of([event])
        if ending.failed:
            self._failed.setdefault(step, (ending, places))
        elif ending.answer:
            self._failed.pop(step, None)

    def begin(self, agent: str) -> None:
        """Hears that an agent begins.

        :raises StepFailed: it does so in a sequence of which an earlier step has failed.
        """
        _, places = self._step_of.get(agent, ("", {}))
        for _, failed in self._failed.values():
            if any(failed[sequence] < place for sequence, place in places.items() if sequence in failed):
                raise StepFailed

    def failed(self) -> Ending | None:
        """The ending of the first step that has failed and not answered since. None: there is none."""
        return next((ending for ending, _ in self._failed.values()), None)


def failure_in(root: Any, events: Iterable[Event]) -> Ending | None:
    """The ending of the first step below ``root`` that has failed in these events and not answered since."""
    steps = Steps(root)
    for event in events:
        steps.hear(event)
    return steps.failed()


def _steps(
    agent: Any, places: Mapping[str, int], *, looped: bool = False
) -> Iterator[tuple[Any, Mapping[str, int]]]:
    """Each step with its places in the sequences around it, but for those in a loop, which enters them again."""
    kind = kind_of(agent)
    if not kind:
        yield from _called(agent, places)
        return
    looped = looped or kind == "LoopAgent"
    for number, step in enumerate(_undecided(agent) if kind == "Workflow" else agent.sub_agents):
        inner = {**places, agent.name: number} if kind == "SequentialAgent" and not looped else places
        if kind_of(step):
            yield from _steps(step, inner, looped=looped)
        else:
            yield step, inner
            yield from _called(step, inner)


def _called(agent: Any, places: Mapping[str, int]) -> Iterator[tuple[Any, Mapping[str, int]]]:
    """The steps below an LLM agent: agents and workflows that its model calls or hands over to."""
    tools = getattr(agent, "tools", None)
    if tools is None:  # an own agent
        return
    for inner in agent.sub_agents:
        if not kind_of(inner) and getattr(inner, "mode", None) in _CALLED_MODES:
            yield inner, places
        yield from _steps(inner, places)
    for tool in tools:
        node = getattr(tool, "node", tool)
        if kind_of(node):
            yield from _steps(node, places)


def _undecided(workflow: Any) -> Iterator[Any]:
    """The nodes of ``workflow`` that are agents, and behind which no node chooses the way."""
    edges = workflow.graph.edges if workflow.graph is not None else ()
    choosing = {edge.from_node.name for edge in edges if edge.route is not None}
    decided = {edge.from_node.name for edge in edges if edge.to_node.name in choosing} | choosing
    for node in workflow.graph.nodes if workflow.graph is not None else ():
        if node.name not in decided and (hasattr(node, "sub_agents") or kind_of(node)):
            yield node


def kind_of(agent: Any) -> str:
    """The kind of an agent that runs others whatever comes of them, such as ``Workflow``. Empty: of another kind."""
    return next((name for name, module in _KINDS.items() if is_a(agent, name, module)), "")


def authors_of(step: Any) -> Iterator[str]:
    """The names of ``step`` and of the agents below it."""
    yield step.name
    for agent in getattr(step, "sub_agents", None) or ():
        yield from authors_of(agent)
