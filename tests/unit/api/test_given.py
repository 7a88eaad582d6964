"""What a job is given by what its spec refers to: a pure decision."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from agentjobs.api.given import Given, InputProblem, given_of, mime_type_of, sources_of
from agentjobs.api.inputs import INPUT_BYTES
from agentjobs.api.job_spec import JobSpec
from agentjobs.values.input_file import InputFile


def key(kind: str, name: str, key: str) -> dict[str, Any]:
    return {{"ConfigMap": "configMapKeyRef", "Secret": "secretKeyRef"}[kind]: {"name": name, "key": key}}


def spec(message: dict[str, Any] | None = None, *inputs: dict[str, Any]) -> JobSpec:
    said = {"message": "hi"} if message is None else {"messageFrom": message}
    return JobSpec.model_validate({"agent": {"module": "a"}, **said, "inputs": list(inputs) or None})


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


OBJECTS: dict[tuple[str, str], dict[str, Any] | str] = {
    ("ConfigMap", "data"): {
        "data": {
            "a.csv": "x,\N{SNOWMAN}",
            "long": "x" * 65_537,
            "empty": "",
            "nul": "a\0b",
            "snow": "\N{SNOWMAN}" * 65_536,
        },
        "binaryData": {"a.png": encoded(b"\x89PNG"), "large": encoded(bytes(INPUT_BYTES + 1))},
    },
    ("Secret", "token"): {"data": {"value": encoded(b"secret"), "broken": "!"}},
    ("ConfigMap", "none"): "does not exist in namespace team: create it",
}


def test_what_the_spec_names_is_given_in_its_order() -> None:
    given = given_of(
        spec(
            key("Secret", "token", "value"),
            {"name": "a.csv", **key("ConfigMap", "data", "a.csv")},
            {"name": "b", "mimeType": "image/png", "attach": "Artifact", **key("ConfigMap", "data", "a.png")},
            {"name": "c.txt", **key("Secret", "token", "value")},
        ),
        OBJECTS,
    )
    assert given == Given(
        "secret",
        (
            InputFile("a.csv", "text/csv", "x,\N{SNOWMAN}".encode()),
            InputFile("b", "image/png", b"\x89PNG", "Artifact"),
            InputFile("c.txt", "text/plain", b"secret"),
        ),
    )
    assert [InputFile.from_json(file.as_json()) for file in given.files] == list(given.files)
    assert "secret" not in repr(given)


def test_nothing_is_given_to_a_spec_that_names_nothing() -> None:
    assert sources_of(spec()) == []
    assert given_of(spec(), {}) == Given()


@pytest.mark.parametrize(
    ("message", "file", "says"),
    [
        (None, key("ConfigMap", "none", "a"), ["spec.inputs[0]: ConfigMap none: does not exist", "create it"]),
        (None, key("ConfigMap", "data", "b"), ["spec.inputs[0]: ConfigMap data: key b does not exist; it has a.csv, a.png", "add the key"]),
        (None, key("Secret", "token", "b"), ["spec.inputs[0]: Secret token: key b does not exist; it has broken, value"]),
        (None, key("Secret", "token", "broken"), ["spec.inputs[0]: Secret token: key broken is no base64"]),
        (None, key("ConfigMap", "data", "large"), ["spec.inputs: wants at most 716800 bytes", "got 716801, of which f has 716801"]),
        (key("ConfigMap", "none", "a"), None, ["spec.messageFrom: ConfigMap none: does not exist"]),
        (key("ConfigMap", "data", "a.png"), None, ["spec.messageFrom: ConfigMap data: key a.png is no UTF-8", "spec.inputs"]),
        (key("ConfigMap", "data", "long"), None, ["wants 1 to 65536 characters, got 65537"]),
        (key("ConfigMap", "data", "empty"), None, ["wants 1 to 65536 characters, got 0"]),
        (key("ConfigMap", "data", "nul"), None, ["NUL"]),
        (key("ConfigMap", "none", "a"), key("ConfigMap", "data", "b"), ["spec.messageFrom: ", "; spec.inputs[0]: "]),
    ],
)  # fmt: skip
def test_what_cannot_be_given_is_told_by_field_object_and_remedy(
    message: dict[str, Any] | None, file: dict[str, Any] | None, says: list[str]
) -> None:
    with pytest.raises(InputProblem) as told:
        given_of(spec(message, *([{"name": "f", **file}] if file else [])), OBJECTS)
    for words in says:
        assert words in str(told.value)


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.csv", b"", "text/csv"),
        ("a.JSON", b"", "application/json"),
        ("a.png", b"no png", "image/png"),
        ("a.unknown", b"text", "text/plain"),
        ("a.unknown", b"\xff", "application/octet-stream"),
        ("a.csv.gz", b"\x1f\x8b\xff", "application/octet-stream"),
        ("README", b"text", "text/plain"),
    ],
)
def test_a_files_type_follows_from_its_name_and_else_from_its_content(
    name: str, data: bytes, found: str
) -> None:
    assert mime_type_of(name, data) == found
