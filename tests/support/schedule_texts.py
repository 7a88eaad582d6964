"""Texts of ``spec.schedule`` as people write them: a table by hand, and a generator that mutates the grammar."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from agentjobs.schedule.cron import FIELDS, MACROS

TABLE = Path(__file__).parents[1] / "api" / "schedule_texts.yaml"
_SPACES = (" ", "  ", "\t", "\n", " ", " ", " ", "\xa0", "\u3000", "\u2003", "\x85", "\v")
_STRANGE = (
    "",
    "*-5",
    "L",
    "15W",
    "fri#3",
    "H",
    "R",
    "1-2-3",
    "-1",
    "+5",
    "1.5",
    "٣",
    "1–5",
    "a",
    "5,",
    ",",
    "1,,2",
)


@dataclass(frozen=True)
class Difference:
    """A kind of text about which CronJob and we differ on purpose, with the reason."""

    pattern: str
    cronjob: bool
    here: bool
    why: str


def by_hand() -> list[str]:
    """The texts of the table."""
    found: list[str] = yaml.safe_load(TABLE.read_text())["texts"]
    return found


def zones_by_hand() -> list[str]:
    """The names of the table that are, mostly, no time zones."""
    found: list[str] = yaml.safe_load(TABLE.read_text())["zones"]
    return found


def differences() -> list[Difference]:
    """The differences that are wanted."""
    return [Difference(**line) for line in yaml.safe_load(TABLE.read_text())["differences"]]


def generated(count: int, seed: int) -> Iterator[str]:
    """Random texts: mostly five good fields, of which one or two got worse."""
    chance = random.Random(seed)
    for _ in range(count):
        fields = [_field(chance, low, high, names) for low, high, names in _bounds()]
        for _ in range(chance.choice((0, 1, 1, 2))):
            fields[chance.randrange(5)] = _worse(chance)
        if chance.random() < 0.05:
            fields = fields[: chance.randrange(1, 5)] + chance.choice(([], ["*", "*", "*"]))
        text = chance.choice(_SPACES).join(fields)
        match chance.randrange(40):
            case 0:
                yield chance.choice(list(MACROS)) + chance.choice(("", "", " ", "\n", "s"))
            case 1:
                yield f"@every {chance.randrange(90)}{chance.choice('smhd')}"
            case 2:
                yield chance.choice((" ", "\t", "\n", "\xa0")) + text + chance.choice((" ", "\n", ""))
            case 3:
                yield chance.choice(("TZ=UTC ", "CRON_TZ=Europe/Berlin ")) + text
            case _:
                yield text


def _bounds() -> Iterator[tuple[int, int, list[str]]]:
    for field in FIELDS:
        yield field.low, field.high, list(field.names)


def _field(chance: random.Random, low: int, high: int, names: list[str]) -> str:
    return ",".join(_item(chance, low, high, names) for _ in range(chance.choice((1, 1, 1, 2, 3))))


def _item(chance: random.Random, low: int, high: int, names: list[str]) -> str:
    def number() -> str:
        if names and chance.random() < 0.3:
            return chance.choice((str.lower, str.upper, str.title))(chance.choice(names))
        written = str(chance.randint(low, high))
        return chance.choice((written, written, "0" + written))

    step = chance.choice(("", "", "", "/2", "/1", "/15", "/007", "/99"))
    match chance.randrange(4):
        case 0:
            return "*" + step
        case 1:
            return "?" + step
        case 2:
            return number() + step
        case _:  # every other one runs backwards
            return f"{number()}-{number()}{step}"


def _worse(chance: random.Random) -> str:
    low, high, names = chance.choice(list(_bounds()))
    beyond = str(chance.choice((low - 1, high + 1, high + chance.randrange(1, 100), 7, 60, 24, 32, 0)))
    good = _field(chance, low, high, names)
    at = chance.randrange(len(good) + 1)
    return chance.choice(
        (
            beyond, f"{beyond}-{high}", f"{low}-{beyond}", f"{beyond}/2", "*/0", "*/00", f"{low}/0", "*/", "/5", "*/-1",
            "*/99999999999999999999", good[:at] + chance.choice("0159-/,*?LWx.#") + good[at:], good[:at] + good[at + 1 :],
            chance.choice(_STRANGE),
        )
    )  # fmt: skip
