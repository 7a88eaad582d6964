"""The dashboard's pages on sample data: its assets and fragments as the runs API serves them, and a Kubernetes API that
records what it is asked to change."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentjobs.api.meta import ApiModel
from agentjobs.api.names import RETRY_REQUESTED_AT
from agentjobs.web.answers import CSP, html_response
from agentjobs.web.names import ROOT
from agentjobs.web.objects.acts import RunAuditList
from agentjobs.web.objects.logs import TranscriptEntry
from agentjobs.web.objects.meta import ListMetadata
from agentjobs.web.objects.runs import AgentRun, AgentRunList, RunAttempts, RunResult
from agentjobs.web.objects.schedules import ScheduleStatList
from agentjobs.web.objects.series import RunSeries
from agentjobs.web.objects.stats import ModelList, QueueStatList, WorkerList
from agentjobs.web.ui.pages import Pages
from agentjobs.web.view import Page
from browser import until

KUBE = "/apis/agentjobs.dev/v1alpha1"


@dataclass
class Site:
    """What the pages are given, and what they asked for. Tests change it while a page is open."""

    runs: list[AgentRun] = field(default_factory=list)
    attempts: dict[str, RunAttempts] = field(default_factory=dict)
    results: dict[str, RunResult] = field(default_factory=dict)
    queues: QueueStatList = field(default_factory=lambda: QueueStatList(items=[]))
    workers: WorkerList = field(default_factory=lambda: WorkerList(items=[]))
    models: ModelList = field(default_factory=lambda: ModelList(items=[]))
    schedules: ScheduleStatList = field(default_factory=lambda: ScheduleStatList(items=[]))
    series: dict[str, RunSeries] = field(default_factory=dict)
    """By ``by``."""
    audits: RunAuditList = field(default_factory=lambda: RunAuditList(items=[]))
    output: str = ""
    transcript: list[TranscriptEntry] = field(default_factory=list)
    """Of every job: what is appended is streamed to who follows."""
    ended: bool = True
    """Whether nothing more is written to the transcript."""
    may_act: bool = True
    user: str = "alice"
    objects: bool = True
    trace_url: str = ""
    refused: tuple[int, str] | None = None
    """Status and message with which the Kubernetes API and acts are refused."""
    unreadable: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Resources that this user may not read: status and message."""
    changes: list[tuple[str, str, Any]] = field(default_factory=list)
    """(method, path, body) of each change, in their order."""
    reads: list[str] = field(default_factory=list)
    sent: list[tuple[str, int, int]] = field(default_factory=list)
    """Path, status and bytes of the body of each answer."""
    url: str = ""
    now: datetime | None = None
    """The server's clock, as the header Date tells it. None: this machine's."""
    retries: bool = False
    """Whether a job that is asked to be retried is Queued at once."""
    slow_seconds: float = 0.0
    """How long a change takes to be answered, after it was made."""
    away: bool = False
    """Whether every request is answered with 503."""

    def page(self, shell: str, /, **query: str) -> str:
        """The address of a page."""
        asked = "&".join(f"{key}={value}" for key, value in query.items())
        return f"{self.url}{ROOT}/ui/{shell}.html?{asked}"


def _answer(code: int, message: str) -> Response:
    return JSONResponse({"kind": "Status", "status": "Failure", "message": message, "code": code}, code)


def _listed(site: Site, request: Request, namespace: str | None) -> AgentRunList:
    states, queue = set(request.query_params.getlist("state")), request.query_params.get("queue")
    start = int(
        request.query_params.get("continue", "0")
    )  # a place in all jobs: what leaves the list moves no page
    found = [
        (place, run)
        for place, run in enumerate(site.runs)
        if place >= start
        and namespace in (None, run.metadata.namespace)
        and (not states or run.status.state in states)
        and queue in (None, run.spec.queue)
    ]
    limit = int(request.query_params.get("limit", "50"))
    more = str(found[limit][0]) if len(found) > limit else None
    items = [run for _, run in found[:limit]]
    return AgentRunList(metadata=ListMetadata(continue_=more), items=items)


def _scheduled(site: Site, request: Request) -> ScheduleStatList:
    if request.query_params.get("accepted") != "false":
        return site.schedules
    return ScheduleStatList(items=[one for one in site.schedules.items if one.status.problem])


def _retried(site: Site, name: str) -> None:
    """The operator has begun a new round."""
    for place, run in enumerate(site.runs):
        if run.metadata.name == name:
            status = run.status.model_copy(update={"state": "Queued", "round": run.status.round + 1})
            site.runs[place] = run.model_copy(update={"status": status})


def _model(
    site: Site, request: Request, resource: str, namespace: str | None, name: str | None
) -> ApiModel | None:
    if name:
        uid = request.query_params.get("uid") or next(
            (run.metadata.uid for run in site.runs if run.metadata.name == name), None
        )
        return {
            "agentruns": next((run for run in site.runs if run.metadata.uid == uid), None),
            "agentruns/attempts": site.attempts.get(uid or ""),
            "agentruns/result": site.results.get(uid or ""),
        }.get(resource)
    if resource == "agentruns":
        return _listed(site, request, namespace)
    lists: dict[str, ApiModel] = {
        "queuestats": site.queues,
        "workers": site.workers,
        "models": site.models,
        "runaudits": site.audits,
        "schedulestats": _scheduled(site, request),
        **({"runseries": found} if (found := site.series.get(request.query_params.get("by", ""))) else {}),
    }
    return lists.get(resource)


