"""Checks of what jobs need: their verdicts, and that of the operator's Lease."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.api.names import WATCHED_NAMESPACES
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.filters import time_of
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
    reply = server.request("GET", "/apis/coordination.k8s.io/v1/leases")
    if reply.status == 403:
        reply = server.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{server.namespace}/leases")
    if reply.status == 403:
        yield Check("operator", UNKNOWN, "you may not read its Lease, which tells whether one runs")
        return
    found = server.done(reply, "leases").get("items") or []
    leases = [one for one in found if is_operators(one["metadata"]["name"])]
    if not leases:
        yield Check("operator", UNKNOWN, "no Lease of an operator can be seen from here")
    for one in leases:
        held = lease_check(one, server.now())
        yield held if held.verdict != OK else _with_its_pods(server, one, held)
    if (unwatched := unwatched_check(leases, server.namespace)) is not None:
        yield unwatched


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


def _brief(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _with_its_pods(server: ApiServer, lease: Mapping[str, Any], held: Check) -> Check:
    """The check of an operator whose Lease is held: one that cannot do its work holds it, too. Its Deployment has the Lease's name."""
    metadata = lease["metadata"]
    path = f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}"
    reply = server.request("GET", path)
    return ready_check(metadata, reply.json(), held) if reply.ok else held


def ready_check(metadata: Mapping[str, Any], deployment: Mapping[str, Any], held: Check) -> Check:
    """The check of an operator's Lease and pods."""
    if (deployment.get("status") or {}).get("readyReplicas"):
        return held
    look = f"kubectl logs -n {metadata['namespace']} deploy/{metadata['name']}"
    return Check(held.name, BAD, f"{held.text}, and no pod of it is ready: {look}")


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
