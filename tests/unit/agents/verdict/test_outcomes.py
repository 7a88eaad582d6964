"""The table of outcomes against the real clients: each thing that a provider can do, with each client and transport."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from decided_rows import rows
from provider import FakeProvider, full_backlog
from runs import Job

from model_clients import CLIENTS, Client
from outcome_cases import CASES, Case

__all__ = ["rows"]

AGENT = "agent_of_the_outcome_tests"
IMPATIENT_MS = 200
"""A model call's time-out, where it is waited for in vain anyway."""
MIDWAY_MS = 2000
"""The same of a stream whose first half must have come before it."""
PAIRS = [
    pytest.param(case, client, id=f"{case.name}-{client.name}")
    for case in CASES
    for client in CLIENTS
    if case.is_for(client)
]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    from agentjobs.local.certificates import Authority

    pair = Authority(tmp_path_factory.mktemp("certificates")).server("provider")
    with FakeProvider(pair.certificate, pair.key) as running:
        yield running


@pytest.fixture(scope="module")
def a_trusted_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of somebody else. Reading the world's own list takes a client 50 ms."""
    from agentjobs.local.certificates import Authority

    return Authority(tmp_path_factory.mktemp("others")).server("other").certificate


@pytest.fixture(scope="module")
def full() -> Iterator[str]:
    address, held = full_backlog()
    yield address
    for one in held:
        one.close()


def patience_ms(case: Case, client: Client) -> int | None:
    if not case.is_silent:
        return None
    return MIDWAY_MS if client.streaming and case.answer.fault == "silent_midway" else IMPATIENT_MS


def address(way: str, provider: FakeProvider, full: str) -> str:
    match way:
        case "refused":
            return (
                "http://127.0.0.1:1"  # no port that was free a moment ago: another process may have it by now
            )
        case "dns":
            return "http://no-such-host.invalid"
        case "tls":
            return provider.tls_url
        case "full":
            return full
    return provider.url


@pytest.mark.parametrize(("case", "client"), PAIRS)
async def test_each_thing_that_a_provider_does_has_its_outcome_with_each_client(
    case: Case,
    client: Client,
    provider: FakeProvider,
    full: str,
    a_trusted_certificate: Path,
    rows: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(a_trusted_certificate))
    client.point_to(address(case.way, provider, full), monkeypatch)
    module = ModuleType(AGENT)
    module.root_agent = client.agent(patience_ms(case, client))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, AGENT, module)
    provider.answer = case.answer
    provider.requests = 0

    job = Job({"module": AGENT}, "And in Ljubljana?", modules=(AGENT,))
    outcome = await job.attempt()

    told = (outcome.verdict, outcome.reason, outcome.delay_seconds)
    assert told == (case.verdict, case.reason_of(client), case.delay), outcome.message
    if wanted := case.row_of(client):
        assert rows == [wanted]
    assert "Ljubljana" not in outcome.message
    assert "Traceback" not in outcome.message
    assert "Ljubljana" not in "".join(capfd.readouterr()), "nor is it printed or logged"
    # LiteLLM's own HTTP handler asks once more where a connection broke; nobody sleeps, and nothing else repeats.
    assert provider.requests <= (2 if client.shape == "anthropic" and case.answer.fault else 1)
