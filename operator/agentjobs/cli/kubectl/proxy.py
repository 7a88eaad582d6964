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
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.kubectl.where import Where

SOCKET_PATH_BYTES = 100
"""A Unix socket's path has at most 104 bytes on macOS, 108 on Linux."""
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
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts the proxy in a way that Ctrl-C does not reach it: what is under way is then finished, and counted."""
    if threading.current_thread() is not threading.main_thread():
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)


def _await_listening(process: subprocess.Popen[bytes]) -> None:
    """Waits for the one line that the proxy writes once it listens.

    :raises Unavailable: the proxy ended instead.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline():
        # its log: one line for each request that a server cuts; nobody reads the pipe, which must not fill up
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return
    said = process.stderr.read().decode(errors="replace").strip().splitlines()
    why = (said[-1] if said else "it ended without a word").removeprefix("error: ")
    raise Unavailable(f"kubectl: {why}. See: kubectl config view; kubectl cluster-info")


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
