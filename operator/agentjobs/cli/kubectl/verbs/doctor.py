"""``doctor``: checks of what jobs need, as far as the user may look."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from agentjobs import __version__
from agentjobs.api.names import GROUP, VERSION
from agentjobs.cli.errors import Unavailable
from agentjobs.cli.flags import echo
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import API, JOBS, KINDS, SCHEDULES, ApiServer
from agentjobs.cli.kubectl.checks import BAD, OK, UNKNOWN, WARNING, Check, operators
from agentjobs.cli.kubectl.filters import time_of
from agentjobs.cli.kubectl.reply import UNTIL_IT_ANSWERS, Reply, RequestRefused, ahead_of, database_away
from agentjobs.cli.kubectl.runs_api import MODELS, QUEUES, RUNS, JsonObject, RunsApi
from agentjobs.cli.kubectl.schedule_state import condition_of
from agentjobs.cli.kubectl.where import Where
from agentjobs.values.durations import duration_text

RUNS_GROUP = f"runs.{GROUP}"
OLDEST_MINOR = 32
"""Of Kubernetes 1.x, as docs/install.md says."""
LAG_SECONDS = 60.0
RIGHTS = (
    (JOBS, ("get", "list", "watch", "create", "patch", "delete")),
    (SCHEDULES, ("get", "list", "create", "patch")),
)


def doctor(where: Where, form: o.Output = "") -> None:
    """Check what jobs need: API server, CRDs, rights, operator, runs API, database, clocks, and jobs that nobody takes up;
    in the namespace, queues that nobody serves or that are paused, models that are held up, schedules that are not accepted.

    What the user may not look at is told as unknown. Status 0: nothing is bad. 1: something is.
    """
    output.checked_object(form)
    with ApiServer.open(where) as server:
        checks = list(_checks(server))
    if form:
        shape = {
            "apiVersion": "cli.agentjobs.dev/v1",
            "kind": "Doctor",
            "checks": [asdict(c) for c in checks],
        }
        echo(output.written(form, shape))
    else:
        columns = [
            output.Column("CHECK", lambda c: str(c.name)),
            output.Column("", lambda c: str(c.verdict)),
            output.Column("SEEN", lambda c: str(c.text)),
        ]
        echo(output.table(columns, checks))
    sys.exit(1 if any(check.verdict == BAD for check in checks) else 0)


def _checks(server: ApiServer) -> Iterator[Check]:
    yield from _api_server(server)
    parts: tuple[Callable[[ApiServer], Iterator[Check]], ...] = (
        _crds, _rights, operators, _lag, _runs_api, _database, _queues, _models, _schedules, _versions,
    )  # fmt: skip
    served = True
    for part in parts:
        if not served and part in _WANT_CRDS:
            continue
        try:
            for check in part(server):
                served = served and (check.name, check.verdict) != ("CRDs", BAD)
                yield check
        except Unavailable as error:
            yield Check(part.__name__.strip("_").replace("_", " "), UNKNOWN, str(error))


def _api_server(server: ApiServer) -> Iterator[Check]:
    """:raises Unavailable: there is no API server: then nothing else can be checked, either."""
    began = time.monotonic()
    reply = server.request("GET", "/version")
    took = time.monotonic() - began
    if not reply.ok:
        raise Unavailable(f"the API server answers {reply.status} to /version: {reply.words()}")
    found = reply.json()
    minor = int("".join(c for c in str(found.get("minor", "")) if c.isdigit()) or 0)
    version = str(found.get("gitVersion", "?"))
    if str(found.get("major")) == "1" and minor < OLDEST_MINOR:
        yield Check("API server", BAD, f"{version}; agentjobs wants 1.{OLDEST_MINOR} or newer")
    else:
        yield Check("API server", OK, f"{version}, answered in {took * 1000:.0f} ms")
    yield clock_check(ahead_of(reply.date, datetime.now(UTC)))


def clock_check(ahead: float) -> Check:
    """The check of this machine's clock against the API server's."""
    if not ahead:
        return Check("clock", OK, "as the API server's, to 2 s")
    way = "behind" if ahead > 0 else "ahead of"
    text = (
        f"this machine's is {duration_text(abs(ahead))} {way} the API server's; ages are told by the latter"
    )
    return Check("clock", WARNING if abs(ahead) < 300 else BAD, text)


def _crds(server: ApiServer) -> Iterator[Check]:
    reply = server.request("GET", API)
    if reply.status == 404:
        yield Check(
            "CRDs",
            BAD,
            f"{GROUP}/{VERSION} is not served: install the chart, or `agentjobs crds | kubectl apply -f -`",
        )
        return
    found = server.done(reply, f"{GROUP}/{VERSION}")
    served = {resource["name"] for resource in found.get("resources") or ()}
    if missing := [name for name in KINDS if name not in served]:
        yield Check("CRDs", BAD, f"not served: {', '.join(missing)}; `agentjobs crds | kubectl apply -f -`")
        return
    for name in KINDS:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}.{GROUP}"
        reply = server.request("GET", path)
        if not reply.ok:
            yield Check(f"CRD {name}", OK, f"served ({VERSION}); its definition may not be read")
            continue
        yield crd_check(name, reply.json())


SELECTABLE = (".spec.queue", ".status.state", ".status.reason")


def crd_check(name: str, crd: Mapping[str, Any]) -> Check:
    """The check of a CRD: established, and as new as the plugin needs it."""
    versions = (crd.get("spec") or {}).get("versions") or ()
    version: Mapping[str, Any] = next((v for v in versions if v.get("name") == VERSION), {})
    conditions = (crd.get("status") or {}).get("conditions") or ()
    established = any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)
    if not established:
        return Check(f"CRD {name}", BAD, "not established; kubectl describe crd tells why")
    selectable = {field.get("jsonPath") for field in version.get("selectableFields") or ()}
    if name == JOBS and (missing := [path for path in SELECTABLE if path not in selectable]):
        return Check(
            f"CRD {name}",
            BAD,
            f"older than this plugin: {', '.join(missing)} cannot be selected by; upgrade the chart",
        )
    return Check(f"CRD {name}", OK, f"served ({VERSION})")


def _rights(server: ApiServer) -> Iterator[Check]:
    for resource, verbs in RIGHTS:
        refused = [verb for verb in verbs if not _may(server, GROUP, resource, verb)]
        where = f"in namespace {server.namespace}"
        if not refused:
            yield Check(f"rights on {resource}", OK, f"{', '.join(verbs)} {where}")
            continue
        reads = [verb for verb in refused if verb in ("get", "list", "watch")]
        text = f"not {', '.join(refused)} {where}: ask for the role {'view' if reads else 'edit'} there"
        yield Check(f"rights on {resource}", BAD if reads else WARNING, text)


def _may(server: ApiServer, group: str, resource: str, verb: str) -> bool:
    attributes = {"namespace": server.namespace, "group": group, "resource": resource, "verb": verb}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    reply = server.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", None, body)
    if not reply.ok:
        raise Unavailable(f"the API server does not tell: {reply.words()}")
    return bool((reply.json().get("status") or {}).get("allowed"))


def _lag(server: ApiServer) -> Iterator[Check]:
    if not _may(server, GROUP, JOBS, "list"):
        return
    now = server.now()
    total, waiting = 0, []
    for job in server.list(JOBS):
        total += 1
        if (job.get("status") or {}).get("observedGeneration") != job["metadata"].get("generation"):
            waiting.append(job)
    yield lag_check(total, waiting, now, server.namespace)


def lag_check(total: int, waiting: list[dict[str, Any]], now: datetime, namespace: str) -> Check:
    """The check of the objects whose status does not show their last change.

    How long a change waits cannot be told of an object that has a status: its creation alone has a time.
    """
    old = [job for job in waiting if not job.get("status") and _age(job, now) > LAG_SECONDS]
    changed = sum(bool(job.get("status")) for job in waiting)
    if old:
        oldest = max(old, key=lambda job: _age(job, now))
        text = (
            f"{len(old):,} of {total:,} in {namespace} were taken up by no operator, {oldest['metadata']['name']} for "
            f"{duration_text(_age(oldest, now))}: it is away, does not watch this namespace, or its database does not serve it"
        )
        return Check("jobs", BAD, text)
    if changed:
        return Check("jobs", OK, f"{total:,} in {namespace}; the last change of {changed:,} is not shown yet")
    if young := len(waiting) - changed:
        return Check(
            "jobs", OK, f"{total:,} in {namespace}; {young:,} created in the last minute not seen yet"
        )
    return Check("jobs", OK, f"{total:,} in {namespace}, all seen by an operator")


def _age(job: Mapping[str, Any], now: datetime) -> float:
    created = time_of(job["metadata"].get("creationTimestamp"))
    return (now - created).total_seconds() if created else 0.0


def _runs_api(server: ApiServer) -> Iterator[Check]:
    path = f"/apis/apiregistration.k8s.io/v1/apiservices/{VERSION}.{RUNS_GROUP}"
    registered = server.request("GET", path)
    if registered.ok:
        yield runs_check(registered.json())
        return
    reply = server.request("GET", f"/apis/{RUNS_GROUP}/{VERSION}")
    if reply.ok:
        yield Check("runs API", OK, f"{RUNS_GROUP}/{VERSION} answers")
    elif reply.status == 404:
        yield Check(
            "runs API", WARNING, "not registered: output, transcripts and whole results cannot be shown"
        )
    else:
        yield Check("runs API", WARNING, f"answers {reply.status}: {reply.words()}")


def runs_check(registered: Mapping[str, Any]) -> Check:
    """The check of the runs API's APIService."""
    conditions = (registered.get("status") or {}).get("conditions") or ()
    available: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Available"), {})
    if available.get("status") == "True":
        return Check("runs API", OK, f"{RUNS_GROUP}/{VERSION} is available")
    why = f"{available.get('reason', 'not checked yet')}: {available.get('message', '')}"
    return Check(
        "runs API", BAD, f"registered and not available ({why}); no namespace can be deleted meanwhile"
    )


