"""What stands around a job: its queue, workers, breakers, who holds its session, and what could not be asked.

The API server tells the object, its Events and the operator's Lease; the runs API, where it is registered, the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.checks import operators, without_operator
from agentjobs.cli.kubectl.filters import FINAL, STATES, agent_of, model_of
from agentjobs.cli.kubectl.history import OUTPUT, RUNS_OF, History, history_of
from agentjobs.cli.kubectl.reply import RequestRefused, database_away
from agentjobs.cli.kubectl.runs_api import MODELS, QUEUES, RUNS, WORKERS, RunsApi, RunsApiMissing
from agentjobs.values.reasons import Reason

JsonObject = Mapping[str, Any]
MOST = 500
"""Jobs of a session that are looked through for the one that holds it."""
ELSEWHERE = "ManagedElsewhere"
"""The Event of an operator that leaves an object to another installation."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that ``why`` tells besides the object itself. Empty fields: not asked, or there is nothing."""

    run: JsonObject | None = None
    """The job as the database has it now: an AgentRun."""
    unknown: bool = False
    """The database does not know the job."""
    queue: JsonObject | None = None
    """Its QueueStat."""
    workers: Sequence[JsonObject] | None = None
    """Live workers that serve its queue. None: not known."""
    breakers: Sequence[JsonObject] = ()
    """Models that fail and that the job may use."""
    holder: str = ""
    """The job that holds its session; empty: not known."""
    elsewhere: str = ""
    """What an operator says that leaves the object to another installation."""
    operator: str = ""
    """What the operator's Lease tells of an object that nobody takes up."""
    database_away: str = ""
    """What the runs API says of a database that does not serve."""
    missing: Sequence[str] = ()
    """What could not be asked, and why."""


ALONE = Surroundings()
"""Those of an object of which nothing else is known."""


@dataclass(slots=True)
class _Asked:
    """What could not be asked, by why."""

    whats: dict[str, list[str]] = field(default_factory=dict)

    def failed(self, what: str, error: Unavailable) -> None:
        self.whats.setdefault(str(error), []).append(what)

    def told(self) -> list[str]:
        return [f"{_and(whats)}: {why}" for why, whats in self.whats.items()]


def surroundings_of(server: ApiServer, job: JsonObject) -> tuple[Surroundings, History]:
    """What stands around an object's job, and its runs."""
    status = job.get("status") or {}
    state = str(status.get("state") or "")
    found, history, asked = Surroundings(), History(), _Asked()
    if is_behind(job):
        found = replace(found, elsewhere=_elsewhere(server, job), operator=_operator(server))
    api = RunsApi(server)
    try:
        found = _told_by_runs_api(found, api, job, state, asked)
        history = history_of(api, job)
        for what, error in history.missing:
            asked.failed(what, error)
    except (
        Unavailable
    ) as error:  # the runs API, or its database, is away: the other requests would tell the same
        lost = [RUNS_OF] if state else []
        lost += [OUTPUT] if state else ["whether the database knows the job"]
        lost += ["queue", "workers", "models"] if state not in FINAL else []
        asked.failed(_and(lost), error)
        if isinstance(error, RequestRefused):
            found = replace(found, database_away=database_away(error.reply))
        if status.get("reason") == Reason.BEHIND_SESSION.value:
            found = replace(found, holder=_holder_of_objects(server, job))
    if found.unknown and not found.elsewhere:
        found = replace(found, elsewhere=_elsewhere(server, job))
    database = ((found.run or {}).get("status") or {}).get("state")
    if database is not None and database != state and not found.operator:
        found = replace(found, operator=_operator(server))
    return replace(found, missing=asked.told()), history


def around_schedule(server: ApiServer, schedule: JsonObject) -> Surroundings:
    """What stands around a schedule: whether an operator serves it."""
    found = Surroundings(operator=_operator(server))
    return replace(found, elsewhere=_elsewhere(server, schedule)) if is_behind(schedule) else found


def is_behind(job: JsonObject) -> bool:
    """Whether the object's status does not show its last change."""
    seen, wanted = (job.get("status") or {}).get("observedGeneration"), job["metadata"].get("generation")
    return bool(seen != wanted)


