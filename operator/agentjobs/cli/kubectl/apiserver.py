"""Requests to the API server, over the socket of ``kubectl proxy``."""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from agentjobs.api.names import GROUP, VERSION
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.kubectl.proxy import PATHS, connected, kubectl_proxy
from agentjobs.cli.kubectl.reply import Reply, RequestRefused, ahead_of, refused, reply_of, unreachable
from agentjobs.cli.kubectl.where import Where
from agentjobs.web.names import NO_OBJECT

JsonObject = dict[str, Any]
Query = Mapping[str, str]

TIMEOUT_SECONDS = 30.0
SILENT_SECONDS = 2.0
"""A person is told what is waited for when an answer takes longer."""
IDLE_SECONDS = 5.0
"""A connection that was not used for longer is opened anew: the other side may have closed it."""
PAGE = 500
"""Objects of one page of a list, as kubectl's --chunk-size."""
MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "kubectl-agentjobs"
JOBS, SCHEDULES = "agentjobs", "scheduledagentjobs"
KINDS = {JOBS: "agentjob", SCHEDULES: "scheduledagentjob"}
_NAMES_OF_KINDS = {
    **dict.fromkeys(("job", "aj", "agentjob", "agentjobs"), JOBS),
    **dict.fromkeys(("schedule", "saj", "scheduledagentjob", "scheduledagentjobs"), SCHEDULES),
}
API = f"/apis/{GROUP}/{VERSION}"


