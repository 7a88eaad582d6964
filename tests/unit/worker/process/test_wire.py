"""Messages survive whatever way the bytes arrive, and whatever text a model produces."""

from __future__ import annotations

import os
import socket

import pytest

from agentjobs.worker.process import wire as protocol
from agentjobs.worker.process.wire import Lines, Op, decode, encode_line, receive_packet, send_packet


def test_lines_come_together_from_any_pieces() -> None:
    data = b"".join(encode_line({"op": Op.EVENT, "n": n}) for n in range(20))
    for size in (1, 3, 7, len(data)):
        lines = Lines()
        got = [
            decode(line)["n"]
            for start in range(0, len(data), size)
            for line in lines.feed(data[start : start + size])
        ]
        assert got == list(range(20)), size


@pytest.mark.parametrize("text", ["\x00", "\ud800", "\U0001f600", 'a"\n\\', "ä" * 1000])
def test_h6_every_text_crosses(text: str) -> None:
    (line,) = Lines().feed(encode_line({"op": Op.RESULT, "text": text}))
    assert decode(line)["text"] == text


@pytest.mark.parametrize("data", [b"no json", b"[]", b"{}", b'{"a": 1}', b"[" * 200_000, b"\xff"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_LINE_BYTES", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        list(Lines().feed(b"x" * 1001))


def test_file_descriptors_travel_with_their_packet() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        read_end, write_end = os.pipe()
        send_packet(here, {"op": Op.SPAWN, "n": 1}, [write_end])
        os.close(write_end)
        received = receive_packet(there)
        assert received is not None
        message, descriptors = received
        assert message == {"op": "spawn", "n": 1}
        with os.fdopen(descriptors[0], "wb") as file:
            file.write(b"through")
        with os.fdopen(read_end, "rb") as file:
            assert file.read() == b"through"


def test_the_end_of_the_other_side_is_none() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        here.close()
        assert receive_packet(there) is None
