"""What docs/metrics.md tells people to ask for is there."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from agentjobs.telemetry.metrics import Kind, Metric
from agentjobs.values.reasons import Reason
from agentjobs.worker.supervisor.metrics import OUTCOMES

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


def blocks() -> list[object]:
    """Every YAML document of the page."""
    texts = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return [document for text in texts for document in yaml.safe_load_all(text)]


def expressions() -> list[str]:
    """Everything that is asked of Prometheus."""
    (alerts,) = [b for b in blocks() if isinstance(b, dict) and "groups" in b]
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    triggers = [t for b in blocks() if isinstance(b, dict) for t in b.get("triggers", ())]
    (adapter,) = [b for b in blocks() if isinstance(b, dict) and "rules" in b]
    queries = [t["metadata"]["query"] for t in triggers if t["type"] == "prometheus"]
    queries += [rule["metricsQuery"] for rule in adapter["rules"]["external"]]
    return [rule["expr"] for rule in rules] + queries


def test_every_metric_that_is_asked_for_is_defined_with_its_labels() -> None:
    known = {str(m): m for m in Metric}
    for metric in Metric:
        if metric.kind is Kind.HISTOGRAM:
            known |= {f"{metric}_{part}": metric for part in ("bucket", "sum", "count")}
    asked = expressions()
    assert len(asked) >= 12
    for text in asked:
        for name, selector in re.findall(r"\b(agentjobs_\w+)(?:\{([^}]*)\})?", text):
            assert name in known, text
            labels = re.findall(r"(\w+)=~?\"", selector)
            assert set(labels) <= set(known[name].labels), f"{name}: {labels}"


def test_every_reason_and_outcome_that_is_asked_for_exists() -> None:
    text = "\n".join(expressions())
    reasons = {r for found in re.findall(r'reason=~?"([^"]+)"', text) for r in found.split("|")}
    outcomes = {o for found in re.findall(r'outcome=~?"([^"]+)"', text) for o in found.split("|")}
    assert reasons
    assert reasons <= {reason.value for reason in Reason}
    assert outcomes
    assert outcomes <= OUTCOMES
    assert all(f"`{outcome}`" in Metric.RUNS.labels["outcome"] for outcome in OUTCOMES)


def test_no_name_on_the_page_is_unknown() -> None:
    names = set(re.findall(r"`(agentjobs_\w+)`", PAGE)) - {"agentjobs_read"}
    assert names == {str(metric) for metric in Metric}
