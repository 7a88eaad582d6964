"""The supervisor's pool of executors: it keeps a template warm, and hands runs to forks of it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.telemetry.log import tell
from agentjobs.telemetry.loops import LoopHealth
from agentjobs.worker.process import linux
from agentjobs.worker.process.handle import ExecutorHandle, OnEvent, OnSpan, OnUsage
from agentjobs.worker.process.lease import Lease
from agentjobs.worker.process.memory import over_limit
from agentjobs.worker.process.output import Output
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.process.template_handle import TemplateHandle, init_message
from agentjobs.worker.process.wire import Message, Op

log = logging.getLogger(__name__)

_RESTART_SECONDS = (0.2, 10.0)
"""The pause between the end of a template and the start of the next: the first one, and the longest."""
_WARM_SECONDS = 120.0
"""A template that is not warm after so long hangs in an import, and is killed."""
_REFILL_SECONDS = 0.03
"""The pause between the start of a run and the fork of the next standby."""
_WATCH_SECONDS = 0.25
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """The settings of one pool of executors."""

    agents: AgentSettings
    standbys: int = 1
    """Forked executors that wait for a run: 0 to 2. Each saves a run about 20 ms and takes 11 MB."""
    stop_grace_seconds: float = 5.0
    """The unit of the steps that stop a run (`stopping.ladder`)."""
    lease_grace_seconds: float = 120.0
    """The grace: how long runs wait for the renewal of a lease that is over."""
    memory_limit_mib: int | None = 512
    """The limit on the data of each process, and on all processes of one run together. None: no limit."""
    path: tuple[str, ...] = ()
    """Folders of the pool's modules, put before sys.path in the template."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The template's whole environment. Agents can read all of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.standbys <= 2:
            raise ValueError(f"standbys is {self.standbys}; it must be 0, 1 or 2")


