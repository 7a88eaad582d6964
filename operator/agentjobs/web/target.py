"""A request's path and method as verb, resource, namespace and name: exactly as kube-apiserver has read them.

The API server has authorised what *it* read in the path. What we read must be the same, so every path that two programs
could read differently is not found: with an escape, a dot segment, an empty segment, a trailing slash.
https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/request/requestinfo.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from agentjobs.web.names import ROOT
from agentjobs.web.status import ApiError

SEGMENT = re.compile(r"[A-Za-z0-9_.-]{1,253}")
NAME_SELECTOR = re.compile(r"metadata\.name=([A-Za-z0-9_.-]{1,253})")
WHOLE = re.compile("[0-9]{1,19}")
"""A whole number that nobody means ill with."""
_TRUE, _FALSE = ("true", "1"), ("false", "0")
Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about."""

    verb: str
    """get, list, watch or create."""
    resource: str
    """With its subresource, such as ``agentruns/log``."""
    namespace: str | None
    """None: of a cluster-scoped resource, or all namespaces."""
    name: str | None
    """Of a list or watch: only this name (``fieldSelector=metadata.name=…``)."""


def segments(raw_path: bytes) -> list[str]:
    """The path's segments. Raises ApiError (404) for a path that can be read in two ways."""
    path = raw_path.split(b"?", 1)[0].decode("ascii", "replace")
    parts = path.split("/")[1:]
    if not path.startswith("/") or any(not SEGMENT.fullmatch(part) or set(part) == {"."} for part in parts):
        raise ApiError(404, "the server could not find the requested resource")
    return parts


def target_of(method: str, raw_path: bytes, query: Query) -> Target | None:
    """The target of a request below the API's root. None: the path is another's (discovery).

    Raises ApiError: 404 for no path of ours, 405 for a method that is no verb of ours, 400 for a parameter that
    kube-apiserver might read otherwise.
    """
    parts = segments(raw_path)
    root = ROOT.split("/")[1:]
    if parts[: len(root)] != root or len(parts) == len(root):
        return None
    rest = parts[len(root) :]
    namespace = None
    if rest[0] == "namespaces":
        if len(rest) < 3:
            raise ApiError(404, "the server could not find the requested resource")
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        raise ApiError(404, "the server could not find the requested resource")
    resource = "/".join([rest[0], *rest[2:]])
    name = rest[1] if len(rest) > 1 else None
    if method == "POST":
        return Target("create", resource, namespace, name)
    if method not in ("GET", "HEAD"):
        raise ApiError(405, f"the method {method} is not served: get, list, watch and create are")
    if name is not None:
        return Target("get", resource, namespace, name)
    verb = "watch" if flag(query, "watch") else "list"
    return Target(verb, resource, namespace, _selected_name(query))


def one(query: Query, parameter: str) -> str | None:
    """The parameter's value. Raises ApiError (400) where it is given twice."""
    values = query.get(parameter, ())
    if len(values) > 1:
        raise ApiError(400, f"{parameter}: given {len(values)} times; once is wanted")
    return values[0] if values else None


def uid_of(text: str) -> UUID:
    """The uid. Raises ApiError (400)."""
    try:
        return UUID(text)
    except ValueError:
        raise ApiError(400, f"uid: {text[:60]!r}: a UUID is wanted") from None


def flag(query: Query, parameter: str) -> bool:
    """The parameter as yes or no; absent: no. Raises ApiError (400) for other words."""
    value = one(query, parameter)
    if value is None or value.lower() in _FALSE:
        return False
    if value.lower() in _TRUE:
        return True
    raise ApiError(400, f"{parameter}: {value[:40]!r}: true or false is wanted")


def _selected_name(query: Query) -> str | None:
    if one(query, "labelSelector"):
        raise ApiError(400, "labelSelector: not served here; use the filters queue, state, agent …")
    selector = one(query, "fieldSelector")
    if not selector:
        return None
    found = NAME_SELECTOR.fullmatch(selector)
    if found is None:
        raise ApiError(400, f"fieldSelector: {selector[:80]!r}: only metadata.name=NAME is served")
    return found[1]
