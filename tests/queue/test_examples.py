"""The examples run as they are, by the commands that examples/README.md gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from agentjobs.api.validation import problems_of
from agentjobs.cli.local.sources import is_source, problems_of_source
from local_runs import ROOT, left_over, run

pytestmark = pytest.mark.timeout(400)  # whole runs on a busy machine
EXAMPLES = ROOT / "examples"
MANIFESTS = sorted(path for path in EXAMPLES.rglob("*.yaml") if path.name != "values.yaml")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_every_example_is_valid_and_told_in_the_readme(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if is_source(document):
            assert list(problems_of_source(document)) == []
            continue
        assert problems_of(document) == []
    assert str(path.relative_to(EXAMPLES)) in (EXAMPLES / "README.md").read_text()


def test_all_examples_complete_without_a_cluster_and_nothing_is_left_running(tmp_path: Path) -> None:
    status, answers, told = run("-f", "examples/", "--yes", cwd=ROOT, temporary=tmp_path)

    assert status == 0, told
    assert answers.split("\n\n") == [
        "refund:\n  A customer wants the money for order A-17 back.\n"
        '  {"euros": 40, "order": "A-17", "state": "delivered"}\n'
        '  {"key": "' + answers.split('"key": "')[1].split('"')[0] + '", "order": "A-17", "refunded": 40}',
        "reminder:\n  Three seconds have passed.",
        "greeter:\n  Good morning from an agent without code.",
        "best-city:\n  Which city sold the most?",
        'weather:\n  Tomorrow in Lisbon:\n  {"celsius": 21, "sky": "sunny"}',
        "whenever:\n  This could wait.",
        "urgent:\n  This could not.",
        "booking:\n  Dinner for four, please.\n  A table for 4 is booked.\n",
    ]
    assert re.search(r"reminder: Scheduled.* in [0-3]\.\ds", told)
    assert re.search(r"booking: Retrying \(ToolFailed\).*the restaurant does not answer \(attempt 2\)", told)
    assert "booking: Running attempt 3 of 3" in told
    assert left_over(tmp_path) == []


def test_with_one_slot_the_urgent_job_runs_first(tmp_path: Path) -> None:
    status, _, told = run("-f", "examples/priority.yaml", "--slots", "1", cwd=ROOT, temporary=tmp_path)
    assert status == 0, told
    assert told.index("urgent: Complete") < told.index("whenever: Complete")
