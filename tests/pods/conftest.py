"""One cluster, one build of the images and one database for all tests of pods.

They share the release, so they run in one process, also under ``-n`` (``lanes``). Each test has a namespace of its own for
its jobs, and leaves the release as it found it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from charts import Helm
from lanes import may_run_pods
from pods import (
    NAMESPACE,
    OPERATOR,
    WORKER,
    Jobs,
    Pods,
    disk_for_postgres,
    kind_with_images,
    restricted_namespace,
)
from tiers import leave_out

SECONDS = 900
"""The first test also pays for the images and the cluster."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/pods/" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds to a failure what the cluster knows of its jobs: their namespace is gone before anybody reads of it."""
    report = yield
    jobs = getattr(item, "funcargs", {}).get("jobs")
    if report.when == "call" and report.failed and isinstance(jobs, Jobs):
        try:
            story = jobs.story()
        except Exception as error:  # a test of deaths may have left nobody who could tell
            story = f"nobody could tell: {error}"
        report.sections.append(("what became of the jobs", story))
    return report


@pytest.fixture(scope="session")
def pods(
    request: pytest.FixtureRequest, helm: Helm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pods]:
    """The cluster with a database and our release in it."""
    if not may_run_pods(request.config):
        leave_out("these tests share one cluster and run in one process: leave --dist as it is")
    with kind_with_images(request.config, tmp_path_factory.mktemp("kind"), helm) as made:
        restricted_namespace(made, NAMESPACE)
        claim = disk_for_postgres(made)
        made.install("db", made.database_values(enabled=True, existingClaim=claim))
        made.install("agentjobs", made.values())
        yield made


@pytest.fixture
def jobs(pods: Pods) -> Iterator[Jobs]:
    """Jobs of a namespace of this test's own, on a release that is whole."""
    pods.ready(OPERATOR)
    pods.ready(WORKER)
    with pods.cluster.namespace() as name:
        yield Jobs(pods, name)