def application(site: Site) -> ASGIApp:
    """The site as an ASGI application: as long as it serves, each answer has its date."""
    routes = _routes(site)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.body":
                path, status, size = site.sent[-1]
                site.sent[-1] = (path, status, size + len(message.get("body", b"")))
            if message["type"] == "http.response.start":
                site.sent.append((scope["path"], message["status"], 0))
                now = site.now or datetime.now(UTC)
                MutableHeaders(scope=message)["Date"] = format_datetime(now, usegmt=True)
            await send(message)

        away = PlainTextResponse("the database does not serve now", 503)
        await (away if site.away else routes)(scope, receive, dated)

    return served


def _routes(site: Site) -> Starlette:
    pages = Pages()

    async def asset(request: Request) -> Response:
        found = pages.asset(request.path_params["name"])
        if found is None:
            return PlainTextResponse("not found", 404)
        headers = {"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff"}
        return Response(found.content, 200, headers, found.content_type)

    async def data(request: Request) -> Response:
        parts = request.path_params["path"].split("/")
        namespace = None
        if parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        resource = "/".join([parts[0], *parts[2:]])
        name = parts[1] if len(parts) > 1 else None
        if request.method == "POST":
            return await acted(request)
        site.reads.append(str(request.url))
        if resource in site.unreadable:
            return _answer(*site.unreadable[resource])
        if resource == "agentruns/log" and "follow" in request.query_params:
            return StreamingResponse(entries(request, namespace, name), media_type="text/event-stream")
        if resource == "agentruns/log":
            return PlainTextResponse(site.output)
        model = _model(site, request, resource, namespace, name)
        if model is None:
            return _answer(404, f'{resource} "{name}" not found')
        if "text/html" not in request.headers["accept"]:
            return JSONResponse(model.model_dump(mode="json", by_alias=True, exclude_none=True))
        query = {key: request.query_params.getlist(key) for key in request.query_params}
        html = pages.fragment(
            model,
            Page(
                site.user,
                site.may_act,
                resource,
                namespace,
                name,
                query,
                objects=site.objects,
                trace_url=site.trace_url,
            ),
        )
        if html is None:
            return _answer(406, "no fragment")
        return html_response(html, 200, request.headers.get("if-none-match", ""))

    async def entries(request: Request, namespace: str | None, name: str | None) -> AsyncIterator[str]:
        query = {key: request.query_params.getlist(key) for key in request.query_params}
        page = Page(site.user, site.may_act, "agentruns/log", namespace, name, query, event="entry")
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        told = 0 if after is None else [entry.cursor for entry in site.transcript].index(after) + 1
        yield ": open\n\n"
        while not await request.is_disconnected():
            over = site.ended
            for entry in site.transcript[told:]:
                told += 1
                data = "".join(f"data: {line}\n" for line in (pages.fragment(entry, page) or "").splitlines())
                yield f"event: entry\nid: {entry.cursor}\n{data}\n"
            if over:
                yield "event: end\ndata: {}\n\n"
                return
            await asyncio.sleep(0.02)

    async def acted(request: Request) -> Response:
        body = await request.json()
        if request.query_params.get("dryRun") == "All":
            states = body["spec"]["filter"].get("state", [])
            where = request.url.path.partition("/namespaces/")[2].split("/")[0]
            n = sum(
                where in ("", run.metadata.namespace) and (not states or run.status.state in states)
                for run in site.runs
            )
            return JSONResponse(body | {"status": {"matched": n, "changed": 0}}, 201)
        site.changes.append((request.method, request.url.path, body))
        if site.refused:
            return _answer(*site.refused)
        return JSONResponse(body | {"status": {"matched": 1, "changed": 1}}, 201)

    async def kubernetes(request: Request) -> Response:
        if request.method == "GET":
            if request.headers["accept"] == "application/yaml":
                return PlainTextResponse("kind: AgentJob\nspec:\n  message: <b>bold</b>\n")
            name = request.url.path.rsplit("/", 1)[1]
            return JSONResponse(
                {
                    "apiVersion": "agentjobs.dev/v1alpha1",
                    "kind": "AgentJob",
                    "metadata": {"name": name, "uid": "old", "labels": {"team": "a"}},
                    "spec": {"message": "x", "cancel": True},
                }
            )
        body = await request.json()
        site.changes.append((request.method, request.url.path, body))
        if site.refused:
            return _answer(*site.refused)
        if site.retries and RETRY_REQUESTED_AT in body.get("metadata", {}).get("annotations", {}):
            _retried(site, request.url.path.rsplit("/", 1)[1])
        await asyncio.sleep(site.slow_seconds)
        made = {"metadata": {"name": "made-x7k2p", "uid": "new"}} if request.method == "POST" else body
        return JSONResponse(made, 201 if request.method == "POST" else 200)

    return Starlette(
        routes=[
            Route(f"{ROOT}/ui/{{name}}", asset),
            Route(f"{ROOT}/{{path:path}}", data, methods=["GET", "POST"]),
            Route(f"{KUBE}/{{path:path}}", kubernetes, methods=["GET", "PATCH", "POST"]),
        ]
    )


@contextmanager
def served(site: Site) -> Iterator[Site]:
    """The site, on a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(
            uvicorn.Config(application(site), log_level="error", lifespan="off", date_header=False)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        site.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        until(lambda: server.started, "the site is served")
        try:
            yield site
        finally:
            server.should_exit = True
            thread.join(10)


def bodies(site: Site) -> Sequence[str]:
    """The bodies of all changes as text, for tests that look for a word."""
    return [json.dumps(body) for _, _, body in site.changes]
