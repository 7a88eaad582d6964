"""Agents' words are hostile input: each text of each model, with each payload, as a fragment and in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.runs import AgentRunList
from agentjobs.web.ui.fragments import of
from agentjobs.web.ui.pages import STATIC
from agentjobs.web.view import Page
from browser import Tab, tab
from dashboard_browsing import FAILED, PAGES, SHOWN
from dashboard_samples import afternoon, entry, question, run
from dashboard_site import Site, served
from hostile_words import PAYLOADS, everywhere, replaced, texts

PLAIN = "plain"
OURS = re.compile(
    r"(?:(?:job|jobs|approvals|audit|queues|workers|schedules)\.html(?:\?[^\"<>]*)?|\.\./namespaces/[^\"<>]*)"
)
VOID = frozenset({"input", "br", "hr", "img", "link", "meta"})
SPARED = frozenset({"metadata", "cursor", "id", "state", "uid"})
"""In Chromium: what the pages find things by. As fragments they are attacked too."""


def _asked() -> Any:
    return run(
        "asked", "InputRequired", reason="InputRequired", message="a", model="m", session="s", worker="w", step="s",
        trace_id="t", question=question(payload="{}"),
    )  # fmt: skip


def _models() -> Mapping[tuple[str, str], ApiModel]:
    """(name, part) → a model that fills the fragment's every branch."""
    site = afternoon()
    attempts = site.attempts[FAILED["uid"]]
    runs = AgentRunList(items=[_asked(), site.runs[6]])
    return {
        ("jobs", ""): runs,
        ("jobs", "failures"): runs,
        ("jobs", "inbox"): runs,
        ("job", ""): _asked(),
        ("job", "question"): _asked(),
        ("attempts", ""): attempts,
        ("result", ""): site.results[FAILED["uid"]].model_copy(update={"result": "r"}),
        ("queues", ""): site.queues,
        ("queues", "acts"): site.queues,
        ("workers", ""): site.workers,
        ("workers", "pools"): site.workers,
        ("models", "acts"): site.models,
        ("schedules", ""): site.schedules,
        ("ends", "ends"): site.series["reason"].model_copy(update={"items": site.series["reason"].items[:1]}),
        ("tokens", "tokens"): site.series["model"].model_copy(
            update={"items": site.series["model"].items[:1]}
        ),
        ("audits", ""): site.audits,
        ("entry", "entry"): entry(
            2, "call", tool="t", text="x", note="n", branch="b", data={"a": "b"}, cut=True
        ),
    }


MODELS = _models()


