"""The loop that the operator runs on survives an API server whose connections are refused and reset.

libuv aborts the process there (https://github.com/libuv/libuv/pull/5129), within seconds of this storm.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agentjobs.local.certificates import Authority
from agentjobs.local.process import free_port

STORM = """
import asyncio, random, socket, struct, sys
from agentjobs.cli import run_parts
from agentjobs.cli.settings import Settings
from agentjobs.controller import operator
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.metrics.counters import Counters

REQUESTS = 9600

async def flap(port):
    "Listens, resets whom it lets in, and is gone again; on the same loop, where a closed descriptor's number is taken anew."
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", port))
            listening.listen(64)
            listening.setblocking(False)
            until = loop.time() + random.uniform(0, 0.02)
            while loop.time() < until:
                try:
                    accepted, _ = listening.accept()
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                    continue
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()
        await asyncio.sleep(random.uniform(0, 0.01))

async def storm(config):
    failed = 0
    flapping = asyncio.create_task(flap(int(sys.argv[1])))
    async with ApiServer(config.kubeconfig, Counters()) as api:
        async def ask():
            nonlocal failed
            for _ in range(REQUESTS // 16):
                try:
                    await api.request("GET", "/api", resource="test")
                except ApiUnavailable:
                    failed += 1
        await asyncio.gather(*(ask() for _ in range(16)))
    flapping.cancel()
    print(failed, flush=True)
    return 0

operator.run_operator = storm
sys.exit(run_parts.start_operator(Settings(database_url="postgresql://nobody@127.0.0.1/none", kubeconfig=sys.argv[2])))
"""


def test_the_operator_survives_connections_that_are_refused_and_reset(tmp_path: Path) -> None:
    port = free_port()
    authority = Authority(tmp_path / "pki")
    kubeconfig = authority.kubeconfig(
        "user", f"https://127.0.0.1:{port}", authority.client("user", "somebody")
    )
    done = subprocess.run(
        [sys.executable, "-c", STORM, str(port), str(kubeconfig)],
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "9600"
