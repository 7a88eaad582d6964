"""Names in paths, and whose fault an error of a service by URI is."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from google.adk.artifacts.artifact_util import _RESERVED_PATH_SEGMENTS, validate_path_segment
from google.adk.errors.input_validation_error import InputValidationError
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.agents.sessions.service_faults import is_of_place
from agentjobs.agents.sessions.uri_artifacts import _SPECIAL, path_part

NAMES = st.text("aA.%/\\:? 2Fsurép🙂", min_size=1, max_size=8) | st.sampled_from(sorted(_SPECIAL))


@given(NAMES, NAMES)
def test_two_names_never_become_one_part_of_a_path_and_none_leads_elsewhere(one: str, other: str) -> None:
    part = path_part(one)
    assert (part == path_part(other)) == (one == other)
    validate_path_segment(part, "user_id")
    assert "/" not in part
    assert part.casefold() not in _SPECIAL


@pytest.mark.parametrize("name", ["system", "ann@example.com", "job-0a1b", "Zoë", "v1.2_x", "a+b,c=d~"])
def test_a_harmless_name_is_itself(name: str) -> None:
    assert path_part(name) == name


def test_all_names_that_adks_services_reserve_are_known() -> None:
    assert _RESERVED_PATH_SEGMENTS <= _SPECIAL


class _WithStatus(Exception):
    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)


class _Response:
    status_code = 503


CASES: list[tuple[BaseException, bool]] = [
    (ConnectionRefusedError(), True),
    (TimeoutError(), True),
    (OSError(errno.ENOSPC, "full"), True),
    (PermissionError(errno.EACCES, "no"), True),
    (OSError(errno.ESTALE, "stale"), True),
    (OSError(errno.ENAMETOOLONG, "long"), False),
    (IsADirectoryError(errno.EISDIR, "folder"), False),
    (InputValidationError("name"), False),
    (ValueError("embedded null byte"), False),
    (KeyError("x"), False),
    (NotImplementedError(), False),
    *((_WithStatus(code=code), True) for code in (401, 403, 404, 408, 429, 500, 503)),
    *((_WithStatus(status_code=code), False) for code in (400, 409, 412, 413)),
    (_WithStatus(response=_Response()), True),
    (_WithStatus(response={"ResponseMetadata": {"HTTPStatusCode": 503}}), True),
    (_WithStatus(response={"ResponseMetadata": {"HTTPStatusCode": 400}}), False),
    (_WithStatus(code="Unavailable"), False),
]


@pytest.mark.parametrize(("error", "of_place"), CASES, ids=[repr(error) for error, _ in CASES])
def test_an_error_is_the_places_or_the_agents(error: BaseException, of_place: bool) -> None:
    assert is_of_place(error) is of_place


def test_what_an_error_was_raised_from_counts_too() -> None:
    wrapped = RuntimeError("it failed")
    wrapped.__cause__ = ConnectionResetError()
    assert is_of_place(wrapped)
