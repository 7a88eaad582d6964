"""runactions, queueactions, erasures, runaudits: acts, and who did what."""

from __future__ import annotations

from agentjobs.web.acts import act_of
from agentjobs.web.call import Answer, Call, Object
from agentjobs.web.filters import filter_of_action, limit_of
from agentjobs.web.names import NO_OBJECT
from agentjobs.web.objects.acts import ActionFilter, Erasure, QueueAction, RunAction, RunActionStatus
from agentjobs.web.status import ApiError
from agentjobs.web.target import uid_of

CREATED = 201


async def create_run_action(call: Call) -> Answer:
    """Acts on the jobs without an object that the filter finds; with ``dryRun=All`` only counts, those with one too."""
    asked = call.sent(RunAction)
    # a count tells of jobs what their list does
    await call.require("list", "agentruns")
    wanted = asked.spec.filter
    if wanted.uid is not None:
        status = await _on_one(call, asked, wanted.uid)
    else:
        which = filter_of_action(wanted, call.target.namespace)
        if call.dry_run:
            status = RunActionStatus(matched=await call.runs.count(which))
        else:
            _check_place(call)
            status = await call.runs.acts.on_jobs(which, asked.spec, act_of(call.identity, asked.spec.reason))
    return Object(asked.model_copy(update={"status": status}), code=CREATED)


async def _on_one(call: Call, asked: RunAction, uid: str) -> RunActionStatus:
    if asked.spec.filter != ActionFilter(uid=uid):
        raise ApiError(422, "RunAction: spec.filter.uid: picks one job, so nothing may stand beside it")
    _check_place(call)
    view = await call.runs.view(NO_OBJECT, uid)
    if call.dry_run:
        return RunActionStatus(matched=1)
    return await call.runs.acts.on_job(view, asked.spec, act_of(call.identity, asked.spec.reason))


def _check_place(call: Call) -> None:
    if call.target.namespace != NO_OBJECT:
        raise ApiError(
            422,
            f"jobs with an object are changed through the Kubernetes API (kubectl agentjobs retry, cancel …): this acts in the "
            f"namespace {NO_OBJECT}, on jobs without one; with dryRun=All it counts in any",
        )


async def create_queue_action(call: Call) -> Answer:
    """Pauses, resumes or limits a queue, or resets a model's breaker."""
    asked = call.sent(QueueAction)
    by = act_of(call.identity, asked.spec.reason)
    status = await call.runs.acts.on_queue(asked.spec, by, dry_run=call.dry_run)
    return Object(asked.model_copy(update={"status": status}), code=CREATED)


async def create_erasure(call: Call) -> Answer:
    """Erases one person's texts in the namespace."""
    asked = call.sent(Erasure)
    if call.dry_run:
        raise ApiError(400, "dryRun: an erasure cannot be tried out; list the user's agentruns")
    if call.namespace == NO_OBJECT:
        raise ApiError(422, "name the namespace of the person's jobs, as it stands in their payloads")
    status = await call.runs.acts.erase(call.namespace, asked.spec, act_of(call.identity, asked.spec.reason))
    return Object(asked.model_copy(update={"status": status}), code=CREATED)


async def list_audits(call: Call) -> Answer:
    """A page of acts, the newest first; of one queue or job with ``queue`` or ``uid``."""
    text = call.parameter("uid")
    page = await call.runs.audits(
        call.target.namespace,
        queue=call.parameter("queue") or None,
        uid=uid_of(text) if text else None,
        before=call.number("continue", 1, (1 << 53)),
        limit=limit_of(call.query),
    )
    return Object(page, page.items)
