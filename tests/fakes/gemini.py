"""A Gemini API that answers from a script, for the real google-genai client to talk to.

    from gemini import FakeGemini, gemini, text      # `gemini` is the fixture

    async def test_…(gemini: FakeGemini) -> None:
        gemini.script(error(500), text("hello"))     # then: text("ok") for ever
        …
        assert gemini.requests[-1].user_messages == ["…"]

It runs in a thread of its own, on a free loopback port. ``gemini.environ`` is what a client, also one in another
process, needs in its environment.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from aiohttp import web

USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}


@dataclass(frozen=True)
class Answer:
    """What the server says to one request."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None
    """Sent as it is, in place of ``body``."""
    hangs: bool = False
    """Nothing is ever sent."""
    chunks: tuple[Any, ...] = ()
    """In a stream; without: ``body`` as one chunk."""


@dataclass(frozen=True)
class Recorded:
    """One request."""

    model: str
    streaming: bool
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def contents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.body.get("contents", [])
        return found

    @property
    def agent(self) -> str:
        """The agent that asks: ADK tells each its name."""
        told = json.dumps(self.body.get("systemInstruction", ""))
        found = re.search(r'Your internal name is \\"(\w+)\\"', told)
        return found[1] if found else ""

    @property
    def instruction(self) -> str:
        return "\n".join(
            part.get("text", "") for part in self.body.get("systemInstruction", {}).get("parts", [])
        )

    @property
    def user_messages(self) -> list[str]:
        """Texts that a user said, oldest first."""
        return [
            part["text"]
            for content in self.contents
            if content.get("role") == "user"
            for part in content.get("parts", [])
            if part.get("text")
        ]

    @property
    def tool_results(self) -> list[str]:
        """Names of the tools whose results are in the prompt."""
        return [
            part["functionResponse"]["name"]
            for content in self.contents
            for part in content.get("parts", [])
            if "functionResponse" in part
        ]


def _candidate(
    parts: list[dict[str, Any]], finish: str = "STOP", usage: Mapping[str, int] = USAGE
) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}],
        "usageMetadata": dict(usage),
        "modelVersion": "fake-1",
    }


def text(*said: str, thought: str = "", usage: Mapping[str, int] = USAGE) -> Answer:
    """An answer; in a stream, one chunk per text."""
    thoughts = [{"text": thought, "thought": True}] if thought else []
    chunks = tuple(
        _candidate([{"text": part}], "STOP" if number == len(said) else "", usage)
        for number, part in enumerate(said, start=1)
    )
    return Answer(
        body=_candidate([*thoughts, {"text": "".join(said)}], usage=usage),
        chunks=chunks if len(said) > 1 else (),
    )


def file(mime_type: str, data: bytes, said: str = "") -> Answer:
    """An answer that is a file, with or without a text."""
    texts = [{"text": said}] if said else []
    blob = {"mimeType": mime_type, "data": base64.b64encode(data).decode()}
    return Answer(body=_candidate([*texts, {"inlineData": blob}]))


def call(name: str, arguments: Mapping[str, Any] | None = None, usage: Mapping[str, int] = USAGE) -> Answer:
    """A call of a tool."""
    return Answer(
        body=_candidate([{"functionCall": {"name": name, "args": dict(arguments or {})}}], usage=usage)
    )


def calls(*named: tuple[str, Mapping[str, Any]], usage: Mapping[str, int] = USAGE) -> Answer:
    """Several calls in one answer."""
    parts = [{"functionCall": {"name": name, "args": dict(arguments)}} for name, arguments in named]
    return Answer(body=_candidate(parts, usage=usage))


def error(
    status: int,
    message: str = "an error",
    *,
    code: str = "",
    retry_after: str | None = None,
    details: list[Any] | None = None,
) -> Answer:
    """An error as google.rpc shapes it."""
    named = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
             429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}  # fmt: skip
    body = {
        "error": {
            "code": status,
            "message": message,
            "status": code or named.get(status, "UNKNOWN"),
            "details": details or [],
        }
    }
    return Answer(status=status, body=body, headers={"Retry-After": retry_after} if retry_after else {})


def rate_limited(
    *, delay: str | None = None, retry_after: str | None = None, quota: str | None = None
) -> Answer:
    """429: ``delay`` ("7s") goes into RetryInfo, ``quota`` is the id of the quota that is spent."""
    details: list[Any] = []
    if quota:
        details.append(
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}
        )
    if delay:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return error(429, "Resource has been exhausted", retry_after=retry_after, details=details)


