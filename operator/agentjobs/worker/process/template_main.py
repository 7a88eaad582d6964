"""The template: a warm process with one thread that forks an executor per run.

The supervisor starts ``python -m agentjobs.worker.process.template_main FD``; FD is the control socket. The
template imports google-adk, the session store and the pool's modules once. After that it forks executors,
reaps them and kills their orphans. Executors share its pages by copy on write. Measurements behind each step:
docs/worker.md.

* One thread: a lock that another thread holds at the fork would stay locked in the executor for ever.
* End of file on the control socket means that the supervisor has died: the template kills everything. It has
  no parent death signal while executors run, which would kill it before it could kill their descendants.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.worker.process import child, linux
from agentjobs.worker.process.lease import LeaseReader, LeaseTerms
from agentjobs.worker.process.wire import Message, Op, receive_packet, send_packet

_SWEEP_SECONDS = 0.1
"""The longest wait for the end of an executor's orphans before its exit is reported."""
_LEASE_LOOK_SECONDS = 5.0
"""The longest pause between two looks at the lease: poll()'s clock stands still in a suspended machine."""


def main(descriptor: int) -> None:
    """Warms, then serves until the supervisor closes the control socket."""
    gc.disable()  # until gc.freeze(): a collection after the fork would copy every page
    supervisor = os.getppid()
    linux.set_parent_death_signal(signal.SIGKILL)  # until it serves: an import may hang for ever
    control = socket.socket(fileno=descriptor)
    first = receive_packet(control)
    if first is None or os.getppid() != supervisor:
        return
    began = time.monotonic()
    settings = AgentSettings.from_json(first[0]["settings"])
    sys.path[:0] = first[0]["path"]
    warnings = _warm(control, settings, frozenset(first[0]["skip"]))
    if warnings is None:
        return
    lease = LeaseTerms(
        LeaseReader(first[1][0]), first[0]["lease_grace_seconds"], first[0]["stop_grace_seconds"]
    )
    os.close(first[1][0])
    template = Template(control, settings, lease)
    gc.freeze()
    linux.set_parent_death_signal(0)
    if os.getppid() != supervisor:
        return
    template.tell(
        {
            "op": Op.READY,
            "threads": linux.thread_count(),
            "warnings": warnings,
            "seconds": round(time.monotonic() - began, 3),
        }
    )
    template.serve()


def _warm(control: socket.socket, settings: AgentSettings, skip: frozenset[str]) -> list[str] | None:
    """Imports the modules and warms; returns warnings. None: a module is unfit, and was reported."""
    from agentjobs.agents.prefork import imports

    for module in settings.preload:
        if module in skip:
            continue
        send_packet(control, {"op": Op.LOADING, "module": module})
        if why := imports.preload(module, settings):
            send_packet(control, {"op": Op.UNFIT, "module": module, "why": why})
            return None
    from agentjobs.agents.prefork import template

    # Before the warm-up, not after it. A collection leaves holes in pages, and each executor that allocates
    # into a hole copies its page (measured: 2 MB a job). The warm-up's runs fill the holes of this
    # collection.
    gc.collect()
    warnings = list(template.warm_template(settings))
    threads = linux.thread_count()
    if threads != 1:
        raise RuntimeError(f"the warm template has {threads} threads instead of 1: forking it is not safe")
    return warnings


class Template:
    """The warm template's loop: it forks on request, reaps executors, kills orphans and reports exits."""

    def __init__(self, control: socket.socket, settings: AgentSettings, lease: LeaseTerms) -> None:
        self._control = control
        self._settings = settings
        self._lease = lease
        self._lease_killed: set[int] = set()
        """Pids of executors that were killed because the lease was not renewed."""
        self._runs: dict[int, int] = {}
        """The supervisor's number of each executor, by pid."""
        linux.become_subreaper()
        self._helpers = frozenset(linux.children())
        """Pids of processes that an import started: they belong to the template, not to a run."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)

    def tell(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the poll will see the end of file
            send_packet(self._control, message, descriptors)

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(self._look_after_ms()):
                if descriptor == self._wake.fileno():
                    with contextlib.suppress(BlockingIOError):
                        self._wake.recv(4096)
                elif not self._obey():
                    self._end()
                    return
            self._kill_after_lease()
            self._reap()

    def _look_after_ms(self) -> int | None:
        if not self._runs:
            return None
        seconds = self._lease.look_after_seconds(self._lease.seconds_until_kill(), _LEASE_LOOK_SECONDS)
        return int(1000 * seconds)

    def _kill_after_lease(self) -> None:
        """Kills all executors once the lease's grace, and the grace to stop, are over.

        The template does it because the supervisor may be the one that is stopped.
        """
        if self._runs and self._lease.seconds_until_kill() <= 0:
            self._lease_killed.update(self._runs)
            self._kill_executors()

    def _obey(self) -> bool:
        """Forks for one message of the supervisor. False: the supervisor is gone."""
        received = receive_packet(self._control)
        if received is None:
            return False
        message, descriptors = received
        try:
            self._fork(message, *descriptors)
        except OSError as error:  # EAGAIN: too many processes; ENOMEM
            self.tell({"op": Op.EXIT, "n": message["n"], "status": None, "error": f"cannot fork: {error}"})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, message: Message, job_socket: int, log_pipe: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                signal.set_wakeup_fd(-1)
                for end in (self._control, self._wake, self._woken):
                    end.close()
                child.become(own, log_pipe, message["data_limit_bytes"])
                child.main(job_socket, self._settings, self._lease, touch=message["touch"])
                status = 0
            except BaseException:
                traceback.print_exc()
                with contextlib.suppress(Exception):
                    sys.stderr.flush()
            finally:
                os._exit(status)
        self._runs[pid] = message["n"]
        pidfd = os.pidfd_open(pid)
        try:
            self.tell({"op": Op.SPAWNED, "n": message["n"], "pid": pid}, (pidfd,))
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        """Reports every ended executor, after killing its process group and its orphans.

        WNOWAIT keeps the zombie until the group is killed, so that no new process can get the group's number.
        """
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            _kill_group(ended.si_pid)
            _, status, usage = os.wait4(ended.si_pid, 0)
            number = self._runs.pop(ended.si_pid, None)
            self._sweep(_SWEEP_SECONDS)
            if number is not None:
                self.tell(
                    {
                        "op": Op.EXIT,
                        "n": number,
                        "status": os.waitstatus_to_exitcode(status),
                        "error": "",
                        "lease_over": ended.si_pid in self._lease_killed,
                        "cpu_seconds": usage.ru_utime + usage.ru_stime,
                        "max_resident_bytes": usage.ru_maxrss * 1024,
                    }
                )
            self._lease_killed.discard(ended.si_pid)

    def _sweep(self, seconds: float) -> None:
        """Kills orphans. Exact: executors are sub-reapers, so an unknown child is an ended executor's."""
        until = time.monotonic() + seconds
        while True:
            orphans = [p for p in linux.children() if p not in self._runs and p not in self._helpers]
            for pid in orphans:
                _kill_group(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            if not orphans or time.monotonic() > until:
                return
            time.sleep(0.001)

    def _end(self) -> None:
        self._helpers = frozenset()
        self._kill_executors()
        self._runs.clear()
        self._sweep(5.0)

    def _kill_executors(self) -> None:
        for pid in self._runs:
            _kill_group(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
