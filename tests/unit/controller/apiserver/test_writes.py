"""Deleting exactly what was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from agentjobs.controller.apiserver.client import ApiServer, Reply
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.writes import Deletion, delete_if_unchanged

FINISHED = {"metadata": {"uid": "u1", "resourceVersion": "7"}, "status": {"state": "Complete"}}
MISSING = Reply(404, {"details": {"name": "job"}})


@dataclass
class StubApi:
    """Answers a GET and a DELETE."""

    get: Reply
    delete: Reply = field(default_factory=lambda: Reply(200, {}))
    deleted: list[dict[str, Any]] = field(default_factory=list)

    async def request(self, verb: str, path: str, *, body: Any = None, **_: Any) -> Reply:
        if verb == "GET":
            return self.get
        self.deleted.append(body["preconditions"])
        return self.delete


async def delete(api: StubApi) -> Deletion:
    def finished(obj: dict[str, Any]) -> bool:
        return bool(obj["status"]["state"] == "Complete")

    return (await delete_if_unchanged(cast(ApiServer, api), "team", "job", "u1", finished)).deletion


@pytest.mark.parametrize(
    ("why", "get", "answer", "wanted"),
    [
        ("it is there", Reply(200, FINISHED), Reply(200, {}), Deletion.GONE),
        ("somebody else was faster", Reply(200, FINISHED), MISSING, Deletion.GONE),
        ("it changed meanwhile", Reply(200, FINISHED), Reply(409, {}), Deletion.CHANGED),
        ("RBAC does not allow it", Reply(200, FINISHED), Reply(403, {}), Deletion.REFUSED),
        ("it is not there", MISSING, None, Deletion.GONE),
        ("its kind is not there", Reply(404, {}), None, Deletion.REFUSED),
        (
            "another one has its name",
            Reply(200, {**FINISHED, "metadata": {"uid": "u2"}}),
            None,
            Deletion.GONE,
        ),
        ("it lives again", Reply(200, {**FINISHED, "status": {"state": "Queued"}}), None, Deletion.CHANGED),
    ],
)
async def test_what_a_delete_means(why: str, get: Reply, answer: Reply | None, wanted: Deletion) -> None:
    api = StubApi(get, answer or Reply(500, {}))
    assert await delete(api) is wanted, why
    assert api.deleted == ([] if answer is None else [{"uid": "u1", "resourceVersion": "7"}])


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_api_server_that_wants_us_to_wait_is_one_exception_with_its_seconds(status: int) -> None:
    busy = Reply(status, {"message": "slow down"}, 3.0)
    for api in (StubApi(busy), StubApi(Reply(200, FINISHED), busy)):
        with pytest.raises(ApiUnavailable, match="slow down") as caught:
            await delete(api)
        assert (caught.value.retry_after_seconds, caught.value.status) == (3.0, status)
        assert caught.value.concerns_everybody == (status == 429)
