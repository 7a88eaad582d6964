"""Labels and annotations of a schedule's children. A wrong one is refused in the schedule, not at each child.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from agentjobs.api.meta import GROUP, Schema, refuse, rule, validations
from agentjobs.values.names import DNS_LABEL_PATTERN

MAX_ITEMS = 32
RESERVED_KEYS = f"keys of {GROUP} are set by the operator: take it out"
QUALIFIED_KEYS = "each key must be a qualified name such as team or example.com/team"
LABEL_VALUES = (
    "each value must be a label value: at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter "
    "or digit"
)

_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_QUALIFIED_NAME = re.compile(rf"(?:(?=.{{1,253}}/){DNS_LABEL_PATTERN}(?:\.{DNS_LABEL_PATTERN})*/)?{_NAME}")
_LABEL_VALUE = re.compile(f"(?:{_NAME})?")


def _own_keys(given: dict[str, str]) -> dict[str, str]:
    for key in given:
        if key.startswith(f"{GROUP}/"):
            raise refuse(RESERVED_KEYS, key)
        if not _QUALIFIED_NAME.fullmatch(key):
            raise refuse(QUALIFIED_KEYS, key)
    return given


def _label_values(given: dict[str, str]) -> dict[str, str]:
    for key, value in given.items():
        if not _LABEL_VALUE.fullmatch(value):
            raise refuse(LABEL_VALUES, key)
    return given


Labels = Annotated[
    dict[str, Annotated[str, Field(max_length=63)]],
    Field(max_length=MAX_ITEMS),
    AfterValidator(_own_keys),
    AfterValidator(_label_values),
]
Annotations = Annotated[
    dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=MAX_ITEMS), AfterValidator(_own_keys)
]


def _each(wrong: str, message: str) -> Schema:
    """The rule that no key ``k`` is wrong. Its message names the first one that is."""
    return rule(f"!self.exists(k, {wrong})", message, got=f"self.filter(k, {wrong})[0]")


_KEY_RULES = (
    _each(f"k.startsWith('{GROUP}/')", RESERVED_KEYS),
    _each("format.qualifiedName().validate(k).hasValue()", QUALIFIED_KEYS),
)
ANNOTATION_RULES = validations(*_KEY_RULES)
LABEL_RULES = validations(
    *_KEY_RULES, _each("format.labelValue().validate(self[k]).hasValue()", LABEL_VALUES)
)
