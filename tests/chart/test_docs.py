"""What the pages say to Helm renders: each command with the chart, and each block of values."""

from __future__ import annotations

from typing import Any

import pytest

from charts import CHART, LEAST, Helm
from doc_blocks import Block, Command, Kind, all_blocks, documents
from doc_rules import page_commands, unknown_values

BLOCKS = all_blocks()
COMMANDS = [
    command
    for command in page_commands()
    if command.program == "helm" and {"charts/agentjobs", "."} & set(command.words)
]
VERBS = {"install", "upgrade", "template"}
NOT_OF_TEMPLATE = {"--install", "--wait", "--create-namespace", "--reset-then-reuse-values"}


def values_of(block: Block) -> list[dict[str, Any]]:
    """The documents of a block that are values of the chart."""
    if (
        block.kind is not Kind.YAML or block.page == "docs/metrics.md"
    ):  # there: of Prometheus, KEDA and the adapter
        return []
    return [
        document
        for document in documents(block)
        if isinstance(document, dict)
        and "apiVersion" not in document
        and not any(unknown_values(str(key)) for key in document)
    ]


VALUES = [(block, document) for block in BLOCKS for document in values_of(block)]


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one.words[1] in VERBS], ids=lambda command: command.where
)
def test_a_helm_command_of_the_pages_renders(helm: Helm, command: Command) -> None:
    words = [word for word in command.words[2:] if word not in NOT_OF_TEMPLATE]
    if "-f" in words:  # the reader's own file
        place = words.index("-f")
        del words[place : place + 2]
    words = [str(CHART) if word in ("charts/agentjobs", ".") else word for word in words]
    if command.words[1] == "install" and "database.existingSecret" in " ".join(words):
        given = {}
    else:  # the release has a database, or the command tells what is added to it
        given = {} if any("devPostgres" in word for word in words) else dict(LEAST)
    done = helm.run("template", *words, "--kube-version=1.34.0", values=given)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("block", "document"), VALUES, ids=[block.where for block, _ in VALUES])
def test_values_of_the_pages_render(helm: Helm, block: Block, document: dict[str, Any]) -> None:
    database = {} if document.get("database", {}).get("existingSecret") else LEAST
    assert helm.render({**database, **document})


def test_the_pages_show_commands_and_values() -> None:
    assert len(COMMANDS) >= 15
    assert len(VALUES) >= 8
