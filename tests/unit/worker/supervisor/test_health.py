"""The health endpoint answers kubelet and Prometheus, and survives everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentjobs.worker.supervisor.health import HealthServer


@pytest.fixture
async def health() -> AsyncIterator[HealthServer]:
    pages = {"/healthz": lambda: (200, "ok\n"), "/readyz": lambda: (503, "draining\n")}
    async with HealthServer("127.0.0.1", 0, pages) as served:
        yield served


async def talk(health: HealthServer, request: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", health.port)
    writer.write(request)
    writer.write_eof()
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_pages_have_their_status_and_text(health: HealthServer) -> None:
    answer = await talk(health, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.endswith("Content-Length: 3\r\nConnection: close\r\n\r\nok\n")
    answer = await talk(health, b"GET /readyz?verbose HTTP/1.0\r\n\r\n")
    assert answer.startswith("HTTP/1.1 503 Service Unavailable")
    assert answer.endswith("\r\n\r\ndraining\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /healthz HTTP/1.1\r\n\r\n", "405"),
        (b"GET /other HTTP/1.1\r\n\r\n", "404"),
        (b"rubbish\r\n\r\n", "400"),
        (b"\x00\xff\r\n\r\n", "400"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", "400"),
    ],
)
async def test_other_requests_are_told_so(health: HealthServer, request_bytes: bytes, status: str) -> None:
    assert (await talk(health, request_bytes)).startswith(f"HTTP/1.1 {status} ")


async def test_a_client_that_hangs_up_harms_nobody(health: HealthServer) -> None:
    assert await talk(health, b"GET /hea") == ""
    assert "200" in await talk(health, b"GET /healthz HTTP/1.1\r\n\r\n")


async def test_without_a_port_nothing_is_served() -> None:
    async with HealthServer("127.0.0.1", None, {}) as health:
        assert health.port is None
