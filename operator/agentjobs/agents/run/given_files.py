"""The files of ``spec.inputs`` as the agent gets them: parts of the job's message, and artifacts of its session.

A user who uploads a file in ``adk web`` sends the same part. What saves it there is the author's choice: ADK's
``SaveFilesAsArtifactsPlugin``. Here each file is an artifact, so that tools find it, with that plugin and without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from google.genai import types

from agentjobs.agents.definition.resolve import Resolved
from agentjobs.agents.verdict.errors import InputGone
from agentjobs.values.input_file import MESSAGE, ArtifactPlace, InputFile

if TYPE_CHECKING:
    from google.adk.artifacts import BaseArtifactService

GIVEN_BY = "agentjobs_job"
"""Metadata key of an artifact that a job was given: the job's uid, by which a later run knows that it is there."""


def message_of(text: str, files: Sequence[InputFile]) -> types.Content:
    """The job's message: its text, then the files that go with it."""
    attached = [_part(file) for file in files if file.attach == MESSAGE]
    return types.UserContent(parts=[types.Part(text=text), *attached])


async def loaded(files: Sequence[InputFile], artifacts: BaseArtifactService) -> list[InputFile]:
    """The files with their contents, of which some are in sessions of other jobs.

    :raises InputGone: one is no more there.
    """
    return [file if file.place is None else await _loaded(file, file.place, artifacts) for file in files]


async def _loaded(file: InputFile, place: ArtifactPlace, artifacts: BaseArtifactService) -> InputFile:
    part = await artifacts.load_artifact(
        app_name=place.app_name,
        user_id=place.user_id,
        session_id=place.session_id,
        filename=place.filename,
        version=place.version,
    )
    blob = part.inline_data if part is not None else None
    if part is None or (blob is None and part.text is None):
        raise InputGone(
            f"spec.inputs: {file.name}: the file {place.filename} of the earlier job is no more where artifacts are kept: have that "
            "job save it again, and submit this one anew"
        )
    data = (part.text or "").encode() if blob is None else blob.data or b""
    own_type = "text/plain" if blob is None else blob.mime_type
    return replace(
        file, data=data, mime_type=file.mime_type or own_type or "application/octet-stream", place=None
    )


def texts_of(files: Sequence[InputFile]) -> list[str]:
    """The texts of the files, which no error may quote."""
    found = []
    for file in files:
        try:
            found.append(file.data.decode())
        except UnicodeDecodeError:
            continue
    return found


async def save(
    files: Sequence[InputFile], artifacts: BaseArtifactService, session: dict[str, Any], uid: str
) -> None:
    """Saves the files as artifacts of the session, but for those that an earlier run has saved.

    A run may die between this and the job's message, so what it has saved is known by the job's uid.

    :param session: the session's key, as ADK's services take it.
    :raises ArtifactRefused: the pool's limits have no room for one.
    """
    for file in files:
        versions = await artifacts.list_artifact_versions(**session, filename=file.name)
        if not any((version.custom_metadata or {}).get(GIVEN_BY) == uid for version in versions):
            await artifacts.save_artifact(
                **session, filename=file.name, artifact=_part(file), custom_metadata={GIVEN_BY: uid}
            )


def to_save(files: Sequence[InputFile], agent: Resolved) -> Sequence[InputFile]:
    """The files that the agent's own app does not save: ADK's plugin saves what comes with a message."""
    from google.adk.plugins.save_files_as_artifacts_plugin import SaveFilesAsArtifactsPlugin

    plugins = agent.app.plugins if agent.app is not None else ()
    saves = any(isinstance(plugin, SaveFilesAsArtifactsPlugin) for plugin in plugins)
    return [file for file in files if not (saves and file.attach == MESSAGE)]


def _part(file: InputFile) -> types.Part:
    return types.Part(
        inline_data=types.Blob(mime_type=file.mime_type, data=file.data, display_name=file.name)
    )
