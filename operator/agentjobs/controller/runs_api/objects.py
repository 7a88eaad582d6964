"""The APIService, the Service's state and its Events as Kubernetes writes them, and what is read from them; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from agentjobs.controller.apiserver.resources import API_SERVICES, SERVICES
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.status_text import cut_text, time_text
from agentjobs.controller.runs_api.registration import Found, History, Registered, ServiceRef
from agentjobs.queue.records import ObjectRef
from agentjobs.values.json import JsonObject
from agentjobs.web.names import GROUP, VERSION

NAME = f"{VERSION}.{GROUP}"
INSTALLATION = "agentjobs.dev/installation"
"""Annotation of the APIService: the installation (the database) whose operator has made it."""
REGISTRATION = "agentjobs.dev/registration"
"""Annotation of the Service: earlier withdrawals and the time of the next try, as JSON; or ``off``. Whoever removes it lets
the operator try at once."""
OFF = "off"
WORDS_CHARACTERS = 300


class RunsApiEventReason(StrEnum):
    """Every reason of an Event about the runs API; the Events are on its Service."""

    REGISTERED = "RunsApiRegistered"
    """Normal: the APIService is made."""
    WITHDRAWN = "RunsApiWithdrawn"
    """Warning: why it is withdrawn, and when it is tried again."""
    ELSEWHERE = "RunsApiManagedElsewhere"
    """Warning: the APIService belongs to another installation, or to a person."""
    CERTIFICATE = "RunsApiCertificate"
    """Normal: a serving certificate was made or renewed, and why."""

    @property
    def normal(self) -> bool:
        return self in (RunsApiEventReason.REGISTERED, RunsApiEventReason.CERTIFICATE)


def api_service(found: Found, namespace_uid: str) -> JsonObject:
    """The APIService to be made. It belongs to the Namespace: where that goes before its Service is missed, the garbage collector
    takes it away though no operator is left to do so. (A Namespace whose Service is missed hangs itself.)"""
    assert found.installation is not None
    return {
        "apiVersion": API_SERVICES.api_version,
        "kind": API_SERVICES.kind,
        "metadata": {
            "name": NAME,
            "labels": {
                "app.kubernetes.io/name": "agentjobs",
                "app.kubernetes.io/component": "web",
                "app.kubernetes.io/managed-by": "agentjobs-operator",
            },
            "annotations": {INSTALLATION: str(found.installation)},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "name": found.service.namespace,
                    "uid": namespace_uid,
                }
            ],
        },
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            **_changing(found),
        },
    }


def correction(found: Found, registered: Registered, namespace_uid: str) -> JsonObject:
    """The merge patch that has our APIService say what it should, fenced by its uid."""
    whole = api_service(found, namespace_uid)["metadata"]
    return {
        "metadata": {
            "uid": registered.uid,
            "annotations": whole["annotations"],
            "ownerReferences": whole["ownerReferences"],
        },
        "spec": _changing(found) if found.bundle else {"service": _changing(found)["service"]},
    }


def _changing(found: Found) -> JsonObject:
    service = found.service
    return {
        "service": {"namespace": service.namespace, "name": service.name, "port": service.port},
        "caBundle": found.bundle,
    }


def registered_in(body: JsonObject, unserved: str) -> Registered:
    """The APIService. ``unserved``: why its discovery document did not come."""
    meta, spec = body["metadata"], body.get("spec") or {}
    conditions = (body.get("status") or {}).get("conditions") or ()
    condition: JsonObject = next((c for c in conditions if c.get("type") == "Available"), {})
    service = spec.get("service")
    words = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
    return Registered(
        uid=str(meta["uid"]),
        installation=str((meta.get("annotations") or {}).get(INSTALLATION, "")),
        service=service
        and ServiceRef(service.get("namespace", ""), service.get("name", ""), service.get("port", 443)),
        bundle=str(spec.get("caBundle") or ""),
        available=condition.get("status") == "True",
        since=time_in(condition.get("lastTransitionTime") or meta.get("creationTimestamp")),
        words=cut_text(words, WORDS_CHARACTERS),
        unserved=cut_text(unserved, WORDS_CHARACTERS),
        deleting=bool(meta.get("deletionTimestamp")),
    )


def time_in(text: object) -> datetime:
    """A time as the API server writes it. Raises ValueError."""
    found = datetime.fromisoformat(str(text))
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def has_ready_endpoint(slices: Iterable[JsonObject]) -> bool:
    """Whether an endpoint of the Service's EndpointSlices is ready; a condition that is not there counts as ready, as
    Kubernetes says."""
    endpoints = (endpoint for one in slices for endpoint in one.get("endpoints") or ())
    return any((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints)


def leaving_in(service: JsonObject | None, namespace: JsonObject | None, of: ServiceRef) -> str:
    """Why the API should not be there any more, by its Service and Namespace (None: there is none); empty: it should."""
    if namespace is None or namespace["metadata"].get("deletionTimestamp"):
        return f"the namespace {of.namespace} is being deleted"
    if service is None or service["metadata"].get("deletionTimestamp"):
        return f"the Service {of.namespace}/{of.name} is being deleted, or does not exist"
    if annotation_of(service) == OFF:
        return f"the Service {of.namespace}/{of.name} says so, by the annotation {REGISTRATION}: {OFF}"
    return ""


def annotation_of(service: JsonObject | None) -> str:
    """What the Service says about earlier attempts; empty: nothing."""
    return (
        "" if service is None else str((service["metadata"].get("annotations") or {}).get(REGISTRATION, ""))
    )


def history_in(text: str) -> History:
    """Earlier attempts, from the annotation; none where it cannot be read."""
    try:
        value = json.loads(text)
        retry_at = value.get("retryAt")
        return History(int(value["withdrawals"]), time_in(retry_at) if retry_at else None)
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return History()


def text_of(history: History) -> str | None:
    """The annotation; None: there is nothing to remember. Times in whole seconds."""
    if history == History():
        return None
    value: JsonObject = {"withdrawals": history.withdrawals}
    if history.retry_at is not None:
        value["retryAt"] = time_text(history.retry_at + timedelta(microseconds=999_999))
    return json.dumps(value)


def event_on(
    service: JsonObject | None, reason: RunsApiEventReason, message: str, at: datetime
) -> ObjectEvent | None:
    """An Event on the Service; None: there is none to post it on. Its name has the microsecond: two in one second are two."""
    if service is None:
        return None
    meta = service["metadata"]
    return ObjectEvent(
        UUID(meta["uid"]),
        ObjectRef("", meta["namespace"], meta["name"]),
        f"{at:%Y%m%d-%H%M%S-%f}",
        reason,
        message,
        at,
        at,
        resource=SERVICES,
    )
