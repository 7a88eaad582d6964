"""The operator starts quickly and stays small: it never imports ADK."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import json, resource, sys
import agentjobs.controller.operator
usage = resource.getrusage(resource.RUSAGE_SELF)
# not ru_maxrss: it begins with what the process that forked us took
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
heavy = {"google.adk", "google.genai", "sqlalchemy", "litellm", "asyncpg"}
print(json.dumps({
    "cpu": usage.ru_utime + usage.ru_stime,
    "mib": peak / 1024,
    "heavy": sorted(heavy & set(sys.modules)),
    "agents": sorted(m for m in sys.modules if m.startswith(("agentjobs.agents", "agentjobs.worker"))),
}))
"""


def test_the_operator_never_imports_adk_and_starts_quickly() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["heavy"] == []
    assert found["agents"] == []
    # about a second of CPU on an idle machine of 2026, most of it kopf and kubernetes; several on a busy one
    assert found["cpu"] < 8
    assert found["mib"] < 200


LOCAL = """
import json, sys
import agentjobs.cli.local.schedules
print(json.dumps(sorted({"kopf", "kubernetes", "aiohttp", "google.adk"} & set(sys.modules))))
"""


def test_schedules_fire_locally_without_what_only_a_cluster_needs() -> None:
    done = subprocess.run([sys.executable, "-c", LOCAL], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
