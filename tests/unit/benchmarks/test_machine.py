"""The CPU that a bench charges to a process is exact enough for one that does next to nothing."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.machine import Meter, tree_cpu_seconds


def test_a_process_that_wakes_up_once_has_used_cpu() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"ready\n")
        child.stdout.read(6)
        meter = Meter(cat=child.pid).start()
        child.stdin.write(b"again\n")
        child.stdout.read(6)
        meter.stop()
        child.stdin.close()
    assert 0 < meter.cpu_seconds["cat"] < meter.wall_seconds


def test_a_tree_keeps_the_cpu_of_children_that_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.1: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as parent:
        assert parent.stdin
        assert parent.stdout
        parent.stdout.read(1)
        assert tree_cpu_seconds(parent.pid) >= 0.1
        parent.stdin.close()
    assert tree_cpu_seconds(parent.pid) == 0
