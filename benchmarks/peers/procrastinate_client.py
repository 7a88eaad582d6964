"""procrastinate: ``seed DSN JOBS`` or ``drain DSN``. Ten jobs at once over four connections: its fastest in our trials."""

from __future__ import annotations

import sys

import uvloop
from procrastinate import App, PsycopgConnector

from benchmarks.protocol import Counter, serve

BATCH = 1000


async def seed(app: App, jobs: int) -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for start in range(0, jobs, BATCH):
            numbers = range(start, min(start + BATCH, jobs))
            await app.configure_task("noop").batch_defer_async(*({"n": n} for n in numbers))


async def drain(app: App) -> None:
    counter = Counter()

    @app.task(name="noop")
    async def noop(n: int) -> None:
        counter.add(1)

    async with app.open_async():
        await serve(lambda: app.run_worker_async(concurrency=10, install_signal_handlers=False))


def main(command: str, dsn: str, *rest: str) -> None:
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=4, max_size=4))
    uvloop.run(seed(app, int(rest[0])) if command == "seed" else drain(app))


if __name__ == "__main__":
    from benchmarks.peers import procrastinate_client  # it wants its app made in a module that has a name

    procrastinate_client.main(*sys.argv[1:])
