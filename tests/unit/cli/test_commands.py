"""The commands themselves: what they import, what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from agentjobs.cli import main
from agentjobs.cli.errors import BadInput, Unavailable, need_linux
from agentjobs.cli.main import app

HEAVY = ("google.adk", "sqlalchemy", "kopf", "kubernetes", "psycopg", "pydantic", "rich", "asyncio", "yaml")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def agentjobs(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")}
    return subprocess.run(
        [sys.executable, "-m", "agentjobs.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, **environment},
    )


def test_help_imports_nothing_that_is_slow() -> None:
    code = f"import sys, agentjobs.cli.main; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert python(code).stdout.strip() == "[]"


def test_the_operator_never_imports_adk_nor_sqlalchemy() -> None:
    code = (
        "import sys, agentjobs.cli.run_parts, agentjobs.controller.operator\n"
        "print(sorted({'google.adk', 'google.genai', 'sqlalchemy', 'agentjobs.agents'} & set(sys.modules)))"
    )
    done = python(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_supervisor_of_a_worker_never_imports_adk() -> None:
    code = (
        "import sys, agentjobs.cli.run_parts, agentjobs.worker.supervisor.supervisor\n"
        "print(sorted({'google.adk', 'google.genai', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = python(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_missing_extra_says_what_to_install() -> None:
    code = (
        "from agentjobs.cli.errors import need_extra, BadInput\n"
        "try: need_extra('worker', 'no_such.module', 'A worker')\n"
        "except BadInput as problem: print(problem)"
    )
    assert "pip install 'agentjobs[worker]'" in python(code).stdout


def test_where_forking_is_unsafe_that_is_said() -> None:
    need_linux("linux", "A worker")
    with pytest.raises(BadInput, match=r"unsafe on this system \(darwin\).*Linux container"):
        need_linux("darwin", "A worker")


REFUSED = [
    # (arguments, environment, what is told)
    (["worker"], {}, "No database is named"),
    (["operator"], {}, "No database is named"),
    (["migrate", "up"], {}, "AGENTJOBS_DATABASE_URL"),
    (["worker", "--queue", "agents"], {}, "--queue: got 'agents': 'agents' is not QUEUE=SLOTS"),
    (["worker", "--drain-seconds", "-1"], {}, "--drain-seconds: got -1"),
    (["worker", "--config", "/nowhere"], {}, "'/nowhere' cannot be read"),
    (["operator"], {"AGENTJOBS_NAMESPACES": "a", "AGENTJOBS_LOG_LEVEL": "loud"}, "AGENTJOBS_LOG_LEVEL"),
    (["migrate", "down", "--to", "0"], {"AGENTJOBS_DATABASE_URL": "postgresql://x/y"}, "--yes"),
    (["migrate", "down", "--to", "999"], {"AGENTJOBS_DATABASE_URL": "postgresql://x/y"}, "--to 999"),
    (["local"], {}, "What shall run?"),
    (["local", "my_agent"], {}, "MESSAGE is missing"),
    (["local", "a", "b", "c"], {}, "Put the message in quotes"),
    (["local", "-f", "/nowhere.yaml"], {}, "-f '/nowhere.yaml' cannot be read"),
]


@pytest.mark.parametrize(
    ("arguments", "environment", "told"), REFUSED, ids=[" ".join(a) for a, _, _ in REFUSED]
)
def test_bad_input_is_told_before_anything_starts(
    arguments: list[str], environment: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if n.startswith("AGENTJOBS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as problem:
        app(arguments, standalone_mode=False)
    assert told in str(problem.value)


def test_bad_input_ends_with_status_2_and_no_traceback() -> None:
    done = agentjobs("worker", "--queue", "agents")
    assert done.returncode == 2
    assert done.stderr.startswith("agentjobs: --queue: got 'agents': 'agents' is not QUEUE=SLOTS")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", [BadInput, Unavailable])
def test_an_errors_text_does_not_steer_the_terminal(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> None:
        raise kind("one\n\x1b]0;a title\x07two")

    monkeypatch.setattr(main, "app", failing)
    with pytest.raises(SystemExit):
        main.main()
    told = capsys.readouterr().err
    assert "agentjobs: one\n\\x1b]0;a title\\x07two\n" in told, (
        "and perhaps what the test's own environment is warned of"
    )
    assert "\x1b" not in told


def test_a_misspelt_variable_is_told_where_a_setting_is_missing() -> None:
    told = agentjobs("worker", AGENTJOBS_DATABASE_ULR="postgresql://h/d").stderr
    assert "AGENTJOBS_DATABASE_ULR is set" in told
    assert "Did you mean AGENTJOBS_DATABASE_URL?" in told


def test_an_unreachable_database_ends_with_status_1_and_no_traceback() -> None:
    done = agentjobs("migrate", "status", AGENTJOBS_DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/d")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_no_flag_takes_the_databases_url() -> None:
    for command in ("worker", "operator"):
        shown = CliRunner().invoke(app, [command, "--help"]).output
        assert "--database-url-file" in shown
        assert "--database-url " not in shown
        assert "--dsn" not in shown


def test_crds_prints_both_definitions_for_kubectl() -> None:
    names = [d["metadata"]["name"] for d in yaml.safe_load_all(agentjobs("crds").stdout)]
    assert names == ["agentjobs.agentjobs.dev", "scheduledagentjobs.agentjobs.dev"]


def test_crds_writes_what_is_committed(tmp_path: Path) -> None:
    assert agentjobs("crds", "--directory", str(tmp_path)).returncode == 0
    committed = Path(__file__).parents[3] / "crds"
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {
        f.name: f.read_text() for f in committed.glob("*.yaml")
    }


def test_the_version_is_printed() -> None:
    from agentjobs import __version__

    assert agentjobs("--version").stdout == f"agentjobs {__version__}\n"


def test_an_interrupted_command_on_a_database_ends_as_the_plugin_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agentjobs.cli.deferred.command_of", interrupted)
    assert CliRunner().invoke(app, ["list"]).exit_code == 130
