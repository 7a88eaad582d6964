"""The HTTP session of one watch: what is refused waits here, so that kopf sees answers only.

kopf by itself tries again for ever, in silence, after whatever ``Retry-After`` asks for, or ends as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp
from kubernetes.aio.client import Configuration

from agentjobs.controller.apiserver.client import (
    ANSWER_SECONDS,
    UNREACHABLE,
    authorization_of,
    no_answer,
    object_of,
    reply_of,
    ssl_context_of,
)
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call

LIST_SECONDS = 60.0
"""A page of a LIST that is not there by then is asked for again."""
START_ANEW = frozenset({401, 410})
"""Answers after which the watch begins anew: with other credentials, or with another listing."""


class Refusals(Protocol):
    """What is made of the answers; called in the watch's thread."""

    def answered(self, call: Call, status: int) -> None:
        """The API server does what it was asked."""

    def refused(self, call: Call, answer: ApiUnavailable) -> float:
        """For how many seconds to wait now."""


class WatchEnds(Exception):
    """The watch has to begin anew."""


def watch_session(configuration: Configuration, refusals: Refusals) -> aiohttp.ClientSession:
    """A session for kopf; each request carries the present credentials."""

    async def wait_for_answer(
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        call = Call.WATCH if request.url.query.get("watch") else Call.LIST
        while True:
            request.headers.update(await authorization_of(configuration))
            answer = await _ask(call, request, handler)
            if isinstance(answer, aiohttp.ClientResponse):
                refusals.answered(call, answer.status)
                return answer
            seconds = refusals.refused(call, answer)
            if answer.status in START_ANEW:
                raise WatchEnds(str(answer))
            await asyncio.sleep(seconds)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=ssl_context_of(configuration)),
        proxy=configuration.proxy or None,
        middlewares=(wait_for_answer,),
    )


async def _ask(
    call: Call,
    request: aiohttp.ClientRequest,
    handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
) -> aiohttp.ClientResponse | ApiUnavailable:
    """The answer of a watch once it begins, and that of any other request once it is whole."""
    what = f"{call.value} {request.url.path}"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await handler(request)
            if response.status >= 400:
                return ApiUnavailable(
                    f"{what}: {(reply := reply_of(response, await response.read())).words}",
                    reply.retry_after_seconds,
                    status=reply.status,
                )
        if call is Call.WATCH:
            return response
        async with asyncio.timeout(LIST_SECONDS):
            body = object_of(await response.read())
    except UNREACHABLE as error:
        return no_answer(what, error)
    if not body:
        return ApiUnavailable(f"{what}: {response.status} without a JSON object")
    return response
