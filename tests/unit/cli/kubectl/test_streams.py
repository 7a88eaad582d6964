"""Streams of the runs API: each event once through cut connections; and what is printed of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.apiserver import ApiServer, Query
from agentjobs.cli.kubectl.events import AWAY_SECONDS, Event, Place, events_of, followed
from agentjobs.cli.kubectl.output import printable_lines, written
from agentjobs.cli.kubectl.reply import Reply
from agentjobs.cli.kubectl.runs_api import LOG, RunsApi, missing
from agentjobs.cli.kubectl.transcript_text import entry_text
from agentjobs.cli.kubectl.verbs.top import drawn, frame
from agentjobs.cli.kubectl.verbs.wait import Told, change_of
from agentjobs.cli.kubectl.waiting import Seen
from agentjobs.cli.kubectl.where import Where
from agentjobs.cli.kubectl.why import answer_of, told


def test_events_are_read_as_a_browser_reads_them() -> None:
    lines = b": open\n\nevent: entry\nid: 3\ndata: a\ndata:  b\n\nevent: bookmark\n\nevent: end\ndata: {}\n\nevent: entry\ndata: cut".split(
        b"\n"
    )
    found = list(events_of(line + b"\n" for line in lines))
    assert found[0] == Event("entry", "a\n b", "3")
    assert [event.type for event in found] == ["entry", "end"], (
        "without data it is no event; what is cut is none"
    )


def entries(*pairs: tuple[str, str]) -> list[Event]:
    return [Event("entry", data, id_) for id_, data in pairs]


def test_each_event_is_new_once_wherever_the_connection_is_cut() -> None:
    whole = entries(("1", "a"), ("1", "b"), ("2", "c"), ("3", "d"), ("3", "e"), ("3", "f"))
    for first in range(len(whole) + 1):
        for second in range(first, len(whole) + 1):
            place, told = Place(), []
            for end in (first, second, len(whole)):
                place.begin()
                # the server begins behind the id that it is asked for
                known = [event for event in whole if int(event.id) > int(place.before or 0)]
                told += [event for event in known[: len(known) - len(whole) + end] if place.new(event)]
            assert told == whole, (first, second)


def test_a_state_that_is_told_again_after_a_cut_is_not_new() -> None:
    place = Place()
    assert [place.new(event) for event in entries(("", "a"), ("", "b"))] == [True, True]
    place.begin()
    assert [place.new(event) for event in entries(("", "b"), ("", "a"))] == [False, True]


@dataclass(slots=True)
class Streams(ApiServer):
    """An API server whose streams are given, one for each connection; the last one again and again."""

    texts: list[bytes] = field(default_factory=list)
    asked: int = 0

    @contextmanager
    def stream(
        self,
        path: str,
        query: Query,
        *,
        silence_seconds: float,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Iterator[bytes]]:
        text = self.texts[min(self.asked, len(self.texts) - 1)]
        self.asked += 1
        yield iter(text.splitlines(keepends=True))


class Clock:
    """A clock that only a pause moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def read(texts: list[bytes], clock: Clock) -> tuple[Streams, Iterator[Event]]:
    server = Streams(Path("/nowhere"), Where(), "team", texts=texts)
    return server, followed(RunsApi(server), LOG, "a", {}, clock, clock.pause)


AWAY = b': open\n\nevent: error\ndata: {"code": 503, "message": "the database is away"}\n\n'
ENTRY = b"event: entry\nid: 1\ndata: a\n\n"


def test_an_error_in_each_stream_is_asked_ever_more_rarely_and_given_up_after_a_while() -> None:
    clock = Clock()
    server, events = read([AWAY], clock)
    with pytest.raises(Unavailable, match="the database is away"):
        next(events)
    assert AWAY_SECONDS < clock.now < AWAY_SECONDS + 10
    assert server.asked < 15


def test_a_sign_of_life_ends_an_outage() -> None:
    clock = Clock()
    life = b"event: bookmark\ndata: {}\n\n"
    _, events = read([AWAY] * 8 + [life] + [AWAY] * 8 + [ENTRY + b"event: end\ndata: {}\n\n"], clock)
    assert [event.data for event in events] == ["a"]
    assert clock.now > AWAY_SECONDS