class Skeleton(HTMLParser):
    """Tags with the names of their attributes, the targets, and where right-to-left words stand outside of isolation."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, ...]] = []
        self.targets: list[str] = []
        self.words: list[str] = []
        self.loose: list[str] = []
        self._open: list[bool] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.targets += [value or "" for name, value in attrs if name in ("href", "src", "action", "hx-get")]
        if tag not in VOID:
            isolated = any(name == "dir" for name, _ in attrs) or tag in ("bdi", "textarea", "title")
            self._open.append(isolated or any(self._open[-1:]))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if "\u202e" in data and not (self._open and self._open[-1]):
            self.loose.append(data)


def _shown(model: ApiModel, part: str) -> Skeleton:
    page = Page(
        "alice", True, "agentruns", None, None, {"part": [part]}, trace_url="https://j.example/{trace_id}"
    )
    html = of(model, page)
    assert html is not None
    return Skeleton(html)


@pytest.mark.parametrize(("name", "part"), MODELS)
def test_no_text_changes_the_structure_of_a_fragment_or_leads_elsewhere(name: str, part: str) -> None:
    model = MODELS[name, part]
    places = list(texts(model))
    assert places
    faults = []
    for place in places:
        plain = _shown(replaced(model, place, PLAIN), part)
        for payload, word in PAYLOADS.items():
            shown = _shown(replaced(model, place, word), part)
            of_fields = payload == "json" and place[-1] in ("before", "after")  # shown field by field
            if shown.tags != plain.tags and not of_fields:
                faults.append(f"{place} changes the structure by {payload}")
            faults += [
                f"{place} leads to {target!r} by {payload}"
                for target in shown.targets
                if not (OURS.fullmatch(target) or target.startswith("https://j.example/"))
            ]
            faults += [f"{place} turns what is around it by {payload}: {data!r}" for data in shown.loose]
    assert faults == []


# ---- in Chromium ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with tab() as opened:
        opened.look()
        opened.call("Network.enable")
        yield opened


def _attacked(word: str) -> Site:
    """An afternoon in which everybody says this one word."""
    site = afternoon()
    site.runs = [everywhere(one, word, SPARED) for one in [_asked(), *site.runs]]
    site.attempts = {key: everywhere(value, word, SPARED) for key, value in site.attempts.items()}
    site.results = {
        key: everywhere(value.model_copy(update={"result": "r"}), word, SPARED)
        for key, value in site.results.items()
    }
    site.queues = everywhere(site.queues, word, SPARED)
    site.workers = everywhere(site.workers, word, SPARED)
    site.models = everywhere(site.models, word, SPARED)
    site.schedules = everywhere(site.schedules, word, SPARED)
    site.audits = everywhere(site.audits, word, SPARED)
    site.series = {key: everywhere(value, word, frozenset({"by"})) for key, value in site.series.items()}
    site.transcript = [
        everywhere(one, word, SPARED).model_copy(update={"data": {word: [word]}}) for one in site.transcript
    ]
    site.output = word
    site.user = word
    return site


FOREIGN = "[...document.querySelectorAll('main script, main img, main iframe, main link, main base, main meta, main animate, main [onload], main [onerror], main [onclick], main [style], main .said *')].map(e => e.outerHTML.slice(0, 100))"
ELSEWHERE = "performance.getEntriesByType('resource').map(e => e.name).filter(url => !url.startsWith(location.origin))"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_words_everywhere_do_nothing_in_any_page(browser: Tab, payload: str) -> None:
    word = PAYLOADS[payload]
    browser.console.clear()
    with served(_attacked(word)) as site:
        for name, query in PAGES.items():
            browser.open(site.page(name, **query))
            browser.wait(SHOWN)
            if name == "job":
                browser.wait_text("#talk-told", "That is all")
                browser.run("document.querySelectorAll('details').forEach(d => d.open = true); 0")
                browser.wait("document.querySelector('#h-output + details pre').textContent !== ''")
            browser.run("refresh(); 0")
            browser.wait("!document.querySelector('.htmx-request')")
            assert browser.run(FOREIGN) == [], name
            assert browser.run(ELSEWHERE) == [], name
            assert browser.run("window.hacked ?? ({}).hacked ?? 0") == 0, name
            assert browser.run("document.title").endswith("agentjobs")
            assert browser.run("document.querySelectorAll('#main').length") == 1
        assert not any("stolen" in url or "evil" in url.split("?")[0] for url in site.reads)
        browser.open("about:blank")
    assert browser.console == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_hostile_refusal_is_told_as_text(browser: Tab, payload: str) -> None:
    word = PAYLOADS[payload]
    with served(afternoon()) as site:
        browser.open(site.page("queues"))
        browser.wait(SHOWN)
        site.refused = (403, word)
        for resource in ("queuestats", "workers", "models"):
            site.unreadable[resource] = (403, word)
        browser.click("#q-bulk button[data-act=unpause], #q-bulk button[data-act=limit]")
        browser.click("#ask-yes")
        browser.wait("document.querySelector('#q-bulk .told, #board-problem').textContent.length > 0")
        browser.wait("document.querySelector('#board-problem').textContent.length > 0")
        assert browser.run(FOREIGN) == []
        assert browser.run("window.hacked ?? 0") == 0
        browser.open("about:blank")


def test_only_what_the_server_escaped_becomes_html() -> None:
    """Each place where a script makes HTML from text: fragments of our own templates, in an inert template."""
    found = {
        (script.name, line.strip())
        for script in STATIC.glob("*.js")
        if script.name != "htmx.min.js"
        for line in script.read_text().splitlines()
        if re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment",
            line,
        )
    }
    assert found == {
        ("list.js", "news.innerHTML = text;"),
        (
            "list.js",
            "if (!fresh.length) news.innerHTML = region.innerHTML; // nothing matches any more: the rows stay, dimmed",
        ),
        ("list.js", "return news.innerHTML;"),
        ("talk.js", "news.innerHTML = data;"),
    }


def test_a_payload_is_shown_as_it_is() -> None:
    """The words are not changed either: what an agent said is what is read."""
    for word in PAYLOADS.values():
        html = of(run("x", "Failed", message=word), Page("a", True, "agentruns", "n", "x", {}))
        assert html is not None
        assert word in "".join(Skeleton(html).words), json.dumps(word)
