"""Answers by what the client accepts: JSON, a Table, an HTML fragment, plain text, or a stream of events."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from html import escape
from urllib.parse import quote

import orjson
from starlette.responses import Response, StreamingResponse

from agentjobs.api.meta import ApiModel
from agentjobs.values.json import JsonObject
from agentjobs.web import table
from agentjobs.web.call import Answer, Content, Event, File, Log, Object, Text, Watch
from agentjobs.web.objects.meta import KubeObject
from agentjobs.web.status import ApiError
from agentjobs.web.table import Column
from agentjobs.web.view import Dashboard, Page

log = logging.getLogger(__name__)
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of all that a browser shows: nothing runs or loads but the pages' own."""
JSON, HTML, PLAIN, EVENTS = "application/json", "text/html", "text/plain", "text/event-stream"
DATA_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
}
STREAM_HEADERS = {**DATA_HEADERS, "X-Accel-Buffering": "no"}
"""nginx before us hands each event on at once."""
HTML_HEADERS = {**DATA_HEADERS, "Content-Security-Policy": CSP}
FILE_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CSP,
}
"""A browser keeps a file, and asks each time whether it is the newest."""
Columns = Sequence[Column[KubeObject]]
_LINE_END = re.compile(r"\r\n|\r|\n")
"""As a reader of server-sent events knows it; JSON has none of these inside of a text."""


INTERNAL = ApiError(500, "an internal error; the log of agentjobs web has it")


@dataclass(frozen=True, slots=True)
class Media:
    """One media type that a client accepts."""

    type: str
    parameters: dict[str, str]

    @property
    def is_table(self) -> bool:
        return (
            self.type == JSON
            and self.parameters.get("as") == "Table"
            and self.parameters.get("v", "v1") == "v1"
        )

    @property
    def is_json(self) -> bool:
        return self.type in (JSON, "application/*", "*/*") and "as" not in self.parameters