class ExecutorPool:
    """Makes executors while it is open, and starts a new template whenever the old one ends."""

    def __init__(self, settings: ExecutorSettings, *, on_ready: Callable[[], None] = lambda: None) -> None:
        self.settings = settings
        self._on_ready = on_ready
        self.lease = Lease()
        """Executors begin nothing new after its deadline (H13). Without a limit until the first renewal."""
        self.warnings: list[str] = []
        """Warnings of the present template: a module left out, a session store out of reach."""
        self.templates = 0
        """Templates started so far."""
        self._unfit: dict[str, str] = {}
        """Modules that templates leave out, each with the reason."""
        self._loading = ""
        """The module that the template is importing."""
        self._number = 0
        self._executors: dict[int, ExecutorHandle] = {}
        self._standbys: deque[ExecutorHandle] = deque()
        self._template: TemplateHandle | None = None
        self._ready = asyncio.Event()
        self._closing = False
        self._refilling = False
        self.keepers: list[asyncio.Task[None]] = []
        """The pool's two loops while it is open: none of them ends by itself."""
        self._template_loop = LoopHealth("template")
        self._memory_loop = LoopHealth("memory watchdog")
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ExecutorPool:
        self.keepers = [asyncio.ensure_future(c) for c in (self._keep_template(), self._watch_memory())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kills what still runs and ends the template."""
        self._closing = True
        self._ready.clear()
        for keeper in self.keepers:
            keeper.cancel()
        await asyncio.gather(*self.keepers, *self._tasks, return_exceptions=True)
        self.lease.close()

    @property
    def loops(self) -> tuple[LoopHealth, ...]:
        """The health of both."""
        return self._template_loop, self._memory_loop

    @property
    def ready(self) -> bool:
        """True: the template is warm, and executors can be forked."""
        return self._ready.is_set()

    @property
    def template_pid(self) -> int | None:
        return self._template.pid if self._template is not None else None

    async def wait_ready(self) -> None:
        await self._ready.wait()

    @property
    def idle_standbys(self) -> int:
        """The number of standbys that have made their warm-up run."""
        return sum(executor.idle.done() for executor in self._standbys)

    async def spawn(
        self,
        spec: AttemptSpec,
        on_event: OnEvent,
        on_span: OnSpan | None = None,
        on_usage: OnUsage | None = None,
    ) -> ExecutorHandle:
        """Hands the run to a standby, else to a new executor. Waits while no template is warm."""
        await self._ready.wait()
        while self._standbys:
            executor = self._standbys.popleft()
            if not executor.done:
                break
        else:
            executor = await self._fork(touch=False)
        executor.give(spec, on_event, on_span, on_usage)
        # The next standby is forked a little later: it would take its CPU from the run that has just begun.
        if not self._refilling:
            self._refilling = True
            asyncio.get_running_loop().call_later(_REFILL_SECONDS, self._refill)
        return executor

    # the template's life

    async def _keep_template(self) -> None:
        delay, most = _RESTART_SECONDS
        while True:
            known_unfit = len(self._unfit)
            try:
                was_ready = await self._one_template()
            except Exception as error:
                log.exception("the template could not be started; the next start follows")
                self._template_loop.failed(error)
                was_ready = False
            if was_ready or len(self._unfit) > known_unfit:
                delay = _RESTART_SECONDS[0]
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            delay = min(most, delay * 2)

    async def _one_template(self) -> bool:
        """Starts a template and waits for its end. True: it was warm in between."""
        template = TemplateHandle(self._obey)
        self.templates += 1
        init = init_message(
            self.settings.agents.as_json(),
            self.settings.path,
            list(self._unfit),
            lease_grace_seconds=self.settings.lease_grace_seconds,
            stop_grace_seconds=self.settings.stop_grace_seconds,
        )
        await template.start(init, self.settings.environment, [os.dup(self.lease.descriptor)])
        self._template = template
        self._loading = ""
        warming = asyncio.get_running_loop().call_later(_WARM_SECONDS, self._give_up_warming, template)
        try:
            await template.ended
            if not self._ready.is_set() and self._loading and self._loading not in self._unfit:
                self._leave_out(self._loading, "the process died while importing it, or hung")
            return self._ready.is_set()
        finally:
            warming.cancel()
            self._ready.clear()
            await self._bury(template)

    def _give_up_warming(self, template: TemplateHandle) -> None:
        if not self._ready.is_set():
            tell(
                log,
                "template.hangs",
                level=logging.ERROR,
                seconds=_WARM_SECONDS,
                loading=self._loading or None,
            )
            template.kill()

    def _leave_out(self, module: str, why: str) -> None:
        """Lets templates start without the module from now on.

        The present one is lost: a thread that an import started cannot be taken back, nor a failed import
        undone.
        """
        self._unfit[module] = why
        tell(log, "template.module_unfit", level=logging.WARNING, module=module, why=why)

    async def _bury(self, template: TemplateHandle) -> None:
        """Ends the runs whose executors died with their template, as ``never_ran``: they are not charged."""
        self._template = None
        lost = list(self._executors.values())
        self._executors.clear()
        running = len(lost) - len(self._standbys)
        self._standbys.clear()
        for executor in lost:
            executor.kill()
        status = await template.bury([e.pid for e in lost if e.pid is not None])
        if not self._closing:
            tell(log, "template.lost", level=logging.ERROR, executors=running, status=status)
        why = f"the worker's template process ended with status {status}, and its executors with it"
        await asyncio.gather(*(executor.exited(None, never_ran=why) for executor in lost))

    def _obey(self, message: Message, descriptors: list[int]) -> None:
        match message["op"]:
            case Op.READY:
                self._warmed(message)
            case Op.UNFIT:
                self._leave_out(message["module"], message["why"])
            case Op.LOADING:
                self._loading = message["module"]
            case Op.SPAWNED:
                if (executor := self._executors.get(message["n"])) is not None:
                    executor.spawned(message["pid"], descriptors.pop())
            case Op.EXIT:
                self._exited(message)

    def _warmed(self, message: Message) -> None:
        left_out = [f"{module} is not preloaded: {why}" for module, why in self._unfit.items()]
        self.warnings = [*left_out, *message["warnings"]]
        tell(
            log,
            "template.ready",
            level=logging.WARNING if self.warnings else logging.INFO,
            pid=self.template_pid,
            seconds=message["seconds"],
            warnings=self.warnings or None,
        )
        self._template_loop.succeeded()
        self._ready.set()
        self._refill()
        self._on_ready()

    def _exited(self, message: Message) -> None:
        executor = self._executors.pop(message["n"], None)
        if executor is None:
            return
        if executor in self._standbys:
            self._standbys.remove(executor)
        self._start(
            executor.exited(
                message["status"],
                never_ran=message["error"],
                lease_over=message.get("lease_over", False),
                cpu_seconds=message.get("cpu_seconds", 0.0),
                max_resident_bytes=message.get("max_resident_bytes", 0),
            )
        )

    # executors

    async def _fork(self, *, touch: bool) -> ExecutorHandle:
        """Asks the template for an executor. Until the process exists, messages wait in its socket."""
        loop = asyncio.get_running_loop()
        self._number += 1
        output = Output(logging.getLogger("agentjobs.executor"))
        executor = ExecutorHandle(self._number, output, grace_seconds=self.settings.stop_grace_seconds)
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        await loop.create_unix_connection(lambda: executor, sock=ours)
        await loop.connect_read_pipe(lambda: output, os.fdopen(read_end, "rb", buffering=0))
        limit = self.settings.memory_limit_mib
        if self._template is None:  # the template died meanwhile
            theirs.close()
            os.close(write_end)
            self._start(executor.exited(None, never_ran="the worker's template process has just ended"))
            return executor
        self._executors[executor.number] = executor
        message = {
            "op": Op.SPAWN,
            "n": executor.number,
            "touch": touch,
            "data_limit_bytes": None if limit is None else limit * _MIB,
        }
        self._template.tell(message, [theirs, write_end])
        return executor

    def _refill(self) -> None:
        self._refilling = False
        for _ in range(self.settings.standbys - len(self._standbys)):
            self._start(self._add_standby())

    async def _add_standby(self) -> None:
        if self.ready and len(self._standbys) < self.settings.standbys:
            executor = await self._fork(touch=True)
            if len(self._standbys) < self.settings.standbys and not executor.done:
                self._standbys.append(executor)
            else:
                executor.kill()

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                with self._memory_loop.attempt():
                    self._stop_over_limit()
            except Exception:
                if self._memory_loop.failures == 1:
                    log.exception("the memory of the runs cannot be watched; it is tried again")

    def _stop_over_limit(self) -> None:
        """Stops the runs whose processes together take more memory than one run may."""
        limit = self.settings.memory_limit_mib
        running = {e.pid: e for e in self._executors.values() if e.pid is not None and not e.done}
        if limit is None or len(running) <= len(self._standbys):
            return
        over = over_limit(running, linux.processes(), limit * _MIB, linux.proportional_bytes)
        for pid, taken in over.items():
            tell(log, "executor.over_memory", level=logging.WARNING, pid=pid, bytes=taken, limit_mib=limit)
            running[pid].stop(Why.MEMORY)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
