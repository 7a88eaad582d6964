"""How each block and command of the documentation is executed or checked, and which are excepted, for which reason.

A block whose kind no rule knows, a program that no rule knows, and an exception that no page needs any more are failures of
tests/unit/docs/test_blocks.py. So whoever adds a block decides how it is kept true.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
import yaml

from agentjobs.api.validation import problems_of
from agentjobs.cli.deferred import DATABASE
from agentjobs.cli.deferred import command_of as database_command
from agentjobs.cli.errors import BadInput
from agentjobs.cli.flags import Command as Verb
from agentjobs.cli.flags import _parser
from agentjobs.cli.kubectl.main import command_of as plugin_command
from agentjobs.cli.kubectl.verb_table import VERBS
from agentjobs.cli.main import app
from agentjobs.cli.settings import Settings
from agentjobs.client import queue as client
from agentjobs.queue.queue import Queue
from doc_blocks import (
    PAGES,
    PROGRAMS,
    ROOT,
    Block,
    Command,
    Kind,
    all_blocks,
    commands,
    documents,
    inline_commands,
)

CHART = "charts/agentjobs"

EXECUTED: Mapping[tuple[str, str], str] = {
    ("README.md", "greeter:"): "tests/queue/test_docs_commands.py",
    ("docs/sizing.md", "29 slots: 3 pods of 10"): "tests/unit/docs/test_blocks.py",
    ("docs/your-agent.md", "**/.env"): "tests/unit/docs/test_blocks.py",
    ("docs/design.md", "operator/agentjobs/"): "tests/unit/test_docs_house.py",
    (
        "docs/agents.md",
        "# weather/root_agent.yaml; the job says spec.agent.module: weather",
    ): "tests/unit/agents/definition/test_yaml_agents.py",
    ("docs/agents.md", "# /agents/services.yaml"): "tests/queue/test_uri_services.py",
    (
        "docs/agents.md",
        "head -c 32 /dev/urandom | base64 | tr -- +/ -_ > key",
    ): "tests/unit/values/test_sealing.py",
    (
        "docs/python.md",
        '>>> Job.module("my_agents.order", mesage="Hello", max_attempts=0)',
    ): "tests/unit/client/test_job.py",
    (
        "docs/local.md",
        "agentjobs: broken.yaml, document 2 (line 10): spec.message: is required",
    ): "tests/unit/cli/test_local_input.py",
    (
        "docs/schedules.md",
        'spec.schedule: … got "@every 5m"; write */5 * * * *',
    ): "tests/api/test_schedule_admission.py",
}
"""Blocks that are output, a tree or a file: the test that has them, by page and first line."""

METRICS_TEST = "tests/unit/telemetry/test_metrics_page.py"

EXCEPTED: Mapping[tuple[str, str], str] = {
    (
        "docs/design.md",
        "Kubernetes                     operator                  Postgres                      worker",
    ): "a drawing",
    ("docs/design.md", "due later               due"): "a drawing",
    (
        "docs/design.md",
        "supervisor      asyncio; claims, heartbeat, acks, progress, drain, health, metrics. Never imports ADK. ~60 MB",
    ): "a drawing",
    (
        "docs/design.md",
        "executor's word          supervisor's view         told to the queue        stored                    traced",
    ): "a drawing",
    (
        "docs/development.md",
        "unit: ran (212)",
    ): "an example of a report, whose numbers are those of one machine",
    (
        "docs/index.md",
        "kubectl apply ─► API server ─► operator: intake ─► Postgres ─► worker: claim ─► executor: the agent runs",
    ): "a drawing",
    (
        "docs/install.md",
        "6 × operator pods + 8 × web pods + the sum over pools of pods × (6 + slots per pod + standbys)",
    ): "a formula: scripts/sizing.py and the chart's notes compute it",
    (
        "docs/production.md",
        "6 × operator pods + 8 × web pods + the sum over pools of pods × (6 + slots per pod + standbys) + 10",
    ): "a formula: scripts/sizing.py and the chart's notes compute it",
    (
        "docs/metrics.md",
        "queue      5 for each worker and operator process       (AGENTJOBS_DATABASE_URL; may go through a pooler)",
    ): "a formula: tests/queue/test_connections.py counts them",
    (
        "docs/model-health.md",
        "closed ──five failures in a row, a refused key──► open ──a probe is answered──► ramp: 2, 3, 4 … at once ──► closed",
    ): "a drawing",
    (
        "docs/retries.md",
        "min(maxDelaySeconds, initialDelaySeconds × factor^(attempt − 1))      ± 10 % at random",
    ): "a formula: tests/queue/test_waiting.py has it",
    (
        "docs/telemetry.md",
        "job agents                                  a round, from its beginning to its end",
    ): "a drawing of the trace that tests/queue/test_tracing.py compares",
    (
        "docs/worker.md",
        "supervisor   claims, heartbeat, acks, drain, health; asyncio; never imports google-adk",
    ): "a drawing",
}
"""Blocks that nothing executes, each with the reason."""

FOREIGN: Mapping[str, str] = {
    "adk": "Google's program: tests/queue/test_cli_local.py makes a folder by it and runs that",
    "cd": "of the shell",
    "cosign": "signs what is pushed, to a registry that no test has",
    "curl": "asks a process that runs: tests/queue/test_worker.py and tests/api ask the same paths",
    "docker": "needs an engine: tests/pods builds the images",
    "export": "of the shell",
    ".": "of the shell",
    "grep": "of the system",
    "kill": "of the shell",
    "kind": "needs an engine: tests/pods loads the images",
    "openssl": "of the system",
    "pg_dump": "Postgres' own",
    "pg_restore": "Postgres' own",
    "psql": "its queries run in tests/queue/test_docs_sql.py",
    "sed": "of the system",
    "sha256sum": "of the system; tests/queue/test_release.py compares the sums",
}
"""Programs that are not ours: bash reads their lines, and the reason why no test of this kind runs them."""

CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
"""ClickException of the click that typer uses."""

NOT_THERE = frozenset({"recover"})
"""Commands that docs/design.md says are not there."""

HELM_VERBS = frozenset(
    {
        "install",
        "upgrade",
        "template",
        "test",
        "uninstall",
        "rollback",
        "history",
        "show",
        "get",
        "dependency",
        "lint",
    }
)

KUBECTL_VERBS = frozenset(
    {
        "annotate", "apply", "auth", "create", "delete", "describe", "exec", "explain", "get", "label", "logs", "patch",
        "port-forward", "proxy", "replace", "rollout", "wait",
    }
)  # fmt: skip


def problem_of_command(command: Command) -> str | None:
    """What is wrong with a command; None: nothing that can be known without running it."""
    if command.is_mention:
        return _problem_of_mention(command)
    rule = RULES.get(command.program)
    if rule is None:
        return (
            None
            if command.program in FOREIGN
            else f"no rule knows the program {command.program!r}: see doc_rules.py"
        )
    try:
        return rule(command.words[1:])
    except BadInput as problem:
        return str(problem)


def problem_of_block(block: Block) -> str | None:
    """What is wrong with a block."""
    if (block.page, block.first) in EXECUTED or (block.page, block.first) in EXCEPTED:
        return None
    match block.kind:
        case Kind.SHELL:
            return _problem_of_shell(block)
        case Kind.YAML:
            return next(
                (told for document in documents(block) if (told := _problem_of_yaml(block, document))), None
            )
        case Kind.PYTHON:
            return _problem_of_python(block.text)
        case Kind.SQL:
            return None if block.page.startswith("docs/") else "SQL is run of the pages of docs/ only"
        case Kind.DOCKERFILE:
            return _problem_of_dockerfile(block.text)
    return (
        f"no rule knows this block, which begins with {block.first!r}: write what executes it into EXECUTED of "
        "tests/support/doc_rules.py, or into EXCEPTED why nothing does"
    )


def _problem_of_mention(command: Command) -> str | None:
    verb = command.words[-1]
    known = {
        "kubectl": {*KUBECTL_VERBS, "agentjobs", *VERBS}
        if "agentjobs" in command.words
        else KUBECTL_VERBS | {"agentjobs"},
        "helm": HELM_VERBS,
        "agentjobs": {*DATABASE, *(one.name for one in app.registered_commands), "migrate", *NOT_THERE},
    }.get(command.program)
    if known is None:
        return _make(command.words[1:])
    return None if verb in known or verb.startswith("-") else f"{command.program} has no verb {verb!r}"


# commands --------------------------------------------------------------------------------------------


def _agentjobs(words: tuple[str, ...]) -> str | None:
    if words and words[0] in DATABASE:
        return _verb(database_command(words[0]), words[1:])
    # Any: newer releases of typer have a click of their own, older ones use the package
    command: Any = _program()
    rest, name, context = ["1" if word == "N" else word for word in words], "agentjobs", None
    while rest[:1] not in ([], ["-h"], ["--help"]):
        try:
            context = command.make_context(name, rest, parent=context)
            if not hasattr(command, "resolve_command"):
                return None
            name, command, rest = command.resolve_command(context, [*_before(context), *context.args])
        except typer.Exit:
            return None
        except CLICK_ERROR as error:
            return str(error.format_message())
    return None


@cache
def _program() -> Any:
    return typer.main.get_command(app)


def _before(context: Any) -> list[str]:
    """A group's words up to its subcommand, as each release of click names them."""
    found: list[str] = getattr(context, "_protected_args", None) or getattr(context, "protected_args", [])
    return found


