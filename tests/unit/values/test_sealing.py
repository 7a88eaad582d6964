"""The keys of credentials: several open, the first seals, and a wrong file says what is wanted and no key."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from agentjobs.values.sealing import keys_of


def test_the_first_key_seals_and_each_opens(tmp_path: Path) -> None:
    file, old, new = tmp_path / "keys", Fernet.generate_key(), Fernet.generate_key()
    file.write_bytes(old)
    sealed = keys_of(file).encrypt(b"x")
    file.write_bytes(new + b"\n" + old + b"\n")
    assert keys_of(file).decrypt(sealed) == b"x"
    assert Fernet(new).decrypt(keys_of(file).encrypt(b"y")) == b"y"


def test_the_command_of_docs_and_message_makes_a_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="as made by") as raised:
        keys_of(tmp_path / "key")
    command = str(raised.value).partition("as made by: ")[2]
    assert f"{command} > key\n" in (Path(__file__).parents[3] / "docs" / "agents.md").read_text()
    subprocess.run(["sh", "-c", f"{command} > key"], cwd=tmp_path, check=True, timeout=60)
    assert keys_of(tmp_path / "key").encrypt(b"x")


@pytest.mark.parametrize(
    "content", [None, b"", b"\n", b"heron-4711", b"%s=\nheron-4711" % (b"A" * 43), b"\xff\xfe"]
)
def test_a_wrong_file_is_named_with_what_is_wanted_and_no_key(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"AGENTJOBS_CREDENTIAL_KEY_FILE .*keys: .*urandom") as raised:
        keys_of(file)
    assert "heron" not in str(raised.value)
