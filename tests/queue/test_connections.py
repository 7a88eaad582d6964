"""docs/metrics.md says how many connections a worker takes; this counts them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from queue_builders import sql, until
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, submit, worker_config

SLOTS = 4
ESTABLISHED = "01"
"""In /proc/net/tcp."""
STANDBYS = 1
"""The worker's default: each connects to the session store ahead of its job."""


def open_ports() -> set[int]:
    """The local ports of this machine's connections whose owner has not closed them."""
    ports = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *_ = line.split()
            if state == ESTABLISHED:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports


async def connections(dsn: str) -> Counter[str]:
    """Those that somebody has: a server that gets no CPU shows others that were closed a while ago."""
    rows = await sql(
        dsn,
        "select application_name, client_port from pg_stat_activity"
        " where datname = current_database() and application_name like 'agentjobs-%%'",
    )
    still_open = open_ports()
    return Counter(name for name, port in rows if port in still_open)


async def test_a_worker_takes_at_most_six_connections_and_one_for_each_running_job_and_standby(
    dsn: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    config = worker_config(dsn, write_modules(tmp_path / "modules"), queues={"agents": SLOTS})
    most: Counter[str] = Counter()

    async def ended() -> bool:
        found = await connections(dsn)
        for name, n in found.items():
            most[name] = max(most[name], n)
        assert found["agentjobs-session"] <= SLOTS + STANDBYS, found
        counts = await queue.counts()
        return not counts

    async with await Queue.open(dsn) as queue, running_worker(config):
        uids = await submit(queue, *(job(call("wait_for", file=str(gate))) for _ in range(SLOTS)))
        for uid in uids:
            await state_of(queue, uid, State.RUNNING)

        async def all_connected() -> bool:
            return (await connections(dsn))["agentjobs-session"] >= SLOTS

        await until(all_connected, seconds=60)
        await submit(queue, *(job() for _ in range(20)))
        gate.touch()
        await until(ended, seconds=90)
    assert most["agentjobs-worker"] <= 4
    assert most["agentjobs-worker-beat"] == 1
    assert most["agentjobs-worker-listen"] == 1
    assert most["agentjobs-session"] >= 1
