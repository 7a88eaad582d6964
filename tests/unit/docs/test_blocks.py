"""Each block and each command of the documentation is kept true by a rule, or says why not (tests/support/doc_rules.py)."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agentjobs.telemetry.metrics import Metric
from doc_blocks import PAGES, ROOT, Block, Command, Kind, all_blocks
from doc_rules import (
    missing_tests,
    page_commands,
    problem_of_block,
    problem_of_command,
    shown,
    stale_entries,
)

BLOCKS = all_blocks()
COMMANDS = page_commands()
NOT_READ_THROUGH = {"reference", "cli-reference", "performance", "features", "compare"}
"""Pages whose words are explained where they stand, or that are looked up by the row."""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_a_block_is_of_a_kind_that_a_rule_keeps_true(block: Block) -> None:
    assert (told := problem_of_block(block)) is None, f"{block.where}: {told}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.where)
def test_a_command_of_the_pages_is_one_that_its_program_takes(command: Command) -> None:
    assert (told := problem_of_command(command)) is None, (
        f"{command.where}: {shlex.join(command.words)}: {told}"
    )


def test_the_rules_see_the_pages() -> None:
    assert len(BLOCKS) > 120
    assert len(COMMANDS) > 400
    assert {Kind.SHELL, Kind.YAML, Kind.PYTHON, Kind.SQL, Kind.DOCKERFILE, Kind.TEXT} == {
        block.kind for block in BLOCKS
    }


def test_an_exception_that_no_page_needs_is_taken_out_again() -> None:
    assert stale_entries() == []
    assert missing_tests() == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("agentjobs worker --slots 3", "No such option"),
        ("kubectl agentjobs retry --state Failed --sprad 10m", "--sprad"),
        ("kubectl agentjobs explode NAME", "no verb"),
        ("helm upgrade agentjobs charts/agentjobs -n a --reuse-values", "--reset-then-reuse-values"),
        ("helm install agentjobs charts/agentjobs --set devPostgres.enabled=true", "--create-namespace"),
        ("helm install a charts/agentjobs -n a --create-namespace --set pools.x.slots=3", "pools.x.slots"),
        ("make everything", "no target"),
        ("pip install 'agentjobs[local]'", "nothing is on PyPI yet"),
        ("kubectl apply -f examples/nothing.yaml", "there is no examples/nothing.yaml"),
        ("frobnicate now", "no rule knows"),
    ],
)
def test_a_command_that_does_not_work_is_found(text: str, told: str) -> None:
    assert told in str(problem_of_command(Command("page:1", tuple(shlex.split(text)))))


@pytest.mark.parametrize(
    ("language", "text", "told"),
    [
        ("", "some output\nof a program", "no rule knows this block"),
        ("", "kubectl get aj 'x", "unexpected EOF"),
        (
            "yaml",
            "apiVersion: agentjobs.dev/v1alpha1\nkind: AgentJob\nmetadata: {name: a}\nspec: {mesage: b}",
            "mesage",
        ),
        ("yaml", "pools: {default: {slots: 3}}", "pools.default.slots"),
        ("yaml", "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: a}\nspec: {hardd: {}}", "hardd"),
        ("python", "await queue.enqueue([], connection=conn)", "connection"),
        ("python", "from agentjobs.queue.queue import Cue", "Cue"),
        ("dockerfile", "FROM agentjobs-worker:0.1.0\nCOPY . /agents", "COPY . /agents"),
    ],
)
def test_a_block_that_is_not_true_is_found(language: str, text: str, told: str) -> None:
    assert told in str(problem_of_block(Block("docs/page.md", 1, language, text)))


def test_the_calculator_prints_what_the_page_of_sizes_shows() -> None:
    (command, *_) = [one for one in COMMANDS if one.where.startswith("docs/sizing.md") and "600" in one.words]
    done = subprocess.run(
        [sys.executable, *command.words[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip() == shown("docs/sizing.md", "29 slots: 3 pods of 10")


def test_the_page_and_the_example_leave_the_same_files_out_of_the_image() -> None:
    example = (ROOT / "examples" / "custom-worker" / ".dockerignore").read_text().splitlines()
    assert shown("docs/your-agent.md", "**/.env").splitlines() == [
        line for line in example if not line.startswith("#")
    ]


def test_the_dockerignore_stands_before_the_copy() -> None:
    page = (ROOT / "docs" / "your-agent.md").read_text()
    assert page.index("**/.env") < page.index("COPY planner")


def test_the_page_for_whoever_is_on_call_has_each_alert() -> None:
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "docs" / "metrics.md").read_text())
    page = (ROOT / "docs" / "on-call.md").read_text()
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == alerts
    assert len(alerts) >= 16


def test_a_metric_that_a_page_names_is_there() -> None:
    known = {str(metric) for metric in Metric} | {"agentjobs_queue_wanted_slots"}
    for page in PAGES:
        if page.name in ("CHANGELOG.md", "performance.md"):
            continue
        for name in re.findall(
            r"`(agentjobs_(?:queue|worker|operator|model|outbox|workers)_\w+)", page.read_text()
        ):
            bare = re.sub(r"_(bucket|sum|count)$", "", name)
            assert {name, bare} & known or name.endswith("_"), f"{page.name}: there is no metric {name}"


def test_no_page_names_a_path_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(/root/|/work/|/home/\w)", page.read_text()), Path(page).name


def test_a_page_that_uses_the_queues_own_words_leads_to_the_glossary() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        words = set(re.findall(r"\b(claim|snooze|outbox|sweep|projector|rescue)(?:s|d)?\b", text))
        if page.stem in NOT_READ_THROUGH or page.name == "glossary.md":
            continue
        assert len(words) < 2 or "](glossary.md" in text, (
            f"{page.name} uses {sorted(words)}: link glossary.md"
        )