@dataclass(slots=True)
class ApiServer:
    """A connection to the API server. ``path_of`` and the requests below it are all that verbs need."""

    socket: Path
    where: Where
    namespace: str
    """The namespace of the command."""
    _connection: http.client.HTTPConnection | None = None
    _used_at: float = field(default=0.0)
    ahead_seconds: float = 0.0
    """How far the API server's clock is ahead of this machine's, by its last answer; 0 within SKEW_SECONDS."""
    _told: bool = False
    """That an answer is waited for was said: once is enough for a command."""

    @classmethod
    @contextmanager
    def open(cls, where: Where, paths: tuple[str, ...] = PATHS) -> Iterator[ApiServer]:
        """A connection for the time of a command."""
        namespace = where.namespace_of(os.environ)
        with kubectl_proxy(where, os.environ, paths) as socket:
            server = cls(socket, where, namespace)
            try:
                yield server
            finally:
                server.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # requests ------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Reply:
        """Sends one request. A GET is sent again where a kept connection had been closed.

        :raises Unavailable: there is no answer.
        """
        if self._connection is not None and time.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
        again = self._connection is not None and method == "GET"
        with self._telling_of_silence(f"{method} {path}"):
            try:
                return self._exchange(method, path, query, body, content_type, accept)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not again:
                    raise Unavailable(unreachable(str(error) or type(error).__name__)) from None
            try:
                return self._exchange(method, path, query, body, content_type, accept)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise Unavailable(unreachable(str(error) or type(error).__name__)) from None

    @contextmanager
    def _telling_of_silence(self, asked: str) -> Iterator[None]:
        if self._told or not sys.stderr.isatty():
            yield
            return

        def tell() -> None:
            self._told = True
            text = f"waiting for an answer of the API server, for {TIMEOUT_SECONDS:g} s at most: {asked}"
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

        timer = threading.Timer(SILENT_SECONDS, tell)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _exchange(
        self, method: str, path: str, query: Query | None, body: object, content_type: str, accept: str
    ) -> Reply:
        if self._connection is None:
            self._connection = self._opened(TIMEOUT_SECONDS)
        self._send(self._connection, method, path, query, body, content_type, accept)
        reply = reply_of(self._connection.getresponse())
        self._used_at = time.monotonic()
        self.ahead_seconds = ahead_of(reply.date, datetime.now(UTC))
        return reply

    def now(self) -> datetime:
        """The API server's time, as far as its last answer tells it."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)

    def _opened(self, timeout_seconds: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=timeout_seconds)
        connection.sock = connected(self.socket, timeout_seconds)
        return connection

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Query | None,
        body: object,
        content_type: str,
        accept: str,
        more: Mapping[str, str] | None = None,
    ) -> None:
        data = None if body is None else json.dumps(body).encode()
        headers = {
            "Accept": accept,
            **({"Content-Type": content_type} if data is not None else {}),
            **(more or {}),
        }
        connection.request(method, f"{path}?{urlencode(query)}" if query else path, data, headers)

    @contextmanager
    def stream(
        self,
        path: str,
        query: Query,
        *,
        silence_seconds: float,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """The lines of an answer that does not end, as they come; the iterator ends with the answer, and with
        TimeoutError after ``silence_seconds`` without a line.

        :raises RequestRefused: the API server refuses it.
        :raises Unavailable: there is no answer.
        """
        try:
            connection = self._opened(silence_seconds)
            self._send(connection, "GET", path, query, None, "", accept, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(unreachable(str(error) or type(error).__name__)) from None
        try:
            if response.status != 200:
                reply = reply_of(response)
                raise refused(reply, path)
            yield _lines(response)
        finally:
            connection.close()

    # objects -------------------------------------------------------------------------------------------

    def path_of(self, resource: str, name: str = "", *, everywhere: bool = False, namespace: str = "") -> str:
        """The path of a resource's list, or of one object.

        :raises BadInput: the namespace is that of jobs without an object.
        """
        if not everywhere and (namespace or self.namespace) == NO_OBJECT:
            raise BadInput(
                f"namespace {NO_OBJECT!r} is that of jobs without an object, which programs enqueue. List them: kubectl get agentruns "
                f"-n {NO_OBJECT}; of one: kubectl agentjobs result, logs or transcript UID -n {NO_OBJECT}; on the database: agentjobs list, why."
            )
        scope = "" if everywhere else f"/namespaces/{quote(namespace or self.namespace, safe='')}"
        return f"{API}{scope}/{resource}" + (f"/{quote(name, safe='')}" if name else "")

    def get(self, resource: str, name: str) -> JsonObject:
        """One object of the command's namespace.

        :raises Unavailable: it is not found, or there is no answer.
        """
        return self.done(self.request("GET", self.path_of(resource, name)), resource, name)

    def named(self, name: str, *, also_schedules: bool = True) -> tuple[str, str, JsonObject]:
        """The resource, name and object that a user means: ``NAME`` of a job, or else of a schedule; or ``schedule/NAME``; or as
        ``kubectl get -o name`` prints it.

        :param also_schedules: a bare name may be a schedule's, where no job has it.
        :raises BadInput: the kind before the name is another.
        :raises Unavailable: there is none, or there is no answer.
        """
        kind, slash, rest = name.rpartition("/")
        if slash:
            if (resource := _NAMES_OF_KINDS.get(kind.lower().partition(".")[0])) is None:
                raise BadInput(
                    f"{name[:80]!r}: the kind {kind[:40]!r} is unknown here; there are job and schedule."
                )
            return resource, rest, self.get(resource, rest)
        try:
            return JOBS, name, self.get(JOBS, name)
        except RequestRefused as error:
            if not also_schedules or error.reply.cause() != "NotFound":
                raise
            reply = self.request("GET", self.path_of(SCHEDULES, name))
            if not reply.ok:
                raise
            return SCHEDULES, name, reply.json()

    def list(
        self, resource: str, query: Query | None = None, *, everywhere: bool = False
    ) -> Iterator[JsonObject]:
        """The objects of a list, page by page. Where a page's snapshot has expired, it goes on with the newest."""
        asked = {**(query or {}), "limit": str(PAGE)}
        while True:
            reply = self.request("GET", self.path_of(resource, everywhere=everywhere), asked)
            if reply.status == 410 and (token := reply.next_page()):
                asked["continue"] = token
                continue
            page = self.done(reply, resource, everywhere=everywhere)
            yield from page.get("items") or ()
            if not (token := str((page.get("metadata") or {}).get("continue") or "")):
                return
            asked["continue"] = token

    def patch(self, resource: str, obj: Mapping[str, Any], patch: JsonObject) -> Reply:
        """Sends a merge patch for this very object: with its uid, so that a later one of its name is not patched."""
        metadata = obj["metadata"]
        whole = {**patch, "metadata": {**patch.get("metadata", {}), "uid": metadata["uid"]}}
        path = self.path_of(resource, metadata["name"], namespace=metadata["namespace"])
        return self.request("PATCH", path, {"fieldManager": FIELD_MANAGER}, whole, content_type=MERGE_PATCH)

    def delete(self, resource: str, obj: Mapping[str, Any]) -> Reply:
        """Deletes this very object."""
        metadata = obj["metadata"]
        path = self.path_of(resource, metadata["name"], namespace=metadata["namespace"])
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": metadata["uid"]}}
        return self.request("DELETE", path, None, body)

    def done(self, reply: Reply, resource: str, name: str = "", *, everywhere: bool = False) -> JsonObject:
        """The object of an answer.

        :raises RequestRefused: the answer is an error; the message names the object and what to do.
        """
        if reply.ok:
            return reply.json()
        kind = KINDS.get(resource, resource)
        scope = "all namespaces" if everywhere else self.namespace
        what = f"{kind} {self.namespace}/{name}" if name else f"{resource} of {scope}"
        flags = f"-n {self.namespace}{self.where.shown()}"
        if reply.status == 404 and name and reply.cause() == "NotFound":
            verb = "schedules" if resource == SCHEDULES else "list"
            raise RequestRefused(
                f"{what} is not found. Those that are there: kubectl agentjobs {verb} {flags}", reply
            )
        raise refused(reply, what, flags)

    def user(self) -> str:
        """The user as whom the API server knows the caller. Empty: it does not tell."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        reply = self.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", None, body)
        if not reply.ok:
            return ""
        info = (reply.json().get("status") or {}).get("userInfo") or {}
        return str(info.get("username") or "")


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Lines as they come. A cut connection ends them, as the end of the answer does."""
    while True:
        try:
            line = response.readline()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            return
        if not line:
            return
        yield line
