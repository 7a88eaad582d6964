"""Manifests of a local run: files become AgentJobs and schedules, after the API server's and operator's
checks."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from agentjobs.agents.definition.yaml_files import ROOT
from agentjobs.api.agentjob import AgentJob
from agentjobs.api.job_spec import JobSpec
from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.api.validation import KINDS, problems_of, without_nulls
from agentjobs.cli.errors import BadInput
from agentjobs.cli.local.sources import Sources, is_source, problems_of_source, sources_in
from agentjobs.cli.manifest_url import fetch, is_url

NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of generated names, as the API server's: without vowels they form no words."""
DEFAULT_NAMESPACE = "default"
SUFFIXES = (".yaml", ".yml", ".json")
NEVER = {
    AgentJob.KIND: "such a job would never end here",
    ScheduledAgentJob.KIND: "such a schedule would never fire here",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file, not checked yet."""

    where: str
    """Its place, for messages: file, document, line."""
    folder: Path
    content: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file, or the rest of one, that holds no objects."""

    problem: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checked AgentJob or ScheduledAgentJob, its place for messages, and the folder of its file."""

    object: AgentJob | ScheduledAgentJob
    where: str
    folder: Path

    @property
    def spec(self) -> JobSpec:
        """The spec of the AgentJob, or of each AgentJob of the schedule."""
        own = self.object.spec
        return own if isinstance(own, JobSpec) else own.job_template.spec


def read(files: Sequence[str], stdin: IO[str]) -> tuple[list[Manifest], Sources]:
    """The AgentJobs and ScheduledAgentJobs of the files, and the ConfigMaps and Secrets beside them.

    :raises BadInput: there are none, or with every problem of every document in the message.
    """
    found = list(documents(files, stdin))
    manifests = check(found)
    if not manifests:
        where = ", ".join("standard input" if file == "-" else file for file in files)
        raise BadInput(f"There is no AgentJob and no ScheduledAgentJob in {where}.")
    return manifests, sources_in([one.content for one in found if isinstance(one, Document)])


def check(documents: Iterable[Document | Unreadable]) -> list[Manifest]:
    """The documents as AgentJobs and schedules, no two with the same name.

    :raises BadInput: with every problem of every document in the message.
    """
    manifests: list[Manifest] = []
    problems: list[str] = []
    names: dict[tuple[str, str, str], str] = {}
    for document in documents:
        if isinstance(document, Unreadable):
            problems.append(document.problem)
            continue
        found = _problems(document)
        if not found and not is_source(document.content):
            model = KINDS[document.content["kind"]]
            made = model.model_validate(named(without_nulls(document.content)))
            key = (model.KIND, made.metadata.namespace, made.metadata.name)
            if key in names:
                found = [f"metadata.name '{key[2]}' is already the name of {names[key]}; give it another"]
            names.setdefault(key, document.where)
            manifests.append(Manifest(made, document.where, document.folder))
        problems += [f"{document.where}: {problem}" for problem in found]
    if problems:
        raise BadInput("\n".join(problems))
    return manifests


def documents(files: Iterable[str], stdin: IO[str]) -> Iterator[Document | Unreadable]:
    """The objects of the files, of files at URLs and of standard input, with the items of a List one by one."""
    for file in files:
        if file == "-":
            yield from parse(stdin.read(), "standard input", Path.cwd())
        elif is_url(file):
            try:
                text = fetch(file)
            except BadInput as problem:
                yield Unreadable(str(problem))
            else:
                yield from parse(text, file, Path.cwd())
        else:
            yield from _of_path(Path(file))


def parse(text: str, source: str, folder: Path) -> Iterator[Document | Unreadable]:
    """The objects of a YAML text, up to where it is none."""
    loader = yaml.SafeLoader(text)
    number = 0
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            content = loader.construct_document(node)
            if content is None:
                continue
            number += 1
            where = f"{source}, document {number} (line {node.start_mark.line + 1})"
            if isinstance(content, dict) and content.get("kind") == "List":
                for index, item in enumerate(content.get("items") or []):
                    yield Document(f"{where}, item {index + 1}", folder, item)
            else:
                yield Document(where, folder, content)
    except yaml.YAMLError as error:
        words = str(error).replace('"<unicode string>", ', "")
        yield Unreadable(f"{source} is not YAML: {words}")
    finally:
        loader.dispose()


def named(content: dict[str, Any]) -> dict[str, Any]:
    """``content`` with a namespace, and with a name from ``generateName`` where it has none."""
    metadata = dict(content.get("metadata") or {})
    metadata["namespace"] = metadata.get("namespace") or DEFAULT_NAMESPACE
    if not metadata.get("name"):
        suffix = "".join(secrets.choice(NAME_ALPHABET) for _ in range(5))
        metadata["name"] = f"{metadata.get('generateName', 'job-')[:58]}{suffix}"
    return {**content, "metadata": metadata}


def _of_path(path: Path) -> Iterator[Document | Unreadable]:
    """The objects of a file, or of the manifests in a folder."""
    try:
        files = sorted(f for f in path.iterdir() if f.suffix in SUFFIXES) if path.is_dir() else [path]
    except OSError as error:
        yield Unreadable(f"-f '{path}' cannot be read: {error.strerror}.")
        return
    files = [file for file in files if file == path or file.is_file()]
    if not files:
        yield Unreadable(f"-f '{path}' is a folder without manifests ({', '.join(SUFFIXES)}).")
    for file in files:
        if file.name == ROOT:
            yield Unreadable(
                f"-f '{file}' is an agent's file and no manifest. Run its folder with: agentjobs local {file.parent} MESSAGE, "
                f"or name it in a manifest: spec.agent.module."
            )
            continue
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            yield Unreadable(f"-f '{file}' cannot be read: {why}.")
        else:
            yield from parse(text, str(file), file.resolve().parent)


def _problems(document: Document) -> list[str]:
    content = document.content
    if not isinstance(content, dict):
        return [f"an object is wanted, not a {type(content).__name__}; it begins with apiVersion and kind"]
    if is_source(content):
        return list(problems_of_source(content))
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return [
            f"kind: {'is missing' if kind is None else repr(kind)}: only {' and '.join(f'{k}s' for k in KINDS)} run locally, with the ConfigMaps and Secrets that they name; "
            f"take the document out, or name the files that are manifests"
        ]
    return [str(problem) for problem in problems_of(content)] or [
        f"spec.{field}: true: {NEVER[kind]}; take the field out"
        for field in ("suspend", "cancel")
        if content["spec"].get(field)
    ]
