"""The SQL of one release, as its folder holds it: tables are migrated, functions are installed.

- ``schema/NNNN_name.up.sql`` and ``.down.sql``: numbered steps for tables, types and indexes. A step is never edited
  once it is released, and calls no function of ours. Its up file may have several sections, see :class:`Section`.
- ``functions/NN_name.sql``: the text of all functions as of now, in the order in which they are installed.
- ``functions/compat/*.sql``: what only workers of the release before still call, each file with the release that may
  delete it. Installed last. There is none yet.
- ``grants.sql``: what the roles of ``roles.sql`` may do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

RELEASE = 1
"""Number of this program's release, as the database tells it to workers: they run on their own and on the next (H30).

One more with the first change of ``queue/sql`` after a release was published.
"""

_STEP = re.compile(r"(\d{4})_(\w+)\.(up|down)\.sql")
_MARKER = re.compile(r"^-- section: *(transaction|batch of|concurrently)\b *(.*)$", re.MULTILINE)
_FUNCTION = re.compile(r"^create or replace function (\w+)\(", re.MULTILINE)
_BATCH = re.compile(r"(\w+) until (.+)")
_INDEX = re.compile(r"\s*create (?:unique )?index concurrently (\w+) on [^;]+;?\s*", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*")


class Kind(StrEnum):
    """How a section of a step runs."""

    TRANSACTION = "transaction"
    BATCH = "batch"
    CONCURRENTLY = "concurrently"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a step that commits on its own; an interrupted step goes on with the section that it had reached.

    A line begins one; what stands before the first is a transaction:

    - ``-- section: transaction``: statements in one transaction. It alters one table, so that it waits for locks while
      it holds none: it cannot be part of a deadlock.
    - ``-- section: batch of <table> until <condition>``: one statement, for a few pages of the table at a time
      (``ctid >= @from@ and ctid < @to@``), each in a transaction of its own; over the whole table again until the
      condition holds. It passes by locked rows (``for update skip locked``).
    - ``-- section: concurrently``: one ``create index concurrently name on …``; what an interruption left of it is
      dropped first.
    """

    kind: Kind
    text: str
    table: str = ""
    """That the batches walk over."""
    until: str = ""
    """The condition that ends them."""
    index: str = ""
    """The name of the index."""


@dataclass(frozen=True, slots=True)
class Step:
    version: int
    name: str
    up: tuple[Section, ...]
    down: str
    """One transaction. It takes back a half-done step too: ``drop … if exists``."""

    def __str__(self) -> str:
        return f"{self.version:04} {self.name}"


@dataclass(frozen=True, slots=True)
class Release:
    number: int
    steps: tuple[Step, ...]
    """Version n is at n - 1."""
    functions: str
    grants: str

    @property
    def digest(self) -> str:
        """Of everything that is installed, not migrated."""
        return hashlib.sha256(f"{self.functions}\0{self.grants}".encode()).hexdigest()

    @property
    def title(self) -> str:
        """Its functions, as they are named beside the steps."""
        return functions_of(self.number)


def functions_of(release: int) -> str:
    return f"functions of release {release}"


@cache
def current() -> Release:
    """This program's."""
    return load(resources.files("agentjobs.queue") / "sql", RELEASE)


def load(folder: Traversable, number: int) -> Release:
    """Reads a release's folder. Raises ValueError where steps or sections are not as they should be."""
    texts: dict[int, dict[str, str]] = {}
    names: dict[int, str] = {}
    for file in (folder / "schema").iterdir():
        if match := _STEP.fullmatch(file.name):
            version = int(match[1])
            if names.setdefault(version, match[2]) != match[2]:
                raise ValueError(f"{file.name}: version {version} is {names[version]} already")
            texts.setdefault(version, {})[match[3]] = file.read_text()
    if sorted(texts) != list(range(1, len(texts) + 1)) or any(len(both) != 2 for both in texts.values()):
        raise ValueError(f"schema: {sorted(texts)}: versions from 1 on are wanted, each with up and down")
    steps = tuple(Step(v, names[v], tuple(sections(texts[v]["up"])), texts[v]["down"]) for v in sorted(texts))
    functions = "\n".join(file.read_text() for file in _sql_files(folder / "functions"))
    return Release(number, steps, functions, (folder / "grants.sql").read_text())


def sections(text: str) -> Iterator[Section]:
    """The sections of a step's up file."""
    parts = _MARKER.split(text)
    for kind, more, body in [
        ("transaction", "", parts[0]),
        *zip(parts[1::3], parts[2::3], parts[3::3], strict=True),
    ]:
        bare = _COMMENT.sub("", body).strip()
        if not bare:
            continue
        if kind == "concurrently":
            match = _INDEX.fullmatch(bare)
            if match is None:
                raise ValueError(
                    f"section: concurrently: {bare!r}: one `create index concurrently name on …` is wanted"
                )
            yield Section(Kind.CONCURRENTLY, bare, index=match[1])
        elif kind == "batch of":
            match = _BATCH.fullmatch(more)
            if match is None or "@from@" not in bare or "@to@" not in bare:
                raise ValueError(
                    f"section: batch of {more}: `<table> until <condition>` is wanted, and @from@ and @to@ in the statement"
                )
            yield Section(Kind.BATCH, body, table=match[1], until=match[2])
        else:
            yield Section(Kind.TRANSACTION, body)


def functions(text: str) -> Iterator[tuple[str, str]]:
    """(name, statement) of each function in a bundle's text, in its order."""
    starts = list(_FUNCTION.finditer(text))
    for match, end in zip(starts, [*(m.start() for m in starts[1:]), len(text)], strict=True):
        yield match[1], text[match.start() : end]


def _sql_files(folder: Traversable) -> Iterator[Traversable]:
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    yield from (entry for entry in entries if entry.name.endswith(".sql"))
    for entry in entries:
        if entry.name == "compat":
            yield from _sql_files(entry)
