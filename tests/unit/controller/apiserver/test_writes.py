"""Deleting exactly what was looked at."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.writes import Deletion, delete_if_unchanged, is_gone

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


async def delete(api: StubApi) -> Deletion | str:
    """The outcome; "refused" where it is to be tried again."""

    def finished(obj: dict[str, Any]) -> bool:
        return bool(obj["status"]["state"] == "Complete")

    try:
        return (await delete_if_unchanged(cast(ApiServer, api), "team", "job", "u1", finished)).deletion
    except ApiUnavailable:
        return "refused"


@pytest.mark.parametrize(
    ("why", "get", "answer", "wanted"),
    [
        ("it is there", Reply(200, FINISHED), Reply(200, {}), Deletion.GONE),
        ("a 404 that a GET does not confirm", Reply(200, FINISHED), MISSING, "refused"),
        ("it changed meanwhile", Reply(200, FINISHED), Reply(409, {}), "refused"),
        ("RBAC does not allow it", Reply(200, FINISHED), Reply(403, {}), "refused"),
        ("it is not there", MISSING, None, Deletion.GONE),
        ("its kind is not there", Reply(404, {}), None, "refused"),
        (
            "another one has its name",
            Reply(200, {**FINISHED, "metadata": {"uid": "u2"}}),
            None,
            Deletion.GONE,
        ),
        ("it lives again", Reply(200, {**FINISHED, "status": {"state": "Queued"}}), None, Deletion.CHANGED),
    ],
)
async def test_what_a_delete_means(
    why: str, get: Reply, answer: Reply | None, wanted: Deletion | str
) -> None:
    api = StubApi(get, answer or Reply(500, {}))
    assert await delete(api) == wanted, why
    assert api.deleted == ([] if answer is None else [{"uid": "u1", "resourceVersion": "7"}])


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_api_server_that_wants_us_to_wait_is_one_exception_with_its_seconds(status: int) -> None:
    busy = Reply(status, {"message": "slow down"}, 3.0)
    for api in (StubApi(busy), StubApi(Reply(200, FINISHED), busy)):
        with pytest.raises(ApiUnavailable, match="slow down") as caught:
            await delete_if_unchanged(cast(ApiServer, api), "team", "job", "u1", lambda obj: True)
        assert (caught.value.retry_after_seconds, caught.value.status) == (3.0, status)


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        (MISSING, True),
        (Reply(200, {"metadata": {"uid": "u2"}}), True),
        (Reply(200, {"metadata": {"uid": "u1"}}), False),
        *((Reply(status, {}), None) for status in (401, 403, 404, 409, 410, 422, 429, 500, 503)),
        (Reply(404, {"details": "what?"}), None),
    ],
)
async def test_h5_only_a_clear_answer_says_gone(answer: Reply, gone: bool | None) -> None:
    found: bool | None = None
    with suppress(ApiUnavailable):
        found = await is_gone(cast(ApiServer, StubApi(answer)), "team", "job", "u1")
    assert found is gone
