"""The client of the API server: raw HTTP sessions on the client library's configuration.

A status write through the generated client costs four times the CPU of a plain request (measured: 0.9 to
1.2 ms against 0.25), so the library is asked for what it is good at, credentials, and aiohttp does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import ssl
from functools import lru_cache
from pathlib import Path

import aiohttp
import orjson
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.metrics.counters import API_REQUESTS, Counters
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)

UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)
"""What a request raises where no answer came."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
ANSWER_SECONDS = 12.0
"""A request without an answer by then is broken off. An admission webhook that does not answer is waited for
by the API server for 10 s by default; where its policy is to ignore that, the write succeeds then."""


async def load_configuration(kubeconfig: str | None) -> Configuration:
    """The pod's own account where there is one and no kubeconfig was named; else the kubeconfig."""
    configuration = Configuration()
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=kubeconfig, client_configuration=configuration
        )
    return configuration


def ssl_context_of(configuration: Configuration) -> ssl.SSLContext:
    """Made once for the same files: it takes 20 ms, and each watch asks for one."""
    return _ssl_context(
        configuration.ssl_ca_cert,
        getattr(configuration, "ca_cert_data", None),
        configuration.cert_file,
        configuration.key_file,
        bool(configuration.verify_ssl),
        _contents_of(configuration),
    )


@lru_cache(maxsize=4)
def _ssl_context(
    ca_file: str | None,
    ca_data: str | bytes | None,
    cert_file: str | None,
    key_file: str | None,
    verify: bool,
    contents: tuple[bytes, ...],
) -> ssl.SSLContext:
    """``contents``: of the files, which may change."""
    context = ssl.create_default_context(cafile=ca_file, cadata=ca_data)
    if cert_file:
        context.load_cert_chain(cert_file, keyfile=key_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _contents_of(configuration: Configuration) -> tuple[bytes, ...]:
    files = (configuration.cert_file, configuration.key_file, configuration.ssl_ca_cert)
    return tuple(Path(name).read_bytes() if name else b"" for name in files)


class ApiServer:
    """One pool of connections, credentials that renew themselves, every request counted."""

    def __init__(
        self, kubeconfig: str | None, meter: Counters, *, timeout_seconds: float = ANSWER_SECONDS
    ) -> None:
        self.kubeconfig = kubeconfig
        self.meter = meter
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=5)
        self._session: aiohttp.ClientSession | None = None
        self._old: list[aiohttp.ClientSession] = []
        """Sessions with earlier credentials: requests of theirs may be under way."""
        self._configuration: Configuration | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> ApiServer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        sessions, self._session, self._old = [self._session, *self._old], None, []
        for session in sessions:
            if session is not None:
                await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        async with self._lock:
            if self._session is None:
                self._use(await load_configuration(self.kubeconfig))
            assert self._session is not None
            return self._session

    async def _renew(self, refused: aiohttp.ClientSession) -> aiohttp.ClientSession | None:
        """A session with other credentials than this one's, which were refused; None: there are no others.

        The one before goes on with what is under way: a 401 may be that of one namespace.
        """
        async with self._lock:
            if self._session is refused:
                found = await load_configuration(self.kubeconfig)
                if self._configuration is None or _credentials_of(found) == _credentials_of(
                    self._configuration
                ):
                    return None
                for idle in self._old:
                    await idle.close()
                self._old = [refused]
                self._use(found)
            return self._session

    def _use(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._session = aiohttp.ClientSession(
            # each part bounds its requests by namespace; a bound on all would let those of one
            # namespace that get no answer keep everybody's waiting for a connection
            connector=aiohttp.TCPConnector(limit=0, ssl=ssl_context_of(configuration)),
            timeout=self._timeout,
            headers={"User-Agent": "agentjobs-operator"},
        )

    async def request(
        self,
        verb: str,
        path: str,
        *,
        resource: str,
        body: object = None,
        content_type: str = JSON,
        accept: str = JSON,
        params: dict[str, str] | None = None,
        wants_object: bool = True,
    ) -> Reply:
        """One request. Raises ApiUnavailable where no answer came, or a success without an object in it (which a discovery
        document is not: ``wants_object``); every other answer is a Reply.

        ``resource`` only names the kind for the counters. A 401 reads the credentials again, once.
        """
        try:
            session = await self._open()
            reply = await self._send(session, verb, path, body, content_type, accept, params)
            if reply.status == 401:
                renewed = await self._renew(session)
                if renewed is not None:
                    reply = await self._send(renewed, verb, path, body, content_type, accept, params)
        except (*UNREACHABLE, RuntimeError, kube_config.ConfigException) as error:
            self.meter.add(API_REQUESTS, verb=verb, resource=resource, result="unavailable")
            raise no_answer(f"{verb} {path}", error) from error
        self.meter.add(API_REQUESTS, verb=verb, resource=resource, result=str(reply.status))
        if wants_object and reply.ok and not isinstance(reply.body.get("metadata"), dict):
            raise ApiUnavailable(f"{verb} {path}: {reply.status} without an object")
        return reply

    async def _send(
        self,
        session: aiohttp.ClientSession,
        verb: str,
        path: str,
        body: object,
        content_type: str,
        accept: str,
        params: dict[str, str] | None,
    ) -> Reply:
        assert self._configuration is not None
        headers = {"Accept": accept, **await authorization_of(self._configuration)}
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = content_type
        async with session.request(
            verb,
            f"{self._configuration.host}{path}",
            params=params,
            data=data,
            headers=headers,
            proxy=self._configuration.proxy or None,
            server_hostname=getattr(self._configuration, "tls_server_name", None) or None,
        ) as response:
            raw = await response.read()
            return reply_of(response, raw)

    async def configuration(self) -> Configuration:
        """A configuration of its own for another client (the watch, the lease)."""
        return await load_configuration(self.kubeconfig)


def _credentials_of(configuration: Configuration) -> tuple[object, ...]:
    """What the API server is told about who asks; what is in files by its content."""
    basic = (configuration.username, configuration.password)
    return (configuration.host, dict(configuration.api_key), basic, *_contents_of(configuration))


async def authorization_of(configuration: Configuration) -> dict[str, str]:
    """The header with the present credentials: a token in a file is read again when it is old."""
    token = await configuration.get_api_key_with_prefix("BearerToken")
    if token:
        return {"Authorization": token if " " in token else f"Bearer {token}"}
    if configuration.username and configuration.password:
        return {"Authorization": aiohttp.encode_basic_auth(configuration.username, configuration.password)}
    return {}


def reply_of(response: aiohttp.ClientResponse, raw: bytes) -> Reply:
    """The answer whose body is ``raw``."""
    return Reply(response.status, object_of(raw), _seconds_of(response.headers.get("Retry-After")))


def object_of(raw: bytes) -> JsonObject:
    """The JSON object; {} where it is none."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def no_answer(what: str, error: BaseException) -> ApiUnavailable:
    """The exception for a request that raised one of ``UNREACHABLE``."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, TimeoutError):
        text = f"no answer within {ANSWER_SECONDS:.0f} s"
    # where a connection was made, it may be a webhook of one namespace that does not answer
    unreachable = isinstance(error, aiohttp.ClientConnectorError | kube_config.ConfigException)
    return ApiUnavailable(f"{what}: {text}", unreachable=unreachable)


def _seconds_of(value: str | None) -> float | None:
    """Retry-After in seconds; the API server never sends its date form."""
    try:
        seconds = float(value) if value else None
    except ValueError:
        return None
    return seconds if seconds is not None and math.isfinite(seconds) and seconds >= 0 else None
