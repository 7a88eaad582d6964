"""Completion: the program ``kubectl_complete-agentjobs``, which kubectl's own completion runs, in whatever shell.

It gets the words after ``kubectl agentjobs``, the last one as far as it is typed, and prints a candidate a line, with
its meaning after a tab, and at the end a directive for the shell.
https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/#shell-completion
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from agentjobs.cli.kubectl.filters import STATES
from agentjobs.cli.kubectl.verb_table import VERBS
from agentjobs.cli.kubectl.where import GLOBAL_FLAGS, Where, verb_first

FILES, NO_FILES = ":0", ":4"
"""Directives of the cobra library: complete file names as well, or do not."""
SHELLS = ("bash", "zsh", "fish")
_FILE_FLAGS = ("--kubeconfig", "--file", "-f")
Lookup = Callable[[str, Where], Iterable[str]]
"""The names of a resource's objects, where the command acts."""


def candidates(words: Sequence[str], lookup: Lookup) -> tuple[list[str], str]:
    """The candidates for the last word, each with its meaning after a tab, and the directive."""
    typed = words[-1] if words else ""
    before = verb_first(list(words[:-1]))
    verb = VERBS.get(before[0]) if before else None
    if verb is None:
        if before and not before[0].startswith("-"):
            return [], NO_FILES
        if before and before[-1] in GLOBAL_FLAGS:
            return [], FILES if before[-1] in _FILE_FLAGS else NO_FILES
        found = [f"{one.name}\t{one.summary}" for one in VERBS.values()]
        return _beginning(found, typed), NO_FILES
    options = _options(verb.name)
    last = before[-1] if len(before) > 1 else ""
    if last in options and options[last][1]:
        return _values(last, typed, verb.name)
    if typed.startswith("-"):
        return _beginning(
            (f"{flag}\t{text}" for flag, (text, _) in options.items() if flag[1] == "-"), typed
        ), NO_FILES
    if verb.name == "completion":
        return _beginning(SHELLS, typed), NO_FILES
    if not verb.completes:
        return [], NO_FILES
    given = {word for word in before[1:] if not word.startswith("-")}
    names = (name for name in lookup(verb.completes, _where(before)) if name not in given)
    return _beginning(names, typed), NO_FILES


def _options(verb: str) -> dict[str, tuple[str, bool]]:
    """The flags of a verb: the help of each, and whether a value follows."""
    from agentjobs.cli.kubectl.main import command_of

    found = {"--help": ("Show this help.", False)}
    return found | {
        flag: (one.info.help, one.takes_value)
        for one in command_of(VERBS[verb]).parameters
        for flag in one.flags
    }


def _values(flag: str, typed: str, verb: str) -> tuple[list[str], str]:
    if flag in _FILE_FLAGS:
        return [], FILES
    if flag in ("--output", "-o"):
        return _beginning(("wide", "json", "yaml", "name", "jsonpath="), typed), NO_FILES
    if flag == "--state" or (flag == "--for" and verb == "wait"):
        return _beginning((*STATES, *(["Finished"] if flag == "--for" else [])), typed), NO_FILES
    if flag == "--reason" and verb not in ("approve", "reject", "answer"):
        from agentjobs.values.reasons import Reason

        return _beginning((f"{reason.value}\t{reason.doc}" for reason in Reason), typed), NO_FILES
    return [], NO_FILES


def _beginning(found: Iterable[str], typed: str) -> list[str]:
    return [" ".join(one.split("\n")) for one in found if one.lower().startswith(typed.lower())]


def _where(words: Sequence[str]) -> Where:
    """The flags that say where the command acts, as far as they are typed."""
    values: dict[str, str] = {}
    for n, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in GLOBAL_FLAGS:
            values[{"-n": "--namespace"}.get(flag, flag)] = value if equals else "".join(words[n + 1 : n + 2])
    return Where(
        values.get("--namespace"), values.get("--context"), values.get("--kubeconfig"), values.get("--as")
    )


def names_of(resource: str, where: Where) -> list[str]:
    """The names of a resource's objects, at most one page. None where the cluster does not answer."""
    from agentjobs.cli.errors import BadInput, Unavailable
    from agentjobs.cli.kubectl.apiserver import ApiServer

    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    try:
        with ApiServer.open(where) as server:
            reply = server.request("GET", server.path_of(resource), {"limit": "500"}, accept=accept)
            return [one["metadata"]["name"] for one in reply.json().get("items") or ()] if reply.ok else []
    except (BadInput, Unavailable):
        return []


def main() -> None:
    """Prints the candidates."""
    found, directive = candidates(sys.argv[1:], names_of)
    sys.stdout.write("".join(f"{line}\n" for line in [*found, directive]))
