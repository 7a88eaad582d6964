"""Who asks, and through which door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Door(StrEnum):
    """How a request came in, which decides what may be believed and done."""

    AGGREGATED = "aggregated"
    """Through kube-apiserver, which has proved who it is. It has authorised the path's own verb and resource."""
    ADMINISTRATOR = "administrator"
    """At 127.0.0.1, with the secret of the process's start."""
    PROXY = "proxy"
    """Behind an ingress, signed in by a trusted proxy: read only, what RBAC says."""
    TOKEN = "token"
    """Behind an ingress, with the shared token: read only, everything."""


READ_ONLY = frozenset({Door.PROXY, Door.TOKEN})


@dataclass(frozen=True, slots=True)
class Identity:
    """One user."""

    door: Door
    user: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def may_act(self) -> bool:
        """Whether the door lets acts in at all."""
        return self.door not in READ_ONLY

    @property
    def has_objects(self) -> bool:
        """Whether the door's address leads to the Kubernetes API too."""
        return self.door is Door.AGGREGATED
