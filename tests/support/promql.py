"""Queries in PromQL, and which series and labels they speak of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser
import yaml
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from agentjobs.telemetry.metrics import Kind, Metric
from charts import CHART

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
OF_THE_TARGET = frozenset({"instance", "job", "namespace", "pod"})
"""Labels that Prometheus adds to what it scrapes."""
VARIABLES = {"$__rate_interval": "5m", "$queue": "agents|scheduled", "$namespace": ".*"}
"""Of Grafana, with values that it may put in."""


@dataclass(frozen=True)
class Selector:
    """One series' name in a query, and the labels that are asked of it."""

    name: str
    matched: frozenset[str]


def parsed(query: str) -> Expr:
    """The query, its variables filled in. Raises ValueError where it is not PromQL."""
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    if "$" in query:
        raise ValueError(f"{query}: a variable that is not known")
    return promql_parser.parse(query)


def series() -> dict[str, frozenset[str]]:
    """The series that operator and workers show, with their labels."""
    found: dict[str, frozenset[str]] = {}
    for metric in Metric:
        own = frozenset(metric.labels)
        if metric.kind is Kind.HISTOGRAM:
            found |= {
                f"{metric}_{part}": own | ({"le"} if part == "bucket" else set())
                for part in ("bucket", "sum", "count")
            }
        else:
            found[str(metric)] = own
    return found  # fmt: skip


def _below(node: Expr) -> Iterator[Expr]:
    match node:
        case BinaryExpr():
            yield from (node.lhs, node.rhs)
        case AggregateExpr() | ParenExpr() | UnaryExpr() | SubqueryExpr():
            yield node.expr
        case Call():
            yield from node.args
        case MatrixSelector():
            yield node.vector_selector


def nodes(query: Expr) -> Iterator[Expr]:
    """The query and all of its parts."""
    yield query
    for inner in _below(query):
        yield from nodes(inner)


def selectors(query: str) -> Iterator[Selector]:
    """The series that a query asks for."""
    for node in nodes(parsed(query)):
        if isinstance(node, VectorSelector):
            assert node.name, f"{query}: a series without a name"
            yield Selector(node.name, frozenset(m.name for m in node.matchers.matchers))


def labels(node: Expr, of: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The labels that a query's answer has, where series have those of ``of``. Raises LookupError for a series that is not there,
    and where a label is asked for that is not."""
    match node:
        case VectorSelector():
            return of[str(node.name)] | OF_THE_TARGET
        case AggregateExpr():
            there = labels(node.expr, of)
            wanted = frozenset(node.modifier.labels) if node.modifier else frozenset()
            if missing := wanted - there:
                raise LookupError(f"{node.prettify()}: by {sorted(missing)}, of which there is none")
            return wanted
        case BinaryExpr():
            left, right = labels(node.lhs, of), labels(node.rhs, of)
            if node.modifier is not None and node.modifier.matching is not None:
                for label in node.modifier.matching.labels:
                    if label not in left & right:
                        raise LookupError(f"{node.prettify()}: on {label}, which one side lacks")
            return left
        case Call():
            found = [labels(argument, of) for argument in node.args]
            return frozenset().union(*found) - ({"le"} if node.func.name == "histogram_quantile" else set())
        case _:
            return frozenset().union(*(labels(inner, of) for inner in _below(node)))


def alerts() -> list[dict[str, Any]]:
    """The rules of the chart's alerts."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> dict[str, str]:
    """Each query of the chart's alerts and dashboard, by where it stands."""
    found = {f"alert {rule['alert']}": str(rule["expr"]) for rule in alerts()}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        found |= {f"panel {panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return found
