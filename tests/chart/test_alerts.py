"""The chart's alerts evaluated by Prometheus' own promtool over series as operator and workers show them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from promql import ALERTS, alerts

RUNS = "agentjobs_worker_runs_total"
CRASHED = RUNS + '{queue="agents",outcome="retry",reason="ExecutorCrashed",instance="w1"}'


@dataclass(frozen=True)
class Case:
    """Series, one value a minute as promtool writes them, and the labels of the alerts that fire at minute ``at``."""

    alert: str
    what: str
    series: dict[str, str]
    at: int
    fires: tuple[dict[str, str], ...] = ()


AGENTS = ({"queue": "agents"},)
CASES = [
    Case("AgentJobsNoOperatorLeads", "none is there", {}, 3, ({},)),
    Case("AgentJobsNoOperatorLeads", "two wait", {'agentjobs_operator_leading{instance="a"}': "0x9", 'agentjobs_operator_leading{instance="b"}': "0x9"}, 3, ({},)),
    Case("AgentJobsNoOperatorLeads", "one leads", {'agentjobs_operator_leading{instance="a"}': "0x9", 'agentjobs_operator_leading{instance="b"}': "1x9"}, 3),
    Case("AgentJobsDatabaseAway", "away", {'agentjobs_operator_database_up{instance="a"}': "1 0x9"}, 5, ({},)),
    Case("AgentJobsDatabaseAway", "one of two reaches it", {'agentjobs_operator_database_up{instance="a"}': "0x9", 'agentjobs_operator_database_up{instance="b"}': "1x9"}, 5),
    Case("AgentJobsQueueNotServed", "no worker", {'agentjobs_queue_depth{queue="agents",state="Queued"}': "3x9"}, 6, AGENTS),
    Case("AgentJobsQueueNotServed", "workers without slots", {'agentjobs_queue_depth{queue="agents",state="Queued"}': "3x9", 'agentjobs_queue_slots{queue="agents"}': "0x9"}, 6, AGENTS),
    Case("AgentJobsQueueNotServed", "slots", {'agentjobs_queue_depth{queue="agents",state="Queued"}': "3x9", 'agentjobs_queue_slots{queue="agents"}': "5x9"}, 6),
    Case("AgentJobsWaitTooLong", "long", {'agentjobs_queue_oldest_wait_seconds{queue="agents"}': "700x9"}, 6, AGENTS),
    Case("AgentJobsWaitTooLong", "paused", {'agentjobs_queue_oldest_wait_seconds{queue="agents"}': "700x9", 'agentjobs_queue_paused{queue="agents"}': "1x9"}, 6),
    Case("AgentJobsQueuePausedForLong", "a day", {'agentjobs_queue_paused{queue="agents"}': "1x1500"}, 1450, AGENTS),
    Case("AgentJobsQueuePausedForLong", "an hour", {'agentjobs_queue_paused{queue="agents"}': "1x1500"}, 60),
    Case("AgentJobsSlotsAllBusy", "busy", {'agentjobs_worker_slots{queue="agents",instance="w1"}': "10x40", 'agentjobs_worker_slots_busy{queue="agents",instance="w1"}': "10x40"}, 32, AGENTS),
    Case("AgentJobsSlotsAllBusy", "another worker is free", {
        'agentjobs_worker_slots{queue="agents",instance="w1"}': "10x40", 'agentjobs_worker_slots_busy{queue="agents",instance="w1"}': "10x40",
        'agentjobs_worker_slots{queue="agents",instance="w2"}': "10x40", 'agentjobs_worker_slots_busy{queue="agents",instance="w2"}': "0x40"}, 32),
    Case("AgentJobsStatusesLag", "lag", {'agentjobs_outbox_lag_seconds{instance="a"}': "90x9"}, 6, ({},)),
    Case("AgentJobsFailing", "a third", {
        RUNS + '{queue="agents",outcome="complete",reason="",instance="w1"}': "0+20x40",
        RUNS + '{queue="agents",outcome="discard",reason="ToolFailed",instance="w1"}': "0+10x40"}, 35, AGENTS),
    Case("AgentJobsFailing", "all of them", {RUNS + '{queue="agents",outcome="discard",reason="ToolFailed",instance="w1"}': "0+10x40"}, 35, AGENTS),
    Case("AgentJobsFailing", "retries alone", {
        RUNS + '{queue="agents",outcome="complete",reason="",instance="w1"}': "0+20x40",
        RUNS + '{queue="agents",outcome="retry",reason="ToolFailed",instance="w1"}': "0+10x40"}, 35),
    Case("AgentJobsModelUnavailable", "away", {'agentjobs_model_breaker_open{pool="p",model="m",reason="ModelUnavailable"}': "1x15"}, 12, ({"pool": "p", "model": "m"},)),
    Case("AgentJobsModelUnavailable", "rate limited", {'agentjobs_model_breaker_open{pool="p",model="m",reason="RateLimited"}': "1x15"}, 12),
    Case("AgentJobsModelKeyRefused", "the first run that it happens to", {RUNS + '{queue="agents",outcome="snooze",reason="ModelAuthFailed",instance="w1"}': "_x5 1x20"}, 8, AGENTS),
    Case("AgentJobsModelKeyRefused", "another one", {RUNS + '{queue="agents",outcome="snooze",reason="ModelAuthFailed",instance="w1"}': "1x30 2x9"}, 33, AGENTS),
    Case("AgentJobsModelKeyRefused", "long ago", {RUNS + '{queue="agents",outcome="snooze",reason="ModelAuthFailed",instance="w1"}': "1x40"}, 35),
    Case("AgentJobsExecutorsCrash", "a burst at the worker's start", {CRASHED: "_x5 5x20"}, 8, ({"queue": "agents", "reason": "ExecutorCrashed"},)),
    Case("AgentJobsExecutorsCrash", "one after another", {CRASHED: "0x5 1 2 3 4 5 6x20"}, 12, ({"queue": "agents", "reason": "ExecutorCrashed"},)),
    Case("AgentJobsExecutorsCrash", "two", {CRASHED: "0x5 1 2x20"}, 12),
    Case("AgentJobsRunsLost", "the first one", {RUNS + '{queue="agents",outcome="lost",reason="",instance="w1"}': "_x5 1x30"}, 8, AGENTS),
    Case("AgentJobsRunsLost", "long ago", {RUNS + '{queue="agents",outcome="lost",reason="",instance="w1"}': "1x60"}, 50),
    Case("AgentJobsHeartbeatOld", "old", {'agentjobs_worker_heartbeat_age_seconds{instance="w1"}': "20x9", 'agentjobs_worker_heartbeat_age_seconds{instance="w2"}': "2x9"}, 3, ({"instance": "w1"},)),
    Case("AgentJobsTemplateRestarts", "again and again", {'agentjobs_worker_templates_total{instance="w1"}': "1 2 3 4 5x9"}, 8, ({"instance": "w1"},)),
    Case("AgentJobsTemplateRestarts", "started", {'agentjobs_worker_templates_total{instance="w1"}': "_x3 1x9"}, 8),
    Case("AgentJobsOperatorLoopFails", "fails", {'agentjobs_operator_loop_failing_seconds{loop="intake",instance="a"}': "60+60x9", 'agentjobs_operator_database_up{instance="a"}': "1x9"}, 3, ({"loop": "intake"},)),
    Case("AgentJobsOperatorLoopFails", "for a minute", {'agentjobs_operator_loop_failing_seconds{loop="intake",instance="a"}': "60+60x9", 'agentjobs_operator_database_up{instance="a"}': "1x9"}, 1),
    Case("AgentJobsOperatorLoopFails", "the database is away", {'agentjobs_operator_loop_failing_seconds{loop="intake",instance="a"}': "60+60x9", 'agentjobs_operator_database_up{instance="a"}': "0x9"}, 3),
    Case("AgentJobsOperatorStumbles", "from its start", {'agentjobs_operator_task_failures_total{part="intake",instance="a"}': "_x3 8x9"}, 6, ({"part": "intake"},)),
    Case("AgentJobsOperatorStumbles", "again and again", {'agentjobs_operator_task_failures_total{part="intake",instance="a"}': "0+1x20"}, 14, ({"part": "intake"},)),
    Case("AgentJobsOperatorStumbles", "twice", {'agentjobs_operator_task_failures_total{part="intake",instance="a"}': "_x3 1 2x9"}, 8),
    Case("AgentJobsSweepStopped", "stopped", {'agentjobs_operator_sweep_found_total{kind="stopped",instance="a"}': "_x5 1x20"}, 8, ({},)),
    Case("AgentJobsSweepStopped", "found something else", {'agentjobs_operator_sweep_found_total{kind="missed",instance="a"}': "_x5 1x20"}, 8),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{case.alert}: {case.what}" for case in CASES])
def test_an_alert_fires_when_it_should_and_not_otherwise(promtool: str, case: Case, tmp_path: Path) -> None:
    (rule,) = [rule for rule in alerts() if rule["alert"] == case.alert]
    fixed = {"exp_annotations": rule["annotations"]} if "{{" not in str(rule["annotations"]) else {}
    expected = [{"exp_labels": {**rule["labels"], **labels}, **fixed} for labels in case.fires]
    # annotations with values are left out: their words would have to be computed here, too
    rules = {
        "groups": [
            {"name": "agentjobs", "rules": [{**rule, "annotations": rule["annotations"] if fixed else {}}]}
        ]
    }
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": expected}],
    }
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    )
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    assert {str(rule["alert"]) for rule in alerts()} == {case.alert for case in CASES if case.fires}


def test_promtool_takes_the_file(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
