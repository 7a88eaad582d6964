"""The SQL files: what they must not say, and that the lint that refuses it does."""

from __future__ import annotations

from pathlib import Path

import pytest

import sql_lint
from agentjobs.queue.release import current, functions
from releases import OVERLAYS, PACKAGE, releases

NAMES = {name for name, _ in functions(current().functions)}
FILES = sorted((PACKAGE / "functions").rglob("*.sql"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_condition_calls_the_clock(path: Path) -> None:
    assert list(sql_lint.volatile_conditions(path.name, path.read_text())) == []


def test_every_function_is_defined_once_and_has_its_comment() -> None:
    assert NAMES
    assert list(sql_lint.definitions(PACKAGE / "functions")) == []


def test_no_step_calls_a_function_or_holds_up_workers(tmp_path: Path) -> None:
    for release in releases(tmp_path):
        for step in release.steps:
            assert list(sql_lint.step(step, NAMES)) == []


@pytest.mark.parametrize(
    "path", [*PACKAGE.rglob("*.sql"), *OVERLAYS.rglob("*.sql")], ids=lambda path: path.name
)
def test_lines_are_no_longer_than_a_screen(path: Path) -> None:
    assert list(sql_lint.lines(path)) == []


def test_functions_are_ascii_so_that_a_database_of_any_encoding_can_be_given_new_ones() -> None:
    assert [path.name for path in PACKAGE.rglob("functions/*.sql") if not path.read_text().isascii()] == []


@pytest.mark.parametrize(
    "text",
    [
        "select 1 from waiting where run_at <= clock_timestamp()",
        "select 1 from waiting where run_at <=\n  clock_timestamp() - p_age",
        "select 1 from waiting where clock_timestamp() > run_at",
        "select 1 from waiting where clock_timestamp() - p_age > run_at",
        "select 1 from waiting where run_at + p_age < clock_timestamp()",
        "select 1 from waiting where run_at < greatest(p_at, clock_timestamp())",
        "select 1 from waiting where run_at between p_at and clock_timestamp()",
        "select 1 from waiting w join job j on j.id = w.id and j.due_at < clock_timestamp()",
        "select 1 from waiting where id = nextval('position')",
        "update upkeep set pruned_at = clock_timestamp() where pruned_at < clock_timestamp() - interval '1 minute'",
        "select run_at < clock_timestamp() as late from waiting",
        "if v_at < clock_timestamp() then return; end if;",
        "select case when run_at < clock_timestamp() then 'l' end from waiting",
        "select 1 from waiting where run_at <= now()",
        "insert into job (created_at) values (current_timestamp)",
    ],
)
def test_a_clock_in_a_condition_is_refused(text: str) -> None:
    assert list(sql_lint.volatile_conditions("f", text))


@pytest.mark.parametrize(
    "text",
    [
        "declare v_now timestamptz := clock_timestamp(); v_before timestamptz := clock_timestamp() - p_age;",
        "select 1 from waiting where run_at <= v_now  -- not clock_timestamp()",
        "update waiting set since = clock_timestamp(), reason = '' where id = p_id",
        "update waiting set wait_since = coalesce(w.wait_since, clock_timestamp()), state = 'm' where id = p_id",
        "select extract(epoch from clock_timestamp() - wait_since)::int from gone",
        "update waiting set pos = case when started_at is null then pos(priority(pos), nextval('position')) else pos end",
    ],
)
def test_a_clock_that_is_no_condition_is_fine(text: str) -> None:
    assert list(sql_lint.volatile_conditions("f", text)) == []


@pytest.mark.parametrize(
    ("up", "down", "why"),
    [
        ("create function f() returns int language sql as 'select 1'", "", "makes a function"),
        ("insert into upkeep select place(1)", "", r"calls place\(\)"),
        ("alter table job add column a int; alter table waiting add column a int", "", "alters job, waiting"),
        ("create index job_bytes on job (bytes)", "", "builds an index of job"),
        ("update job set bytes = 0", "", "changes rows of job"),
        (
            "-- section: batch of job until true\nupdate job set bytes = 0 where ctid between @from@ and @to@",
            "",
            "skip locked",
        ),
        ("create table a (n int)", "drop table a", "if exists"),
    ],
)
def test_a_step_that_would_hold_up_workers_is_refused(up: str, down: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        assert list(sql_lint.step(sql_lint.made(up, down), NAMES)) == []


def test_a_function_that_stands_twice_or_without_a_comment_is_refused(tmp_path: Path) -> None:
    one = "create or replace function f() returns int language sql as 'select 1';\n"
    (tmp_path / "10_a.sql").write_text("-- f: one.\n" + one)
    (tmp_path / "20_b.sql").write_text(
        one + "  create function g() returns int language sql as 'select 1';\n"
    )
    said = "\n".join(sql_lint.definitions(tmp_path))
    assert "f: defined 2 times" in said
    assert "20_b.sql: f: a comment" in said
    assert "20_b.sql: each function begins a line" in said
