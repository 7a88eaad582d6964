"""Each place in the installed ADK that logs a warning or an error, or goes on after an exception without a word.

    UPDATE_GOLDEN=1 .venv/bin/pytest tests/unit/agents/run/test_adk_places.py

writes the list anew, for the diff to be read: a new version of ADK shows there what it reports and what it swallows.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import google.adk

from agentjobs.agents.verdict.adk_places import BESIDE_THE_RUN, LOSSES, TOLD_OTHERWISE

NO_RUN_LOADS = (
    "cli.", "evaluation.", "optimization.", "labs.", "live.", "sessions.migration.", "a2a.utils.", "a2a.executor.",
)  # fmt: skip
"""Beginnings of places that belong to ADK's commands, servers, tests and live (audio) agents."""
_LEVELS = {
    "error": "ERROR", "exception": "ERROR", "critical": "CRITICAL", "warning": "WARNING", "warn": "WARNING",
}  # fmt: skip


@cache
def listed() -> list[str]:
    """``place | level or "goes on" | number | verdict``, sorted; ``place`` is a function below ``google.adk``."""
    found: Counter[tuple[str, str, str]] = Counter()
    root = Path(google.adk.__file__).parent
    for file in root.rglob("*.py"):
        module = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if not f"{module}.".startswith(NO_RUN_LOADS):
            found.update(_of(ast.parse(file.read_text()), module))
    return [
        f"{place} | {level} | {number} | {told}" for (place, level, told), number in sorted(found.items())
    ]


def verdict_of(place: str, level: str) -> str:
    """What a record of this place means for the run that caused it."""
    if (loss := LOSSES.get((place, level))) is not None:
        return f"fails the run: {loss.rule.reason.value}{'' if not loss.with_error else ', if an exception is with it'}"
    if (place, level) in TOLD_OTHERWISE:
        return "nothing: the outcome says it, or it concerns no single run"
    return "nothing: beside the run" if place.startswith(BESIDE_THE_RUN) else "a warning on the attempt"


def _of(node: ast.AST, place: str) -> Iterator[tuple[str, str, str]]:
    for child in ast.iter_child_nodes(node):
        inner = place
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{place}.{child.name}"
        if (level := _level(child)) is not None:
            yield place, level, verdict_of(place, level)
        if isinstance(child, ast.ExceptHandler) and not any(map(_speaks, ast.walk(child))):
            yield place, "goes on", _what_follows(child)
        yield from _of(child, inner)


def _level(node: ast.AST) -> str | None:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    return _LEVELS.get(node.func.attr) if "log" in ast.unparse(node.func.value).lower() else None


def _speaks(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise) or _level(node) is not None


def _what_follows(handler: ast.ExceptHandler) -> str:
    texts = [node.value for node in ast.walk(handler) if isinstance(node, ast.Constant)]
    if any(text in ("error", "ERROR") for text in texts):
        return "the model is told: it is the tool's result"
    if any(isinstance(node, ast.Yield) for node in ast.walk(handler)):
        return "an event tells"
    return "another way, or a default, is taken"