def _plugin(words: tuple[str, ...]) -> str | None:
    if not words or words[0] in ("-h", "--help", "--version", "help", "VERB"):
        return None
    verb = VERBS.get(words[0])
    return f"no verb {words[0]!r}" if verb is None else _verb(plugin_command(verb), words[1:])


def _verb(command: Verb, words: tuple[str, ...]) -> str | None:
    if not {"-h", "--help"} & set(words):
        _parser(command).parse_intermixed_args(list(words))  # raises BadInput
    return None


def _kubectl(words: tuple[str, ...]) -> str | None:
    rest = list(words)
    while rest and rest[0] in ("-n", "--namespace"):
        rest = rest[2:]
    if rest and rest[0] == "agentjobs":
        return _plugin(tuple(rest[1:]))
    if not rest or rest[0] not in KUBECTL_VERBS:
        return f"no verb of kubectl that a rule knows: {rest[:1]}"
    for flag, value in pairwise(rest):
        ours = flag in ("-f", "--filename", "--patch-file") and value.startswith(("examples/", "gitops/"))
        if ours and not (ROOT / value).exists():
            return f"there is no {value}"
    return None


def _helm(words: tuple[str, ...]) -> str | None:
    if not words or words[0] not in HELM_VERBS:
        return f"no verb of helm that a rule knows: {words[:1]}"
    if "--reuse-values" in words:
        return (
            "an upgrade with --reuse-values leaves out the values of the new chart: --reset-then-reuse-values"
        )
    namespace = words[words.index("-n") + 1] if "-n" in words else None
    whole = any(word == "." or word.startswith("charts/") for word in words)
    if whole and words[0] == "install" and ("--create-namespace" not in words or namespace is None):
        return "install into a namespace, with -n and --create-namespace"
    if whole and words[0] == "upgrade" and not {"-f", "--reset-then-reuse-values"} & set(words):
        return "an upgrade takes its values from -f, or --reset-then-reuse-values"
    unknown = [path for path in set_values(words) if unknown_values(path)]
    return f"the chart has no value {unknown}" if unknown else None


