"""Checks of what jobs need: their verdicts, and that of the operator's Lease."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.api.names import INSTALLATION_LABEL, MANAGED_BY, WATCHED_NAMESPACES, installation_of
from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.filters import time_of
from agentjobs.cli.kubectl.reply import Reply
from agentjobs.values.durations import duration_text

OK, WARNING, BAD, UNKNOWN = "ok", "warning", "bad", "unknown"
LEASE = "agentjobs-operator"
MOST_NAMES = 5
"""Namespaces that are named of those that an operator watches."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was looked at, how it is, and what was seen or has to be done."""

    name: str
    verdict: str
    text: str


def operators(server: ApiServer) -> Iterator[Check]:
    """The operators' Leases: held by somebody, and renewed in time. Their names are those of the chart's releases."""
    leases = leases_of_operators(server)
    if leases is None:
        yield Check("operator", UNKNOWN, "you may not read its Lease, which tells whether one runs")
        return
    if not leases:
        yield Check("operator", UNKNOWN, "no Lease of an operator can be seen from here")
    checks = [lease_check(one, server.now()) for one in leases]
    live = [lease for lease, check in zip(leases, checks, strict=True) if check.verdict == OK]
    for lease, check in zip(leases, checks, strict=True):
        reply = _deployment(server, lease)
        if check.verdict == OK:
            ready = ready_check(lease["metadata"], reply.json(), check) if reply.ok else check
            yield leader_check(lease, _leader(server, lease), ready) if ready.verdict == OK else ready
        elif reply.status == 404:
            yield left_behind(lease["metadata"], check, another=bool(live))
        else:
            yield check
    if (unwatched := unwatched_check(leases, server.namespace)) is not None:
        yield unwatched
    if (shared := shared_check(live, server.namespace)) is not None:
        yield shared


def leases_of_operators(server: ApiServer) -> list[dict[str, Any]] | None:
    """The Leases of operators, of all namespaces where they may be read, else of this one. None: they may not be read."""
    everywhere = _leases(server, "")
    return _leases(server, f"/namespaces/{server.namespace}") if everywhere is None else everywhere


def _leases(server: ApiServer, scope: str) -> list[dict[str, Any]] | None:
    reply = server.request("GET", f"/apis/coordination.k8s.io/v1{scope}/leases")
    if reply.status == 403:
        return None
    found = server.done(reply, "leases").get("items") or []
    return [one for one in found if is_operators(one["metadata"]["name"])]


def without_operator(server: ApiServer, objects: Sequence[Mapping[str, Any]]) -> str:
    """Why no operator acts on one of these objects, though one runs. Empty: one acts on each, or it cannot be told, as where Leases may be
    read in one namespace alone: the object's operator may be in another."""
    if not any(installation_of(one["metadata"]) for one in objects):
        return ""
    try:
        leases = _leases(server, "")
    except Unavailable:
        return ""
    return foreign(leases or (), objects, server.now())


