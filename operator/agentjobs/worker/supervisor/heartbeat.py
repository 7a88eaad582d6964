"""The heartbeat: says that this worker lives and what it has in hand, hears what is asked of its runs.

It has a task and a connection of its own, so that neither an agent nor a slow claim can stall it. While the
database is away, runs go on until the lease's grace is over. Only the answer that the worker's row is gone
stops them (H11).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import BeatResult, Control, WorkerInfo
from agentjobs.telemetry.log import tell
from agentjobs.worker.process.lease import Lease, boot_seconds
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor.identity import Identity, wait_for
from agentjobs.worker.supervisor.outage import Outage
from agentjobs.worker.supervisor.runs import Key, Runs

log = logging.getLogger(__name__)

_UNHEARD_SECONDS = 1.0
"""The longest pause of a worker with runs that hears no notifications: how late it hears that one of them is to end."""
_LEAST_SECONDS = 0.1
"""The shortest pause between two beats, however often a notification asks for one."""
_WHY = {Control.CANCEL: Why.CANCEL, Control.DEADLINE: Why.DEADLINE, Control.SUSPEND: Why.SUSPEND}


class Heartbeat:
    """The loop that beats, renews the lease and passes on what the database asks."""

    def __init__(
        self,
        queue: Queue,
        identity: Identity,
        runs: Runs,
        lease: Lease,
        *,
        seconds: float,
        expiry_seconds: float,
        info: Callable[[], WorkerInfo],
        ready: Callable[[], bool],
        lost: Callable[[], Awaitable[None]],
        releases: tuple[int, int],
        drain: Callable[[str], None],
    ) -> None:
        """
        :param ready: whether the worker could start a job now.
        :param lost: kills every executor, and returns when they are gone.
        :param releases: the oldest and the newest release of the database's functions that this worker works
            with; on others it drains (H30).
        :param drain: begins the drain, for the reason given.
        """
        self._queue = queue
        self._identity = identity
        self._runs = runs
        self._lease = lease
        self._seconds = seconds
        self._expiry_seconds = expiry_seconds
        self._info = info
        self._ready = ready
        self._lost = lost
        self._releases = releases
        self._drain = drain
        self.outage = Outage("heartbeat", log)

    async def run(self) -> None:
        while True:
            self._identity.turned_at = time.monotonic()
            try:
                await self._once()
                self.outage.over()
                pause = self._seconds * random.uniform(0.9, 1.0)
                if self._runs.running and not self._identity.seats:
                    pause = min(pause, _UNHEARD_SECONDS)
            except Exception as error:
                pause = min(self._seconds, self.outage.failed(error))
            await asyncio.sleep(min(_LEAST_SECONDS, pause))
            await wait_for(self._identity.beat_wanted, max(0.0, pause - _LEAST_SECONDS))

    async def _once(self) -> None:
        identity = self._identity
        if not identity.registered:
            await self._register()
        newest = identity.last_token
        in_hand = self._runs.in_hand(identity.uuid)
        sent = boot_seconds()
        room = list(self._runs.free()) if identity.claims and self._ready() else None
        beat = await self._queue.beat(
            identity.uuid, in_hand, sorted(identity.in_flight), room, hears=not identity.deaf
        )
        if not beat.alive:
            await self._expired()
            return
        identity.beaten()
        self._renew_lease(sent)
        self._obey(beat)
        identity.seated(beat.seats)
        identity.workers = beat.workers
        if beat.ticks and not identity.ticks:
            identity.tick_wanted.set()  # who ticked before is dead, and this worker rests
        identity.ticks = beat.ticks
        if beat.ready:
            identity.work_wanted.set()
        self._runs.want_output(beat.wanted)
        await self._disown(beat, newest)

    async def _register(self) -> None:
        info = self._info()
        sent = boot_seconds()
        await self._queue.register(info)
        self._renew_lease(sent)
        self._identity.registered = True
        self._identity.reached.set()
        self._identity.beaten()
        self._identity.work_wanted.set()
        tell(log, "worker.registered", worker=info.name, worker_uuid=str(info.id), queues=dict(info.queues))

    def _renew_lease(self, sent: float) -> None:
        """Moves the lease's deadline, counted from the *sending* of the beat (H13).

        The expiry counts from the beat's arrival, which is later. So the lease is over before the worker has
        expired, however long the reply was under way or this process was stopped.
        """
        until = sent + self._expiry_seconds
        self._lease.renew(until)
        self._identity.leased(until)

    async def _expired(self) -> None:
        """Stops all runs, since others may have the jobs; then begins anew with a new uuid (H10)."""
        tell(log, "worker.expired", level=logging.ERROR, running=len(self._runs.running))
        self._identity.registered = False
        await self._lost()
        self._identity.renew()
        self._identity.beat_wanted.set()

    def _obey(self, beat: BeatResult) -> None:
        identity = self._identity
        if beat.recovering != identity.recovering:
            identity.recovering = beat.recovering
            tell(log, "queue.recovering" if beat.recovering else "queue.recovered", level=logging.WARNING)
        oldest, newest = self._releases
        if not oldest <= beat.release <= newest:
            self._drain(
                f"the database is of release {beat.release}, and this worker works with {oldest} to {newest}:"
                " use a worker of the database's release"
            )
        for key, control in beat.controls.items():
            run = self._runs.running.get(key)
            if run is not None:
                run.stop(_WHY[control])

    async def _disown(self, beat: BeatResult, newest: int) -> None:
        """Gives back runs whose claim's reply was lost (H8).

        A run that was claimed while the beat was under way is not one of them: its token is newer than the
        beat, or the worker has it in hand by now.
        """
        identity = self._identity
        in_hand = set(self._runs.in_hand(identity.uuid))
        strangers: list[Key] = [
            (job, token)
            for job, token in beat.disowned
            if token <= newest and token not in identity.in_flight and (job, token) not in in_hand
        ]
        if strangers:
            count = await self._queue.disown(identity.uuid, strangers)
            tell(log, "claim.disowned", level=logging.WARNING, runs=count)
