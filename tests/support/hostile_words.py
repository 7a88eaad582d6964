"""Words that attack whoever shows them, and models whose every text is such a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic.fields import FieldInfo

from agentjobs.api.meta import ApiModel

M = TypeVar("M", bound=ApiModel)
PAYLOADS: Mapping[str, str] = {
    "script": "<script>window.hacked=1</script>",
    "image": '<img src=x onerror="window.hacked=1">',
    "svg": "<svg/onload=window.hacked=1><animate onbegin=window.hacked=1 attributeName=x>",
    "attribute": "\" onmouseover=window.hacked=1 autofocus onfocus=window.hacked=1 x='",
    "apostrophe": "' style=position:fixed;inset:0 onclick=window.hacked=1 ",
    "closing": "</pre></code></textarea></title></table></article></template><h1>mine</h1><!--",
    "htmx": '<b hx-get="/stolen" hx-trigger="load" hx-on:click="window.hacked=1" hx-swap-oob="true" id="main">x</b>',
    "link": "javascript:window.hacked=1//<a href='javascript:window.hacked=1'>press</a>",
    "data-link": "data:text/html,<script>window.hacked=1</script>",
    "remote": '<link rel=stylesheet href=https://evil.example/x.css><iframe src="//evil.example">',
    "base": '<base href="https://evil.example/"><meta http-equiv=refresh content="0;url=https://evil.example/">',
    "template": "{{ 7*7 }}{% raw %}${window.hacked=1}#{7*7}<%= 7*7 %>{{constructor.constructor('window.hacked=1')()}}",
    "entities": "&lt;script&gt;window.hacked=1&lt;/script&gt;&#x3c;img src=x onerror=window.hacked=1&#x3e;&quot;&amp;quot;",
    "ansi": "\x1b[31mred\x1b[0m\x1b]8;;https://evil.example\x07link\x1b]8;;\x07\x08\x08\x7f",
    "right-to-left": "\u202egnp.exe\u2066\u2067\u200f\u061c\u2028\u2029\ufeff",
    "long": "long" * 500,
    "event-stream": "x\r\n\r\nevent: end\r\ndata: {}\n\nid: 1\n\n<img src=x onerror=window.hacked=1>",
    "json": '{"__proto__": {"hacked": 1}, "a": "</script><script>window.hacked=1</script>"}',
}


def texts(model: ApiModel, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all free texts in the model. Times and words of a fixed set are none."""
    for name, field in type(model).model_fields.items():
        if get_origin(field.annotation) is Literal or _is_time(name):
            continue
        yield from _places(getattr(model, name), field, (*path, name))


def _is_time(name: str) -> bool:
    return name.endswith(("_time", "_times", "_timestamp")) or name in ("time", "since")


def _places(value: object, field: FieldInfo, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, ApiModel):
        yield from texts(value, path)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _places(item, field, (*path, place))
    elif isinstance(value, str) or (value is None and str in get_args(field.annotation)):
        yield path


def replaced(model: M, path: tuple[str | int, ...], word: str) -> M:
    """The model with the word at this place, whatever its field allows."""
    return _put(model, path, word)  # type: ignore[no-any-return]


def _put(value: Any, path: tuple[str | int, ...], word: str) -> Any:
    if not path:
        return word
    first, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_put(item, rest, word) if place == first else item for place, item in enumerate(value)]
    return value.model_copy(update={str(first): _put(getattr(value, str(first)), rest, word)})


def everywhere(model: M, word: str, spared: frozenset[str] = frozenset()) -> M:
    """The model with the word at every place, but for the fields that are ``spared``."""
    for path in list(texts(model)):
        if not spared.intersection(map(str, path)):
            model = replaced(model, path, word)
    return model
