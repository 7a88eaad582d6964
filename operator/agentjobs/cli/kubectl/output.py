"""Output of verbs: tables that fit the terminal, and the forms of ``-o``. What others wrote is printed without control
characters."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.api.names import API_VERSION
from agentjobs.cli.errors import BadInput
from agentjobs.cli.flags import echo
from agentjobs.cli.kubectl.filters import time_of
from agentjobs.cli.printable import printable as printable
from agentjobs.cli.printable import printable_lines as printable_lines
from agentjobs.cli.printable import steers
from agentjobs.values.durations import duration_text

FORMS = ("wide", "json", "yaml", "name", "jsonpath=…")
NONE = "-"
"""Shown for what is not there."""
JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and the text that it shows of a row. Only ``-o wide`` shows the wide ones.

    ``shrinks``: this one is cut where the terminal is too narrow.
    """

    name: str
    text: Callable[[Any], str]
    wide: bool = False
    shrinks: bool = False


def checked(form: str) -> str:
    """The form of ``-o``.

    :raises BadInput: there is no such form.
    """
    if form in ("", "wide", "json", "yaml", "name") or form.startswith("jsonpath="):
        return form
    raise BadInput(f"-o: {form[:40]!r} is unknown; there are {', '.join(FORMS)}.")


def checked_object(form: str) -> str:
    """The form of ``-o``, of a verb that shows a single thing.

    :raises BadInput: there is no such form.
    """
    if form in ("", "json", "yaml") or form.startswith("jsonpath="):
        return form
    raise BadInput(f"-o: {form[:40]!r} is unknown here; there are json, yaml and jsonpath=….")


def table(
    columns: Sequence[Column],
    rows: Sequence[Any],
    *,
    wide: bool = False,
    headers: bool = True,
    width: int | None = None,
) -> str:
    """The rows as a table. Columns that shrink give way where a line is longer than ``width``; None: there is no limit. A wide table
    is whole, as kubectl's: cut to fit, each of its many columns would say nothing."""
    shown = [column for column in columns if wide or not column.wide]
    cells = [[printable(column.text(row)) or NONE for column in shown] for row in rows]
    if headers:
        cells.insert(0, [column.name for column in shown])
    if not cells:
        return ""
    widths = [max(len(line[n]) for line in cells) for n in range(len(shown))]
    if width is not None and not wide:
        _narrow(widths, shown, width)
    return "\n".join(
        "   ".join(cut(cell, size).ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _narrow(widths: list[int], columns: Sequence[Column], width: int) -> None:
    """Takes what is too much from the columns that shrink, down to their headings and no less than 8 characters."""
    for n in reversed(range(len(columns))):
        too_much = sum(widths) + 3 * (len(widths) - 1) - width
        if too_much <= 0:
            return
        if columns[n].shrinks:
            widths[n] = max(widths[n] - too_much, min(widths[n], max(8, len(columns[n].name))))


def terminal_width() -> int | None:
    """The width of the terminal on standard output. None: it is no terminal, so that nothing may be cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def coloured(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colours may be written: to a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return sys.stdout.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


_COLOURS = {"Failed": 31, "Rejected": 31, "Complete": 32, "InputRequired": 33, "Retrying": 33, "Running": 36}


def painted(line: str, state: str, *, colours: bool) -> str:
    """A line with its state in colour."""
    code = _COLOURS.get(state)
    return line.replace(state, f"\x1b[{code}m{state}\x1b[0m", 1) if colours and code else line


def cut(text: str, characters: int) -> str:
    """At most so many characters; ends in … where it was cut."""
    return text if len(text) <= characters else text[: max(0, characters - 1)] + "…"


def in_brackets(state: str, cause: str) -> str:
    """The cause behind a state, where it tells more than the state."""
    return f" ({cause})" if cause and cause not in (state, "Completed") else ""


def age(moment: object, now: datetime) -> str:
    """How long ago a time was, as kubectl prints it. Empty: it is none."""
    then = time_of(moment)
    return duration_text((now - then).total_seconds()) if then is not None else ""


def in_future(moment: object, now: datetime) -> str:
    """How long it is until a time, such as ``in 40s``. Empty: it is none, or has passed."""
    then = time_of(moment)
    return f"in {duration_text((then - now).total_seconds())}" if then is not None and then > now else ""


def listed(kind: str, items: Iterable[JsonObject], version: str = API_VERSION) -> dict[str, Any]:
    """A List as kubectl prints it: each object with its type, which lists leave out, and without ``managedFields``."""
    head = {"apiVersion": version, "kind": kind.removesuffix("List")}
    whole = [without_managed_fields({**head, **item}) for item in items]
    return {"apiVersion": version, "kind": kind, "metadata": {}, "items": whole}


def print_list(
    kind: str,
    items: Sequence[JsonObject],
    columns: Sequence[Column],
    form: str,
    *,
    no_headers: bool,
    none: str,
    version: str = API_VERSION,
    state: Callable[[JsonObject], str] = lambda item: "",
) -> None:
    """Prints a List in the form of ``-o``.

    :param none: the line for an empty table, on standard error.
    :param state: the state by which an item's line is coloured.
    """
    if form not in ("", "wide"):
        if text := written(form, listed(kind, items, version)):
            echo(text)
        return
    if not items:
        echo(none, err=True)
        return
    text = table(columns, items, wide=form == "wide", headers=not no_headers, width=terminal_width())
    colours = coloured()
    states = ["", *map(state, items)][no_headers:]
    lines = zip(text.splitlines(), states, strict=True)
    echo("\n".join(painted(line, one, colours=colours) for line, one in lines))


def without_managed_fields(obj: JsonObject) -> dict[str, Any]:
    """The object without ``managedFields``, as kubectl prints it."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def written(form: str, value: JsonObject) -> str:
    """An object, or a List, in a form of ``-o`` other than a table.

    :raises BadInput: a JSONPath cannot be read.
    """
    if form == "json":
        text = json.dumps(value, indent=4, ensure_ascii=False)
        # outside of its strings, JSON has no such character, and inside, its escape means the same
        return "".join(c if not steers(c) or c == "\n" else json.dumps(c)[1:-1] for c in text)
    if form == "yaml":
        import yaml

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

        def dumped(unicode: bool) -> str:
            return str(yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=unicode)).rstrip("\n")

        text = dumped(unicode=True)
        return text if all(not steers(c) or c == "\n" for c in text) else dumped(unicode=False)
    if form.startswith("jsonpath="):
        from agentjobs.cli.kubectl.jsonpath import printed

        return printable_lines(printed(form.removeprefix("jsonpath="), value))
    assert form == "name"
    group = str(value.get("apiVersion", "")).partition("/")[0]
    items = value.get("items", [value])
    return "\n".join(f"{one['kind'].lower()}.{group}/{one['metadata']['name']}" for one in items)
