"""What the queue's SQL files must not say, as sentences about the places where they do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agentjobs.queue.release import Kind, Step, functions, sections

LONGEST_LINE = 140
_VOLATILE = re.compile(r"\b(clock_timestamp|timeofday|random|nextval|gen_random_uuid)\s*\(")
_OTHER_CLOCKS = re.compile(
    r"\b(?:now|statement_timestamp|transaction_timestamp)\s*\(|\b(?:current|local)_?time(?:stamp)?\b"
)
_CLAUSE = re.compile(
    r":=|\b(?:where|on|having|and|or|not|when|if|elsif|while|until|between|in|limit|order|set|select|values|then|else|"
    r"return|returns|returning|perform|update|insert)\b"
)
_CONDITIONS = {
    "where",
    "on",
    "having",
    "and",
    "or",
    "not",
    "when",
    "if",
    "elsif",
    "while",
    "until",
    "between",
    "in",
}
_COMPARED = re.compile(r"(?:[<>]=?|=|\bbetween|\band)\s*(?:\(|\w+\(|[\w.]+\s*[-+]\s*)*$")
_COMMENT = re.compile(r"--[^\n]*")
_TEXT = re.compile(r"'(?:[^']|'')*'")
_DEFINED = re.compile(r"\bcreate\s+(?:or\s+replace\s+)?function\s+(?:\w+\.)?(\w+)", re.IGNORECASE)


def lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if len(line) > LONGEST_LINE:
            yield f"{path.name}:{number}: {len(line)} characters; at most {LONGEST_LINE}"


def volatile_conditions(name: str, text: str) -> Iterator[str]:
    """A volatile call is never an index condition: Postgres calls it for each row. A variable is."""
    code = _bare(text)
    for match in _VOLATILE.finditer(code):
        before = code[: match.start()]
        clauses = _CLAUSE.findall(before.rpartition(";")[2])
        assigned = re.search(r"\bset\b(?:(?!\bwhere\b).)*$", before, re.DOTALL) and clauses[-1:] == ["set"]
        after = code[match.end() :].split(")", 1)[-1]
        compared = re.match(r"\s*(?:[-+]\s*[\w.' ]+?)?\s*(?:[<>]=?|=(?!>)|between\b)", after)
        if (
            (clauses and clauses[-1] in _CONDITIONS)
            or (compared and not assigned)
            or (_COMPARED.search(before) and not assigned and not before.rstrip().endswith(":="))
        ):
            yield f"{name}: {match[1]}() in a condition: {' '.join(before[-60:].split())} {match[1]}()"
    for match in _OTHER_CLOCKS.finditer(code):
        yield f"{name}: {match[0]}: the time is clock_timestamp(), taken once into a variable"


def definitions(folder: Path) -> Iterator[str]:
    """Each name once, each with its comment; ``compat`` may repeat names."""
    seen: Counter[str] = Counter()
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text()
        names = [name for name, _ in functions(text)]
        if len(names) != len(_DEFINED.findall(_COMMENT.sub("", text))):
            yield f"{path.name}: each function begins a line with `create or replace function name(`"
        for name in names:
            if not re.search(
                rf"^-- {name}: .*\n(?:--.*\n)*create or replace function {name}\(", text, re.MULTILINE
            ):
                yield f"{path.name}: {name}: a comment above it begins with `-- {name}: `"
        seen.update(names)
    yield from (f"{name}: defined {count} times" for name, count in seen.items() if count > 1)


def step(step: Step, names: set[str]) -> Iterator[str]:
    """``names``: of the functions, which a step must not call: they are another release's, or not there yet."""
    for text in (*(section.text for section in step.up), step.down):
        code = _bare(text)
        if re.search(r"\b(?:function|procedure|trigger)\b", code, re.IGNORECASE):
            yield f"{step}: makes a function: it belongs into functions/"
        for match in re.finditer(r"(?<!table )(?<!into )(?<!on )\b(\w+)\s*\(", code):
            if match[1] in names:
                yield f"{step}: calls {match[1]}()"
    for section in step.up:
        code = _bare(section.text)
        created = set(re.findall(r"\bcreate (?:unlogged )?table (?:if not exists )?(\w+)", code))
        altered = set(re.findall(r"\balter table (\w+)", code)) - created
        if section.kind is Kind.TRANSACTION:
            if len(altered) > 1:
                yield f"{step}: alters {', '.join(sorted(altered))} in one section: one table each"
            for match in re.finditer(r"\bcreate (?:unique )?index \w+ on (\w+)", code):
                if match[1] not in created:
                    yield f"{step}: builds an index of {match[1]} in a transaction: `-- section: concurrently`"
            for match in re.finditer(r"\b(?:update|delete from) (\w+)", code):
                if match[1] not in created:
                    yield f"{step}: changes rows of {match[1]} in one go: `-- section: batch of …`"
        if section.kind is Kind.BATCH and "for update skip locked" not in code:
            yield f"{step}: a batch passes by locked rows: `for update skip locked`"
    if re.search(
        r"\bdrop (?!column if exists|\w+ if exists|not null|default|constraint if exists)", _bare(step.down)
    ):
        yield f"{step}: takes back a half-done step too: `drop … if exists`"


def made(up: str, down: str = "") -> Step:
    return Step(2, "made", tuple(sections(up)), down)


def _bare(text: str) -> str:
    """Without comments and texts; the body of a function stays."""
    return _TEXT.sub("''", _COMMENT.sub("", text))
