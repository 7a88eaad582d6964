"""The way to the API server: ``kubectl proxy`` on a Unix socket that only this user can open.

So every kubeconfig works as it does with kubectl: client certificates, tokens, exec plugins, OIDC, proxies, in-cluster
accounts. The plugin reads no credential.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.kubectl.where import Where

SOCKET_PATH_BYTES = 100
"""A Unix socket's path has at most 104 bytes on macOS, 108 on Linux."""
PR_SET_PDEATHSIG = 1
"""Of Linux' prctl.h."""
READ_BYTES = 65_536
PATHS = (
    "^/apis/(runs[.])?agentjobs[.]dev(/|$)",
    "^/apis/(authentication|authorization|apiregistration|apiextensions|coordination)[.]k8s[.]io/",
    "^/api/v1/namespaces/[^/]+/events$",
    "^/version$",
)
"""Paths that the plugin asks for: the proxy passes nothing else on."""


@contextmanager
def kubectl_proxy(
    where: Where, environment: Mapping[str, str], paths: Sequence[str] = PATHS
) -> Iterator[Path]:
    """The socket of a ``kubectl proxy`` with the user's credentials, which ends with the block.

    :raises BadInput: there is no kubectl on the PATH.
    :raises Unavailable: it did not start; the message is kubectl's.
    """
    kubectl = shutil.which("kubectl", path=environment.get("PATH"))
    if kubectl is None:
        raise BadInput("kubectl is not on the PATH; install it: https://kubernetes.io/docs/tasks/tools/")
    folder = Path(tempfile.mkdtemp(prefix="agentjobs-"))
    if len(os.fsencode(folder)) > SOCKET_PATH_BYTES - 3:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="agentjobs-", dir="/tmp"))
    try:
        command = [
            kubectl,
            "proxy",
            f"--unix-socket={folder}/s",
            f"--accept-paths={','.join(paths)}",
            *where.kubectl_flags(),
        ]
        process = _start(command)
        try:
            _await_listening(process)
            yield folder / "s"
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts the proxy so that Ctrl-C does not reach it: what is under way is then finished, and counted. On Linux the proxy
    ends with this process, also where that is killed."""
    if threading.current_thread() is not threading.main_thread():  # neither signals nor a fork are safe here
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_bound_to_parent()
        )
    finally:
        signal.signal(signal.SIGINT, before)


def _bound_to_parent() -> Callable[[], None] | None:
    """What a child does before it is the proxy: it asks the kernel for SIGKILL at its parent's death (prctl(2)). None: this is
    not Linux."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return bind


def _await_listening(process: subprocess.Popen[bytes]) -> None:
    """Waits for the one line that the proxy writes once it listens.

    :raises Unavailable: the proxy ended instead.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout:
        listens = bool(process.stdout.readline())
    if listens:
        threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
        return
    with process.stderr:
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
    why = (said[-1] if said else "it ended without a word").removeprefix("error: ")
    raise Unavailable(f"kubectl: {why}. See: kubectl config view; kubectl cluster-info")


def _drain(log: IO[bytes]) -> None:
    """Reads the proxy's log to its end and keeps none of it: a line for each request that a server cuts, for as long as a
    dashboard is open. A helper of kubectl's that asks for credentials may hold it open for longer than the proxy."""
    with log:
        while log.read1(READ_BYTES):  # type: ignore[attr-defined]  # the pipe is buffered
            pass


def connected(path: Path, timeout_seconds: float) -> socket.socket:
    """A connection to the socket."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(timeout_seconds)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made
