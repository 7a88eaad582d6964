"""The part of kubectl's JSONPath that one-line scripts use: ``{.items[*].metadata.name}{"\\n"}``, ``{range …}…{end}``,
``[0]``, ``[-1]``, ``['key']`` and ``[?(@.type=="Finished")]``. What is left out (slices, unions, ``..``) is refused by name.
Pure.

https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agentjobs.cli.errors import BadInput

Step = Callable[[Any], Iterator[Any]]
_PART = re.compile(r"\{(?P<inside>(?:[^{}'\"]|'[^']*'|\"(?:[^\"\\]|\\.)*\")*)\}|(?P<text>[^{]+)")
_STEP = re.compile(
    r"""\.(?P<key>(?:[^.\[\]\\]|\\.)+)
      |\[(?P<index>-?\d{1,9})\]
      |\[(?P<all>\*)\]
      |\['(?P<quoted>[^']*)'\]
      |\[\?\(@(?P<left>(?:\.(?:[^.\[\]\\=!<>\s]|\\.)+)+)\s*(?P<op>==|!=)\s*(?P<right>"[^"]*"|'[^']*'|-?\d+|true|false)\)\]
      |\.(?=\[)""",
    re.VERBOSE,
)


def printed(template: str, value: Any) -> str:
    """The text of a template for a value, as kubectl prints it.

    :raises BadInput: the template cannot be read.
    """
    if "{" not in template:
        template = "{" + (template if template.startswith((".", "[")) else f".{template}") + "}"
    parts = list(_parts(template))
    text, rest = _block(parts, 0, value)
    if rest != len(parts):
        raise BadInput("jsonpath: {end} without {range …}.")
    return text


def _parts(template: str) -> Iterator[tuple[bool, str]]:
    """Pieces of the template: whether it stood in braces, and its text."""
    at = 0
    while at < len(template):
        match = _PART.match(template, at)
        if match is None:
            raise BadInput(f"jsonpath: cannot be read from {template[at : at + 30]!r} on.")
        yield match["text"] is None, (match["inside"] if match["text"] is None else match["text"])
        at = match.end()


def _block(parts: Sequence[tuple[bool, str]], at: int, value: Any) -> tuple[str, int]:
    """The text of the parts up to the next {end}, and where that is."""
    told: list[str] = []
    while at < len(parts):
        braces, text = parts[at]
        inside = text.strip()
        if not braces:
            told.append(text)
        elif inside == "end":
            return "".join(told), at
        elif inside.startswith("range "):
            found = list(selected(inside[6:].strip(), value))
            stop = _block(parts, at + 1, None)[1]
            if stop == len(parts):
                raise BadInput("jsonpath: {range …} wants an {end}.")
            told += [_block(parts, at + 1, one)[0] for one in found]
            at = stop
        elif inside[:1] in ("'", '"'):
            told.append(_literal(inside))
        else:
            told.append(" ".join(_text(one) for one in selected(inside, value)))
        at += 1
    return "".join(told), at


def selected(path: str, value: Any) -> Iterator[Any]:
    """The values at a path; none where the path leads nowhere.

    :raises BadInput: the path cannot be read.
    """
    rest = path.removeprefix("$").removeprefix("@")
    found: list[Any] = [value]
    if rest in ("", "."):
        return iter(found)
    if rest[0] not in ".[":
        rest = f".{rest}"
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            raise BadInput(
                f"jsonpath: {path[:60]!r} cannot be read from {rest[at : at + 20]!r} on (slices, unions and .. are not known "
                "here: use -o json)."
            )
        step = _step(match)
        found = [inner for one in found for inner in step(one)]
        at = match.end()
    return iter(found)


def _step(match: re.Match[str]) -> Step:
    if match["key"] is not None:
        key = re.sub(r"\\(.)", r"\1", match["key"])
        return _every if key == "*" else lambda one: _of_key(one, key)
    if match["quoted"] is not None:
        quoted = match["quoted"]
        return lambda one: _of_key(one, quoted)
    if match["index"] is not None:
        index = int(match["index"])
        return lambda one: iter(one[index : index + 1 or None] if isinstance(one, list) else ())
    if match["all"] is not None:
        return _every
    if match["left"] is not None:
        left, same = match["left"], match["op"] == "=="
        right = _constant(match["right"])
        return lambda one: (item for item in _every(one) if (right in list(selected(left, item))) is same)
    return lambda one: iter((one,))


def _constant(text: str) -> str | int | bool:
    """What a filter compares with: a text in quotes, true or false, or a number."""
    if text[0] in "'\"":
        return text[1:-1]
    return text == "true" if text in ("true", "false") else int(text)


def _of_key(one: Any, key: str) -> Iterator[Any]:
    return iter((one[key],) if isinstance(one, dict) and key in one else ())


def _every(one: Any) -> Iterator[Any]:
    return iter(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())


def _literal(text: str) -> str:
    """A quoted text; \\n and \\t are what they are in Go."""
    if len(text) < 2 or text[-1] != text[0]:
        raise BadInput(f"jsonpath: {text[:30]} has no end.")
    inside = text[1:-1]
    return inside.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').replace("\\\\", "\\")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
