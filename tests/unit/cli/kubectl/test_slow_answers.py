"""A person who waits for an answer is told so; a script is not."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentjobs.cli.kubectl import apiserver
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.where import Where

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Screen(io.StringIO):
    """A standard error output that knows when something was written."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self.terminal

    def flush(self) -> None:
        self.written.set()


@pytest.fixture
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen(terminal=request.param)
    # not sys.stderr itself, which pytest sets after the set-up
    monkeypatch.setattr(apiserver, "sys", SimpleNamespace(stderr=screen))
    monkeypatch.setattr(apiserver, "SILENT_SECONDS", 0.01)
    return screen


@pytest.fixture
def server(screen: Screen, tmp_path: Path) -> Iterator[ApiServer]:
    """An API server that answers after a person was told that it is waited for, twice."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                for _ in range(2):
                    connection.recv(65536)
                    screen.written.wait(60 if screen.terminal else 0.1)
                    connection.sendall(ANSWER)

        answering = threading.Thread(target=answer)
        answering.start()
        server = ApiServer(tmp_path / "socket", Where(), "default")
        yield server
        server.close()
        answering.join(60)


@pytest.mark.parametrize("screen", [True], indirect=True)
def test_a_person_is_told_once_what_is_waited_for(server: ApiServer, screen: Screen) -> None:
    for _ in range(2):
        assert server.request("GET", "/apis/agentjobs.dev").status == 200
    assert screen.getvalue() == (
        "waiting for an answer of the API server, for 30 s at most: GET /apis/agentjobs.dev\n"
    )


@pytest.mark.parametrize("screen", [False], indirect=True)
def test_a_script_is_not(server: ApiServer, screen: Screen) -> None:
    for _ in range(2):
        assert server.request("GET", "/apis/agentjobs.dev").status == 200
    assert screen.getvalue() == ""
