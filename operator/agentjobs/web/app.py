"""The ASGI application: from a request to its response, with every bound on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentjobs.queue.errors import JobRejected, QueueError, QueueUnavailable
from agentjobs.web import discovery, openapi
from agentjobs.web.answers import INTERNAL, Media, Renderer, accepted, error_response, json_response
from agentjobs.web.authorise import Authoriser
from agentjobs.web.call import Call, Log, Watch
from agentjobs.web.identity import Identity
from agentjobs.web.names import GROUP, ROOT
from agentjobs.web.routes import route_of
from agentjobs.web.runs import Runs
from agentjobs.web.shares import Shares
from agentjobs.web.status import ApiError
from agentjobs.web.target import Query, segments, target_of
from agentjobs.web.view import Dashboard, Page

log = logging.getLogger(__name__)
BODY_BYTES = 256 << 10
BODY_SECONDS = 30.0
QUERY_BYTES = 8 << 10
DATABASE_SECONDS = 45.0
"""The longest that an answer without a stream takes; the API server gives up after 60."""
Identify = Callable[[Request], Identity]
"""The door: who asks. Raises ApiError (401, 403, 421)."""


@dataclass(frozen=True, slots=True)
class App:
    """The API behind one door."""

    identify: Identify
    runs: Runs
    authoriser: Authoriser
    dashboard: Dashboard | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    trace_url: str = ""
    """See ``Page``."""
    shares: Shares = field(default_factory=Shares)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']}: not served")
        request = Request(scope, receive)
        accept = accepted(request.headers.get("accept", ""))
        async with AsyncExitStack() as held:  # until the answer is sent
            response = await self._answered(request, accept, held)
            if response is not None:
                await response(scope, receive, send)

    async def _answered(self, request: Request, accept: list[Media], held: AsyncExitStack) -> Response | None:
        """The response, or the refusal. None: the client has gone."""
        try:
            return await self._response(request, accept, held)
        except ApiError as error:
            return error_response(error, accept)
        except QueueUnavailable as error:
            # without Retry-After: kubectl would repeat the request ten times before it says a word
            return error_response(ApiError(503, f"the database does not serve now: {error}"), accept)
        except JobRejected as error:
            return error_response(ApiError(400, str(error)), accept)
        except QueueError as error:
            log.exception("a request could not be answered")
            return error_response(ApiError(500, str(error)), accept)
        except ClientDisconnect:
            return None
        except Exception:
            log.exception("a request could not be answered")
            return error_response(INTERNAL, accept)

    async def _response(self, request: Request, accept: list[Media], held: AsyncExitStack) -> Response:
        identity = self.identify(request)
        raw_path: bytes = request.scope.get("raw_path") or b""
        query = _query(request)
        target = target_of(request.method, raw_path, query)
        if target is None:
            return _documents(request.method, segments(raw_path), accept)
        resource, handler = route_of(target)
        share = await held.enter_async_context(self.shares.taken(identity.user))
        await self.authoriser.require(identity, target, path=target)
        call = Call(
            identity,
            target,
            query,
            self.runs,
            self.authoriser,
            await _body(request) if target.verb == "create" else b"",
            request.headers.get("last-event-id", "")[:200],
            self.dashboard,
        )
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                answer = await handler(call)
        except TimeoutError:
            raise ApiError(503, "the database gave no answer in time") from None
        if isinstance(answer, Watch | Log):
            share.becomes_stream()
        page = Page(
            identity.user,
            identity.may_act,
            target.resource,
            target.namespace,
            target.name,
            query,
            objects=identity.has_objects,
            trace_url=self.trace_url,
        )
        tags = request.headers.get("if-none-match", "")
        renderer = Renderer(accept, page, resource.columns, self.dashboard, self.stopping, tags)
        return renderer.response(answer)


def _query(request: Request) -> Query:
    raw: bytes = request.scope.get("query_string") or b""
    if len(raw) > QUERY_BYTES:
        raise ApiError(400, f"the query has {len(raw)} bytes; at most {QUERY_BYTES} are wanted")
    try:
        return parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError:
        raise ApiError(400, "the query cannot be read: UTF-8 and at most 100 parameters are wanted") from None


async def _body(request: Request) -> bytes:
    """The body, bounded in size and time. The API server sets no bound."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise ApiError(415, f"Content-Type: {kind[:80]!r}: application/json is wanted")
    too_much = ApiError(413, f"the body has more than {BODY_BYTES} bytes")
    said = request.headers.get("content-length", "0")
    if said.isdigit() and int(said[:15]) > BODY_BYTES:
        raise too_much
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > BODY_BYTES:
                    raise too_much
                parts.append(part)
    except TimeoutError:
        raise ApiError(408, f"the body did not come within {BODY_SECONDS:.0f} s") from None
    return b"".join(parts)


def _documents(method: str, parts: list[str], accept: list[Media]) -> Response:
    """Discovery and OpenAPI, without the database."""
    if method not in ("GET", "HEAD"):
        raise ApiError(405, f"the method {method} is not served")
    root = ROOT.split("/")[1:]
    if parts == root:
        return json_response(discovery.resources())
    if parts == ["apis", GROUP]:
        return json_response(discovery.group())
    if parts == ["apis"]:
        version = discovery.aggregated_version(accept)
        if version is None:
            return json_response(discovery.groups())
        kind = f"application/json;g={discovery.AGGREGATED};v={version};as=APIGroupDiscoveryList"
        return json_response(discovery.aggregated(version), content_type=kind)
    documents: dict[tuple[str, ...], Callable[[], bytes]] = {
        ("openapi", "v2"): openapi.v2,
        ("openapi", "v3"): openapi.v3_root,
        ("openapi", "v3", *root): openapi.v3,
    }
    document = documents.get(tuple(parts))
    if document is None:
        raise ApiError(404, "the server could not find the requested resource")
    return Response(document(), media_type="application/json")
