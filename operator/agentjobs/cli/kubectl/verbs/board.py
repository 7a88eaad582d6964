"""``workers``, ``models``, ``queues``, ``pause`` and ``unpause``: what serves the jobs, read and steered through the runs API."""

from __future__ import annotations

from typing import Annotated, Any

from agentjobs.cli.flags import argument, echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output, tables
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.output import Column
from agentjobs.cli.kubectl.runs_api import MODELS, QUEUE_ACTIONS, QUEUES, WORKERS, RunsApi
from agentjobs.cli.kubectl.where import Where
from agentjobs.web.names import API_VERSION

Because = Annotated[str, option(metavar="TEXT", help="Why, for the audit and for those who look.")]
QueueName = Annotated[str, argument(metavar="QUEUE", help="The queue.")]


def workers(
    where: Where, everywhere: o.Everywhere = False, form: o.Output = "", no_headers: o.NoHeaders = False
) -> None:
    """List the live workers; in a namespace, those of the queues in which it has unfinished jobs."""
    items, _ = _found(where, WORKERS, form, everywhere=everywhere)
    none = (
        "workers"
        if everywhere
        else f"workers of queues in which {where.namespace or 'this namespace'} has unfinished jobs; -A: all"
    )
    shown("WorkerList", none, items, tables.workers(), form, no_headers)


def models(
    where: Where, everywhere: o.Everywhere = False, form: o.Output = "", no_headers: o.NoHeaders = False
) -> None:
    """List the models whose breaker is open, or counts failures. A model that answers is not in the list."""
    items, now = _found(where, MODELS, form, everywhere=everywhere)
    shown("ModelList", "models with failures", items, tables.models(now), form, no_headers)


def queues(
    where: Where, everywhere: o.Everywhere = False, form: o.Output = "", no_headers: o.NoHeaders = False
) -> None:
    """List the queues: what waits and runs, slots, limit and pause; in a namespace, the numbers of its own jobs."""
    items, now = _found(where, QUEUES, form, everywhere=everywhere)
    shown("QueueStatList", "queues", items, tables.queues(now), form, no_headers)


def pause(where: Where, queue: QueueName, because: Because = "") -> None:
    """Pause a queue of the whole installation: no job of it begins; what runs goes on."""
    _steer(where, "pause", queue, because)


def unpause(where: Where, queue: QueueName, because: Because = "") -> None:
    """Let a paused queue go on."""
    _steer(where, "resume", queue, because)


def _found(where: Where, resource: str, form: str, *, everywhere: bool) -> tuple[list[dict[str, Any]], Any]:
    output.checked(form)
    with ApiServer.open(where) as server:
        return list(RunsApi(server).list(resource, everywhere=everywhere)), server.now()


def shown(
    kind: str, words: str, items: list[dict[str, Any]], columns: list[Column], form: str, no_headers: bool
) -> None:
    """Prints a list of the runs API in the form of ``-o``."""
    none = f"No {words}."
    output.print_list(kind, items, columns, form, no_headers=no_headers, none=none, version=API_VERSION)


def _steer(where: Where, verb: str, queue: str, because: str) -> None:
    body = {
        "apiVersion": API_VERSION,
        "kind": "QueueAction",
        "spec": {"verb": verb, "queue": queue, "reason": because},
    }
    with ApiServer.open(where) as server:
        done = RunsApi(server).create(QUEUE_ACTIONS, body, clusterwide=True)
    echo(steered(queue, verb, changed=bool((done.get("status") or {}).get("changed"))))


def steered(queue: str, verb: str, *, changed: bool) -> str:
    """The line after an act on a queue."""
    if changed:
        return f"queue {queue} {'paused' if verb == 'pause' else 'unpaused'}"
    return f"queue {queue} is {'paused already' if verb == 'pause' else 'not paused'}"
