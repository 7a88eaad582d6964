"""The kubectl plugin as its users run it: a process of its own for each command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from clusters import Cluster

BIN = Path(sys.executable).parent


class Plugin:
    """``kubectl agentjobs …`` as the user, in one namespace."""

    def __init__(self, cluster: Cluster, namespace: str, user: str | None) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.flags = [
            "-n",
            namespace,
            f"--kubeconfig={cluster.kubeconfig}",
            *([f"--as={user}"] if user else []),
        ]
        path = os.pathsep.join([str(cluster.kubectl_path.parent), str(BIN), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path}

    def command(self, verb: str, *arguments: str) -> list[str]:
        main = "from agentjobs.cli.kubectl.main import main; main()"
        return [sys.executable, "-c", main, verb, *arguments, *self.flags]

    def __call__(
        self, verb: str, *arguments: str, status: int | None = 0, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(verb, *arguments),
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert status in (None, done.returncode), (done.args[3:], done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done
