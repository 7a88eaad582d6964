"""An artifact's name, which an agent wrote, leads to no other place than the folder that a person named."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentjobs.values.file_names import local_name, local_names


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


def same_place(name: str) -> str:
    """What a file system finds that knows neither upper and lower case nor how an accent was typed, as that of macOS."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


CLASHING = [
    ["a/b.txt", "a_b.txt"],
    ["user:a/b.txt", "user_a_b.txt", "plain.txt"],
    ["1" + "x" * 300 + ".png", "2" + "x" * 300 + ".png"],
    ["Report.pdf", "report.pdf", "REPORT.PDF"],
    ["\u00e9.txt", "e\u0301.txt"],
    [".profile", "_profile", "-profile"],
    ["", "_", "/", "\ud83d", "\ud83e"],
    ["a/" + "." + "x" * 300, "a_" + "." + "x" * 300],
]


@given(
    st.lists(
        st.one_of(st.text("aAb/_:. -\u00e9e\u0301", max_size=4), st.text(st.characters(), max_size=300)),
        unique=True,
        max_size=12,
    )
)
@example(["a/b.txt", "a_b.txt", *local_names(["a/b.txt", "a_b.txt"]).values()])
def test_files_of_one_save_never_meet_and_keep_their_names_where_they_can(names: list[str]) -> None:
    places = local_names(names)
    assert list(places) == names
    assert len({same_place(place) for place in places.values()}) == len(names)
    assert local_names(names[::-1]) == places, "whatever their order"
    plain = Counter(same_place(local_name(name)) for name in names)
    for name, place in places.items():
        assert len(place.encode()) <= 200
        assert local_name(place) == place, "flat and visible"
        if plain == Counter(set(plain)):
            assert place == local_name(name)


@pytest.mark.parametrize("names", CLASHING, ids=lambda names: names[0][:12] or "empty")
def test_names_that_clash_get_a_hash_before_the_extension(names: list[str]) -> None:
    places = local_names(names)
    assert len({same_place(place) for place in places.values()}) == len(names)
    plain = Counter(same_place(local_name(name)) for name in names)
    for name, place in places.items():
        clashes = plain[same_place(local_name(name))] > 1
        assert (place != local_name(name)) is clashes
        ending = name.rpartition(".")[1:] if name.endswith((".txt", ".png", ".pdf", ".PDF")) else ()
        assert place.endswith("".join(ending)), place


def test_a_file_named_like_the_hash_of_another_moves_neither_over_the_other() -> None:
    first = local_names(["a/b.txt", "a_b.txt"])
    assert first == {"a/b.txt": "a_b-5550000d.txt", "a_b.txt": "a_b-bd3722f0.txt"}
    names = ["a/b.txt", "a_b.txt", first["a/b.txt"]]
    assert len(set(local_names(names).values())) == 3
