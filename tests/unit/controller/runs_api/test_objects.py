"""What is read from Kubernetes' objects, and what is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from agentjobs.controller.kit.event import body_of
from agentjobs.controller.runs_api.objects import (
    RunsApiEventReason,
    api_service,
    event_on,
    has_ready_endpoint,
    history_in,
    leaving_in,
    registered_in,
    text_of,
)
from agentjobs.controller.runs_api.registration import Found, History, ServiceRef
from agentjobs.values.json import JsonObject

SERVICE = ServiceRef("agents", "web", 443)
AT = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


def test_the_api_service_is_read_as_it_is_written() -> None:
    body = api_service(Found(UUID(int=7), SERVICE, True, "Y2E="), "uid-of-namespace")
    body["metadata"] |= {"uid": "u", "creationTimestamp": "2026-11-01T12:00:00Z"}
    read = registered_in(body, "")
    assert (read.installation, read.service, read.bundle) == (str(UUID(int=7)), SERVICE, "Y2E=")
    assert (read.available, read.since) == (False, AT), "without a condition: since it was made"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-of-namespace"


def test_the_condition_says_since_when_and_why() -> None:
    condition = {
        "type": "Available", "status": "False", "reason": "FailedDiscoveryCheck", "message": "no route",
        "lastTransitionTime": "2026-11-01T12:00:00Z",
    }  # fmt: skip
    body = {"metadata": {"uid": "u"}, "spec": {}, "status": {"conditions": [condition]}}
    read = registered_in(body, "")
    assert (read.available, read.since, read.words) == (False, AT, "FailedDiscoveryCheck: no route")
    assert read.service is None


@pytest.mark.parametrize(
    ("endpoints", "ready"),
    [
        ([], False),
        (None, False),
        ([{"conditions": {"ready": False}}], False),
        ([{"conditions": {"ready": False}}, {"conditions": {"ready": True}}], True),
        ([{"conditions": {}}], True),
        ([{"addresses": ["10.0.0.1"]}], True),
    ],
)
def test_an_endpoint_is_ready(endpoints: list[dict[str, object]] | None, ready: bool) -> None:
    assert has_ready_endpoint([{"endpoints": endpoints}]) is ready


def test_why_it_leaves() -> None:
    there: JsonObject = {"metadata": {}}
    going: JsonObject = {"metadata": {"deletionTimestamp": "2026-11-01T12:00:00Z"}}
    off = {"metadata": {"annotations": {"agentjobs.dev/registration": "off"}}}
    assert leaving_in(there, there, SERVICE) == ""
    assert "namespace agents" in leaving_in(there, going, SERVICE)
    assert "namespace agents" in leaving_in(None, None, SERVICE)
    assert "Service agents/web" in leaving_in(going, there, SERVICE)
    assert "Service agents/web" in leaving_in(None, there, SERVICE)
    assert "off" in leaving_in(off, there, SERVICE)


@pytest.mark.parametrize("history", [History(), History(3), History(2, AT)])
def test_earlier_attempts_are_read_as_they_are_written(history: History) -> None:
    assert history_in(text_of(history) or "") == history


@pytest.mark.parametrize(
    "text",
    [
        "",
        "off",
        "{}",
        "[]",
        '"x"',
        '{"withdrawals": "x"}',
        '{"withdrawals": Infinity}',
        '{"withdrawals": 1, "retryAt": "soon"}',
    ],
)
def test_what_cannot_be_read_is_no_history(text: str) -> None:
    assert history_in(text) == History()


def test_two_certificates_in_one_second_are_two_events() -> None:
    service: JsonObject = {"metadata": {"uid": str(UUID(int=7)), "namespace": "agents", "name": "web"}}
    first, second = (
        event_on(service, RunsApiEventReason.CERTIFICATE, "written", AT + timedelta(milliseconds=ms))
        for ms in (0, 400)
    )
    assert first is not None
    assert second is not None
    assert body_of(first)["metadata"]["name"] != body_of(second)["metadata"]["name"]
