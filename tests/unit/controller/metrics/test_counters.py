"""Every count carries the labels of its definition: one that did not would fail the scrape."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import agentjobs.controller
from agentjobs.telemetry.metrics import Metric


def counted() -> Iterator[tuple[str, Metric, set[str]]]:
    """Where, what, and with which labels: each ``….add(NAME, …, label=…)`` of the controller."""
    for file in sorted(Path(agentjobs.controller.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "add"
                and node.args
                and isinstance(name := node.args[0], ast.Name)
                and name.id in Metric.__members__
            ):
                labels = {str(keyword.arg) for keyword in node.keywords}
                yield f"{file.name}:{node.lineno}", Metric[name.id], labels


def test_every_count_of_the_controller_has_the_labels_of_its_definition() -> None:
    found = list(counted())
    assert len(found) >= 15
    for where, metric, labels in found:
        assert labels == set(metric.labels), f"{where}: {metric}"
