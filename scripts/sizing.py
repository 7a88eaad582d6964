"""How many slots, pods, memory and connections a load takes: `python scripts/sizing.py --jobs-per-hour 600 --seconds 120`.

The arithmetic of docs/sizing.md. It needs nothing but Python.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

WORKER_MIB = 250
"""Supervisor and template with the pool's modules, once a pod: docs/production.md."""
OPERATOR_PODS, WEB_PODS = 2, 2
CONNECTIONS_OF_A_PROCESS = 6
"""Of an operator, and of a worker beside those of its slots and standbys."""
CONNECTIONS_OF_WEB = 8
SPARE_CONNECTIONS = 10
"""Migrations, people, superuser_reserved_connections."""
CORE_SECONDS_OF_A_JOB = 0.0042
"""Postgres' CPU for a job that comes into an idle fleet, the dearest of the table in docs/scaling.md."""
WAL_BYTES_OF_A_JOB = 2_000
RETENTION_DAYS = 7


@dataclass(frozen=True, slots=True)
class Load:
    """What comes, and how pods are cut."""

    jobs_per_hour: float
    seconds: float
    """A job runs, in the mean."""
    busy_percent: float = 70
    """Of the slots that may be busy in the mean, so that a burst finds a free one."""
    slots_per_pod: int = 10
    memory_mib: int = 150
    """The most that one job may take: memoryLimitMib."""
    standbys: int = 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the load takes."""

    slots: int
    pods: int
    memory_limit_mib: int
    """Of a pod's container."""
    connections: int
    """max_connections, without a pooler."""
    connections_while_upgrading: int
    postgres_cores: float
    wal_kb_per_second: float
    rows_kept: int


def sizes(load: Load) -> Sizes:
    """The sizes for a load. By Little's law as many jobs run at once as come in the time that one takes."""
    per_second = load.jobs_per_hour / 3600
    slots = max(1, math.ceil(per_second * load.seconds * 100 / load.busy_percent))
    pods = math.ceil(slots / load.slots_per_pod)
    held = (
        CONNECTIONS_OF_A_PROCESS * (OPERATOR_PODS + pods)
        + CONNECTIONS_OF_WEB * WEB_PODS
        + pods * (load.slots_per_pod + load.standbys)
    )
    return Sizes(
        slots=slots,
        pods=pods,
        memory_limit_mib=WORKER_MIB + load.slots_per_pod * load.memory_mib,
        connections=held + SPARE_CONNECTIONS,
        connections_while_upgrading=2 * held + SPARE_CONNECTIONS,
        postgres_cores=per_second * CORE_SECONDS_OF_A_JOB,
        wal_kb_per_second=per_second * WAL_BYTES_OF_A_JOB / 1000,
        rows_kept=round(load.jobs_per_hour * 24 * RETENTION_DAYS),
    )


def told(load: Load) -> str:
    """The sizes as lines for people."""
    found = sizes(load)
    return "\n".join(
        [
            f"{found.slots} slots: {found.pods} pods of {load.slots_per_pod}",
            f"{found.memory_limit_mib} MiB memory limit of a pod, memoryLimitMib {load.memory_mib}",
            f"{found.connections} max_connections; {found.connections_while_upgrading} during a rolling upgrade; without a pooler",
            f"{found.postgres_cores:.2f} cores of Postgres at most, {found.wal_kb_per_second:.0f} kB/s of WAL beside results and conversations",
            f"{found.rows_kept:,} finished jobs are kept ({RETENTION_DAYS} days)",
        ]
    )


def main() -> None:
    """Reads the flags, which are the load's fields, and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs-per-hour", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="a job runs, in the mean")
    parser.add_argument("--busy-percent", type=float, default=70, help="of the slots, in the mean")
    parser.add_argument("--slots-per-pod", type=int, default=10)
    parser.add_argument("--memory-mib", type=int, default=150, help="the most that one job may take")
    parser.add_argument("--standbys", type=int, default=1)
    print(told(Load(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
