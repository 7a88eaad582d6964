"""The folder that `--data` names: refused in one line, with nothing written, unless a database may live in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentjobs.cli.errors import BadInput
from agentjobs.cli.local.data_folder import prepare
from agentjobs.cli.main import app


def a_file(here: Path) -> Path:
    (here / "notes").write_text("mine")
    return here / "notes"


def below_a_file(here: Path) -> Path:
    return a_file(here) / "database"


def a_dangling_link(here: Path) -> Path:
    (here / "link").symlink_to(here / "nowhere" / "at all")
    return here / "link"


def an_agents_folder(here: Path) -> Path:
    (here / "my_agent").mkdir()
    for name in ("__init__.py", "agent.py", ".env", "tools.py"):
        (here / "my_agent" / name).touch()
    return here / "my_agent"


def anothers_postgres(here: Path) -> Path:
    (here / "data").mkdir()
    (here / "data" / "PG_VERSION").write_text("18")
    (here / "backup.sh").touch()
    return here


REFUSED = [
    # (the folder, what the message must name)
    (a_file, ["notes' is a file", "Name a folder"]),
    (below_a_file, ["notes", "Not a directory", "Name a folder"]),
    (a_dangling_link, ["link' cannot be used", "Name a folder"]),
    (lambda here: Path("/proc/nobody/database"), ["/proc/nobody", "Name a folder"]),
    (lambda here: here / ("n" * 300), ["too long", "Name a folder"]),
    (an_agents_folder, ["(.env, __init__.py, agent.py, …)", "my_agent-data'"]),
    (anothers_postgres, ["(backup.sh)", "one of its own"]),
]


def all_below(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(("make", "named"), REFUSED)
def test_a_folder_that_is_none_or_somebodys_is_refused_in_one_line_with_nothing_written(
    make: Callable[[Path], Path], named: list[str], tmp_path: Path
) -> None:
    folder = make(tmp_path)
    before = all_below(tmp_path)
    with pytest.raises(BadInput) as problem:
        prepare(folder)
    assert "\n" not in str(problem.value)
    for part in ["--data '", *named]:
        assert part in str(problem.value)
    assert all_below(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(BadInput, match="may write to"):
        prepare(tmp_path)


@pytest.mark.parametrize(
    "before", [(), ("password", "postgres.log"), ("data/PG_VERSION", "password", "notes")]
)
def test_a_new_folder_an_empty_one_and_that_of_an_earlier_run_are_taken(
    before: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "database"
    for name in before:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    prepare(folder)
    assert folder.is_dir()


def test_the_command_ends_with_status_2(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        "apiVersion: agentjobs.dev/v1alpha1\nkind: AgentJob\nmetadata: {name: a}\n"
        "spec: {agent: {inline: {name: a, model: echo, instruction: i}}, message: x}\n"
    )
    ended = CliRunner().invoke(
        app, ["local", "-f", str(tmp_path / "job.yaml"), "--data", str(a_file(tmp_path))]
    )
    assert isinstance(ended.exception, BadInput)