def _make(words: tuple[str, ...]) -> str | None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, equals, _ = word.partition("=")
        if word == "-n" or word.startswith("-"):
            continue
        if equals:
            if (
                name not in ("TAG", "PREFIX", "BASE_IMAGE", "KIND_CLUSTER", "PYTHON", "IMAGES")
                and f"$({name})" not in makefile
            ):
                return f"the Makefile knows no {name}"
        elif not re.search(rf"^{name}:", makefile, re.MULTILINE):
            return f"there is no target {name}"
    return None


def _python(words: tuple[str, ...]) -> str | None:
    if words[:1] == ("-m",):
        if words[1] == "pytest":
            return _pytest(words[2:])
        path = words[1].replace(".", "/")
        places = [base / f"{path}{end}" for base in (ROOT, ROOT / "operator") for end in ("", ".py")]
        return None if any(place.exists() for place in places) else f"there is no module {words[1]}"
    if words[:1] == ("-c",):
        return _problem_of_python(words[1])
    return None if (ROOT / words[0]).exists() else f"there is no {words[0]}"


def _pytest(words: tuple[str, ...]) -> str | None:
    missing = [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
    return f"there is no {missing}" if missing else None


def _pip(words: tuple[str, ...]) -> str | None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for word in words:
        if match := re.fullmatch(r"(.*)\[([\w,]+)\]", word):
            if match[1] != ".":
                return f"{word}: nothing is on PyPI yet, so install from the checkout: '.[{match[2]}]'"
            if unknown := set(match[2].split(",")) - extras:
                return f"pyproject.toml has no extra {sorted(unknown)}"
    return None


def _uvx(words: tuple[str, ...]) -> str | None:
    program = words.index("kubectl-agentjobs")
    return _pip(words[:program]) or _plugin(words[program + 1 :])


RULES: Mapping[str, Callable[[tuple[str, ...]], str | None]] = {
    "agentjobs": _agentjobs,
    "kubectl": _kubectl,
    "kubectl-agentjobs": _plugin,
    "helm": _helm,
    "make": _make,
    "python": _python,
    "python3": lambda words: None if words[:2] == ("-m", "venv") else _python(words),
    "pytest": _pytest,
    "pip": _pip,
    "pipx": _pip,
    "uvx": _uvx,
}
assert not PROGRAMS - set(RULES) - set(FOREIGN)


# blocks ----------------------------------------------------------------------------------------------


def _problem_of_shell(block: Block) -> str | None:
    if any(line.startswith("$ ") for line in block.text.splitlines()):
        text = "\n".join(line[2:] for line in block.text.splitlines() if line.startswith("$ "))
    else:
        text = block.text
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    return done.stderr.strip() or None


def _problem_of_yaml(block: Block, document: Any) -> str | None:
    if not isinstance(document, dict):
        return f"neither a manifest nor values: {document!r}"
    if block.page == "docs/metrics.md" and {"triggers", "groups", "rules", "metrics"} & set(document):
        return None  # METRICS_TEST
    if document.get("apiVersion", "").startswith("agentjobs.dev/") or set(document) == {"spec"}:
        return "; ".join(map(str, problems_of(_whole(document)))) or None
    if "apiVersion" in document:
        return _problem_of_kubernetes(document)
    if set(document) <= set(Settings.model_fields) and not set(document) <= set(_values()):
        Settings(**document)
        return None
    unknown = [path for path in _paths(document) if unknown_values(path)]
    return f"the chart has no value {unknown}" if unknown else None


def _whole(document: dict[str, Any]) -> dict[str, Any]:
    """A manifest of which a page shows the spec alone."""
    head = {"apiVersion": "agentjobs.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": "shown"}}
    whole = {**head, **document}
    if whole["kind"] == "AgentJob":
        said = {} if "messageFrom" in whole["spec"] else {"message": "shown"}
        whole["spec"] = {**said, **whole["spec"]}
    return whole


