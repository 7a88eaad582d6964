"""Which process of pytest-xdist ("lane") runs which file, and in which order. All tiers share one run.

Most tests wait: for a heartbeat, a lease that expires, a process that starts. Several lanes per core keep the cores busy;
``-n`` says how many. A file runs whole in one lane, so what its tests share is made once.

- ``tests/pods`` is one piece: the last lane begins with it, so the images and the cluster are made beside all else.
- Tests of ``api`` keep to the first :data:`API_LANES`: each lane that runs one has a control plane of its own, which
  costs 10 s of CPU time to start and a tenth of a core as long as it stands.
- Every lane begins with what is its own, and then takes the longest that is left (:data:`LONGEST_FIRST`).

A plain ``pytest`` without ``-n``, or with ``--dist`` of another kind, is not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

PODS, API = "tests/pods", "tests/api/"
API_LANES = 2
WHOLE = "agentjobs-lanes"
LONGEST_FIRST = (
    "tests/api/test_refusals.py",
    "tests/queue/test_worker_processes.py",
    "tests/queue/test_worker_questions.py",
    "tests/api/test_controller_outages.py",
    "tests/api/test_runs_api_registration.py",
    "tests/queue/test_release.py",
    "tests/api/test_demo.py",
    "tests/api/test_invariant_9.py",
    "tests/api/test_crds.py",
    "tests/api/test_chart_values.py",
    "tests/chart/test_values.py",
    "tests/queue/test_worker_faults.py",
    "tests/unit/agents/run/test_histories.py",
    "tests/queue/test_machine.py",
    "tests/queue/test_interleavings.py",
    "tests/queue/test_conformance_failures.py",
    "tests/unit/web/test_dashboard_hostile.py",
    "tests/queue/test_upgrade.py",
    "tests/queue/test_benchmarks.py",
    "tests/queue/test_migrations.py",
    "tests/queue/test_tracing_faults.py",
    "tests/queue/test_cli_local.py",
    "tests/api/test_whole_way.py",
    "tests/api/test_why.py",
    "tests/queue/test_worker_lease.py",
    "tests/queue/test_worker_models.py",
    "tests/unit/worker/process/test_template.py",
    "tests/api/test_controller_lifecycle.py",
    "tests/queue/test_outbox.py",
    "tests/queue/test_model_health.py",
    "tests/queue/test_session_stores.py",
    "tests/api/test_scheduler_lifecycle.py",
    "tests/queue/test_ownership.py",
    "tests/queue/test_control.py",
    "tests/queue/test_cli_local_questions.py",
    "tests/queue/test_model_outage.py",
    "tests/queue/test_worker.py",
    "tests/queue/test_adk_agents.py",
    "tests/queue/test_waiting.py",
    "tests/queue/test_cli_local_schedules.py",
    "tests/queue/test_examples.py",
    "tests/unit/agents/verdict/test_outcomes.py",
    "tests/unit/worker/process/test_pool.py",
)
"""Files that take longest, the longest first. Only the order depends on it: the table at the end of
each run (``durations``) tells which file is missing here."""


def piece_of(nodeid: str) -> str:
    """What must run in one lane: a file, or all tests of pods."""
    file = nodeid.split("::", 1)[0]
    return PODS if file.startswith(PODS + "/") else file


def order(pieces: Iterable[str]) -> list[str]:
    """The longest first; then what is not known, and the tests of units, which are short, last."""
    ranks = {file: rank for rank, file in enumerate((PODS, *LONGEST_FIRST))}
    return sorted(pieces, key=lambda piece: (ranks.get(piece, len(ranks)), piece.startswith("tests/unit/")))


def choose(pieces: Sequence[str], lane: int, lanes: int) -> str | None:
    """The next of ``pieces``, which are in order, for lane number ``lane`` of ``lanes``; None: nothing is for this one."""

    def own(piece: str) -> bool:
        return (piece == PODS and lane == lanes - 1) or (piece.startswith(API) and lane < API_LANES)

    def anybodys(piece: str) -> bool:
        return piece != PODS and not piece.startswith(API)

    return next(filter(own, pieces), None) or next(filter(anybodys, pieces), None)


class LaneScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist tells no types
    """xdist's scheduling by file, with the choice of this module."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)

    def _next(self, node: WorkerController) -> str | None:
        alive = [lane for lane in self.nodes if not lane.shutting_down]
        lanes = sorted(alive, key=lambda lane: (len(lane.gateway.id), lane.gateway.id))  # gw2 before gw10
        return choose(order(self.workqueue), lanes.index(node), len(lanes))

    def _assign_work_unit(self, node: WorkerController) -> None:
        piece = self._next(node)
        if piece is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(piece, last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        # A lane starts a test when it knows the one after it. With one test left, more is needed; not before, so that
        # no lane keeps a file to itself while another one has nothing to do.
        if node not in self.registered_collections:  # it replaces one that died, and still collects
            return
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) <= 1:
            self._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Give away what a lane leaves when it ends; the test that it died in, if any, which is not run again."""
        left = {
            piece: tests for piece, tests in self.assigned_work.pop(node).items() if not all(tests.values())
        }
        if not left:
            return None
        begun = next(iter(left.values()))
        crashed: str = next(test for test, done in begun.items() if not done)
        begun[crashed] = True
        self.workqueue.update({piece: tests for piece, tests in left.items() if not all(tests.values())})
        for lane in self.assigned_work:
            self._reschedule(lane)
        return crashed


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LaneScheduling | None:
    """Ours, unless another kind was asked for."""
    return LaneScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a lane that the tests of pods may run in it: no other lane gets any."""
    node.workerinput[WHOLE] = node.config.getvalue("dist") == "load"


def may_run_pods(config: pytest.Config) -> bool:
    """Whether this process gets all of them or none."""
    return bool(getattr(config, "workerinput", {WHOLE: True}).get(WHOLE))
