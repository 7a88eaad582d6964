"""The bench of pods still runs, and has a figure in every row; the figures say nothing here."""

from __future__ import annotations

import pytest
from benchmarks import pods as bench

from benches import TINY, is_plausible
from pods import OPERATOR, WORKER, Pods


def test_pods(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    pods.ready(OPERATOR)
    pods.ready(WORKER)
    monkeypatch.setenv(bench.GIVEN, str(pods.cluster.kubeconfig))
    beside, image = bench.run(TINY)
    is_plausible(
        beside, 2, "alone, p50 ms", "p95 ms", "2 at once, s", "jobs/s", "faster alone", "faster at once"
    )
    is_plausible(image, 4, "median")