def accepted(header: str) -> list[Media]:
    """The media types of an Accept header, the most wanted first."""
    found: list[tuple[float, Media]] = []
    for part in header.split(",")[:20]:
        kind, *rest = (piece.strip() for piece in part.split(";"))
        parameters = dict(piece.split("=", 1) for piece in rest if "=" in piece)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if kind and quality > 0:
            found.append((quality, Media(kind.lower(), parameters)))
    return [media for _, media in sorted(found, key=lambda pair: -pair[0])] or [Media("*/*", {})]


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes the response of one request."""

    accept: Sequence[Media]
    page: Page
    columns: Columns = ()
    dashboard: Dashboard | None = None
    stopping: asyncio.Event | None = None
    known_tags: str = ""
    """If-None-Match of the request."""

    def response(self, answer: Answer) -> Response:
        """The answer in the first form that the client accepts. Raises ApiError (406)."""
        match answer:
            case Text(text):
                return Response(text, media_type=f"{PLAIN}; charset=utf-8", headers=DATA_HEADERS)
            case Object():
                return self._object(answer)
            case File(asset):
                tag = f'"{asset.etag}"'
                headers = {**FILE_HEADERS, "ETag": tag}
                if tag in self.known_tags:
                    return Response(status_code=304, headers=headers)
                return Response(asset.content, 200, headers, asset.content_type)
            case Content(name, size, pieces):
                headers = {
                    **DATA_HEADERS,
                    "Content-Length": str(size),
                    "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
                    "Content-Security-Policy": "sandbox; default-src 'none'",
                }
                return StreamingResponse(pieces, headers=headers, media_type="application/octet-stream")
            case Watch() | Log():
                return self._stream(answer)

    def _object(self, answer: Object) -> Response:
        for media in self.accept:
            if media.is_table and (self.columns or answer.items):
                return json_response(self._table(answer.model, answer.items), answer.code)
            if media.is_json:
                return json_response(answer.model.as_json(), answer.code)
            if media.type == HTML and self.dashboard is not None:
                shown = self.dashboard.fragment(answer.model, self.page)
                if shown is not None:
                    return html_response(shown, answer.code, self.known_tags)
        raise ApiError(406, "only application/json, its Table, and text/html of some objects are served")

    def _table(
        self, model: KubeObject, items: Sequence[KubeObject], *, definitions: bool = True
    ) -> JsonObject:
        metadata = model.as_json().get("metadata", {}) if items and items[0] is not model else {}
        include = self.page.first("includeObject") or "Metadata"
        return table.table(items, self.columns, metadata, include=include, definitions=definitions)

    def _stream(self, answer: Watch | Log) -> Response:
        for media in self.accept:
            if media.type == EVENTS:
                return StreamingResponse(self._sse(answer), media_type=EVENTS, headers=STREAM_HEADERS)
            if isinstance(answer, Log):
                if media.type in (PLAIN, "text/*") or media.is_json:
                    kind = f"{PLAIN}; charset=utf-8"
                    return StreamingResponse(self._lines(answer), media_type=kind, headers=STREAM_HEADERS)
            elif media.is_json or (media.is_table and self.columns):
                lines = self._watch(answer, as_table=media.is_table)
                return StreamingResponse(lines, media_type=JSON, headers=STREAM_HEADERS)
        raise ApiError(406, f"a stream comes as {EVENTS}, {JSON} (a watch) or {PLAIN} (a log)")

    async def _lines(self, answer: Log) -> AsyncIterator[bytes]:
        async with aclosing(self._until_stopped(answer.events, None)) as events:
            async for event in events:
                if event.error is not None:
                    yield f"error: {event.error.message}\n".encode()
                elif event.line:
                    yield f"{event.line}\n".encode(errors="replace")

    async def _watch(self, answer: Watch, *, as_table: bool) -> AsyncIterator[bytes]:
        first = True
        async with aclosing(self._until_stopped(answer.events, answer.seconds)) as events:
            async for event in events:
                if event.error is not None:
                    yield orjson.dumps({"type": "ERROR", "object": event.error.status}) + b"\n"
                elif isinstance(event.model, KubeObject):
                    shown = event.model.as_json()
                    if as_table:
                        shown = self._table(event.model, [event.model], definitions=first)
                        first = False
                    yield orjson.dumps({"type": event.type.upper(), "object": shown}) + b"\n"

    async def _sse(self, answer: Watch | Log) -> AsyncIterator[bytes]:
        seconds = answer.seconds if isinstance(answer, Watch) else None
        yield b": open\n\n"
        async with aclosing(self._until_stopped(answer.events, seconds)) as events:
            async for event in events:
                yield self._sse_event(event)

    def _sse_event(self, event: Event) -> bytes:
        if event.error is not None:
            return _event("error", orjson.dumps(event.error.status).decode())
        if event.model is None:
            return _event(event.type, event.line or "{}", event.id)
        return _event(event.type, self._data(event.model, event), event.id)

    def _data(self, model: ApiModel, event: Event) -> str:
        if self.page.part and self.dashboard is not None:
            shown = self.dashboard.fragment(model, replace(self.page, event=event.type))
            if shown is not None:
                return shown
        return orjson.dumps(model.as_json()).decode()

    async def _until_stopped(
        self, events: AsyncIterator[Event], seconds: float | None
    ) -> AsyncGenerator[Event, None]:
        """The events, until the process is to end or the time is over."""
        stop = asyncio.create_task(self._stop(seconds))
        step: asyncio.Task[Event] | None = None
        try:
            while True:
                step = asyncio.ensure_future(_next(events))
                await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    return
                try:
                    event = step.result()
                except _Over:
                    return
                except ApiError as error:
                    yield Event("error", error=error)
                    return
                except Exception:
                    log.exception("a stream could not go on")
                    yield Event("error", error=INTERNAL)
                    return
                yield event
        finally:
            waiting = [task for task in (step, stop) if task is not None and not task.done()]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    async def _stop(self, seconds: float | None) -> None:
        waiting = asyncio.Event() if self.stopping is None else self.stopping
        try:
            async with asyncio.timeout(seconds):
                await waiting.wait()
        except TimeoutError:
            return


class _Over(Exception):
    """The stream has ended. A task may not raise StopAsyncIteration."""


async def _next(events: AsyncIterator[Event]) -> Event:
    try:
        return await anext(events)
    except StopAsyncIteration:
        raise _Over from None


def json_response(body: JsonObject, code: int = 200, content_type: str = JSON) -> Response:
    """JSON with the headers of data."""
    return Response(orjson.dumps(body), code, DATA_HEADERS, content_type)


def html_response(shown: str, code: int, known_tags: str) -> Response:
    """A fragment of HTML; nothing where the page has this very one. Nobody keeps it, so the page names it itself."""
    tag = f'"{hashlib.sha256(shown.encode(errors="replace")).hexdigest()[:24]}"'
    headers = {**HTML_HEADERS, "ETag": tag}
    if code == 200 and tag in known_tags:
        return Response(status_code=304, headers=headers)
    return Response(shown, code, headers, f"{HTML}; charset=utf-8")


def error_response(error: ApiError, accept: Sequence[Media]) -> Response:
    """A refusal: a Status object, or one paragraph of HTML for the dashboard."""
    if accept and accept[0].type == HTML:
        text = f'<p class="error" role="alert">{escape(error.message)}</p>'
        response = Response(text, error.code, HTML_HEADERS, f"{HTML}; charset=utf-8")
    else:
        response = json_response(error.status, error.code)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if error.challenge:
        response.headers["WWW-Authenticate"] = error.challenge
    return response


def _event(kind: str, data: str, id_: str = "") -> bytes:
    lines = [
        f"event: {kind}",
        *([f"id: {id_}"] if id_ else ()),
        *(f"data: {line}" for line in _LINE_END.split(data)),
    ]
    return ("\n".join(lines) + "\n\n").encode(errors="replace")
