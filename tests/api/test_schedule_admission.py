"""What a real API server says to a schedule: the same to a ScheduledAgentJob as to a CronJob."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import available_timezones

import pytest

from agentjobs.api.validation import problems_of
from clusters import Cluster
from doc_rules import shown
from dry_run import DryRun, Verdict
from manifests import BASES, changed
from schedule_texts import by_hand, differences, generated, zones_by_hand

CRON_JOB: Mapping[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "case"},
    "spec": {
        "schedule": "",
        "jobTemplate": {
            "spec": {
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
            }
        },
    },
}
RANDOM = 600


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[DryRun]:
    with cluster.namespace() as namespace:
        yield DryRun(cluster, namespace)


def schedules(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [changed(BASES["schedule"], {"spec.schedule": text}) for text in texts]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*by_hand(), *generated(RANDOM, seed=1)]


@pytest.fixture(scope="module")
def here(server: DryRun, texts: list[str]) -> list[Verdict]:
    return server.create_all(schedules(texts))


def test_what_cronjob_refuses_is_refused_and_what_it_accepts_is_accepted(
    server: DryRun, texts: list[str], here: list[Verdict]
) -> None:
    theirs = server.create_all([changed(CRON_JOB, {"spec.schedule": text}) for text in texts])
    wanted = differences()
    assert [
        (text, "CronJob accepts it" if their.accepted else "CronJob refuses it", our.message[:200])
        for text, their, our in zip(texts, theirs, here, strict=True)
        if their.accepted != our.accepted
        and not any(
            (d.cronjob, d.here) == (their.accepted, our.accepted) and re.search(d.pattern, text)
            for d in wanted
        )
    ] == []
    assert 0 < sum(their.accepted for their in theirs) < len(texts)


def test_the_operator_reads_what_the_api_server_accepts_but_for_days_that_do_not_exist(
    texts: list[str], here: list[Verdict]
) -> None:
    for text, manifest, verdict in zip(texts, schedules(texts), here, strict=True):
        problems = [str(problem) for problem in problems_of(manifest)]
        if verdict.accepted:
            assert not problems or "never due" in problems[0], (text, problems)
        else:
            assert problems, text


def test_a_refusal_shows_the_schedule_in_quotes(texts: list[str], here: list[Verdict]) -> None:
    printable = re.compile("[ -~]+")
    shown = [
        (t, v.message) for t, v in zip(texts, here, strict=True) if not v.accepted and printable.fullmatch(t)
    ]
    assert [(text, message) for text, message in shown if f'got "{text}"' not in message] == []
    assert len(shown) > 100


def test_refusals_say_what_the_page_shows(server: DryRun) -> None:
    page = shown("docs/schedules.md", 'spec.schedule: … got "@every 5m"; write */5 * * * *')
    wrong = [{"spec.schedule": "@every 5m"}, {"spec.timeZone": "UTC+2"}]
    verdicts = server.create_all([changed(BASES["schedule"], change) for change in wrong])
    for line, verdict in zip(page.splitlines(), verdicts, strict=True):
        field, _, end = line.partition(": … ")
        assert not verdict.accepted
        assert field in verdict.message
        assert end in verdict.message


def test_a_time_zone_is_known_here_where_cronjob_knows_it(server: DryRun) -> None:
    known = sorted(available_timezones() - {"Factory", "localtime"})
    names = [*zones_by_hand(), *known[::7], *map(str.lower, known[::20])]
    theirs = server.create_all(
        [changed(CRON_JOB, {"spec.schedule": "@daily", "spec.timeZone": name}) for name in names]
    )
    manifests = [changed(BASES["schedule"], {"spec.timeZone": name}) for name in names]
    here = server.create_all(manifests)
    later = [name for name, v, m in zip(names, here, manifests, strict=True) if v.accepted and problems_of(m)]
    assert later == ["Europe/Berlinn", "Etc/GMT-15", "Etc/UTC+2"], (
        "what looks like a name the schema cannot refuse"
    )
    assert [
        (name, their.accepted)
        for name, their, our in zip(names, theirs, here, strict=True)
        if their.accepted != our.accepted and name not in later
    ] == []
