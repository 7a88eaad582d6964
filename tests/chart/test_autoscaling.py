"""What the chart's autoscalers ask: for each queue of a pool, since a free slot of one is of no use to another."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import LEAST, Helm, pick
from promql import labels, parsed, series

QUEUES = {"agents": {"slotsPerPod": 10}, "scheduled": {"slotsPerPod": 5}}
PROMETHEUS = {"trigger": "prometheus", "prometheus": {"serverAddress": "http://prometheus:9090"}}
LEADS = {
    'agentjobs_operator_leading{pod="a",namespace="agents"}': "1",
    'agentjobs_operator_leading{pod="b",namespace="agents"}': "0",
    'agentjobs_operator_database_up{pod="a",namespace="agents"}': "1",
    'agentjobs_operator_database_up{pod="b",namespace="agents"}': "1",
}
"""Two operators, of which one leads."""


def scaled(helm: Helm, kind: str, autoscaling: dict[str, Any], **values: Any) -> dict[str, Any]:
    pools = {"default": {"queues": QUEUES, "autoscaling": autoscaling}}
    found = pick(helm.render({**LEAST, **values, "pools": pools}), kind)
    spec: dict[str, Any] = found["spec"]
    return spec


def asks(helm: Helm, **keda: Any) -> list[dict[str, Any]]:
    triggers = scaled(helm, "ScaledObject", {"type": "keda", "keda": keda})["triggers"]
    assert {trigger["metricType"] for trigger in triggers} == {"AverageValue"}
    return [trigger["metadata"] for trigger in triggers]


def test_keda_asks_postgres_for_each_queue_and_its_slots(helm: Helm) -> None:
    assert [(m["query"], m["targetQueryValue"]) for m in asks(helm)] == [
        ("select agentjobs.wanted_slots('agents')", "10"),
        ("select agentjobs.wanted_slots('scheduled')", "5"),
    ]


def test_keda_asks_prometheus_for_each_queue_and_its_slots(helm: Helm) -> None:
    found = asks(helm, **PROMETHEUS)
    assert {m["threshold"] for m in found} == {"10", "5"}
    for metadata in found:
        assert labels(parsed(metadata["query"]), series()) == frozenset()


def test_a_query_of_ones_own_is_asked_once_for_all_slots_of_a_pod(helm: Helm) -> None:
    own = {**PROMETHEUS, "prometheus": {**PROMETHEUS["prometheus"], "query": "sum(mine)"}}  # type: ignore[dict-item]
    assert [(m["query"], m["threshold"]) for m in asks(helm, **own)] == [("sum(mine)", "15")]


def test_an_hpa_looks_at_the_busiest_queue_of_a_pod(helm: Helm) -> None:
    metrics = scaled(helm, "HorizontalPodAutoscaler", {"type": "hpa"})["metrics"]
    assert [
        (m["pods"]["metric"]["selector"]["matchLabels"]["queue"], m["pods"]["target"]["averageValue"])
        for m in metrics
    ] == [("agents", "7000m"), ("scheduled", "3500m")]


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        pytest.param({'{pod="a",namespace="agents"}': "12"}, 12, id="the leader tells it"),
        pytest.param({}, 0, id="a queue that nobody uses"),
        pytest.param({'{pod="a",namespace="other"}': "12"}, 0, id="another release"),
        pytest.param({'{pod="a",namespace="agents"}': "12", '{pod="b",namespace="agents"}': "12"}, 12, id="a hand-over"),
    ],
)  # fmt: skip
def test_prometheus_answers_with_one_number(
    helm: Helm, shown: dict[str, str], value: int, promtool: str, tmp_path: Path
) -> None:
    given = {
        name.replace("{", 'agentjobs_queue_wanted_slots{queue="agents",'): n for name, n in shown.items()
    }
    answered(promtool, helm, LEADS | given, [{"labels": "{}", "value": value}], tmp_path)


@pytest.mark.parametrize("away", ["agentjobs_operator_leading", "agentjobs_operator_database_up"])
def test_prometheus_answers_nothing_while_no_operator_knows(
    helm: Helm, away: str, promtool: str, tmp_path: Path
) -> None:
    answered(
        promtool, helm, {name: "0" if name.startswith(away) else n for name, n in LEADS.items()}, [], tmp_path
    )
    answered(promtool, helm, {}, [], tmp_path)
    assert {m["ignoreNullValues"] for m in asks(helm, **PROMETHEUS)} == {"false"}, (
        "KEDA leaves the pods as they are"
    )


def answered(
    promtool: str, helm: Helm, shown: dict[str, str], samples: list[dict[str, Any]], folder: Path
) -> None:
    """Fails unless the query of queue agents, over these series, is answered with these samples."""
    (query,) = [m["query"] for m in asks(helm, **PROMETHEUS) if m["threshold"] == "10"]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{n}x5"} for name, n in shown.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "3m", "exp_samples": samples}],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