def test_an_error_that_stays_is_told_at_once() -> None:
    clock = Clock()
    gone = b'event: error\ndata: {"code": 410, "message": "expired"}\n\n'
    with pytest.raises(Unavailable, match="agentruns/log: expired"):
        list(read([gone], clock)[1])
    assert clock.now == 0


def test_what_is_missing_is_told_by_what_discovery_answers() -> None:
    assert "not registered" in missing(Reply(404, b"404 page not found"), "workers")
    assert "does not answer" in missing(Reply(503, b"service unavailable"), "workers")
    assert "does not answer" in missing(Reply(500, b"x"), "workers")
    served = Reply(200, b'{"resources": [{"name": "workers"}]}')
    assert missing(served, "workers") == ""
    assert "an administrator upgrades" in missing(served, "queuestats")


def test_an_entry_is_printed_with_who_what_and_tokens_and_cannot_steer_the_terminal() -> None:
    entry = {
        "time": "2026-03-01T10:00:00Z", "author": "clerk\x1b[2J", "kind": "call", "tool": "refund", "data": {"order": "A\x9b1"},
        "tokens": {"totalTokens": 1200}, "model": "gemini", "text": "one\ntwo\r\x1b]0;x\x07", "cut": True,
    }  # fmt: skip
    lines = entry_text(entry).split("\n")
    assert lines[0] == "10:00:00 clerk\\x1b[2J call refund (1,200 tokens of gemini)"
    assert lines[1:] == [
        "    one", "    two\\r\\x1b]0;x\\x07", '    {"order": "A\\x9b1"}', "    … cut: it is longer than shown",
    ]  # fmt: skip


def test_every_form_of_output_is_without_characters_that_steer_and_json_means_the_same() -> None:
    import json

    import yaml

    hostile = (
        "".join(map(chr, [*range(32), *range(127, 160), 0x2028, 0x202E, 0x2066, 0xFEFF, 0xE0001]))
        + "a\u00a0b\u3000👩\u200d💻é"
    )
    value = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, "text": hostile}
    forms = {form: written(form, value) for form in ("json", "yaml", "jsonpath={.text}")}
    for form, text in forms.items():
        assert [c for c in text if ord(c) < 32 and c not in "\n\t"] == [], form
        assert [c for c in text if 126 < ord(c) < 160 or c in "\u2028\u202e\u2066\ufeff\U000e0001"] == [], (
            form
        )
    assert json.loads(forms["json"]) == value
    assert yaml.safe_load(forms["yaml"]) == value
    assert printable_lines("a\u00a0b\u3000👩\u200d💻é\r\n\tx") == "a\u00a0b\u3000👩\u200d💻é\n\tx"


def test_no_part_of_why_nor_of_wait_steers_the_terminal() -> None:
    """All texts of an object, also those that its writer should have taken from a list."""
    hostile = "\x1b]0;x\x07\u202e"
    job: dict[str, Any] = {
        "metadata": {"name": hostile, "namespace": hostile, "uid": "u", "generation": 1},
        "spec": {"queue": hostile, "agent": {"module": hostile}, "session": hostile},
        "status": {
            "state": hostile, "reason": hostile, "message": hostile, "worker": hostile, "observedGeneration": 1,
            "inputRequest": {"id": hostile, "tool": hostile},
            "recentAttempts": [{"number": 1, "reason": hostile, "message": hostile, "output": hostile}],
        },
    }  # fmt: skip
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    how = Told("job ", "agentjobs {verb} {name}", quiet=False)
    asking = {**job, "status": {**job["status"], "state": "InputRequired"}}
    texts = [told(answer_of(one, now), now, width) for one in (job, asking) for width in (None, 80)]
    texts += [change_of(Seen(one), how) for one in (job, asking)]
    for text in texts:
        assert not set(hostile) - set("]0;x") & set(text), text


def test_a_frame_of_top_fits_the_terminal_and_holds_nothing_that_steers_it() -> None:
    job = {
        "metadata": {"name": "a\x1b[2J"},
        "spec": {"agent": "x" * 200},
        "status": {"step": "\x9b", "since": "2026-03-01T10:00:00Z"},
    }
    text = frame("team", [], [], [job] * 30, datetime(2026, 3, 1, 10, 1, tzinfo=UTC), 60)
    assert max(map(len, text.splitlines())) <= 90, "an agent's long name gives way"
    assert "\x1b" not in text
    shown = drawn(text, 10)
    assert shown.startswith("\x1b[H")
    assert shown.count("\n") == 9
