"""``top``: queues, failing models and running jobs, drawn anew every few seconds."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.flags import echo
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output, tables
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.pace import interruptible
from agentjobs.cli.kubectl.reply import RequestRefused
from agentjobs.cli.kubectl.runs_api import MODELS, QUEUES, RUNS, RunsApi
from agentjobs.cli.kubectl.where import Where

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
OTHER_SCREEN, OWN_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
RUNNING = 100
"""Running jobs that are asked for."""
Items = Sequence[dict[str, Any]]


def top(
    where: Where,
    everywhere: o.Everywhere = False,
    interval: o.Interval = 2,
    once: o.Once = False,
) -> None:
    """Show queues, models that fail, and running jobs, until Ctrl-C."""
    with ApiServer.open(where) as server:
        api = RunsApi(server)
        live(lambda width: _frame(api, everywhere, width), interval, once=once)


def live(look: Callable[[int | None], str], interval: int, *, once: bool) -> None:
    """Draws one look after the other until Ctrl-C; in a pipe, or where ``once``, a single one.

    :raises Unavailable: the first look has no answer.
    """
    first = look(output.terminal_width())
    if once or not sys.stdout.isatty():
        echo(first)
        return
    with interruptible() as interrupt:
        sys.stdout.write(OTHER_SCREEN)
        try:
            shown = first
            while True:
                size = shutil.get_terminal_size()
                sys.stdout.write(drawn(shown, size.lines))
                sys.stdout.flush()
                if interrupt.wait(interval):
                    return
                shown = _next(look, size.columns)
        finally:
            sys.stdout.write(OWN_SCREEN)
            sys.stdout.flush()


def _next(look: Callable[[int | None], str], width: int) -> str:
    """The next look. While there is no answer, the words of that.

    :raises RequestRefused: the user may not look any more.
    """
    try:
        return look(width)
    except RequestRefused as error:
        if error.reply.status in (401, 403):
            raise
        return output.printable(str(error))
    except Unavailable as error:
        return output.printable(str(error))


def _frame(api: RunsApi, everywhere: bool, width: int | None) -> str:
    queues = list(api.list(QUEUES, everywhere=everywhere))
    models = list(api.list(MODELS, everywhere=everywhere))
    runs = api.first(RUNS, {"state": "Running"}, RUNNING, everywhere=everywhere)
    place = "all namespaces" if everywhere else api.server.namespace
    return frame(place, queues, models, runs, api.server.now(), width)


def frame(place: str, queues: Items, models: Items, runs: Items, now: datetime, width: int | None) -> str:
    """What is shown of one look."""
    parts = [f"{output.printable(place)}, {now:%H:%M:%S}Z"]
    if queues:
        parts.append(output.table(tables.queues(now), queues, width=width))
    if models:
        parts.append(output.table(tables.models(now), models, width=width))
    if runs:
        parts.append(output.table(tables.runs(now), runs, width=width))
    else:
        parts.append("No job is running.")
    return "\n\n".join(parts)


def drawn(text: str, lines: int) -> str:
    """A frame over the one before, at most as many lines as the terminal has."""
    shown = text.split("\n")[: max(1, lines - 1)]
    return HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in shown) + CLEAR_BELOW