def _problem_of_kubernetes(document: dict[str, Any]) -> str | None:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, "1.34", strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


def _problem_of_python(text: str) -> str | None:
    try:
        tree = compile(text, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    except SyntaxError as error:
        return f"{error.msg} at its line {error.lineno}"
    return next(filter(None, (_problem_of_node(node) for node in ast.walk(tree))), None)


def _problem_of_node(node: ast.AST) -> str | None:
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("agentjobs", "google.adk")):
        module = importlib.import_module(str(node.module))
        missing = [
            name.name
            for name in node.names
            if not hasattr(module, name.name) and not _is_module(f"{node.module}.{name.name}")
        ]
        return f"{node.module} has no {missing}" if missing else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        of = node.func.value
        if isinstance(of, ast.Name) and of.id == "queue":
            return _problem_of_call(node)
    return None


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _problem_of_call(node: ast.Call) -> str | None:
    """A call of a method of Queue, an application's or the inner one: whether one has such a method, with such parameters."""
    problems = [_problem_for(owner, node) for owner in (client.Queue, Queue)]
    return None if None in problems else " / ".join(problem for problem in problems if problem)


def _problem_for(owner: type, node: ast.Call) -> str | None:
    assert isinstance(node.func, ast.Attribute)
    method = getattr(owner, node.func.attr, None)
    if method is None:
        return f"{owner.__module__}.Queue has no {node.func.attr}"
    given = {keyword.arg: None for keyword in node.keywords if keyword.arg is not None}
    try:
        inspect.signature(method).bind(None, *node.args, **given)
    except TypeError as error:
        return f"{owner.__module__}.Queue.{node.func.attr}: {error}"
    return None


