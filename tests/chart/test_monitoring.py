"""The chart's alerts and dashboard: they speak of metrics that there are, and say what the documentation says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from charts import LEAST, Helm, Object, pick
from promql import ALERTS, DASHBOARD, OF_THE_TARGET, alerts, labels, parsed, queries, selectors, series

DOCS = Path(__file__).parents[2] / "docs"
ON = {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}


@pytest.mark.parametrize("place", queries())
def test_a_query_asks_for_metrics_and_labels_that_there_are(place: str) -> None:
    query, there = queries()[place], series()
    for selector in selectors(query):
        assert selector.name in there
        assert selector.matched <= there[selector.name] | OF_THE_TARGET, f"{selector.name} has no such label"
    labels(parsed(query), there)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sum by (qeue) (agentjobs_queue_depth)", "qeue"),
        ("max(agentjobs_queue_dept)", "agentjobs_queue_dept"),
        ("max by (queue) (agentjobs_queue_depth) unless on (pool) max by (queue) (agentjobs_queue_slots)", "pool"),
        ("histogram_quantile(0.5, sum by (le) (rate(agentjobs_worker_claim_seconds_count[5m])))", "le"),
    ],
)  # fmt: skip
def test_the_check_of_queries_finds_what_is_not_there(query: str, wrong: str) -> None:
    with pytest.raises(LookupError, match=wrong):
        labels(parsed(query), series())


def test_what_an_alert_says_is_in_its_answer() -> None:
    for rule in alerts():
        told = labels(parsed(str(rule["expr"])), series())
        said = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert said <= told, rule["alert"]


def test_a_legend_of_the_dashboard_names_labels_of_its_query() -> None:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= labels(parsed(target["expr"]), series()), panel["title"]


def test_panels_do_not_lie_upon_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_alerts_are_those_of_the_documentation() -> None:
    block = (DOCS / "metrics.md").read_text().partition("## Alerts worth having")[2].partition("```yaml")[2]
    documented = yaml.safe_load(block.partition("```")[0])["groups"]

    def told(rules: list[dict[str, object]]) -> list[tuple[object, ...]]:
        return [(rule["alert"], rule["expr"], rule.get("for")) for rule in rules]

    rules = [rule for group in documented for rule in group["rules"]]
    assert told(rules) == told(alerts()), f"change {ALERTS} and docs/metrics.md together"


def test_each_alert_has_a_severity_a_summary_and_a_page_to_go_to(helm: Helm) -> None:
    url = "https://git.example/docs/on-call.md"
    where = {
        "metrics": {"prometheusRule": {"enabled": True, "runbookUrl": url, "labels": {"release": "kps"}}}
    }
    rule = pick(helm.render({**LEAST, **where}), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "kps"
    rules = [found for group in rule["spec"]["groups"] for found in group["rules"]]
    assert [found["alert"] for found in rules] == [found["alert"] for found in alerts()]
    for found in rules:
        assert found["labels"]["severity"] in ("critical", "warning", "info")
        assert found["annotations"]["summary"]
        assert found["annotations"]["runbook_url"] == f"{url}#{found['alert'].lower()}"


@pytest.mark.parametrize("label", ["namespace", "kubernetes_namespace", ""])
def test_an_alert_looks_at_the_releases_own_namespace(helm: Helm, label: str) -> None:
    """Else one installation that is well hides that another is not, and a queue's jobs are those of two databases."""
    on = {"metrics": {"prometheusRule": {"enabled": True, "namespaceLabel": label}}}
    rendered = pick(helm.render({**LEAST, **on}, "--namespace=agents-two"), "PrometheusRule")
    found = {rule["alert"]: rule["expr"] for group in rendered["spec"]["groups"] for rule in group["rules"]}
    for rule in alerts():
        scoped = found[rule["alert"]]
        for selector, own in zip(selectors(scoped), selectors(rule["expr"]), strict=True):
            assert selector.name == own.name
            assert selector.matched == own.matched | ({label} if label else set())
        assert scoped.count('="agents-two"') == (len(list(selectors(scoped))) if label else 0)
        if not label:
            assert scoped == rule["expr"]


@pytest.mark.parametrize(
    ("values", "group"),
    [
        ({"operator": {"enabled": False}}, "agentjobs-workers"),
        ({"pools": {"default": {"enabled": False}}}, "agentjobs-operator"),
    ],
)
def test_a_release_has_the_alerts_of_its_own_parts(helm: Helm, values: Object, group: str) -> None:
    """Else a team's release of pools alone would say for ever that no operator leads."""
    rule = pick(helm.render({**LEAST, **values, **ON}), "PrometheusRule")
    assert [found["name"] for found in rule["spec"]["groups"]] == [group]


def test_grafanas_sidecar_finds_the_dashboard_as_it_is(helm: Helm) -> None:
    found = pick(helm.render({**LEAST, **ON}), "ConfigMap", "agentjobs-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["agentjobs.json"]) == json.loads(DASHBOARD.read_text())


def test_both_are_off_until_they_are_asked_for(helm: Helm) -> None:
    objects: list[Object] = helm.render()
    assert not {"PrometheusRule", "ConfigMap"} & {o["kind"] for o in objects}


def test_each_alert_has_a_section_of_the_page_for_who_is_on_call() -> None:
    headings = re.findall(r"^#+ (\w+)$", (DOCS / "on-call.md").read_text(), re.MULTILINE)
    assert {str(rule["alert"]) for rule in alerts()} - set(headings) == set()
