"""What stands around a job, as the database tells it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agentjobs.cli.database.objects import of_view
from agentjobs.cli.kubectl.surroundings import ALONE, Surroundings, breakers_for, holder_among, serving
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView
from agentjobs.values.reasons import Reason
from agentjobs.web.board_objects import UNFINISHED, model_of, queues_of, workers_of
from agentjobs.web.convert import run_of_row, run_of_view

MOST = 500
"""Jobs of a session that are looked through for the one that holds it."""


async def around(queue: Queue, view: JobView) -> Surroundings:
    """The surroundings of a job; those of one that has ended are not asked for."""
    if view.state.final:
        return ALONE
    board, models = await queue.board(), await queue.model_health()
    queues = [one.as_json() for one in queues_of(board, None) if one.metadata.name == view.queue]
    workers: list[dict[str, Any]] = [one.as_json() for one in workers_of(board, None, datetime.now(UTC))]
    job = of_view(view)
    return Surroundings(
        queue=queues[0] if queues else None,
        workers=serving(workers, view.queue),
        breakers=breakers_for(
            job["spec"], view.reason or "", [model_of(one, None).as_json() for one in models]
        ),
        holder=await _holder(queue, view) if view.reason == Reason.BEHIND_SESSION.value else "",
    )


async def _holder(queue: Queue, view: JobView) -> str:
    run = run_of_view(view)
    namespace = view.ref.namespace if view.ref is not None else ""
    page = await queue.jobs(
        JobFilter(namespace, UNFINISHED, user=run.spec.user, session=run.spec.session), limit=MOST
    )
    return holder_among([run_of_row(row).as_json() for row in page.jobs], run.metadata.name)
