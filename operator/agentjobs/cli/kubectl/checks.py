"""Checks of what jobs need: their verdicts, and that of the operator's Lease."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.filters import time_of
from agentjobs.values.durations import duration_text

OK, WARNING, BAD, UNKNOWN = "ok", "warning", "bad", "unknown"
LEASE = "agentjobs-operator"


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
        yield lease_check(one, server.now())


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
