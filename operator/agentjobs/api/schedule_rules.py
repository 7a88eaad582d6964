"""CEL rules of ``spec.schedule`` and ``spec.timeZone``, made from the tables of the grammar that the operator
reads them with. So the API server refuses a wrong schedule when it is applied, as it does with a CronJob.

The patterns are RE2's, whose classes of white space are ASCII: CronJob, and ``cron.parse``, split at any.
"""

from __future__ import annotations

import json

from agentjobs.api.meta import Schema, quoted, rule
from agentjobs.schedule import zones
from agentjobs.schedule.cron import (
    EVERY,
    EVERY_UNKNOWN,
    FIELDS,
    FIVE_FIELDS,
    MACROS,
    STEP_DIGITS,
    ZONE_ELSEWHERE,
    CronField,
)

_SPACE = r"[\s\v\x{85}\pZ]"
_WORD = r"[^\s\v\x{85}\pZ]+"
_FIVE_WORDS = f"^{_SPACE}*{_WORD}({_SPACE}+{_WORD}){{4}}{_SPACE}*$"
_MACROS = f"[{', '.join(map(repr, MACROS))}]"


def _text(value: str) -> str:
    """A string as a CEL literal."""
    return json.dumps(value)


def _numbers(low: int, high: int) -> str:
    """The pattern of the numbers from ``low`` (0 or 1) to ``high`` (below 100), with zeros before them."""
    tens, unit = divmod(high, 10)
    if tens == 0:
        return f"0*[{low}-{high}]"
    full = tens if unit == 9 else tens - 1
    parts = [f"[{low}-9]", f"[1-{full}][0-9]" if full else "", f"{tens}[0-{unit}]" if unit != 9 else ""]
    return f"0*({'|'.join(filter(None, parts))})"


def _field_pattern(field: CronField) -> str:
    """The pattern of one field: a list of stars, numbers, names and ranges, each with a step."""
    one = "|".join((_numbers(field.low, field.high), *field.names))
    item = rf"([*?]|({one})(-({one}))?)(/0*[1-9][0-9]{{0,{STEP_DIGITS - 1}}})?"
    return f"{item}(,{item})*"


def _field_rule(number: int, field: CronField) -> Schema:
    before = f"({_WORD}{_SPACE}+){{{number}}}"
    pattern = f"(?i)^{_SPACE}*{before}{_field_pattern(field)}({_SPACE}|$)"
    return rule(
        f"!self.matches({_text(_FIVE_WORDS)}) || self.matches({_text(pattern)})",
        f"{field.name} {field.wants}",
        got=quoted("self"),
    )


def _backward_pattern(field: CronField) -> str:
    """The pattern of the field's ranges that run backwards, such as ``22-2`` and ``fri-mon``."""
    named = {number: name for name, number in field.names.items()}
    ranges = []
    for first in range(field.low + 1, field.high + 1):
        below = [_numbers(field.low, first - 1), *(name for number, name in named.items() if number < first)]
        ranges.append(f"({'|'.join([f'0*{first}', *([named[first]] if named else [])])})-({'|'.join(below)})")
    return "|".join(ranges)


def _backwards() -> str:
    """The pattern of a schedule with a range that runs backwards.

    Those of minutes stand for the numbers of all fields.
    """
    ranges = "|".join(map(_backward_pattern, (FIELDS[0], *(field for field in FIELDS if field.names))))
    return rf"(?i)(^|,|{_SPACE})({ranges})($|[,/]|{_SPACE})"


def _way_out_of_every() -> str:
    """CEL: what to write instead of ``@every 5m``, as the end of a message."""
    written = ", ".join(f"{_text(text)}: {_text(fields)}" for text, fields in EVERY.items())
    return (
        f"(self in {{{written}}} ? '; write ' + {{{written}}}[self]"
        f" : self.startsWith('@every') ? {_text('; ' + EVERY_UNKNOWN)} : '')"
    )


def schedule_rules() -> tuple[Schema, ...]:
    """The rules of ``spec.schedule``. What they let pass and the operator refuses: a day that no chosen month
    has."""
    return (
        rule("!self.contains('TZ=')", ZONE_ELSEWHERE, got=quoted("self")),
        rule(
            f"self in {_MACROS} || (self.matches({_text(_FIVE_WORDS)}) && !self.matches({_text(f'^{_SPACE}*@')}))",
            FIVE_FIELDS,
            got=f"{quoted('self')} + {_way_out_of_every()}",
        ),
        *(_field_rule(number, field) for number, field in enumerate(FIELDS)),
        rule(
            f"!self.matches({_text(_backwards())})",
            "a range may not run backwards: write it in two, such as 22-23,0-2",
            got=quoted("self"),
        ),
    )


def zone_rules() -> tuple[Schema, ...]:
    """The rule of ``spec.timeZone``: the text looks like an IANA name."""
    name = f"^({'|'.join(zones.AREAS)})/{zones.PART_PATTERN}(/{zones.PART_PATTERN})?$"
    sign = "(self.contains('+') ? '-' : '+')"
    way_out = (
        f"(self.lowerAscii() in ['local', 'localtime'] ? {_text(zones.LOCAL)}"
        f" : self.lowerAscii() in [{', '.join(map(repr, zones.UTC_MEANT))}] ? {_text(zones.WRITE_UTC)}"
        f" : self.matches({_text(zones.OFFSET_PATTERN)})"
        f" ? {_text(zones.WRITE_OFFSET + 'Etc/GMT')} + {sign} + self.find('1[0-4]|[1-9]') + {_text(zones.SIGN_REVERSED)} : '')"
    )
    return (
        rule(
            f"self in [{', '.join(map(repr, zones.SINGLE_NAMES))}] || self.matches({_text(name)})",
            zones.WANTED,
            got=f"{quoted('self')} + {way_out}",
        ),
    )
