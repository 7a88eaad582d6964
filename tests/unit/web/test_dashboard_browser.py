"""The dashboard in Chromium: under its policy, with hostile words, by keyboard, and while its data changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentjobs.api import act
from agentjobs.api.names import ACT, RUN_REQUESTED_AT
from agentjobs.cli.database.act import FIT
from agentjobs.values.verbs import Verb
from agentjobs.web.objects.acts import RunAction
from browser import Tab, tab, until
from dashboard_browsing import FAILED, PAGES, SHOWN, confirm
from dashboard_samples import HOSTILE, afternoon, entry, question, run, uid
from dashboard_site import Site, served

AXE = Path(__file__).resolve().parents[2] / "support/vendored/axe.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with tab() as opened:
        opened.look()
        yield opened


@pytest.fixture
def site(browser: Tab) -> Iterator[Site]:
    browser.console.clear()
    sample = afternoon()
    with served(sample) as started:
        yield started
        browser.open("about:blank")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_and_the_policy_is_never_violated(
    browser: Tab, site: Site, name: str, dark: bool
) -> None:
    browser.look(dark=dark)
    browser.open(site.page(name, **PAGES[name]))
    browser.wait(SHOWN)
    assert browser.console == []
    browser.run(AXE.read_text() + "; 0")
    found = browser.run(
        "axe.run().then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))"
    )
    browser.look()
    assert found == []


def test_a_wait_goes_on_over_a_navigation(browser: Tab, site: Site) -> None:
    browser.open(site.page("now"))
    browser.wait(
        "new Promise(done => location.pathname.endsWith('/jobs.html') ? done(true) : location.assign('jobs.html'))"
    )


def test_hostile_words_do_nothing_in_a_page(browser: Tab, site: Site) -> None:
    site.runs[0] = run(
        "hostile",
        "InputRequired",
        message=HOSTILE,
        agent=HOSTILE,
        step=HOSTILE,
        question=question(tool=HOSTILE, arguments=HOSTILE, hint=HOSTILE, payload=HOSTILE),
    )
    site.results[uid("hostile")] = site.results[uid("triage-4806")].model_copy(update={"result": HOSTILE})
    site.transcript[:] = [
        entry(1, HOSTILE, author=HOSTILE, tool=HOSTILE, note=HOSTILE, text=HOSTILE, branch=HOSTILE),
        entry(2, "call", tool=HOSTILE, data={HOSTILE: [HOSTILE]}),
        entry(3, "error", text="\r\ndata: x\n\nevent: end\ndata: {}\n\n" + HOSTILE),
    ]
    site.attempts[uid("hostile")] = site.attempts[uid("triage-4806")]
    for name, query in (
        ("jobs", {}),
        ("approvals", {}),
        ("job", {"namespace": "support", "name": "hostile", "uid": uid("hostile")}),
    ):
        browser.open(site.page(name, **query))
        browser.wait_text("main", "onclick=window.hacked=3")
        if name == "job":
            browser.wait_text("#talk-told", "That is all")
            assert browser.run("document.querySelectorAll('#talk li').length") == 3
        assert browser.run("window.hacked ?? 0") == 0
        assert browser.run("document.querySelectorAll('main img, main script').length") == 0
    assert not any("stolen" in url for url in site.reads)
    assert browser.console == []


def test_a_new_job_is_announced_and_moves_nothing_until_the_reader_asks(browser: Tab, site: Site) -> None:
    browser.open(site.page("jobs"))
    browser.wait_text("#list", "triage-4811")
    site.runs.insert(0, run("brand-new", "Queued"))
    site.runs[1] = run("triage-4811", "Complete")
    browser.run("refresh()")
    browser.wait_text("#fresh", "1 new job")
    assert browser.text("tbody tr:first-child a") == "triage-4811"
    browser.wait_text("tbody tr:first-child", "Complete")
    browser.click("#fresh")
    browser.wait("document.querySelector('tbody tr a').textContent === 'brand-new'")


def test_the_page_is_held_while_rows_are_selected(browser: Tab, site: Site) -> None:
    browser.open(site.page("jobs"))
    browser.click("input[name=pick]")
    browser.wait_text("#live", "Held: rows are selected")
    browser.click("#pick-none")
    browser.wait_text("#live", "Live")


def test_a_retry_is_a_patch_of_the_object_with_who_asked_why(browser: Tab, site: Site) -> None:
    browser.open(site.page("job", **FAILED))
    browser.click("button[data-act=retry]")
    confirm(browser, "the field is back")
    browser.wait_text(".acts .told", "Asked for")
    method, path, body = site.changes[0]
    assert (method, path) == (
        "PATCH",
        "/apis/agentjobs.dev/v1alpha1/namespaces/support/agentjobs/triage-4808",
    )
    assert body["metadata"]["uid"] == FAILED["uid"]
    annotations = body["metadata"]["annotations"]
    assert annotations["agentjobs.dev/retry-requested-at"]
    said = act.parse(annotations[ACT])
    assert (said.by, said.verb, said.reason, said.via) == ("alice", Verb.RETRY, "the field is back", "web")


@pytest.mark.parametrize("user", ["alice", 'system:odd "one" \\ ß', "x" * 300], ids=["plain", "odd", "long"])
@pytest.mark.parametrize(
    ("job", "button", "verb"),
    [
        ("triage-4808", "retry", Verb.RETRY),
        ("triage-4808", "again", Verb.RUN_AGAIN),
        ("triage-4811", "cancel", Verb.CANCEL),
        ("triage-4811", "suspend", Verb.SUSPEND),
        ("triage-4811", "priority", Verb.REPRIORITISE),
        ("triage-4801", "resume", Verb.RESUME),
    ],
)
def test_each_act_on_an_object_names_its_author_as_the_audit_reads_it(
    browser: Tab, site: Site, user: str, job: str, button: str, verb: Verb
) -> None:
    site.user = user
    site.runs[:] = [one for one in site.runs if one.metadata.name != "triage-4801"]
    site.runs.append(run("triage-4801", "Suspended"))
    browser.open(site.page("job", namespace="support", name=job, uid=uid(job)))
    browser.click(f"button[data-act={button}]")
    confirm(browser, 'so "they" say\\ <b>€</b>')
    until(lambda: site.changes, "the change arrives")
    value = site.changes[-1][2]["metadata"]["annotations"][ACT]
    said = act.parse(value)
    assert value == act.text_of(said)
    assert (said.by, said.verb, said.reason) == (user[:256], verb, 'so "they" say\\ <b>€</b>')
    assert said.origin == (job if button == "again" else "")


def test_a_refused_act_is_told_beside_its_button(browser: Tab, site: Site) -> None:
    site.refused = (403, 'agentjobs "triage-4808" is forbidden: <b>no</b>')
    browser.open(site.page("job", **FAILED))
    browser.click("button[data-act=retry]")
    confirm(browser)
    browser.wait_text(".acts .told", "is forbidden: <b>no</b>")


def test_an_approval_names_its_question_and_what_was_filled_in(browser: Tab, site: Site) -> None:
    browser.open(site.page("approvals"))
    browser.wait_text(".inbox li:first-child", "A-1187")
    browser.click(".inbox li:nth-child(2) button[data-act=approve]")
    confirm(browser, "known customer")
    browser.wait_text(".inbox li:nth-child(2) .told", "Asked for")
    answer = json.loads(site.changes[0][2]["metadata"]["annotations"]["agentjobs.dev/input-response"])
    assert (answer["id"], answer["approved"], answer["reason"]) == ("adk-77", True, "known customer")
    assert answer["payload"] == {"approved_euros": 18.5}


def test_all_failed_jobs_are_counted_first_and_retried_each_once(browser: Tab, site: Site) -> None:
    browser.open(site.page("jobs", state="Failed", namespace="support"))
    browser.wait_text("#list", "digest-29395170")
    browser.click("button[data-bulk=retry]")
    browser.wait_text("#ask-says", "3 jobs match.")
    confirm(browser, "the provider is back")
    browser.wait_text("#work-told", "3 of 3: asked for")
    names = [path.rsplit("/", 1)[1] for _, path, _ in site.changes]
    assert sorted(names) == ["digest-29395170", "triage-4807", "triage-4808"]


def test_an_act_on_many_is_for_the_same_states_as_that_of_the_command(browser: Tab, site: Site) -> None:
    browser.open(site.page("jobs"))
    found = browser.run(
        "Object.fromEntries(Object.entries(FITS).map(([verb, { states }]) => [verb, states.sort()]))"
    )
    assert found == {verb.value: sorted(states) for verb, states in FIT.items()}


def test_all_that_match_in_all_namespaces_are_changed_and_those_without_an_object_by_one_act(
    browser: Tab, site: Site
) -> None:
    site.runs[:] = [run(f"a-{n}", "Failed", namespace=f"team-{n}") for n in range(3)]
    site.runs += [run(uid(f"bare-{n}"), "Failed", namespace="-") for n in range(2)]
    browser.open(site.page("jobs", state="Failed"))
    browser.wait_text("#list", "a-2")
    browser.click("button[data-bulk=retry]")
    browser.wait_text("#ask-says", "5 jobs match.")
    confirm(browser, "all of them")
    browser.wait_text("#work-told", "4 of 5: asked for")  # the sample answers that one was changed
    changed = [(method, path.split("/v1alpha1/")[1]) for method, path, _ in site.changes]
    assert changed == [
        *(("PATCH", f"namespaces/team-{n}/agentjobs/a-{n}") for n in range(3)),
        ("POST", "namespaces/-/runactions"),
    ]
    spec = site.changes[-1][2]["spec"]
    assert spec == {
        "verb": "retry",
        "filter": {"state": ["Failed"]},
        "reason": "all of them",
        "spreadSeconds": 0,
    }


def test_one_job_without_an_object_is_changed_by_its_uid(browser: Tab, site: Site) -> None:
    name = uid("bare")
    site.runs.append(run(name, "Failed", namespace="-"))
    site.objects = False  # the administrator's door
    browser.open(site.page("job", namespace="-", name=name, uid=uid(name)))
    browser.click("button[data-act=retry]")
    confirm(browser, "it is mended")
    browser.wait_text(".acts .told", "Asked for")
    [(method, path, body)] = site.changes
    assert (method, path.split("/v1alpha1/")[1]) == ("POST", "namespaces/-/runactions")
    assert RunAction.model_validate(body).spec.filter.uid == uid(name)
    assert 'data-act="again"' not in browser.run("document.querySelector('#job').innerHTML")


def test_a_door_without_the_kubernetes_api_offers_acts_on_jobs_without_an_object_alone(
    browser: Tab, site: Site
) -> None:
    site.objects = False
    site.runs.insert(0, run(uid("bare"), "Failed", namespace="-"))
    browser.open(site.page("jobs"))
    browser.wait("document.querySelectorAll('input[name=pick]').length === 1")
    browser.open(site.page("job", **FAILED))
    browser.wait_text("#job", "is changed by kubectl agentjobs")
    assert browser.run("document.querySelectorAll('[data-act]').length") == 0
    browser.open(site.page("approvals"))
    browser.wait_text("#inbox", "kubectl agentjobs approve")


def test_a_queue_is_paused_with_a_reason_only(browser: Tab, site: Site) -> None:
    browser.open(site.page("queues"))
    browser.click("#q-bulk button[data-act=pause]")
    browser.click("#ask-yes")
    assert browser.run("document.querySelector('#ask').open") is True
    confirm(browser, "the partner's API is down")
    browser.wait_text("#q-bulk .told", "Asked for")
    assert site.changes[0][2]["spec"] == {
        "verb": "pause",
        "queue": "bulk",
        "reason": "the partner's API is down",
    }


def test_a_running_jobs_conversation_grows_and_each_entry_is_shown_once(browser: Tab, site: Site) -> None:
    site.ended = False
    browser.open(site.page("job", namespace="support", name="triage-4811", uid=uid("triage-4811")))
    browser.wait_text("#talk li:last-child", "its total is missing")
    site.transcript.append(entry(5, "call", tool="search_orders", data={"order": "A-1171"}))
    browser.wait_text("#talk li:last-child", "calls search_orders")
    browser.click("#live")  # held: the stream is closed
    browser.wait_text("#talk-told", "Held")
    site.transcript.append(entry(6, text="It is at the depot."))
    browser.click("#live")
    browser.wait_text("#talk li:last-child", "at the depot")
    site.ended = True
    browser.wait_text("#talk-told", "That is all")
    shown = browser.run("[...document.querySelectorAll('#talk li')].map(e => e.id)")
    assert shown == [f"e-1764.0.event-{n}" for n in range(1, 7)]
    assert [line for line in browser.console if not line.startswith("Failed to load")] == []


def test_a_conversation_is_scrolled_along_only_while_its_end_is_seen(browser: Tab, site: Site) -> None:
    site.ended = False
    site.transcript[:] = [entry(n, text=f"line {n}\nand\nmore") for n in range(40)]
    browser.open(site.page("job", **FAILED))
    browser.wait_text("#talk li:last-child", "line 39")
    browser.wait("talk.scrollTop + talk.clientHeight > talk.scrollHeight - 2")
    browser.run("talk.scrollTop = 100")
    site.transcript.append(entry(40, text="line 40"))
    browser.wait_text("#talk li:last-child", "line 40")
    assert browser.run("talk.scrollTop") == 100


def test_who_may_not_read_a_conversation_is_told_so(browser: Tab, site: Site) -> None:
    site.unreadable["agentruns/log"] = (403, "User alice cannot get agentruns/transcript")
    browser.open(site.page("job", **FAILED))
    browser.wait_text("#talk-problem", "cannot get agentruns/transcript")
    browser.wait_text("#attempts", "Refunded")


def test_output_that_is_open_is_followed(browser: Tab, site: Site) -> None:
    browser.open(site.page("job", **FAILED))
    browser.wait(SHOWN)
    browser.click("#h-output + details summary")
    browser.wait_text("#h-output + details pre", "loaded 214 orders")
    site.output += "and then <b>more</b>\n"
    browser.run("refresh()")
    browser.wait_text("#h-output + details pre", "and then <b>more</b>")


def test_a_schedule_is_run_now_with_the_same_time_in_both_annotations(browser: Tab, site: Site) -> None:
    browser.open(site.page("schedules"))
    browser.wait_text(".region", "inventory")
    browser.click(f"[id='s-{uid('digest')}'] button[data-act=trigger]")
    confirm(browser, "the morning's is missing")
    until(lambda: site.changes, "the change arrives")
    method, path, body = site.changes[0]
    assert (method, path) == (
        "PATCH",
        "/apis/agentjobs.dev/v1alpha1/namespaces/support/scheduledagentjobs/digest",
    )
    annotations = body["metadata"]["annotations"]
    said = act.parse(annotations[ACT])
    assert (said.verb, said.at) == (Verb.RUN_NOW, annotations[RUN_REQUESTED_AT])


def test_a_schedule_is_paused_and_resumed_by_its_spec(browser: Tab, site: Site) -> None:
    browser.open(site.page("schedules"))
    browser.click(f"[id='s-{uid('stock-check')}'] button[data-act=hold]")
    confirm(browser)
    browser.wait_text(f"[id='s-{uid('stock-check')}'] .told", "Asked for")
    browser.click(f"[id='s-{uid('inventory')}'] button[data-act=unhold]")
    confirm(browser)
    browser.wait_text(f"[id='s-{uid('inventory')}'] .told", "Asked for")
    asked = [
        (body["spec"]["suspend"], act.parse(body["metadata"]["annotations"][ACT]).verb)
        for _, _, body in site.changes
    ]
    assert asked == [(True, Verb.SUSPEND), (False, Verb.RESUME)]


def test_a_schedules_last_jobs_are_told_in_words_beside_their_bars(browser: Tab, site: Site) -> None:
    browser.open(site.page("schedules"))
    browser.wait("document.querySelectorAll('svg.chart rect').length === 42")
    label = browser.run("document.querySelector('svg.chart').getAttribute('aria-label')")
    assert label == "The last 14 jobs: 11 Complete, 3 Failed"
    browser.click("details summary")
    browser.wait_text("details ol", "CET")
    browser.run("refresh()")
    browser.wait("document.querySelector('details').open")


def test_what_a_user_may_not_read_is_told_in_its_place(browser: Tab, site: Site) -> None:
    site.unreadable["agentruns/result"] = (403, "User alice cannot get agentruns/result")
    browser.open(site.page("job", **FAILED))
    browser.wait_text("#result-problem", "cannot get agentruns/result")
    browser.wait_text("#attempts", "Refunded")


def test_the_keys_lead_to_pages_and_to_the_filter(browser: Tab, site: Site) -> None:
    browser.open(site.page("now", namespace="support"))
    browser.wait(SHOWN)
    browser.press("g")
    browser.press("j")
    browser.wait(
        "location.pathname.endsWith('/jobs.html') && location.search === '?namespace=support' && document.readyState === 'complete'"
    )
    browser.press("/")
    browser.wait("document.activeElement.id === 'f-state'")