def _database(server: ApiServer) -> Iterator[Check]:
    reply = server.request("GET", RunsApi(server).path(RUNS), {"limit": "1"})
    if (check := database_check(reply)) is not None:
        yield check


def database_check(reply: Reply) -> Check | None:
    """The check of the database by a list of runs. None: the runs API is missing, or refuses without having asked."""
    if reply.ok:
        return Check("database", OK, "answers the runs API")
    if reply.status == 403:
        return Check("database", UNKNOWN, "you may not list agentruns here, which tells whether it answers")
    if words := database_away(reply):
        return Check("database", BAD, f"{words}: {UNTIL_IT_ANSWERS}; all goes on by itself then")
    return None


def _queues(server: ApiServer) -> Iterator[Check]:
    yield from queue_checks(_told_by_runs_api(server, QUEUES))


def queue_checks(queues: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """The checks of the namespace's queues: nobody serves one in which jobs are ready to run, or one is paused."""
    found = False
    for one in queues:
        name, status = f"queue {one['metadata']['name']}", one.get("status") or {}
        ready = int(
            (status.get("byState") or {}).get("Queued") or 0
        )  # others wait for a time, a person, a model
        if ready and not status.get("slots"):
            found = True
            yield Check(name, BAD, f"{ready:,} of its jobs wait here, and no live worker serves it")
        elif status.get("paused"):
            found = True
            by = f" by {status['pausedBy']}" if status.get("pausedBy") else ""
            why = f": {status['pausedReason']}" if status.get("pausedReason") else ""
            yield Check(name, WARNING, f"paused since {status.get('pausedTime', 'some time')}{by}{why}")
    if queues and not found:
        yield Check("queues", OK, f"{len(queues):,} with jobs of this namespace, each served")


def _models(server: ApiServer) -> Iterator[Check]:
    yield from model_checks(_told_by_runs_api(server, MODELS))


def model_checks(models: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """The checks of the models for which jobs are held up."""
    for one in models:
        status = one.get("status") or {}
        if status.get("open"):
            where = f"{status.get('model', '?')} of pool {status.get('pool', '?')}"
            text = f"its jobs wait: {status.get('reason', 'it fails')}; kubectl agentjobs models has when it is tried again"
            yield Check(f"model {where}", WARNING, text)


def _told_by_runs_api(server: ApiServer, resource: str) -> list[JsonObject]:
    """What the runs API lists; nothing where another check tells what keeps it from that."""
    try:
        return list(RunsApi(server).list(resource))
    except RequestRefused:
        return []


def _schedules(server: ApiServer) -> Iterator[Check]:
    if _may(server, GROUP, SCHEDULES, "list"):
        yield from schedule_checks(list(server.list(SCHEDULES)))


def schedule_checks(schedules: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """The checks of the schedules that the operator has not accepted: none of them fires."""
    for one in schedules:
        accepted = condition_of(one, "Accepted")
        if accepted.get("status") == "False":
            text = f"does not fire: {accepted.get('reason', '')}: {accepted.get('message', '')}"
            yield Check(f"schedule {one['metadata']['name']}", WARNING, output.cut(text, 300))


_WANT_CRDS = (_lag, _schedules)
"""Checks of objects, which say nothing more where their CRDs are missing."""


def _versions(server: ApiServer) -> Iterator[Check]:
    try:
        done = subprocess.run(
            ["kubectl", "version", "--client", "-o", "json"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        client = str(json.loads(done.stdout)["clientVersion"]["gitVersion"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        client = "of an unknown version"
    yield Check("programs", OK, f"kubectl {client}, kubectl-agentjobs {__version__}")
