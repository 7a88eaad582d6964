"""The newest jobs of the lists that are watched: a row that is as it was is the same object, for all watchers and from look to look."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from agentjobs.queue.job_list import JobFilter, JobPage, JobRow
from agentjobs.web.convert import run_of_row
from agentjobs.web.objects.runs import AgentRun
from agentjobs.web.watching import Seen

KEPT_SECONDS = 10.0
"""How long the objects of a list that nobody watches any more are kept."""
Kept = Mapping[str, tuple[JobRow, AgentRun]]


class Tops:
    """Makes objects of rows, of those alone that have changed. Most of a watch's cost would be to make and compare them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[JobFilter, tuple[float, Kept]] = {}

    def seen(self, wanted: JobFilter, page: JobPage) -> Seen[AgentRun]:
        """The page as a watch sees it."""
        now = self._clock()
        for other in [key for key, (at, _) in self._kept.items() if at + KEPT_SECONDS < now]:
            del self._kept[other]
        _, before = self._kept.get(wanted, (now, {}))
        kept: dict[str, tuple[JobRow, AgentRun]] = {}
        for row in page.jobs:
            known = before.get(str(row.uid))
            kept[str(row.uid)] = known if known is not None and known[0] == row else (row, run_of_row(row))
        self._kept[wanted] = (now, kept)
        lowest = min(row.id for row in page.jobs) if page.next is not None and page.jobs else 0
        return Seen({uid: (row.id, run) for uid, (row, run) in kept.items()}, lowest)
