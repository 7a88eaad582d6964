"""The runs API as verbs read it: what only the database knows. Where it is missing, a verb says so in one line, and what an
administrator can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from agentjobs.cli.kubectl.apiserver import PAGE, ApiServer, Query
from agentjobs.cli.kubectl.reply import Reply, RequestRefused, refused
from agentjobs.web.names import GROUP, ROOT, VERSION

JsonObject = dict[str, Any]
RUNS, WORKERS, MODELS, QUEUES = "agentruns", "workers", "models", "queuestats"
RESULT, ATTEMPTS, LOG, TRANSCRIPT, ARTIFACTS = (
    "agentruns/result",
    "agentruns/attempts",
    "agentruns/log",
    "agentruns/transcript",
    "agentruns/artifacts",
)
QUEUE_ACTIONS, UI = "queueactions", "ui"
APISERVICE = f"{VERSION}.{GROUP}"


class RunsApiMissing(RequestRefused):
    """There is no runs API, or not one that serves what was asked for."""


@dataclass(frozen=True, slots=True)
class RunsApi:
    """The runs API behind an API server, in the command's namespace."""

    server: ApiServer

    def path(
        self, resource: str, name: str = "", *, everywhere: bool = False, clusterwide: bool = False
    ) -> str:
        """The path of a resource's list, of an object, or of an object's subresource."""
        plural, _, subresource = resource.partition("/")
        scope = "" if everywhere or clusterwide else f"/namespaces/{quote(self.server.namespace, safe='')}"
        parts = [plural, *([quote(name, safe="")] if name else ()), *([subresource] if subresource else ())]
        return f"{ROOT}{scope}/{'/'.join(parts)}"

    def get(self, resource: str, name: str, query: Query | None = None) -> Reply:
        """An object, or a subresource of one.

        :raises RequestRefused: it is refused, or the runs API is missing.
        """
        reply = self.server.request("GET", self.path(resource, name), query, accept="*/*")
        if not reply.ok:
            raise self.refusal(reply, resource, name)
        return reply

    def list(
        self, resource: str, query: Query | None = None, *, everywhere: bool = False
    ) -> Iterator[JsonObject]:
        """The objects of a list, page by page.

        :raises RequestRefused: it is refused, or the runs API is missing.
        """
        asked = {**(query or {}), "limit": str(PAGE)}
        while True:
            reply = self.server.request("GET", self.path(resource, everywhere=everywhere), asked)
            if not reply.ok:
                raise self.refusal(reply, resource, scope=_scope(everywhere))
            page = reply.json()
            yield from page.get("items") or ()
            if not (token := str((page.get("metadata") or {}).get("continue") or "")):
                return
            asked["continue"] = token

    def first(
        self, resource: str, query: Query, limit: int, *, everywhere: bool = False
    ) -> Sequence[JsonObject]:
        """The first objects of a list.

        :raises RequestRefused: it is refused, or the runs API is missing.
        """
        asked = {**query, "limit": str(limit)}
        reply = self.server.request("GET", self.path(resource, everywhere=everywhere), asked)
        if not reply.ok:
            raise self.refusal(reply, resource, scope=_scope(everywhere))
        found: list[JsonObject] = reply.json().get("items") or []
        return found

    def create(self, resource: str, body: Mapping[str, Any], *, clusterwide: bool) -> JsonObject:
        """Sends an act to the runs API.

        :raises RequestRefused: it is refused, or the runs API is missing.
        """
        reply = self.server.request("POST", self.path(resource, clusterwide=clusterwide), None, body)
        if not reply.ok:
            raise self.refusal(reply, resource, scope="the cluster" if clusterwide else "")
        return reply.json()

    def refusal(self, reply: Reply, resource: str, name: str = "", *, scope: str = "") -> RequestRefused:
        """The error for an answer, in one line. RBAC is asked before the path is looked for, so that also a 403 may mean: there
        is no such API."""
        if reply.status in (403, 404, 503):
            discovery = self.server.request("GET", ROOT)
            if why := missing(discovery, resource):
                return RunsApiMissing(f"{resource}: {why}", reply)
        place = f"{self.server.namespace}/{name}" if name else f"of {scope or self.server.namespace}"
        flags = f"-n {self.server.namespace}{self.server.where.shown()}"
        what = f"{resource} {place}"
        if reply.status == 404:
            words = f"{what}: {reply.words()}"
            if "not found" in words:
                return RequestRefused(f"{words}. Those that are there: kubectl agentjobs list {flags}", reply)
            return RequestRefused(f"{words}. Look with: kubectl agentjobs why {name} {flags}", reply)
        return refused(reply, what, flags)


def _scope(everywhere: bool) -> str:
    return "all namespaces" if everywhere else ""


def missing(discovery: Reply, resource: str) -> str:
    """What is missing that a resource is not served, and what an administrator can do. Empty: it is served."""
    if discovery.status == 404:
        return (
            "needs the runs API, which is not registered in this cluster. An administrator turns it on with the chart's value "
            "web.enabled; why it was withdrawn: kubectl describe service -A -l app.kubernetes.io/component=web"
        )
    if discovery.status >= 500:
        return (
            "needs the runs API, which does not answer. An administrator sees why with: "
            f"kubectl describe apiservice {APISERVICE}"
        )
    if not discovery.ok:
        return ""
    served = {str(one.get("name")) for one in discovery.json().get("resources") or ()}
    if resource in served:
        return ""
    return "is not served by the runs API of this cluster: an administrator upgrades agentjobs there"
