"""Every call, every refusal, every history: what is done, who waits, for how long. The table is whole."""

from __future__ import annotations

from itertools import product

import pytest

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import (
    FRESH,
    REDUCE_AFTER,
    SEVERAL,
    SLOWEST_SECONDS,
    Act,
    Answer,
    Call,
    Concerns,
    History,
    decide,
)
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.values.json import JsonObject


def status(code: int, message: str = "no", retry_after: float | None = None, **details: object) -> Reply:
    body: JsonObject = {"kind": "Status", "message": message}
    if details:
        body["details"] = details
    return Reply(code, body, retry_after)


SCHEMA = [{"field": "status.result", "reason": "FieldValueInvalid", "message": "too long"}]
REVISION = [{"field": "status.revision", "reason": "FieldValueInvalid", "message": "only rises"}]
POLICY = [{"message": "a policy says no"}]
TERMINATING = [
    {"reason": "NamespaceTerminating", "message": "it is being terminated", "field": "metadata.namespace"}
]

REFUSALS: dict[str, Answer] = {
    "400": status(400),
    "401": status(401),
    "403": status(403),
    "403 terminating": status(403, causes=TERMINATING),
    "404 of the kind": status(404),
    "404 of the object": status(404, name="job"),
    "409": status(409),
    "410": status(410),
    "413": status(413),
    "422 without causes": status(422),
    "422 of the schema": status(422, causes=SCHEMA),
    "422 of the revision": status(422, causes=REVISION),
    "422 of a policy": status(422, causes=POLICY),
    "429": status(429),
    "429 for 1 s": status(429, retry_after=1),
    "429 for an hour": status(429, retry_after=3600),
    "500": status(500, "failed calling webhook"),
    "500 too large": status(500, "etcdserver: request is too large"),
    "503": status(503),
    "504": status(504),
    "garbage": Reply(502, {}),
    "details that are none": Reply(404, {"details": "what?"}),
    "causes that are none": Reply(422, {"details": {"causes": ["what?"]}}),
    "no answer": ApiUnavailable("no answer"),
    "garbage with 200": ApiUnavailable("200 without an object"),
    "unreachable": ApiUnavailable("connection refused", unreachable=True),
}
TOO_LARGE = {"413", "500 too large"}
FINAL: dict[Call, dict[str, Act]] = {
    Call.STATUS: {
        **dict.fromkeys([*TOO_LARGE, "422 of the schema"], Act.REDUCE),
        "404 of the object": Act.CONFIRM,
        "422 without causes": Act.CONFIRM,
        "causes that are none": Act.CONFIRM,
        "422 of the revision": Act.OLDER,
    },
    Call.EVENT: {
        **dict.fromkeys(
            [*TOO_LARGE, "400", "422 of the schema", "422 of the revision", "403 terminating"], Act.GIVE_UP
        ),
        "409": Act.DONE,
    },
    Call.CREATE: {
        **dict.fromkeys([*TOO_LARGE, "400", "422 of the schema", "422 of the revision"], Act.GIVE_UP),
        "409": Act.CONFIRM,
    },
    Call.MARK: {"404 of the object": Act.DONE, "409": Act.DONE},
    Call.DELETE: {"404 of the object": Act.CONFIRM, "409": Act.CONFIRM},
    Call.GET: {"404 of the object": Act.GONE},
    Call.LIST: {},
    Call.WATCH: {},
    Call.LEASE: {},
}
"""What is not tried again as it is; everything else is."""
HISTORIES = [
    History(refusals, reduced, confirmed, objects, pauses, namespaces, everybody)
    for refusals, reduced, confirmed, objects, pauses, namespaces, everybody in product(
        (0, 1, REDUCE_AFTER, 1000), (False, True), (False, True), (0, SEVERAL), (0, 40), (0, SEVERAL), (0, 40)
    )
]


def test_every_cell_of_the_table_is_as_written() -> None:
    wrong = [
        (call.value, name, decide(call, answer).act)
        for call, (name, answer) in product(Call, REFUSALS.items())
        if decide(call, answer).act is not FINAL[call].get(name, Act.RETRY)
    ]
    assert wrong == []


def test_whatever_was_before_every_delay_grows_is_bounded_and_names_who_waits() -> None:
    for call, answer, history in product(Call, REFUSALS.values(), HISTORIES):
        decision = decide(call, answer, history)
        what = (call, answer, history, decision)
        if decision.act is not Act.RETRY:
            assert decision.seconds == 0, what
            continue
        assert 0 < decision.seconds <= SLOWEST_SECONDS, what
        asked = min(answer.retry_after_seconds or 0.0, SLOWEST_SECONDS)
        if decision.concerns is not Concerns.EVERYBODY:
            assert decision.seconds >= asked, what


def test_only_what_is_refused_all_over_or_cannot_be_reached_concerns_everybody() -> None:
    for call, (name, answer), history in product(Call, REFUSALS.items(), HISTORIES):
        decision = decide(call, answer, history)
        if decision.concerns is Concerns.EVERYBODY:
            all_over = history.namespaces + 1 >= SEVERAL and history.objects + 1 >= SEVERAL
            vague = answer.status in (None, 429)
            assert name == "unreachable" or (all_over and vague), (call, name, history)


def test_one_refused_object_concerns_itself_alone() -> None:
    for call, (name, answer) in product(Call, REFUSALS.items()):
        if name != "unreachable":
            assert decide(call, answer, History(refusals=1000)).concerns is Concerns.OBJECT, (call, name)


def test_nothing_but_a_get_says_that_an_object_is_gone() -> None:
    for call, answer, history in product(Call, REFUSALS.values(), HISTORIES):
        if decide(call, answer, history).act is Act.GONE:
            assert call is Call.GET


def test_whoever_has_confirmed_by_a_get_is_not_asked_to_again() -> None:
    for call, answer, history in product(Call, REFUSALS.values(), HISTORIES):
        if history.confirmed:
            assert decide(call, answer, history).act is not Act.CONFIRM


def test_a_reduced_status_is_reduced_no_further_and_tried_again_for_ever() -> None:
    for answer, history in product(REFUSALS.values(), HISTORIES):
        if history.reduced and history.confirmed:
            assert decide(Call.STATUS, answer, history).act in (Act.RETRY, Act.OLDER)


@pytest.mark.parametrize("name", ["400", "403", "422 without causes", "422 of a policy"])
def test_a_status_that_is_denied_again_and_again_is_reduced_in_the_end(name: str) -> None:
    acts = [
        decide(Call.STATUS, REFUSALS[name], History(refusals=n, confirmed=True)).act
        for n in range(REDUCE_AFTER + 2)
    ]
    assert acts == [Act.RETRY] * REDUCE_AFTER + [Act.REDUCE] * 2


@pytest.mark.parametrize("name", ["401", "404 of the kind", "429", "500", "503", "no answer", "garbage"])
def test_a_status_that_may_be_taken_later_is_never_reduced(name: str) -> None:
    assert decide(Call.STATUS, REFUSALS[name], History(refusals=1000)).act is Act.RETRY


def test_what_is_taken_is_done() -> None:
    for call in Call:
        assert decide(call, Reply(200, {}), FRESH).act is Act.DONE