def foreign(leases: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """``without_operator``, of what was read. Pure."""
    held = [one for one in leases if lease_check(one, now).verdict == OK]
    here = {(one["metadata"].get("labels") or {}).get(INSTALLATION_LABEL) for one in held}
    # none runs, which is said elsewhere; or one does not tell its installation
    if not here or None in here:
        return ""
    for one in objects:
        meta = one["metadata"]
        owner = installation_of(meta)
        if owner is not None and str(owner) not in here:
            return (
                f"{meta['name']} belongs to the installation {owner}, of which no operator runs here, so nobody acts on it. "
                "Where its database is gone, let the installation that is here have it: "
                f"kubectl annotate {one.get('kind', 'agentjob').lower()} {meta['name']} -n {meta['namespace']} {MANAGED_BY}-"
            )
    return ""


def left_behind(metadata: Mapping[str, Any], check: Check, *, another: bool) -> Check:
    """The check of a Lease that nobody holds and that has no Deployment any more; ``another``: another operator runs."""
    remove = f"kubectl delete lease -n {metadata['namespace']} {metadata['name']}"
    told = f"{check.text.partition(';')[0]}, and its release is gone: {remove}"
    return Check(check.name, WARNING if another else BAD, told)


def unwatched_check(leases: Sequence[Mapping[str, Any]], namespace: str) -> Check | None:
    """The check of a namespace that no operator watches. None: one does, or an operator does not say which it watches."""
    told = []
    for lease in leases:
        metadata = lease["metadata"]
        watched = (metadata.get("annotations") or {}).get(WATCHED_NAMESPACES)
        if not watched or namespace in watched.split(","):
            return None
        told.append(f"{metadata['namespace']}/{metadata['name']} watches {_brief(watched.split(','))}")
    if not told:
        return None
    return Check(
        f"namespace {namespace}",
        BAD,
        f"no operator watches {namespace}: {'; '.join(told)}. Use one of those (-n), or have it added (watchNamespaces)",
    )


def shared_check(live: Sequence[Mapping[str, Any]], namespace: str) -> Check | None:
    """The check of a namespace that several operators watch. None: one does, or none; ``live``: Leases that are held."""
    watching = []
    for lease in live:
        metadata = lease["metadata"]
        watched = (metadata.get("annotations") or {}).get(WATCHED_NAMESPACES)
        if watched is not None and (not watched or namespace in watched.split(",")):
            watching.append(f"{metadata['namespace']}/{metadata['name']}")
    if len(watching) < 2:
        return None
    return Check(
        f"namespace {namespace}",
        WARNING,
        f"{len(watching)} operators watch {namespace}: {_brief(watching)}; each object is taken up by the first that sees it. "
        "Give each installation namespaces of its own (watchNamespaces)",
    )


def _brief(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _deployment(server: ApiServer, lease: Mapping[str, Any]) -> Reply:
    """An operator's Deployment has the name of its Lease."""
    metadata = lease["metadata"]
    return server.request(
        "GET", f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}"
    )


def ready_check(metadata: Mapping[str, Any], deployment: Mapping[str, Any], held: Check) -> Check:
    """The check of an operator whose Lease is held: one that cannot do its work holds it, too."""
    if (deployment.get("status") or {}).get("readyReplicas"):
        return held
    look = f"kubectl logs -n {metadata['namespace']} -l app.kubernetes.io/component=operator --prefix"
    return Check(held.name, BAD, f"{held.text}, and no pod of it is ready: {look}")


def _leader(server: ApiServer, lease: Mapping[str, Any]) -> dict[str, Any]:
    """The pod that holds the Lease. Empty: it may not be read, or it is no pod."""
    holder = str((lease.get("spec") or {}).get("holderIdentity") or "").partition("_")[0]
    reply = server.request("GET", f"/api/v1/namespaces/{lease['metadata']['namespace']}/pods/{holder}")
    return reply.json() if reply.ok else {}


def leader_check(lease: Mapping[str, Any], pod: Mapping[str, Any], held: Check) -> Check:
    """The check of an operator some pod of which is ready: of two, the one that only waits may be it."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if not any((one.get("type"), one.get("status")) == ("Ready", "False") for one in conditions):
        return held
    namespace, name = lease["metadata"]["namespace"], pod["metadata"]["name"]
    look = f"kubectl logs -n {namespace} {name}"
    return Check(held.name, BAD, f"{held.text}, and that pod is not ready: one of its loops fails; {look}")


def is_operators(name: str) -> bool:
    """Whether a Lease's name is that of an operator: ``agentjobs-operator``, or a release's before ``-operator``."""
    return name == LEASE or (name.endswith("-operator") and "agentjobs" in name)


def lease_check(lease: Mapping[str, Any], now: datetime) -> Check:
    """The check of an operator's Lease."""
    spec, metadata = lease.get("spec") or {}, lease["metadata"]
    name = f"operator {metadata.get('namespace')}/{metadata.get('name')}"
    look = f"kubectl get deploy,pods -n {metadata.get('namespace')}"
    holder = spec.get("holderIdentity")
    renewed = time_of(spec.get("renewTime"))
    if not holder or renewed is None:
        return Check(name, BAD, f"nobody holds its Lease: no operator runs; {look}")
    since = (now - renewed).total_seconds()
    if since > float(spec.get("leaseDurationSeconds") or 15) + 5:
        return Check(
            name,
            BAD,
            f"its Lease was renewed {duration_text(since)} ago, by {holder}: no operator runs; {look}",
        )
    return Check(name, OK, f"held by {holder}")