def _told_by_runs_api(
    found: Surroundings, api: RunsApi, job: JsonObject, state: str, asked: _Asked
) -> Surroundings:
    """:raises Unavailable: there is no runs API, or it does not answer."""
    name, uid = str(job["metadata"]["name"]), str(job["metadata"]["uid"])
    spec = job.get("spec") or {}
    try:
        found = replace(found, run=api.get(RUNS, name, {"uid": uid}).json())
    except RunsApiMissing:
        raise
    except RequestRefused as error:
        if error.reply.status == 404:
            return replace(found, unknown=True)
        if error.reply.status >= 500:
            raise
        asked.failed("the job in the database", error)
    if state in FINAL:
        return found
    queue = str(spec.get("queue") or "")
    try:
        queues = list(api.list(QUEUES))
        found = replace(found, queue=next((q for q in queues if q["metadata"]["name"] == queue), None))
    except Unavailable as error:
        asked.failed("the queue", error)
    try:
        found = replace(found, workers=serving(api.list(WORKERS), queue))
    except Unavailable as error:
        asked.failed("its workers", error)
    try:
        cause = str((job.get("status") or {}).get("reason") or "")
        found = replace(found, breakers=breakers_for(spec, cause, list(api.list(MODELS))))
    except Unavailable as error:
        asked.failed("models that fail", error)
    if (job.get("status") or {}).get("reason") == Reason.BEHIND_SESSION.value and found.run is not None:
        run = found.run.get("spec") or {}
        words = {"user": str(run.get("user") or ""), "session": str(run.get("session") or "")}
        query = {key: value for key, value in words.items() if value}
        try:
            runs = api.first(RUNS, query, MOST)
        except Unavailable as error:
            asked.failed("who holds the session", error)
        else:
            found = replace(found, holder=holder_among(runs, name))
    return found


def serving(workers: Iterable[JsonObject], queue: str) -> list[JsonObject]:
    """The workers that serve the queue."""
    return [one for one in workers if queue in ((one.get("status") or {}).get("queues") or {})]


def breakers_for(spec: JsonObject, cause: str, models: Sequence[JsonObject]) -> list[JsonObject]:
    """The models that fail and that the job may use: its own, or, of a module, all where a model is the cause.

    What a module calls is known after it has called it; so its breaker bears the model's name, or the module's.
    """
    own = {model_of(spec)} if model_of(spec) else {f"module:{agent_of(spec)}"}
    found = [one for one in models if (one.get("status") or {}).get("model") in own]
    if found or model_of(spec) or not cause.startswith("Model"):
        return found
    return [one for one in models if (one.get("status") or {}).get("open")]


def holder_among(jobs: Sequence[JsonObject], name: str) -> str:
    """The job that holds the session of the job ``name``: of the unfinished ones that do not wait behind it. Empty: none of
    these."""
    held = [
        one
        for one in jobs
        if (status := one.get("status") or {}).get("state") not in FINAL
        and one["metadata"]["name"] != name
        and status.get("reason") not in (Reason.BEHIND_SESSION.value, Reason.SCHEDULED.value)
    ]
    # one that has started comes first; then the oldest
    held.sort(
        key=lambda one: (
            not (one.get("status") or {}).get("startTime"),
            str(one["metadata"].get("creationTimestamp") or ""),
        )
    )
    return str(held[0]["metadata"]["name"]) if held else ""


def _holder_of_objects(server: ApiServer, job: JsonObject) -> str:
    """The holder as far as objects tell it."""
    spec = job.get("spec") or {}
    keys = ("sessionID", "userID", "appName")
    jobs: list[JsonObject] = []
    for state in STATES:
        if state in FINAL:
            continue
        query = {"fieldSelector": f"status.state={state}", "limit": str(MOST)}
        reply = server.request("GET", server.path_of(JOBS), query)
        items = reply.json().get("items") or () if reply.ok else ()
        jobs += [
            one for one in items if all((one.get("spec") or {}).get(key) == spec.get(key) for key in keys)
        ]
    return holder_among(jobs, str(job["metadata"]["name"]))


def _elsewhere(server: ApiServer, job: JsonObject) -> str:
    if told := without_operator(server, [job]):
        return told
    events = events_of(server, str(job["metadata"]["uid"]))
    if isinstance(events, str):
        return ""
    return next((str(e.get("message") or "") for e in reversed(events) if e.get("reason") == ELSEWHERE), "")


def events_of(server: ApiServer, uid: str) -> list[JsonObject] | str:
    """The object's Events, oldest first; or why they cannot be shown."""
    path = f"/api/v1/namespaces/{server.namespace}/events"
    reply = server.request("GET", path, {"fieldSelector": f"involvedObject.uid={uid}"})
    if not reply.ok:
        return f"not shown: {reply.words()}"
    items: list[JsonObject] = reply.json().get("items") or []
    return sorted(items, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))


def _operator(server: ApiServer) -> str:
    try:
        return "; ".join(check.text for check in operators(server))
    except Unavailable as error:
        return str(error)


def _and(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + (f" and {parts[-1]}" if len(parts) > 1 else parts[-1] if parts else "")
