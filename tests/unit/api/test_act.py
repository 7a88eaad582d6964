"""The annotation that says who changes an object, and why: hostile input, in one form that an admission policy can check."""

from __future__ import annotations

import json
import random

import pytest

from agentjobs.api.act import MOST_CHARACTERS, VERBS, ObjectAct, parse, text_of
from agentjobs.api.names import ACT
from agentjobs.controller.kit.annotated_act import annotated_act
from agentjobs.values.verbs import Verb

WHOLE = ObjectAct("alice", Verb.RETRY, "the provider is back", "2026-03-01T10:00:00Z", "kubectl", "first")


@pytest.mark.parametrize(
    "act",
    [
        WHOLE,
        ObjectAct("alice", Verb.CANCEL),
        ObjectAct('system:serviceaccount:"a\\b":ß', Verb.DELETE, "wörds: {}\n\t\x00"),
        *(ObjectAct("a", verb) for verb in sorted(VERBS)),
    ],
)
def test_what_is_written_is_read_back(act: ObjectAct) -> None:
    assert parse(text_of(act)) == act


def test_the_value_begins_with_the_name_as_the_admission_policy_wants_it() -> None:
    assert text_of(WHOLE).startswith('{"by": "alice", "verb": "retry", ')
    odd = text_of(ObjectAct('a"b\\c', Verb.RETRY))
    assert odd.startswith(r'{"by": "a\"b\\c",')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is no act"),
        ("alice", "it is no act"),
        ("[" * 4000, "it is no act"),
        ("[]", "it is no act"),
        ("null", "it is no act"),
        ('{"by": "alice", "verb": "retry", "by": "bob"}', "a field occurs twice"),
        ('{"by": "alice", "verb": "retry", "verb": "cancel"}', "a field occurs twice"),
        ('{"verb": "retry", "by": "alice"}', "by comes first"),
        ('{"by": "", "verb": "retry"}', "by comes first, and is not empty"),
        ("{}", "by comes first"),
        ('{"by": "alice"}', "verb: ''"),
        ('{"by": "alice", "verb": "approve"}', "verb: 'approve'"),
        ('{"by": "alice", "verb": "Retry"}', "verb: 'Retry'"),
        ('{"by": "alice", "verb": ["retry"]}', "verb: a text of at most"),
        ('{"by": {"a": 1}, "verb": "retry"}', "by: a text of at most 256 characters"),
        ('{"by": null, "verb": "retry"}', "by: a text"),
        ('{"by": "alice", "verb": "retry", "as": "root"}', "as: unknown field"),
        (json.dumps({"by": "a" * 257, "verb": "retry"}), "by: a text of at most 256"),
        (json.dumps({"by": "a", "verb": "retry", "reason": "a" * 1025}), "reason: a text of at most 1024"),
        (
            '{"by": "a", "verb": "retry", "reason": "' + "a" * MOST_CHARACTERS + '"}',
            "at most 16384 are wanted",
        ),
    ],
)
def test_what_is_no_act_is_never_taken_for_one(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(text)


def test_whatever_is_in_it_only_valueerror_comes_out() -> None:
    noise = random.Random(7)
    base = text_of(WHOLE)
    for _ in range(3000):
        text = list(base)
        for _ in range(noise.randint(1, 4)):
            text[noise.randrange(len(text))] = noise.choice('{}[]",:\\\x00\ud800ß0e ')
        try:
            found = parse("".join(text))
        except ValueError:
            continue
        assert found.by
        assert found.verb in VERBS


def test_texts_are_cut_to_what_is_read() -> None:
    found = parse(text_of(ObjectAct("b" * 999, Verb.RETRY, "r" * 9999, "a" * 99, "v" * 99, "o" * 999)))
    assert [len(text) for text in (found.by, found.reason, found.at, found.via, found.origin)] == [
        256,
        1024,
        64,
        32,
        253,
    ]


def test_the_longest_that_is_written_is_read() -> None:
    longest = ObjectAct("\x01" * 256, Verb.RETRY, "\x01" * 1024, "\x01" * 64, "\x01" * 32, "\x01" * 253)
    assert parse(text_of(longest)) == longest


def test_an_object_without_it_or_with_a_bad_one_names_nobody() -> None:
    assert annotated_act({}) is None
    assert annotated_act({ACT: ""}) is None
    bad = annotated_act({ACT: "alice did it"})
    assert bad is not None
    assert bad.act is None
    good = annotated_act({ACT: text_of(WHOLE)})
    assert good is not None
    assert good.act is not None
    assert (good.act.actor, good.act.verb, good.act.source, good.origin) == (
        "alice",
        "retry",
        "kubectl",
        "first",
    )
    assert good.key != bad.key
    assert annotated_act({ACT: "\ud800"}) is not None
