"""The control plane for tests of tier api: `make build-kube` builds it, and `make test` looks for one first.

kube.py              build the control plane where there is none yet kube.py --if-needed  the same, unless the
tests have another cluster; never fails: the tests report what they lack
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from agentjobs.local import assets, kubebuild
from agentjobs.local.assets import AssetsError


def say(line: str) -> None:
    """Prints a line of progress."""
    print(f"control plane: {line}", flush=True)


def other_cluster() -> str | None:
    """The cluster that the tests use instead of a control plane (tests/support/clusters.py has the order)."""
    given = os.environ.get("AGENTJOBS_TEST_KUBECONFIG")
    if given:
        return given
    docker = shutil.which("docker")
    if (
        docker
        and shutil.which("kind")
        and subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode == 0
    ):
        return "kind"
    return None


def main() -> int:
    """Finds or builds the control plane. Returns the exit status."""
    if_needed = "--if-needed" in sys.argv[1:]
    try:
        found = assets.find()
        if found is not None:
            say(f"from {found.origin}")
            return 0
        other = other_cluster() if if_needed else None
        if other is not None:
            say(f"none of our own; the tests take {other}")
            return 0
        say(f"from {kubebuild.build(say).origin}")
    except AssetsError as error:
        say(str(error))
        return 0 if if_needed else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
