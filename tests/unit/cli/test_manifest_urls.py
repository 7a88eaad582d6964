"""`-f https://…`: a manifest is read from its URL as kubectl reads it, and what cannot be had says why."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agentjobs.cli import manifest_url
from agentjobs.cli.errors import BadInput
from agentjobs.cli.kubectl.manifests import from_files as to_submit
from agentjobs.cli.local.run_request import from_files

JOB = (
    "apiVersion: agentjobs.dev/v1alpha1\nkind: AgentJob\nmetadata: {name: a}\n"
    "spec: {agent: {inline: {name: a, model: echo, instruction: i}}, message: grüße}\n"
).encode()
HEAD = "HTTP/1.0 {}\r\nContent-Type: {}\r\n{}\r\n"


class Server(BaseHTTPRequestHandler):
    """A server whose paths are the ways in which one can fail."""

    def do_GET(self) -> None:
        match self.path:
            case "/job.yaml":
                self.tell("200 OK", body=JOB)
            case "/moved":
                self.tell("302 Found", more="Location: /job.yaml\r\n")
            case "/to-a-file":
                self.tell("302 Found", more="Location: file:///etc/passwd\r\n")
            case "/around":
                self.tell("302 Found", more="Location: /around\r\n")
            case "/page":
                self.tell("200 OK", "text/html; charset=utf-8", body=b"<html>")
            case "/latin":
                self.tell("200 OK", body=JOB.decode().encode("latin-1"))
            case "/huge":
                self.tell("200 OK", body=b"#" * (manifest_url.MOST_BYTES + 1))
            case "/cut":
                self.tell("200 OK", more="Content-Length: 100000\r\n", body=b"kind: ")
            case "/noise":
                self.wfile.write(b"\x00\x01 what\r\n\r\n")
            case "/silent":
                self.tell("200 OK")
                self.rfile.read(1)  # until the client is gone
            case _:
                self.tell("404 Not Found")

    def tell(self, status: str, kind: str = "text/plain", more: str = "", body: bytes = b"") -> None:
        self.wfile.write(HEAD.format(status, kind, more).encode() + body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests' output is theirs."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["/job.yaml", "/moved"])
def test_a_manifest_is_read_from_its_url(path: str, address: str) -> None:
    [job] = from_files([address + path], io.StringIO()).jobs
    assert job.spec.message == "grüße"
    assert [found["metadata"]["name"] for found in to_submit([address + path])] == ["a"]


FAILS = [
    ("/nothing", "the server answered 404 Not Found"),
    ("/to-a-file", "302"),
    ("/around", "infinite loop"),
    ("/page", "is a web page, and no manifest"),
    ("/latin", "not UTF-8"),
    ("/huge", "more than 4 MiB"),
    ("/cut", "cut off after 6 of 100000 bytes"),
    ("/noise", "cannot be read"),
    ("/silent", "nothing came for"),
]


@pytest.mark.parametrize(("path", "why"), FAILS)
def test_what_cannot_be_had_is_told_with_the_url_as_it_was_given(
    path: str, why: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_url, "STEP_SECONDS", 1.0)
    with pytest.raises(BadInput) as problem:
        from_files([address + path], io.StringIO())
    assert f"-f '{address}{path}'" in str(problem.value)
    assert why in str(problem.value)
    with pytest.raises(BadInput):
        to_submit([address + path])


def test_where_nothing_listens_and_where_no_name_is_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/job.yaml"
        with pytest.raises(BadInput, match="cannot be reached: Connection refused"):
            from_files([closed], io.StringIO())
    with pytest.raises(BadInput, match=r"-f 'https://no-such-host\.invalid/a\.yaml' cannot be reached"):
        from_files(["https://no-such-host.invalid/a.yaml"], io.StringIO())


@pytest.mark.parametrize(
    "url", ["https://", "http://[::1/a.yaml", "http://a b/c", "https://host:port/a.yaml"]
)
def test_what_is_no_url_is_told_in_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(BadInput) as problem:
        from_files([url], io.StringIO())
    assert f"-f '{url}'" in str(problem.value)
