"""What happens to a world. Each fault is over when it returns: what it stopped goes on, what it killed was replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg

from api_proxy import Fault
from chaos.world import DATABASE, NAMESPACES_USED, World
from stack import Part

Happening = Callable[[World], Awaitable[str | None]]
FAULTS: dict[str, Happening] = {}


def fault(happen: Happening) -> Happening:
    FAULTS[happen.__name__.replace("_", " ")] = happen
    return happen


# -- workers and their processes ---------------------------------------------------------------------


@fault
async def worker_killed(world: World) -> str:
    victim = world.rng.choice(world.workers)
    world.workers.remove(victim)
    await asyncio.to_thread(victim.kill)
    world.start_worker()
    return victim.arguments[1]


@fault
async def worker_drained(world: World) -> str:
    victim = world.rng.choice(world.workers)
    world.workers.remove(victim)
    status = await asyncio.to_thread(victim.stop)
    world.start_worker()
    return f"{victim.arguments[1]}: exit status {status}"


@fault
async def worker_stopped_for_longer_than_its_lease(world: World) -> str:
    return await _stopped(world, world.rng.choice(world.workers).process.pid, world.rng.uniform(16, 20))


@fault
async def worker_stopped_for_a_moment(world: World) -> str:
    return await _stopped(world, world.rng.choice(world.workers).process.pid, world.rng.uniform(1, 5))


@fault
async def executor_stopped(world: World) -> str:
    pid = _executor(world)
    return "there was none" if pid is None else await _stopped(world, pid, world.rng.uniform(1, 8))


@fault
async def executor_killed(world: World) -> str:
    pid = _executor(world)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return f"pid {pid}"


@fault
async def template_killed(world: World) -> str:
    children = world.rng.choice(world.workers).descendants()
    if children:
        with suppress(ProcessLookupError):
            os.kill(children[0], signal.SIGKILL)
    return f"pid {children[:1]}"


def _executor(world: World) -> int | None:
    below = [part.descendants()[1:] for part in world.workers]
    pids = [pid for pids in below for pid in pids]
    return world.rng.choice(pids) if pids else None


async def _stopped(world: World, pid: int, seconds: float) -> str:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
    return f"pid {pid} for {seconds:.1f} s"


# -- operators and the API server --------------------------------------------------------------------


@fault
async def operator_killed(world: World) -> str:
    victim = world.rng.choice(world.operators)
    world.operators.remove(victim)
    await asyncio.to_thread(victim.kill)
    world.start_operator()
    return victim.log.name


@fault
async def operator_stopped(world: World) -> str:
    return await _stopped(world, world.rng.choice(world.operators).process.pid, world.rng.uniform(5, 20))


@fault
async def api_server_killed(world: World) -> None:
    own = world.cluster.require_own()
    await asyncio.to_thread(own.kill_apiserver)
    await asyncio.sleep(world.rng.uniform(0, 3))
    await asyncio.to_thread(own.restart_apiserver)


@fault
async def api_server_stopped(world: World) -> str:
    process = world.cluster.require_own().processes["kube-apiserver"]
    return await _stopped(world, process.pid, world.rng.uniform(2, 6))


async def _refusing(world: World, what: Callable[[str, str], bool], *faults: Fault) -> str:
    chosen = world.rng.choice(faults)
    world.api_proxy.fault = lambda method, path: chosen if what(method, path) else None
    await asyncio.sleep(world.rng.uniform(2, 6))
    world.api_proxy.fault = lambda method, path: None
    return f"{chosen.status}, Retry-After {chosen.retry_after}"


@fault
async def api_server_refuses_everything(world: World) -> str:
    return await _refusing(
        world, lambda method, path: True, Fault(503), Fault(429, retry_after=1), Fault(401)
    )


@fault
async def api_server_answers_late(world: World) -> str:
    return await _refusing(world, lambda method, path: method != "GET", Fault(504, seconds=3))


@fault
async def statuses_of_a_namespace_are_refused(world: World) -> str:
    return await _refusing(
        world,
        lambda method, path: f"/{NAMESPACES_USED[1]}/" in path and path.endswith("/status"),
        *(Fault(status) for status in (403, 422, 500, 503)),
    )


@fault
async def events_are_refused(world: World) -> str:
    return await _refusing(
        world,
        lambda method, path: path.endswith("/events"),
        Fault(429, retry_after=1),
        Fault(403),
        Fault(500),
    )


@fault
async def creations_and_deletions_are_refused(world: World) -> str:
    return await _refusing(
        world,
        lambda method, path: method in ("POST", "DELETE") and "agentjobs" in path,
        *(Fault(status) for status in (403, 500, 503)),
    )


# -- the database ------------------------------------------------------------------------------------


@fault
async def postgres_crashed(world: World) -> None:
    await asyncio.to_thread(world.primary.kill)
    await asyncio.sleep(world.rng.uniform(0, 3))
    await asyncio.to_thread(world.primary.restart)


@fault
async def switched_over_to_the_standby(world: World) -> str:
    await world.switch_over()
    return f"port {world.primary.port} is primary"


@fault
async def postgres_stopped(world: World) -> str:
    process = world.primary.process
    assert process is not None
    part = Part((), world.folder / "none", process)
    pids = [process.pid, *part.descendants()]
    seconds = world.rng.uniform(1, 6)
    for sign in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        if sign is signal.SIGSTOP:
            await asyncio.sleep(seconds)
    return f"{len(pids)} processes for {seconds:.1f} s"


@fault
async def database_is_read_only(world: World) -> str:
    seconds = world.rng.uniform(2, 6)
    await _read_only(world, True)
    await asyncio.sleep(seconds)
    await _read_only(world, False)
    return f"{seconds:.1f} s"


async def _read_only(world: World, on: bool) -> None:
    async with await psycopg.AsyncConnection.connect(
        world.primary.dsn(), autocommit=True, options="-c default_transaction_read_only=off"
    ) as conn:
        await conn.execute(f"alter database {DATABASE} set default_transaction_read_only = {on}".encode())
        await conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()",
            [DATABASE],
        )


@fault
async def connections_cut(world: World) -> None:
    world.database.cut()


@fault
async def connections_silent(world: World) -> None:
    world.database.silence()


@fault
async def connections_refused(world: World) -> str:
    state, text = world.rng.choice(
        [
            ("53300", "sorry, too many clients already"),
            ("57P03", "the database system is starting up"),
            ("28P01", "password authentication failed"),
            ("3D000", f'database "{DATABASE}" does not exist'),
        ]
    )
    world.database.refuse(state, text)
    world.database.cut()
    await asyncio.sleep(world.rng.uniform(1, 5))
    world.database.lead_to(world.primary.dsn(DATABASE))
    return text


@fault
async def backends_terminated(world: World) -> str:
    rows = await world.rows(
        "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() order by random() limit 5) victims"
    )
    return f"{rows[0][0]} of them"
