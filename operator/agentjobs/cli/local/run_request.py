"""The request of a local run, from either form of the command: its jobs, their code, their environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.given import InputProblem
from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.cli.errors import BadInput
from agentjobs.cli.local import agentfolder, manifests
from agentjobs.cli.local.manifests import Manifest
from agentjobs.cli.local.sources import Sources, given_to, of_the_command

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The jobs and schedules to run, and what the worker needs to run them."""

    jobs: tuple[AgentJob, ...]
    schedules: tuple[ScheduledAgentJob, ...] = ()
    queues: tuple[str, ...] = ()
    """Queues of the jobs, and of the schedules' jobs."""
    path: tuple[Path, ...] = ()
    """Folders put before Python's path in the executors."""
    modules: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    env_files: tuple[Path, ...] = ()
    bare: bool = False
    """Whether standard output gets the answer alone: the command named one agent and one message."""
    sources: Sources = field(default_factory=dict)
    """ConfigMaps and Secrets, to which the jobs' specs may refer."""
    save: Path | None = None
    """Folder for the files that the agents have saved. None: they end with the database."""
    artifact_service_uri: str | None = None
    """Where artifacts are kept, as ADK's flag has it. None: in the database."""
    memory_service_uri: str | None = None
    """Where memories are kept, as ADK's flag has it. None: in the database."""


def from_files(files: Sequence[str], stdin: IO[str]) -> RunRequest:
    """The request for manifests. The path has each file's folder; each agent's nearest ``.env`` counts.

    :raises BadInput: a file cannot be read, a manifest is wrong, or an agent's package is nowhere.
    """
    found, sources = manifests.read(files, stdin)
    path = _unique(m.folder for m in found)
    if missing := [problem for m in found if (problem := _missing_package(m, path))]:
        raise BadInput("\n".join(missing))
    if problems := [problem for m in found if (problem := _missing_input(m, sources))]:
        raise BadInput("\n".join(problems))
    _check_yaml_agents(found)
    return RunRequest(
        jobs=tuple(m.object for m in found if isinstance(m.object, AgentJob)),
        schedules=tuple(m.object for m in found if isinstance(m.object, ScheduledAgentJob)),
        queues=_unique(m.spec.queue for m in found),
        path=path,
        modules=_unique(top_package(m.spec.agent.module) for m in found if m.spec.agent.module),
        models=_unique(m.spec.agent.inline.model for m in found if m.spec.agent.inline),
        env_files=_unique(f for m in found if (f := agentfolder.env_file(_code_folder(m))) is not None),
        sources=sources,
    )


def from_agent(
    agent: str,
    message: str,
    *,
    attempts: int,
    stdin: IO[str],
    state: Mapping[str, Any] | None = None,
    inputs: Sequence[Path] = (),
    session: str | None = None,
    user: str | None = None,
) -> RunRequest:
    """The request for one agent, a folder or a module, a message, and files. The message ``-`` is standard input.

    :param session: the conversation to go on with. None: the job has one of its own.
    :param user: in whose name the agent runs. None: ``system``.

    :raises BadInput: there is no such agent, the message is empty, or a file cannot be taken.
    """
    module, folder = agentfolder.locate(agent, Path.cwd())
    text = stdin.read() if message == "-" else message
    if not text.strip():
        raise BadInput("MESSAGE is empty; say something to the agent.")
    sources, files = of_the_command(inputs)
    name = module.replace(":", "-").replace(".", "-").replace("_", "-").lower().strip("-")
    content = {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "AgentJob",
        "metadata": {"name": name[:63].strip("-")},
        "spec": {
            "agent": {"module": module},
            "message": text,
            "maxAttempts": attempts,
            "state": state or None,
            "inputs": files or None,
            "sessionID": session,
            "userID": user,
        },
    }
    [manifest] = manifests.check([manifests.Document("AGENT MESSAGE", folder, content)])
    if problem := _missing_input(manifest, sources):
        raise BadInput(problem)
    _check_yaml_agents([manifest])
    env_file = agentfolder.env_file(_code_folder(manifest))
    assert isinstance(manifest.object, AgentJob)
    return RunRequest(
        jobs=(manifest.object,),
        queues=(manifest.spec.queue,),
        path=_unique([folder, Path.cwd()]),
        modules=(top_package(module),),
        env_files=(env_file,) if env_file else (),
        bare=True,
        sources=sources,
    )


def top_package(module: str) -> str:
    """The package that a local run allows for ``module``: the whole of it, since the code is the caller's
    own."""
    return module.partition(":")[0].split(".")[0]


def _missing_package(manifest: Manifest, path: Sequence[Path]) -> str:
    """What is wrong where the package of the manifest's agent is neither in the folders nor installed; else empty."""
    module = manifest.spec.agent.module
    if not module or agentfolder.is_there(top := top_package(module), path):
        return ""
    folders = ", ".join(map(str, path))
    return (
        f"{manifest.where}: the agent's module '{module}': there is no '{top}' in {folders}, nor is one installed. "
        "Modules are looked for in the manifests' folders."
    )


def _missing_input(manifest: Manifest, sources: Sources) -> str:
    """What is wrong where something that the job refers to cannot be had; else empty."""
    try:
        given_to(manifest.spec, manifest.object.metadata.namespace, sources)
    except InputProblem as problem:
        return f"{manifest.where}: {problem}"
    return ""


def _check_yaml_agents(found: Iterable[Manifest]) -> None:
    for module, folder in _unique((m.spec.agent.module, m.folder) for m in found if m.spec.agent.module):
        agentfolder.check_yaml(module, folder)


def _code_folder(manifest: Manifest) -> Path:
    module = manifest.spec.agent.module
    return agentfolder.folder_of(module, manifest.folder) if module else manifest.folder


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))
