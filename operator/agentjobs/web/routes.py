"""The table of routes. Discovery, OpenAPI, the roles and the tests' matrix are made from it; what is not in it is not
served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agentjobs.web import table
from agentjobs.web.answers import Columns
from agentjobs.web.call import Answer, Call
from agentjobs.web.handlers import acts, agentruns, artifacts, log, schedules, series, stats, ui
from agentjobs.web.objects.acts import Erasure, QueueAction, RunAction, RunAudit
from agentjobs.web.objects.logs import RunArtifacts, RunTranscript
from agentjobs.web.objects.meta import KubeObject
from agentjobs.web.objects.runs import AgentRun, RunAttempts, RunResult
from agentjobs.web.objects.schedules import ScheduleStat
from agentjobs.web.objects.series import RunSeries
from agentjobs.web.objects.stats import Model, QueueStat, Worker
from agentjobs.web.status import ApiError
from agentjobs.web.target import Target

Handler = Callable[[Call], Awaitable[Answer]]


class Role(StrEnum):
    """The least of Kubernetes' user roles that has a right."""

    VIEW = "view"
    EDIT = "edit"
    ADMIN = "admin"
    QUEUES = "queues"
    """A role of its own, of the whole cluster: queues and models are everybody's."""
    EVERYONE = "everyone"
    """Every authenticated user: static files."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource or subresource, and its verbs."""

    name: str
    """Plural, with its subresource."""
    kind: str
    verbs: Mapping[str, tuple[Role, Handler]]
    namespaced: bool = True
    model: type[KubeObject] | None = None
    """The object that it serves. None: text, or a file."""
    columns: Columns = ()
    short_names: tuple[str, ...] = ()
    creates_everywhere: bool = False
    """A POST over all namespaces is served too, by cluster-wide rights."""

    @property
    def plural(self) -> str:
        """The name without the subresource."""
        return self.name.partition("/")[0]

    @property
    def subresource(self) -> str:
        return self.name.partition("/")[2]


def _columns(columns: object) -> Columns:
    return columns  # type: ignore[return-value]  # a resource's columns are those of its own model


def _reading(role: Role, read: stats.Read[KubeObject]) -> Mapping[str, tuple[Role, Handler]]:
    return {
        "get": (role, stats.getting(read)),
        "list": (role, stats.listing(read)),
        "watch": (role, stats.watching(read)),
    }


RESOURCES: tuple[Resource, ...] = (
    Resource(
        "agentruns",
        "AgentRun",
        {
            "get": (Role.VIEW, agentruns.get_run),
            "list": (Role.VIEW, agentruns.list_runs),
            "watch": (Role.VIEW, agentruns.watch_runs),
        },
        model=AgentRun,
        columns=_columns(table.RUNS),
        short_names=("ar",),
    ),
    # what tools were given and gave: not in view
    Resource("agentruns/log", "AgentRun", {"get": (Role.EDIT, log.get_log)}),
    Resource("agentruns/result", "RunResult", {"get": (Role.EDIT, agentruns.get_result)}, model=RunResult),
    Resource(
        "agentruns/transcript", "RunTranscript", {"get": (Role.EDIT, log.get_transcript)}, model=RunTranscript
    ),
    Resource(
        "agentruns/artifacts",
        "RunArtifacts",
        {"get": (Role.EDIT, artifacts.get_artifacts)},
        model=RunArtifacts,
    ),
    Resource(
        "agentruns/attempts", "RunAttempts", {"get": (Role.VIEW, agentruns.get_attempts)}, model=RunAttempts
    ),
    Resource(
        "queuestats",
        "QueueStat",
        _reading(Role.VIEW, stats.queuestats),
        model=QueueStat,
        columns=_columns(table.QUEUES),
        short_names=("qs",),
    ),
    Resource(
        "workers",
        "Worker",
        _reading(Role.VIEW, stats.workers),
        model=Worker,
        columns=_columns(table.WORKERS),
    ),
    Resource(
        "models", "Model", _reading(Role.VIEW, stats.models), model=Model, columns=_columns(table.MODELS)
    ),
    Resource(
        "runseries",
        "RunSeries",
        {"list": (Role.VIEW, series.list_series)},
        model=RunSeries,
    ),
    Resource(
        "schedulestats",
        "ScheduleStat",
        {"list": (Role.VIEW, schedules.list_schedules)},
        model=ScheduleStat,
        columns=_columns(table.SCHEDULES),
    ),
    Resource(
        "runaudits",
        "RunAudit",
        {"list": (Role.ADMIN, acts.list_audits)},
        model=RunAudit,
        columns=_columns(table.AUDITS),
    ),
    Resource(
        "runactions",
        "RunAction",
        {"create": (Role.EDIT, acts.create_run_action)},
        model=RunAction,
        creates_everywhere=True,
    ),
    Resource("erasures", "Erasure", {"create": (Role.ADMIN, acts.create_erasure)}, model=Erasure),
    Resource(
        "queueactions",
        "QueueAction",
        {"create": (Role.QUEUES, acts.create_queue_action)},
        namespaced=False,
        model=QueueAction,
    ),
    Resource("ui", "DashboardFile", {"get": (Role.EVERYONE, ui.get_file)}, namespaced=False),
)
BY_NAME: Mapping[str, Resource] = {resource.name: resource for resource in RESOURCES}


def route_of(target: Target, resources: Mapping[str, Resource] = BY_NAME) -> tuple[Resource, Handler]:
    """The resource and handler of a request. Raises ApiError: 404 for what is not served, 405 for another verb, 400 for a
    list of one name where no name can be got: the API server may have authorised that name alone."""
    resource = resources.get(target.resource)
    if resource is None or not _placed(resource, target):
        raise ApiError(404, "the server could not find the requested resource")
    found = resource.verbs.get(target.verb)
    if found is None:
        raise ApiError(405, f"{target.verb} is not served for {target.resource}: {', '.join(resource.verbs)}")
    if target.verb in ("list", "watch") and target.name is not None and "get" not in resource.verbs:
        raise ApiError(400, f"fieldSelector: {target.resource} are not picked by a name")
    return resource, found[1]


def _placed(resource: Resource, target: Target) -> bool:
    """Whether the path is that of the resource. A namespace before a cluster-scoped resource would be authorised by
    that namespace's roles, so it is not served."""
    if target.namespace is not None and not resource.namespaced:
        return False
    everywhere = target.verb in ("list", "watch") or (target.verb == "create" and resource.creates_everywhere)
    if resource.namespaced and target.namespace is None and not everywhere:
        return False
    return target.verb != "create" or target.name is None