def blocked(reason: str = "SAFETY") -> Answer:
    """The answer was stopped."""
    return Answer(body={"candidates": [{"finishReason": reason, "index": 0}], "usageMetadata": dict(USAGE)})


def prompt_blocked(reason: str = "PROHIBITED_CONTENT") -> Answer:
    """The prompt was refused."""
    return Answer(
        body={
            "promptFeedback": {"blockReason": reason},
            "usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10},
        }
    )


def truncated(said: str) -> Answer:
    """Cut at the output limit."""
    return Answer(body=_candidate([{"text": said}], "MAX_TOKENS"))


def finished(reason: str) -> Answer:
    """No content, and a finish reason of its own."""
    return Answer(body={"candidates": [{"finishReason": reason, "index": 0}]})


def no_candidates() -> Answer:
    return Answer(body={"usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10}})


def no_parts() -> Answer:
    return Answer(body=_candidate([]))


def malformed() -> Answer:
    return Answer(raw='{"candidates": [{"content": {"role": "model", "parts": [{"text": "half an ans')


def hangs() -> Answer:
    return Answer(hangs=True)


class FakeGemini:
    """The server. Answers the script in order, then by ``rule``."""

    def __init__(self) -> None:
        self.rule: Callable[[Recorded], Answer] = lambda _: text("ok")
        """What to answer to a request that nothing was scripted for."""
        self.requests: list[Recorded] = []
        self.port = 0
        self._answers: list[Answer] = []
        self._answers_for: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        return {"GOOGLE_GEMINI_BASE_URL": self.url, "GOOGLE_API_KEY": "fake-key-of-the-tests"}

    def script(self, *answers: Answer) -> None:
        """The next answers."""
        with self._lock:
            self._answers += answers

    def script_for(self, agent: str, *answers: Answer) -> None:
        """The next answers to the agent of that name; they come before those of :meth:`script`."""
        with self._lock:
            self._answers_for.setdefault(agent, []).extend(answers)

    def forget(self) -> None:
        """Drops what was scripted and recorded."""
        with self._lock:
            self._answers.clear()
            self._answers_for.clear()
            self.requests.clear()

    def wait_for_requests(self, count: int, seconds: float = 120) -> None:
        """Until ``count`` requests have arrived; for other threads than an event loop's."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} requests arrived in {seconds} s, wanted {count}")

    def start(self) -> Self:
        ready: Future[int] = Future()
        threading.Thread(target=self._serve, args=(ready,), name="fake-gemini", daemon=True).start()
        self.port = ready.result(60)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)

    def _serve(self, ready: Future[int]) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main(ready))
        self._loop.close()

    async def _main(self, ready: Future[int]) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{version}/models/{call}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.set_result(runner.addresses[0][1])
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        model, _, method = request.match_info["call"].partition(":")
        streaming = method == "streamGenerateContent"
        recorded = Recorded(
            model, streaming, await request.json(), {k.lower(): v for k, v in request.headers.items()}
        )
        with self._arrived:
            self.requests.append(recorded)
            answers = self._answers_for.get(recorded.agent) or self._answers
            answer = answers.pop(0) if answers else self.rule(recorded)
            self._arrived.notify_all()
        if answer.hangs:
            await self._stopping.wait()
        if answer.status != 200:
            return web.json_response(answer.body, status=answer.status, headers=answer.headers)
        if streaming:
            return await self._stream(request, answer)
        raw = answer.raw if answer.raw is not None else json.dumps(answer.body)
        return web.Response(text=raw, content_type="application/json", headers=answer.headers)

    async def _stream(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **answer.headers})
        await response.prepare(request)
        chunks = (
            [answer.raw]
            if answer.raw is not None
            else [json.dumps(c) for c in answer.chunks or (answer.body,)]
        )
        for chunk in chunks:
            await response.write(f"data: {chunk}\n\n".encode())
        await response.write_eof()
        return response


@contextmanager
def served(patch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """A fake, and this process's environment pointing to it."""
    server = FakeGemini().start()
    for name in (
        "GOOGLE_GENAI_USE_VERTEXAI",
        "GEMINI_API_KEY",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_GENAI_USE_ENTERPRISE",
    ):
        patch.delenv(name, raising=False)
    for name, value in server.environ.items():
        patch.setenv(name, value)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """A fake of the test's own."""
    with served(monkeypatch) as server:
        yield server