def _problem_of_dockerfile(text: str) -> str | None:
    """A block says what examples/custom-worker/Dockerfile says, which tests/pods builds."""
    example = (ROOT / "examples" / "custom-worker" / "Dockerfile").read_text()
    told = {line.lstrip("# ").strip() for line in example.splitlines()}
    strange = [
        line
        for line in text.splitlines()
        if line.strip() and not line.startswith("FROM ") and line.strip() not in told
    ]
    return f"examples/custom-worker/Dockerfile has no {strange}" if strange else None


# the chart's values ------------------------------------------------------------------------------------


def set_values(words: tuple[str, ...]) -> list[str]:
    """The paths that the flags ``--set`` of a command name."""
    given = [value for flag, value in pairwise(words) if flag in ("--set", "--set-string")]
    return [part.partition("=")[0] for value in given for part in re.split(r",(?=[\w.]+=)", value)]


@cache
def _values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / CHART / "values.yaml").read_text())
    return found


def unknown_values(path: str) -> bool:
    """Whether the chart has no value of this path. Below a map of people's own, such as ``queues``, every name is known."""
    keys = path.split(".")
    if keys[0] == "pools" and len(keys) > 1:
        keys = ["poolDefaults", *keys[2:]]
    found: Any = _values()
    for key in keys:
        if not isinstance(found, dict) or not found:
            return False
        if key not in found:
            return True
        found = found[key]
    return False


def _paths(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        path = f"{above}{key}"
        yield path
        if isinstance(value, dict):
            yield from _paths(value, f"{path}.")


def page_commands() -> list[Command]:
    """The commands of all pages: of their blocks, but for drawings and the like, and of lines of text."""
    excepted = {**EXECUTED, **EXCEPTED}
    of_blocks = [
        command
        for block in all_blocks()
        if block.kind is Kind.SHELL and (block.page, block.first) not in excepted
        for command in commands(block)
    ]
    return [*of_blocks, *(command for page in PAGES for command in inline_commands(page))]


def stale_entries() -> list[tuple[str, str]]:
    """Entries of EXECUTED and EXCEPTED for blocks that no page has any more."""
    there = {(block.page, block.first) for block in all_blocks()}
    return [entry for entry in (*EXECUTED, *EXCEPTED) if entry not in there]


def missing_tests() -> list[str]:
    """Tests that EXECUTED names and that are not there, or do not read the page."""
    named = {(page, test) for (page, _), test in EXECUTED.items()} | {("docs/metrics.md", METRICS_TEST)}
    return [
        f"{test} for {page}"
        for page, test in sorted(named)
        if not (Path(ROOT) / test).exists() or Path(page).name not in (Path(ROOT) / test).read_text()
    ]


def shown(page: str, first: str) -> str:
    """What a page shows: the text of its block of EXECUTED that begins with the line ``first``."""
    assert (page, first) in EXECUTED
    return next(block.text for block in all_blocks() if (block.page, block.first) == (page, first))
