"""The plugin's decisions, without a cluster: filters, acts, pace, JSONPath, tables, completion, clocks."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentjobs.cli.database.act import FIT
from agentjobs.cli.errors import BadInput
from agentjobs.cli.kubectl import acts
from agentjobs.cli.kubectl.checks import OK, lease_check
from agentjobs.cli.kubectl.completing import candidates
from agentjobs.cli.kubectl.filters import STATES, JobFilter, since_of, states_of
from agentjobs.cli.kubectl.jsonpath import printed
from agentjobs.cli.kubectl.output import Column, coloured, print_list, table
from agentjobs.cli.kubectl.pace import Interrupt, carry_out
from agentjobs.cli.kubectl.reply import Reply, ahead_of
from agentjobs.cli.kubectl.where import Where, namespace_in, verb_first
from agentjobs.cli.kubectl.why import answer_of
from agentjobs.queue.records import State
from agentjobs.values.durations import seconds_of

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def job(
    state: str = "", *, reason: str = "", annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    status = {"state": state, "reason": reason, "completionTime": "2026-11-26T10:00:00Z"} if state else {}
    metadata = {"name": "a", "namespace": "shop", "uid": "u-1", "creationTimestamp": "2026-11-26T09:00:00Z"}
    return {"metadata": {**metadata, "annotations": annotations or {}}, "spec": spec, "status": status}


def test_the_states_are_those_of_the_queue() -> None:
    assert list(STATES) == [state.value for state in State]
    assert states_of(["failed, RUNNING"]) == {"Failed", "Running"}
    with pytest.raises(BadInput, match="'gone' is unknown"):
        states_of(["gone"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), ("", None), ("h", None)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="wants a duration"):
            seconds_of(text)
    else:
        assert seconds_of(text) == seconds


def test_since_is_a_duration_or_a_time() -> None:
    assert since_of("2h", NOW) == NOW - timedelta(hours=2)
    assert since_of("2026-11-26T00:00:00+01:00", NOW) == datetime(2026, 11, 25, 23, tzinfo=UTC)
    with pytest.raises(BadInput, match="--since"):
        since_of("2026-11-26", NOW)


@pytest.mark.parametrize(
    ("since", "matches"),
    [("2026-11-26T08:00:00Z", True), ("2026-11-26T09:30:00Z", True), ("2026-11-26T10:30:00Z", False)],
)
def test_a_job_is_meant_that_was_created_or_ended_since(since: str, matches: bool) -> None:
    assert JobFilter(since=since_of(since, NOW)).matches(job("Failed")) is matches


@pytest.mark.parametrize(
    ("act", "found", "why"),
    [
        (acts.RETRY, job("Failed"), ""),
        (acts.RETRY, job("Cancelled"), ""),
        (acts.RETRY, job("Cancelled", cancel=True), "cannot be taken back"),
        (acts.RETRY, job("Complete"), "is Complete"),
        (acts.RETRY, job(), "not seen by the operator yet"),
        (acts.RETRY, job("Failed", annotations={"agentjobs.dev/retry-requested-at": "2026-11-26T10:01:00Z"}), "asked to be"),
        (acts.RETRY, job("Failed", annotations={"agentjobs.dev/retry-requested-at": "2026-11-26T09:59:00Z"}), ""),
        (acts.RETRY, job("Failed", annotations={"agentjobs.dev/retry-requested-at": "again"}), ""),
        (acts.CANCEL, job("Running"), ""),
        (acts.CANCEL, job("Failed"), "is Failed already"),
        (acts.CANCEL, job("Running", cancel=True), "asked to end already"),
        (acts.SUSPEND, job("Queued", suspend=True), "suspended already"),
        (acts.RESUME, job("Queued"), "is not suspended"),
        (acts.RESUME, job("Suspended", suspend=True), ""),
        (acts.DELETE, job("Complete"), ""),
        (acts.SUSPEND, {"kind": "ScheduledAgentJob", "metadata": {}, "spec": {}}, ""),
        (acts.RESUME, {"kind": "ScheduledAgentJob", "metadata": {}, "spec": {"suspend": True}}, ""),
        (acts.RESUME, {"kind": "ScheduledAgentJob", "metadata": {}, "spec": {}}, "is not suspended"),
        (acts.CANCEL, {"kind": "ScheduledAgentJob", "metadata": {}, "spec": {}}, "there are suspend and resume"),
    ],
)  # fmt: skip
def test_an_act_is_for_the_jobs_that_it_changes(act: acts.Act, found: dict[str, Any], why: str) -> None:
    said = acts.unfit(act, found)
    assert why in said
    assert bool(said) is bool(why)


@pytest.mark.parametrize(
    "act", [acts.RETRY, acts.CANCEL, acts.SUSPEND, acts.RESUME], ids=lambda act: act.word
)
def test_an_act_is_for_the_same_states_with_an_object_and_without(act: acts.Act) -> None:
    states = {state for state in State if not acts.unfit(act, job(state, suspend=state is State.SUSPENDED))}
    assert states == FIT[act.verb]


class Clock:
    """A clock that moves when it is waited for, and an interruption at a time."""

    def __init__(self, interrupted_at: float = float("inf")) -> None:
        self.now, self.interrupted_at, self.sent = 0.0, interrupted_at, []  # type: tuple[float, float, list[float]]
        clock = self

        class Waiting(threading.Event):
            def is_set(self) -> bool:
                return clock.now >= clock.interrupted_at

            def wait(self, timeout: float | None = None) -> bool:
                clock.now = min(clock.now + (timeout or 0), clock.interrupted_at)
                return self.is_set()

        self.interrupt = Interrupt(Waiting())

    def run(self, n: int, replies: list[Reply] | None = None, spread: float = 0.0) -> Any:
        answers = iter(replies or [])

        def request_for(job: dict[str, Any]) -> Any:
            def send() -> Reply:
                self.sent.append(self.now)
                return next(answers, Reply(200, b"{}"))

            return send

        jobs = [{"metadata": {"name": str(k)}} for k in range(n)]
        return carry_out(jobs, request_for, self.interrupt, spread_seconds=spread, clock=lambda: self.now)


def test_requests_are_spread_evenly_and_stop_at_an_interruption() -> None:
    clock = Clock(interrupted_at=25.0)
    count = clock.run(10, spread=100.0)
    assert clock.sent == [0.0, 10.0, 20.0]
    assert (count.done, count.interrupted) == (3, True)


@pytest.mark.parametrize(
    ("replies", "done", "gone", "failed", "stopped", "sent"),
    [
        ([Reply(429, b"", retry_after="1"), Reply(200, b"{}")], 2, 0, 0, False, 3),
        ([Reply(503, b"{}")] * 9, 0, 0, 0, True, 5),
        ([Reply(404, b'{"reason":"NotFound"}')], 1, 1, 0, False, 2),
        ([Reply(409, b'{"reason":"Conflict"}')], 1, 1, 0, False, 2),
        ([Reply(422, b'{"message":"no"}')], 1, 0, 1, False, 2),
        ([Reply(403, b'{"message":"no"}')], 0, 0, 0, True, 1),
    ],
)
def test_what_is_refused_for_now_is_sent_again_and_what_concerns_all_ends_it(
    replies: list[Reply], done: int, gone: int, failed: int, stopped: bool, sent: int
) -> None:
    clock = Clock()
    count = clock.run(2, replies)
    assert (count.done, count.gone, len(count.failed), bool(count.stopped)) == (done, gone, failed, stopped)
    assert len(clock.sent) == sent


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ('{range .items[*]}{.metadata.name}{"\\n"}{end}', "a\nb\n"),
        ('{.items[?(@.n==2)].metadata.name}', "b"),
        ("{.items[?(@.n==02)].metadata.name}", "b"),
        ("{.items[?(@.metadata.name!='\"')].n}", "1 2"),
        (".items[0].metadata['name']", "a"),
        ("{.items[0].metadata}", '{"name":"a"}'),
        ("{.nothing.here}", ""),
        ("name: {.items[0].n}", "name: 1"),
    ],
)  # fmt: skip
def test_jsonpath_prints_as_kubectl_does(template: str, text: str) -> None:
    assert (
        printed(
            template, {"items": [{"metadata": {"name": "a"}, "n": 1}, {"metadata": {"name": "b"}, "n": 2}]}
        )
        == text
    )


def test_a_list_is_printed_in_each_form_with_types_and_an_empty_one_is_told_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    items = [{"metadata": {"name": "a", "managedFields": []}}]
    columns = [Column("NAME", lambda item: str(item["metadata"]["name"]))]

    def said(form: str, items: list[dict[str, Any]]) -> tuple[str, str]:
        print_list("AgentJobList", items, columns, form, no_headers=False, none="No agentjobs.")
        told = capsys.readouterr()
        return told.out, told.err

    assert said("", items) == ("NAME\na\n", "")
    assert said("name", items) == ("agentjob.agentjobs.dev/a\n", "")
    (whole,) = json.loads(said("json", items)[0])["items"]
    assert whole == {"apiVersion": "agentjobs.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": "a"}}
    assert said("", []) == ("", "No agentjobs.\n")
    assert json.loads(said("json", [])[0])["items"] == []
    assert said("name", []) == ("", "")


def test_flags_in_a_command_to_be_typed_are_quoted_for_the_shell() -> None:
    assert Where(context="my cluster", as_user="ann").shown() == " '--context=my cluster' --as=ann"


@pytest.mark.parametrize("template", ["{..name}", "{.items[0:2]}", "{range .items[*]}x", "{end}", "{.a"])
def test_a_jsonpath_that_is_not_known_is_refused(template: str) -> None:
    with pytest.raises(BadInput, match="jsonpath"):
        printed(template, {"items": []})


def test_a_table_fits_a_narrow_terminal_and_no_control_character_leaves_it() -> None:
    columns = [Column("NAME", lambda row: row, shrinks=True), Column("STATE", lambda row: "Failed")]
    lines = table(columns, ["x" * 80, "a\x1b[2Jb\nc"], width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert not coloured({"NO_COLOR": "1"})


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        (["-n", "x", "list"], ["list", "-n", "x"]),
        (["--context=c", "-nx", "why", "a"], ["why", "--context=c", "-nx", "a"]),
        (["list", "-n", "x"], ["list", "-n", "x"]),
        (["--help"], ["--help"]),
    ],
)
def test_flags_before_the_verb_count(given: list[str], moved: list[str]) -> None:
    assert verb_first(given) == moved


def test_the_namespace_is_that_of_the_first_kubeconfig_that_says_so() -> None:
    one = {"contexts": [{"name": "a", "context": {"namespace": "n1"}}]}
    two = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"namespace": "n2"}}, {"name": "b", "context": {}}],
    }
    assert namespace_in([one, two], None) == "n1"
    assert namespace_in([one, two], "b") == "default"
    with pytest.raises(BadInput, match="there are a, b"):
        namespace_in([one, two], "c")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["li"], ["list\tList jobs by state, reason, queue, agent, user and more."]),
        (["list", "--state", "f"], ["Failed"]),
        (["-n", "x", "why", "ref"], ["refund"]),
        (["retry", "refund", ""], ["report"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_verbs_values_and_names_are_completed(words: list[str], found: list[str]) -> None:
    def lookup(resource: str, where: Where) -> list[str]:
        return ["refund", "report"]

    assert candidates(words, lookup) == (found, ":4")


def test_clocks_within_two_seconds_are_equal() -> None:
    assert ahead_of("Thu, 26 Nov 2026 12:00:01 GMT", NOW) == 0.0
    assert ahead_of("Thu, 26 Nov 2026 12:01:00 GMT", NOW) == 60.0
    assert ahead_of("", NOW) == 0.0


@pytest.mark.parametrize(
    ("spec", "good"),
    [
        (
            {"holderIdentity": "p", "renewTime": "2026-11-26T11:59:50.000000Z", "leaseDurationSeconds": 15},
            True,
        ),
        (
            {"holderIdentity": "p", "renewTime": "2026-11-26T11:50:00.000000Z", "leaseDurationSeconds": 15},
            False,
        ),
        ({"holderIdentity": "", "renewTime": "2026-11-26T11:59:50.000000Z"}, False),
    ],
)
def test_an_operator_runs_where_its_lease_is_fresh(spec: dict[str, Any], good: bool) -> None:
    found = lease_check({"metadata": {"name": "agentjobs-operator", "namespace": "x"}, "spec": spec}, NOW)
    assert (found.verdict == OK) is good


@pytest.mark.parametrize(
    ("found", "todo"),
    [
        (job(), "No operator has taken it up"),
        (job("Failed", reason="ToolFailed"), "kubectl agentjobs retry a -n shop"),
        (job("Cancelled", cancel=True), "create a corrected one"),
        (job("InputRequired"), "kubectl agentjobs approve a -n shop"),
        (job("Suspended", suspend=True), "kubectl agentjobs resume a -n shop"),
        (job("Queued", reason="NoWorkers"), "have a worker started that serves"),
        (job("Complete"), "Nothing: it is done"),
        (job("Queued", reason="Newer"), "goes on by itself"),
    ],
)
def test_why_says_what_to_do(found: dict[str, Any], todo: str) -> None:
    assert todo in " ".join(answer_of(found, NOW).todo)


@pytest.mark.parametrize(
    ("n", "seconds", "pace"),
    [
        (3, 600, "one every 200 s?"),
        (1000, 600, "one every 0.6 s?"),
        (7, 10, "one every 1.4 s?"),
        (3, 0, "jobs here?"),
    ],
)
def test_the_question_before_an_act_tells_its_pace_in_plain_numbers(n: int, seconds: int, pace: str) -> None:
    assert acts.question_text(acts.RETRY, n, "job", "here", seconds).endswith(pace)
