"""A bench that fails says so by its exit status, and never prints a table."""

from __future__ import annotations

import os
import runpy
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from benchmarks import __main__ as all_benches
from benchmarks import cluster, server
from benchmarks.clients import Client, ClientError, drain
from benchmarks.peers import install
from benchmarks.report import Options, Table
from benchmarks.waiting import NeverReached, until

from agentjobs.agents.run import attempt

CLIENT = "import asyncio\nfrom benchmarks.protocol import Counter, serve\nasync def work():\n    {}\nasyncio.run(serve(work))"
FAILS = "raise RuntimeError('no work here')"
HANGS = "await asyncio.Event().wait()"
DOES_ONE = "Counter().add(1); await asyncio.Event().wait()"


class Broken(RuntimeError):
    """What these benches fail with."""


def broken(*_: object, **__: object) -> NoReturn:
    raise Broken("not today")


def missing() -> NoReturn:
    raise install.Missing("not asked for")


def client(work: str) -> Client:
    return Client([sys.executable, "-c", CLIENT.format(work)])


def test_a_client_whose_work_fails_ends_the_run_at_once() -> None:
    begin = time.monotonic()
    with pytest.raises(ClientError, match="ended with status 1"):
        drain([client(FAILS)], 1, os.getpid(), limit_seconds=60)
    assert time.monotonic() - begin < 50


@pytest.mark.parametrize("partly", [False, True])
def test_a_run_that_does_nothing_in_its_time_has_no_figures(partly: bool) -> None:
    with pytest.raises(ClientError, match="0 of 3 jobs"):
        drain([client(HANGS)], 3, os.getpid(), limit_seconds=0.5, partly=partly)


def test_a_run_that_does_not_do_all_has_figures_only_where_a_part_will_do() -> None:
    with pytest.raises(ClientError, match="1 of 3 jobs"):
        drain([client(DOES_ONE)], 3, os.getpid(), limit_seconds=4)
    done = drain([client(DOES_ONE)], 3, os.getpid(), limit_seconds=4, partly=True)
    assert done.jobs == 1
    assert 0 < done.rate <= 1


async def test_what_never_comes_is_an_error_that_names_it() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(NeverReached, match="the moon is full"):
        await until(never, "the moon is full", within=0.05)


@contextmanager
def _broken_part(*_: object, **__: object) -> Iterator[None]:
    broken()
    yield


@pytest.mark.parametrize("name", [*all_benches.BENCHES, "attempt_overhead"])
def test_a_bench_alone_that_fails_ends_with_its_error(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kubeconfig").touch()
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setattr(server.Server, "__enter__", broken)
    monkeypatch.setattr(cluster, "control_plane", _broken_part)
    monkeypatch.setenv("BENCH_KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("KUBECTL_BIN", "false")
    monkeypatch.setattr(attempt, "run_attempt", broken)
    for peer in ("graphile", "pgqueuer", "oban", "procrastinate"):
        monkeypatch.setattr(install, peer, missing)
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    expected = "exit status 1|'false'" if name == "pods" else "not today"
    with pytest.raises(Exception, match=expected):
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert "|" not in capsys.readouterr().out


def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two benches one fails."""
    table = Table("Good", "python -m benchmarks.good", ("n",), [("7",)])

    def ran(_: Options) -> list[Table]:
        return [table]

    monkeypatch.setattr(all_benches, "BENCHES", ("bad", "good"))
    monkeypatch.setattr(all_benches, "machine", lambda: "- CPU: fast\n")
    monkeypatch.setitem(sys.modules, "benchmarks.bad", SimpleNamespace(run=broken))
    monkeypatch.setitem(sys.modules, "benchmarks.good", SimpleNamespace(run=ran))


def test_all_benches_run_though_one_fails_and_the_status_says_that_one_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _stand_in(monkeypatch)
    page = tmp_path / "performance.md"
    names = ("machine", "bad", "good")
    page.write_text("".join(f"<!-- bench:{name} -->\nas before\n<!-- /bench:{name} -->\n" for name in names))
    assert all_benches.main(["--write", str(page)]) == 1
    said = capsys.readouterr()
    assert "| 7 |" in said.out
    assert "not today" not in said.out
    assert "Broken: not today" in said.err
    assert "failed, and without a table: bad" in said.err
    assert "<!-- bench:bad -->\nas before\n" in page.read_text()
    assert "<!-- bench:good -->\n### Good" in page.read_text()


def test_the_status_is_0_where_all_benches_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(monkeypatch)
    assert all_benches.main(["--only", "good"]) == 0
