"""Where a command acts: kubeconfig, context, namespace and user, and the flags for them that every verb has."""

from __future__ import annotations

import functools
import inspect
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

from agentjobs.cli.errors import BadInput
from agentjobs.cli.flags import option

P = ParamSpec("P")
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Where:
    """The flags of a command that say where it acts, as the user gave them. None and empty: as kubectl would."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    as_user: str | None = None
    as_group: tuple[str, ...] = ()

    def kubectl_flags(self) -> list[str]:
        """The same flags for kubectl."""
        flags = {"--context": self.context, "--kubeconfig": self.kubeconfig, "--as": self.as_user}
        named = [f"{flag}={value}" for flag, value in flags.items() if value]
        return [*named, *(f"--as-group={group}" for group in self.as_group)]

    def shown(self) -> str:
        """The same flags for a command that the user is told to type; with a blank before each."""
        return "".join(f" {shlex.quote(flag)}" for flag in self.kubectl_flags())

    def namespace_of(self, environment: Mapping[str, str]) -> str:
        """The namespace of the command: the flag's, else the context's, else ``default``; in a pod without a
        kubeconfig, the pod's own.

        :raises BadInput: a file of the kubeconfig cannot be read, or has no such context.
        """
        if self.namespace:
            return self.namespace
        files = kubeconfig_files(self.kubeconfig, environment)
        if not any(file.exists() for file in files) and _SERVICE_ACCOUNT.exists():
            return _SERVICE_ACCOUNT.read_text().strip()
        configs = [_read(file) for file in files if file.exists() or self.kubeconfig]
        return namespace_in(configs, self.context)


def kubeconfig_files(given: str | None, environment: Mapping[str, str]) -> list[Path]:
    """The files that kubectl would read, in its order."""
    if given:
        return [Path(given)]
    if listed := environment.get("KUBECONFIG"):
        return [Path(part) for part in listed.split(os.pathsep) if part]
    return [Path("~/.kube/config").expanduser()]


def namespace_in(configs: Iterable[Mapping[str, Any]], context: str | None) -> str:
    """The namespace of a context in these kubeconfigs, merged as kubectl merges them: the first that says
    something wins.

    :raises BadInput: there is no such context.
    """
    contexts: dict[str, Mapping[str, Any]] = {}
    current = context
    for config in configs:
        current = current or config.get("current-context") or None
        for entry in config.get("contexts") or ():
            if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
                contexts.setdefault(entry["name"], entry.get("context") or {})
    if current is None:
        return "default"
    if current not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        raise BadInput(f"--context: {current!r} is not in the kubeconfig; there are {known}.")
    return str(contexts[current].get("namespace") or "default")


def _read(file: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(file.read_text(), Loader=loader)  # a safe loader
    except (OSError, ValueError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())
        raise BadInput(f"kubeconfig: {line}. Name one with --kubeconfig or KUBECONFIG.") from None
    return found if isinstance(found, Mapping) else {}


Namespace = Annotated[
    str | None, option("--namespace", "-n", metavar="NAME", help="Namespace. Default: the context's.")
]
Context = Annotated[str | None, option(metavar="NAME", help="The kubeconfig's context to use.")]
Kubeconfig = Annotated[
    str | None, option(metavar="FILE", help="Kubeconfig. Default: $KUBECONFIG, else ~/.kube/config.")
]
As = Annotated[str | None, option("--as", metavar="USER", help="Act as this user (impersonation).")]
AsGroup = Annotated[
    list[str] | None,
    option("--as-group", metavar="GROUP", help="Act as a member of this group; may be repeated."),
]
FLAGS: Mapping[str, Any] = {
    "namespace": Namespace,
    "context": Context,
    "kubeconfig": Kubeconfig,
    "as_user": As,
    "as_group": AsGroup,
}
GLOBAL_FLAGS = {
    "-n": True, "--namespace": True, "--context": True, "--kubeconfig": True, "--as": True, "--as-group": True,
}  # fmt: skip
"""Flags that may stand before the verb, too; True: a value follows."""


def with_where(function: Callable[Concatenate[Where, P], None]) -> Callable[..., None]:
    """The function as a command: it gets its first parameter, a Where, from flags that are added here."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> None:
        where = Where(
            namespace=options.pop("namespace"),
            context=options.pop("context"),
            kubeconfig=options.pop("kubeconfig"),
            as_user=options.pop("as_user"),
            as_group=tuple(options.pop("as_group") or ()),
        )
        function(where, *arguments, **options)

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in FLAGS.items()
    ]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    command.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    del command.__wrapped__
    return command


def verb_first(arguments: list[str]) -> list[str]:
    """The arguments with flags that stand before the verb moved behind it: ``-n x list`` is ``list -n x``."""
    moved: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        flag = rest[0].partition("=")[0]
        short = rest[0][:2]
        if flag in GLOBAL_FLAGS:
            count = 1 if "=" in rest[0] else 2
        elif short in GLOBAL_FLAGS and not rest[0].startswith("--"):
            count = 1  # -nshop
        else:
            return arguments
        if len(rest) < count:
            return arguments
        moved += rest[:count]
        rest = rest[count:]
    return [rest[0], *moved, *rest[1:]] if rest and moved else arguments
