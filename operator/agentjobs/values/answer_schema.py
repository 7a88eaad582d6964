"""Whether the payload of an answer fits the schema of its question: the part of JSON Schema that ADK's questions use. Pure.

A model may have written the schema, so it is hostile: nothing is fetched, no pattern is run, references and depth have
an end. What the schema says beyond this part is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

_MOST_STEPS = 2_000
"""Of one check: a schema of 8 KiB can refer to itself and so be endless."""
_SHOWN_CHARACTERS = 40
_REMEDY = "Mend the payload and answer again"
_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("a text", lambda value: isinstance(value, str)),
    "integer": ("a whole number", lambda value: _is_number(value) and value == value // 1),
    "number": ("a number", lambda value: _is_number(value)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "null": ("null", lambda value: value is None),
}
_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("at least {}", lambda value, bound: not _is_number(value) or value >= bound),
    "maximum": ("at most {}", lambda value, bound: not _is_number(value) or value <= bound),
    "exclusiveMinimum": ("more than {}", lambda value, bound: not _is_number(value) or value > bound),
    "exclusiveMaximum": ("less than {}", lambda value, bound: not _is_number(value) or value < bound),
    "minLength": ("at least {} characters", lambda value, bound: not isinstance(value, str) or len(value) >= bound),
    "maxLength": ("at most {} characters", lambda value, bound: not isinstance(value, str) or len(value) <= bound),
    "minItems": ("at least {} items", lambda value, bound: not isinstance(value, list) or len(value) >= bound),
    "maxItems": ("at most {} items", lambda value, bound: not isinstance(value, list) or len(value) <= bound),
}  # fmt: skip


class _Misfit(Exception):
    def __init__(self, path: str, value: Any, wanted: str, *, missing: bool = False) -> None:
        super().__init__(path)
        self.path, self.value, self.wanted, self.missing = path, value, wanted, missing


def misfit(payload: Any, schema: str, *, quoted: bool = True) -> str:
    """Why ``payload`` does not fit: field, value and remedy. Empty: it does, or the schema is none that can be read.

    :param schema: as JSON; empty: everything fits.
    :param quoted: whether the message may have the value; else it says of what kind the value is.
    """
    try:
        root = json.loads(schema) if schema else {}
    except (ValueError, RecursionError):
        return ""
    try:
        _Check(root).of(payload, root, "payload")
    except _Misfit as found:
        if found.missing:
            return f"{found.path} is missing; {found.wanted} is wanted. {_REMEDY}"
        is_ = _shown(found.value) if quoted else _kind(found.value)
        return f"{found.path} is {is_}; {found.wanted} is wanted. {_REMEDY}"
    except (_Endless, RecursionError):
        return ""
    return ""


def example(schema: str) -> Any:
    """A payload that fits the schema as far as its types say, for who has nobody to ask. Raises ValueError: it cannot be read."""
    try:
        root = json.loads(schema) if schema else {}
        return _Check(root).example(root)
    except (_Endless, RecursionError) as error:
        raise ValueError("the schema has no end") from error


class _Endless(Exception):
    pass


class _Check:
    """One check, which takes a bounded number of steps."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        """The schema behind its references."""
        for _ in range(16):
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise _Endless
            if not isinstance(schema, dict) or not isinstance(ref := schema.get("$ref"), str):
                return schema if isinstance(schema, dict) else {}
            found = self._root
            for step in ref.removeprefix("#/").split("/"):
                found = found.get(step) if isinstance(found, dict) else None
            schema = found
        raise _Endless

    def of(self, value: Any, schema: Any, path: str) -> None:
        """Raises _Misfit, _Endless."""
        rules = self._resolved(schema)
        self._is_one_of(value, rules, path)
        self._has_type(value, rules, path)
        if "enum" in rules and isinstance(rules["enum"], list) and value not in rules["enum"]:
            raise _Misfit(path, value, "one of " + ", ".join(_shown(one) for one in rules["enum"][:10]))
        if "const" in rules and value != rules["const"]:
            raise _Misfit(path, value, _shown(rules["const"]))
        for name, (told, holds) in _BOUNDS.items():
            if _is_number(bound := rules.get(name)) and not holds(value, bound):
                raise _Misfit(path, value, told.format(bound))
        if isinstance(value, dict):
            self._fields(value, rules, path)
        if isinstance(value, list) and isinstance(rules.get("items"), dict):
            for number, item in enumerate(value):
                self.of(item, rules["items"], f"{path}[{number}]")

    def _is_one_of(self, value: Any, rules: Mapping[str, Any], path: str) -> None:
        for inner in _list(rules.get("allOf")):
            self.of(value, inner, path)
        choices = _list(rules.get("anyOf")) or _list(rules.get("oneOf"))
        misfits = []
        for inner in choices:
            try:
                return self.of(value, inner, path)
            except _Misfit as found:
                misfits.append(found)
        if misfits:
            deepest = max(misfits, key=lambda found: len(found.path))
            if len(deepest.path) > len(path):
                raise deepest
            raise _Misfit(path, value, " or ".join(dict.fromkeys(found.wanted for found in misfits)))
        return None

    def _has_type(self, value: Any, rules: Mapping[str, Any], path: str) -> None:
        given = rules.get("type")
        names = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str)]
        known = [_TYPES[name] for name in names if name in _TYPES]
        if known and len(known) == len(names) and not any(holds(value) for _, holds in known):
            raise _Misfit(path, value, " or ".join(told for told, _ in known))

    def _fields(self, value: Mapping[str, Any], rules: Mapping[str, Any], path: str) -> None:
        fields = rules.get("properties")
        fields = fields if isinstance(fields, dict) else {}
        for name in _list(rules.get("required")):
            if isinstance(name, str) and name not in value:
                raise _Misfit(f"{path}.{name}", None, self._wanted(fields.get(name)), missing=True)
        for name, inner in value.items():
            if name in fields:
                self.of(inner, fields[name], f"{path}.{name}")
            elif rules.get("additionalProperties") is False:
                known = ", ".join(list(fields)[:10]) or "none"
                raise _Misfit(f"{path}.{name}", inner, f"no such field (known are {known})")
            else:
                self.of(inner, rules.get("additionalProperties"), f"{path}.{name}")

    def _wanted(self, schema: Any) -> str:
        given = self._resolved(schema).get("type")
        return _TYPES[given][0] if isinstance(given, str) and given in _TYPES else "a value"

    def example(self, schema: Any) -> Any:
        rules = self._resolved(schema)
        for name in ("default", "const"):
            if name in rules:
                return rules[name]
        for name in ("examples", "enum"):
            if _list(rules.get(name)):
                return rules[name][0]
        for name in ("anyOf", "oneOf", "allOf"):
            if choices := _list(rules.get(name)):
                return self.example(choices[0])
        kind = rules.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if kind == "object" or "properties" in rules:
            fields = rules.get("properties")
            fields = fields if isinstance(fields, dict) else {}
            return {
                name: self.example(fields.get(name))
                for name in _list(rules.get("required"))
                if isinstance(name, str)
            }
        simple = {"string": "", "boolean": True, "array": [], "null": None}
        if kind in ("integer", "number"):
            least = rules.get("minimum")
            return least if _is_number(least) else 0
        return simple.get(kind, "") if isinstance(kind, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return next(told for told, holds in _TYPES.values() if holds(value))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
