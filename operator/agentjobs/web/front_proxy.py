"""The aggregated door: which certificate kube-apiserver shows, and in which headers it says who asks.

Both stand in the ConfigMap kube-system/extension-apiserver-authentication, and may change while we run.
https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#kubernetes-apiserver-client-authentication
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from agentjobs.values.json import JsonObject
from agentjobs.web.identity import Door, Identity
from agentjobs.web.status import ApiError

CONFIG_MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
Headers = Sequence[tuple[bytes, bytes]]


class FrontProxyUnknown(Exception):
    """The cluster does not say by which certificate its API server shows itself. The door stays shut."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What a client's certificate says, as it was verified when its connection began."""

    common_name: str | None
    """None: none, or several."""
    expires_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How kube-apiserver shows itself and its users."""

    ca: str
    """PEM of the request-header CA."""
    allowed_names: tuple[str, ...]
    """Common names of its certificate; empty: any that the CA has signed."""
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]

    def admits(self, peer: Peer | None, now: float) -> bool:
        """Whether the peer is kube-apiserver: by its certificate, which may have expired since the connection began."""
        if peer is None or peer.common_name is None or peer.expires_at <= now:
            return False
        return not self.allowed_names or peer.common_name in self.allowed_names

    def identity(self, peer: Peer | None, headers: Headers, now: float) -> Identity:
        """The user of a request. Raises ApiError (401), also where headers name no user or two."""
        if not self.admits(peer, now):
            raise ApiError(401, "the client's certificate is not that of the API server's front proxy")
        named: list[tuple[str, str]] = [
            (name.decode("latin-1").lower(), value.decode("utf-8", "replace")) for name, value in headers
        ]
        users = _first(named, self.user_headers)
        if len(users) != 1 or not users[0]:
            raise ApiError(401, "the API server's front proxy named no user")
        extra: dict[str, tuple[str, ...]] = {}
        for prefix in self.extra_prefixes:
            for name, value in named:
                if name.startswith(prefix.lower()):
                    key = unquote(name[len(prefix) :])
                    extra[key] = (*extra.get(key, ()), value)
        return Identity(Door.AGGREGATED, users[0], tuple(_first(named, self.group_headers)), extra)


def front_proxy_of(config_map: JsonObject) -> FrontProxy:
    """What the ConfigMap says. Raises FrontProxyUnknown."""
    data = config_map.get("data")
    if not isinstance(data, Mapping):
        data = {}
    ca = data.get("requestheader-client-ca-file")
    if not isinstance(ca, str) or "BEGIN CERTIFICATE" not in ca:
        raise FrontProxyUnknown(
            "ConfigMap kube-system/extension-apiserver-authentication has no requestheader-client-ca-file: aggregation is "
            "switched off in this cluster (--requestheader-client-ca-file of kube-apiserver), so this API cannot be served"
        )
    users = _names(data, "requestheader-username-headers")
    if not users:
        raise FrontProxyUnknown(
            "ConfigMap kube-system/extension-apiserver-authentication names no requestheader-username-headers"
        )
    return FrontProxy(
        ca,
        _names(data, "requestheader-allowed-names"),
        users,
        _names(data, "requestheader-group-headers"),
        _names(data, "requestheader-extra-headers-prefix"),
    )


def _names(data: Mapping[str, object], key: str) -> tuple[str, ...]:
    text = data.get(key)
    try:
        found = json.loads(text) if isinstance(text, str) and text else []
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise FrontProxyUnknown(
            f"ConfigMap kube-system/extension-apiserver-authentication: {key} is no JSON list of texts"
        )
    return tuple(name for name in found if name)


def _first(named: Sequence[tuple[str, str]], headers: Sequence[str]) -> list[str]:
    """The values of the first of these headers that the request has, as kube-apiserver's own servers read them."""
    for header in headers:
        values = [value for name, value in named if name == header.lower()]
        if values:
            return values
    return []
