"""Which versions of google-adk are tested beside the pinned one."""

from __future__ import annotations

import adk_versions
import pytest
from adk_versions import Plan, plan
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ALLOWED = SpecifierSet(">=2.13,<3")


def versions(*texts: str) -> list[Version]:
    return [Version(text) for text in texts]


@pytest.mark.parametrize(
    ("published", "pinned", "required", "after"),
    [
        (["2.12.0", "2.13.0"], "2.13.0", [], None),
        (["2.12.0", "2.13.0", "2.13.1", "2.14.0"], "2.13.1", ["2.13.0", "2.14.0"], None),
        (["2.13.0", "2.14.0"], "2.14.0", ["2.13.0"], None),
        (["2.13.0", "2.14.0rc1"], "2.13.0", [], "2.14.0rc1"),
        (["2.13.0", "3.0.0"], "2.13.0", [], "3.0.0"),
        (["2.13.0", "2.14.0", "3.0.0b1", "3.0.0a1"], "2.13.0", ["2.14.0"], "3.0.0b1"),
    ],
)
def test_the_ends_of_what_is_allowed_are_required_and_the_next_one_is_told(
    published: list[str], pinned: str, required: list[str], after: str | None
) -> None:
    expected = Plan(tuple(versions(*required)), Version(after) if after else None)
    assert plan(versions(*published), ALLOWED, Version(pinned)) == expected


def test_a_range_in_which_nothing_is_published_is_an_error_that_names_it() -> None:
    with pytest.raises(SystemExit, match=r"none of the published versions of google-adk is <3,>=2.13"):
        plan(versions("2.12.0", "2.13.0rc1"), ALLOWED, Version("2.13.0"))


def test_what_is_pinned_is_allowed() -> None:
    assert adk_versions.pinned_version() in adk_versions.allowed_versions()


def test_each_folder_and_file_of_the_agents_tests_is_there() -> None:
    assert [name for name in adk_versions.TESTS if not (adk_versions.ROOT / name).exists()] == []
