"""What keeping the conversation costs a run: our session store beside ADK's own, on the same tables.

The job of the attempt bench, as a bare ADK run: two model calls of ``echo`` and a tool, four events. Once over a
connection that lives on, once over a new one for each run, as a process of its own has it. The stores take turns, so
that a busy machine slows them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import report
from benchmarks.attempt import Took, other
from benchmarks.machine import Meter
from benchmarks.report import Options, Table, median, number, percentile, share, spread
from benchmarks.server import Server

RUNS = 60
STORES = {"in memory": None, "ADK's own, asyncpg": (), "**agentjobs**": ("--ours",)}
"""By name: the flags of ``bare_adk``; None: without a database."""
CONNECTIONS: Sequence[tuple[str, Sequence[str]]] = (("connection kept", ()), ("new connection", ("--anew",)))


@dataclass(frozen=True, slots=True)
class Measured:
    took: Took
    postgres_ms: float
    """CPU per run."""
    foreign: float


def measure(server: Server, dsn: str | None, flags: Sequence[str], runs: int) -> Measured:
    server.checkpoint()
    meter = Meter(postgres=server.pid).start()
    took = other("bare_adk", *flags, str(runs), dsn=dsn)
    meter.stop()
    return Measured(took, meter.cpu_seconds["postgres"] / runs * 1000, meter.foreign_share)


def rounds(server: Server, options: Options, anew: Sequence[str]) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {name: [] for name in STORES}
    # each its own database: ADK's bench takes the tables of the schema public
    with server.database(migrated=False) as theirs, server.database(migrated=False) as ours:
        for _ in range(options.rounds):
            for name, flags in STORES.items():
                dsn = None if flags is None else ours if flags else theirs
                found[name].append(measure(server, dsn, (*(flags or ()), *anew), options.count(RUNS, 4)))
    return found


def _row(label: str, mine: list[Measured], adks: list[Measured]) -> tuple[str, ...]:
    def ratio(of: Sequence[float], to: Sequence[float]) -> str:
        return "–" if mine is adks else spread([a / b for a, b in zip(to, of, strict=True)])

    walls, cpus = [p50(m) for m in mine], [all_cpu(m) for m in mine]
    return (
        label,
        number(median(walls)),
        ratio(walls, [p50(m) for m in adks]),
        number(median([m.took.cpu_ms for m in mine])),
        number(median([m.postgres_ms for m in mine])),
        ratio(cpus, [all_cpu(m) for m in adks]),
        number(median([m.took.resident_mib for m in mine])),
        share(max(m.foreign for m in mine)),
    )


def p50(measured: Measured) -> float:
    return percentile(measured.took.ms, 0.5)


def all_cpu(measured: Measured) -> float:
    return measured.took.cpu_ms + measured.postgres_ms


def run(options: Options) -> list[Table]:
    rows = []
    with Server() as server:
        for label, anew in CONNECTIONS:
            found = rounds(server, options, anew)
            adks = found["ADK's own, asyncpg"]
            rows += [
                _row(f"{name}, {label}", mine, adks)
                for name, mine in found.items()
                if not anew or STORES[name] is not None
            ]
    return [
        Table(
            "Where the conversation is kept",
            "python -m benchmarks.session_store",
            (
                "store",
                "p50 ms",
                "times faster than ADK's",
                "run's CPU ms",
                "Postgres' CPU ms",
                "times less CPU than ADK's",
                "process MiB",
                "foreign CPU",
            ),
            rows,
            "A bare ADK run of two model calls of `echo` and a tool, in one process. Aim: half of ADK's time and CPU",
        )
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
