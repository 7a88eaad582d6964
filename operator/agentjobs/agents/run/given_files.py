"""The files of ``spec.inputs`` as the agent gets them: parts of the job's message, and artifacts of its session.

A user who uploads a file in ``adk web`` sends the same part. What saves it there is the author's choice: ADK's
``SaveFilesAsArtifactsPlugin``. Here each file is an artifact, so that tools find it, with that plugin and without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from google.genai import types

from agentjobs.agents.definition.resolve import Resolved
from agentjobs.values.input_file import MESSAGE, InputFile

if TYPE_CHECKING:
    from google.adk.artifacts import BaseArtifactService

GIVEN_BY = "agentjobs_job"
"""Metadata key of an artifact that a job was given: the job's uid, by which a later run knows that it is there."""


def message_of(text: str, files: Sequence[InputFile]) -> types.Content:
    """The job's message: its text, then the files that go with it."""
    attached = [_part(file) for file in files if file.attach == MESSAGE]
    return types.UserContent(parts=[types.Part(text=text), *attached])


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
