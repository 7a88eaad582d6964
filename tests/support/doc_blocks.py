"""The blocks of code in the pages of the documentation, the commands in them, and which kind each block is."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
GENERATED = {"docs/cli-reference.md", "docs/reference.md"}
"""Pages that are written by a program, whose own tests look at them."""
PAGES = [
    path
    for path in (
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "examples" / "README.md",
        ROOT / "charts" / "agentjobs" / "README.md",
    )
    if path.relative_to(ROOT).as_posix() not in GENERATED and path.name != "CHANGELOG.md"
]
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
SEPARATORS = {"&&", "||", ";", "|", "(", ")", "&"}
REDIRECTS = {"<", ">", ">>", "2>", "<<<", "<<"}
WORDS_OF_SHELL = {"kubectl", "helm", "agentjobs", "make", "python", "python3", "pip", "psql"}


class Kind(StrEnum):
    """What a block is, and so how it is looked at."""

    SHELL = "shell"
    YAML = "yaml"
    PYTHON = "python"
    SQL = "sql"
    DOCKERFILE = "dockerfile"
    TEXT = "text"


class Block(NamedTuple):
    """One block of a page: fenced, or indented by four."""

    page: str
    """From the repository's root."""
    line: int
    """Of its first line."""
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """Its first line that is not empty, which names it."""
        return next(line.strip() for line in self.text.splitlines() if line.strip())

    @property
    def kind(self) -> Kind:
        if self.language:
            return Kind(self.language) if self.language in set(Kind) else Kind.TEXT
        if _program_of(self.first) is not None:
            return Kind.SHELL
        if re.match(r"(select|grant|alter|create|update|insert)\b", self.first):
            return Kind.SQL
        if isinstance(_yaml_of(self.text), dict):
            return Kind.YAML
        return Kind.PYTHON if _is_python(self.text) else Kind.TEXT


class Command(NamedTuple):
    """One simple command of a block or of a line of text."""

    where: str
    words: tuple[str, ...]
    is_mention: bool = False
    """A program and its verb in a line of text, such as ``helm install``: nothing to type."""

    @property
    def program(self) -> str:
        return self.words[0].rpartition("/")[2]


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of a page, in its order."""
    page, lines = path.relative_to(ROOT).as_posix(), path.read_text().splitlines()
    number = 0
    while number < len(lines):
        line, begin = lines[number], number
        if fence := re.match(r"( *)(`{3,})(\w*)", line):
            number += 1
            while not lines[number].startswith(fence[1] + fence[2]):
                number += 1
            inside = [one.removeprefix(fence[1]) for one in lines[begin + 1 : number]]
            yield Block(page, begin + 2, fence[3], "\n".join(inside))
        elif line.startswith("    ") and (begin == 0 or not lines[begin - 1].strip()):
            while number + 1 < len(lines) and (
                lines[number + 1].startswith("    ") or not lines[number + 1].strip()
            ):
                number += 1
            inside = [one[4:] for one in lines[begin : number + 1]]
            least = min(len(one) - len(one.lstrip()) for one in inside if one.strip())
            yield Block(page, begin + 1, "", "\n".join(one[least:] for one in inside).rstrip())
        number += 1


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in PAGES for block in blocks(page)]


def commands(block: Block) -> Iterator[Command]:
    """The simple commands of a block of shell. Output that follows a ``$ `` is left out."""
    number, lines = block.line, block.text.splitlines()
    shown = any(line.startswith("$ ") for line in lines)
    heredoc, whole = "", ""
    for line in lines:
        if heredoc:
            heredoc = "" if line.strip() == heredoc else heredoc
        elif not shown or line.startswith("$ ") or whole:
            whole += line.removeprefix("$ ")
            if whole.endswith("\\"):
                whole = whole[:-1] + " "
            elif not _is_open(whole):
                if match := re.search(r"<<-?'?(\w+)'?", whole):
                    heredoc = match[1]
                yield from _simple(f"{block.page}:{number}", whole)
                whole = ""
            else:
                whole += "\n"
        number += 1


def inline_commands(path: Path) -> Iterator[Command]:
    """The commands that a page tells in a line of text: code that begins with a program of ours, kubectl or helm."""
    page = path.relative_to(ROOT).as_posix()
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        inside ^= line.lstrip().startswith("```")
        if inside or line.startswith("    "):
            continue
        for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", line.replace("\\|", "|")):
            if re.match(r"(kubectl|helm|agentjobs|make) [a-z-]", code) and not re.search(r"\w\|\w", code):
                for command in _simple(f"{page}:{number}", code):
                    bare = len(command.words) - (command.words[:2] == ("kubectl", "agentjobs")) <= 2
                    yield command._replace(is_mention=bare)


def documents(block: Block) -> list[Any]:
    """The YAML documents of a block."""
    return [found for found in yaml.safe_load_all(block.text) if found is not None]


def _simple(where: str, line: str) -> Iterator[Command]:
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    found, skip = [], False
    for word in lexer:
        if skip:
            skip = False
        elif word in SEPARATORS:
            found.append(words)
            words = []
        elif word in REDIRECTS:
            skip = True
        else:
            words.append(word)
    for simple in [*found, words]:
        rest = simple
        while rest and ASSIGNMENT.match(rest[0]):
            rest = rest[1:]
        if rest and rest[0] not in ("$", "…"):
            yield Command(where, tuple(word for word in rest if word != "…"))


def _is_open(line: str) -> bool:
    """Whether a quotation goes on in the next line."""
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False


def _program_of(line: str) -> str | None:
    words = line.removeprefix("$ ").split()
    while words and ASSIGNMENT.match(words[0]):
        value = words[0].partition("=")[2]
        words = [value[2:], *words[1:]] if value.startswith("$(") else words[1:]
    word = words[0].rpartition("/")[2] if words else ""
    return word if word in PROGRAMS else None


PROGRAMS = WORDS_OF_SHELL | {
    "adk",
    "cosign",
    "curl",
    "docker",
    "export",
    "kill",
    "kind",
    "kubectl-agentjobs",
    "pg_dump",
    "pg_restore",
    "pipx",
    "pytest",
    "sed",
    "uvx",
}
"""What a block of shell can begin with."""


def _yaml_of(text: str) -> object:
    try:
        return next(iter(yaml.safe_load_all(text)), None)
    except yaml.YAMLError:
        return None


def _is_python(text: str) -> bool:
    try:
        compile(text, "", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    except (SyntaxError, ValueError):
        return False
    return True
