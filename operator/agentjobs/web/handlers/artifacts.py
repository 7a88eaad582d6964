"""agentruns/artifacts: the files that the agents of a job's session have saved, and the content of each."""

from __future__ import annotations

from collections.abc import Sequence

from agentjobs.transcript.artifacts import MOST_FILES, Artifacts, StoredFile
from agentjobs.transcript.errors import TranscriptError
from agentjobs.transcript.jobs import SessionKey
from agentjobs.values.saved_file import SavedFile
from agentjobs.web.call import Answer, Call, Content, Object
from agentjobs.web.conversations import part_of, refusal
from agentjobs.web.objects.logs import RunArtifact, RunArtifacts
from agentjobs.web.objects.meta import ListMetadata, time_text
from agentjobs.web.status import ApiError

LATEST = 2**31 - 1
"""The largest number of a version."""


async def get_artifacts(call: Call) -> Answer:
    """A page of the artifacts of the job's session and its user; with ``file`` the content of one, by ``version`` of an earlier one."""
    name = call.parameter("file")
    version = call.number("version", 0, LATEST)
    limit = call.number("limit", 0, 1_000_000) or MOST_FILES
    view = await call.runs.view(call.namespace, call.name, call.parameter("uid"))
    key = part_of(view, whole=True).key
    try:
        if name is None:
            return Object(await _page(call, key, min(limit, MOST_FILES), view.files))
        return await _content(call.runs.artifacts, key, name, version, view.files)
    except TranscriptError as error:
        raise refusal(error) from error


async def _page(call: Call, key: SessionKey, limit: int, told: Sequence[SavedFile]) -> RunArtifacts:
    """A page of the session store's files; on the first one, also of those that the job's runs have saved by URI (the first 20)."""
    after = call.parameter("continue") or ""
    if "\0" in after:
        raise ApiError(410, "continue: not one of this API; list again without it")
    files = await call.runs.artifacts.files(key, after, limit)
    more = files[-1].name if len(files) == limit else None
    elsewhere = [] if after else [_elsewhere(one) for one in told if one.address]
    return RunArtifacts(
        metadata=ListMetadata(continue_=more), items=[*elsewhere, *(artifact_of(one) for one in files)]
    )


async def _content(
    artifacts: Artifacts, key: SessionKey, name: str, version: int | None, told: Sequence[SavedFile]
) -> Content:
    file = await artifacts.file(key, name, version)
    if file is None:
        if place := next((one.address for one in told if one.name == name), ""):
            raise ApiError(
                404,
                f"file: artifact {name[:200]!r} is not kept here, but by the pool's artifact service at {place}",
            )
        which = "" if version is None else f" of version {version}"
        raise ApiError(404, f"file: the job's session has no artifact {name[:200]!r}{which}")
    if file.address:
        raise ApiError(404, f"file: artifact {name[:200]!r} is not kept here, but at {file.address}")
    return Content(file.name, file.size_bytes, artifacts.content(key, file))


def _elsewhere(file: SavedFile) -> RunArtifact:
    return RunArtifact(
        name=file.name,
        version=file.version or 0,
        type=file.mime_type,
        bytes=file.size_bytes,
        address=file.address,
    )


def artifact_of(file: StoredFile) -> RunArtifact:
    """The file as an object. Pure."""
    return RunArtifact(
        name=file.name,
        version=file.version,
        type=file.mime_type,
        bytes=file.size_bytes,
        time=time_text(file.saved_at) or "",
        address=file.address or None,
    )
