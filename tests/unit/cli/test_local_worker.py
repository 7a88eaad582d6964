"""The worker of a local run: its log, which has what agents print, for the person with --verbose."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.local.worker import LocalWorker
from processes import until

STEERS = "\x1b]0;ü\x07"


def local_worker(path: Path, *, shows_log: bool) -> LocalWorker:
    return LocalWorker(
        dsn="postgresql://h/d",
        queues={"Not A Queue": 1},  # it refuses this, and ends
        modules=[],
        models=[],
        path=[path],
        environment={},
        shows_log=shows_log,
        services={},
    )


async def test_a_worker_that_ends_by_itself_is_told_with_the_end_of_its_log_also_where_that_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with local_worker(tmp_path, shows_log=True) as worker:

        def ended() -> bool:
            return worker._process is not None and worker._process.poll() is not None

        await until(ended, "the worker's end", 60)
        with pytest.raises(Unavailable, match="Not A Queue"):
            worker.check()
    assert "Not A Queue" in capsys.readouterr().err


@pytest.mark.parametrize("shows_log", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
async def test_a_log_is_shown_whole_and_steers_no_terminal(
    shows_log: bool,
    terminal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    shown = ""
    async with local_worker(tmp_path, shows_log=shows_log) as worker:
        for piece in (
            STEERS.encode()[:5],
            STEERS.encode()[5:],
            b"\nlast",
        ):  # the first ends within a character
            with worker.log.open("ab") as log:
                log.write(piece)
            if shows_log and piece != b"\nlast":

                def seen(piece: bytes = piece) -> bool:
                    nonlocal shown
                    shown += capsys.readouterr().err
                    return ("0;" if piece.startswith(b"\x1b") else "ü") in shown

                await until(seen, "the log to be shown", 60)
    shown += capsys.readouterr().err
    if not shows_log:
        assert shown == ""
    else:
        assert ("\\x1b]0;ü\\x07" if terminal else STEERS) in shown
        assert "last" in shown
