"""An artifact's name, which an agent wrote, leads to no other place than the folder that a person named."""

from __future__ import annotations

import pytest

from agentjobs.values.file_names import local_name


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("report.pdf", "report.pdf"),
        ("user:a/b.txt", "user_a_b.txt"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("..", "_."),
        (".bashrc", "_bashrc"),
        ("-rf", "_rf"),
        ("a\\b\x1b[31m\n\u202e", "a_b__31m__"),
        ("Ärger 日本.png", "Ärger 日本.png"),
        ("", "_"),
        ("日" * 300 + ".png", "日" * 65 + ".png"),
    ],
)
def test_a_local_name_is_flat_visible_and_short(name: str, local: str) -> None:
    assert local_name(name) == local
    assert len(local_name(name).encode()) <= 200
