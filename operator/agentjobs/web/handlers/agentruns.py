"""agentruns: list, watch, get, result, attempts."""

from __future__ import annotations

from agentjobs.web.call import Answer, Call, Object, Text, Watch
from agentjobs.web.convert import attempts_of, result_of
from agentjobs.web.filters import filter_of_query, limit_of
from agentjobs.web.objects.meta import ListMetadata
from agentjobs.web.objects.runs import AgentRun, AgentRunList
from agentjobs.web.status import ApiError
from agentjobs.web.target import WHOLE
from agentjobs.web.watching import Seen, changes


async def list_runs(call: Call) -> Answer:
    """A page of jobs, the newest first; with ``fieldSelector=metadata.name=…`` that one."""
    wanted = filter_of_query(call.query, call.target.namespace)
    if call.target.name is None:
        page = await call.runs.page(wanted, call.parameter("continue") or None, limit_of(call.query))
        return Object(page, page.items)
    if call.target.namespace is None:
        raise ApiError(400, "fieldSelector: metadata.name needs a namespace")
    seen = await call.runs.named(call.target.namespace, call.target.name)
    items = [run for _, run in seen.objects.values()]
    version = next((run.metadata.resource_version or "1" for run in items), "1")
    return Object(AgentRunList(metadata=ListMetadata(resource_version=version), items=items), items)


async def watch_runs(call: Call) -> Answer:
    """The changes of the newest jobs that the filter finds."""
    namespace, name = call.target.namespace, call.target.name
    wanted = filter_of_query(call.query, namespace)
    if name is not None and namespace is None:
        raise ApiError(400, "fieldSelector: metadata.name needs a namespace")

    async def look() -> Seen[AgentRun]:
        if namespace is not None and name is not None:
            return await call.runs.named(namespace, name)
        return await call.runs.top(wanted)

    version = call.last_event_id or call.parameter("resourceVersion") or ""
    if version and not WHOLE.fullmatch(version):
        raise ApiError(410, "resourceVersion: not one of this API; list again")
    return Watch(changes(look, version), call.watch_seconds)


async def get_run(call: Call) -> Answer:
    """One job, whole."""
    run = await call.runs.run(call.namespace, call.name, call.parameter("uid"))
    return Object(run, [run])


async def get_result(call: Call) -> Answer:
    """The whole final answer; ``format=text`` as it was said. 404 where the job has none."""
    view = await call.runs.view(call.namespace, call.name, call.parameter("uid"))
    if view.result is None:
        raise ApiError(404, f'agentruns "{call.name}" has no result: it is {view.state}')
    match call.parameter("format"):
        case "text":
            return Text(view.result)
        case None | "json":
            return Object(result_of(view))
        case other:
            raise ApiError(400, f"format: {other[:40]!r}: text or json is wanted")


async def get_attempts(call: Call) -> Answer:
    """All ended runs: why, charged or refunded, when the next was due."""
    return Object(attempts_of(await call.runs.view(call.namespace, call.name, call.parameter("uid"))))
