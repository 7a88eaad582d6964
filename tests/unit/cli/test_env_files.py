"""A worker does not start where a `.env` lies beside its agents, unless it is told that this is meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentjobs.cli.env_files import refuse_env_files
from agentjobs.cli.errors import BadInput

KEY = "GOOGLE_API_KEY=very-secret\n"


def agent(root: Path, *names: str) -> Path:
    """A folder with an agent as `adk create` makes it, and these files."""
    folder = root / "planner"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "agent.py", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(KEY)
    return folder


@pytest.mark.parametrize("name", [".env", "tools/.env", "a/b/c/.env"])
def test_a_file_below_the_path_is_refused_with_its_place_and_the_remedy(name: str, tmp_path: Path) -> None:
    folder = agent(tmp_path, name)
    with pytest.raises(BadInput) as problem:
        refuse_env_files([str(tmp_path)], ["planner"], "team")
    both = "pools.team.allowEnvFiles of the chart, or AGENTJOBS_ALLOW_ENV_FILES, to true"
    for part in (str(folder / name), ".dockerignore: **/.env", "a Secret (pools.team.env", both):
        assert part in str(problem.value)
    assert "very-secret" not in str(problem.value)


def test_a_file_of_an_allowed_module_is_refused_wherever_the_module_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = agent(tmp_path, ".env")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("planner", "planner.agent"):
        with pytest.raises(BadInput, match=str(folder / ".env")):
            refuse_env_files([], [module], "team")
    refuse_env_files([], ["another", "json"], "team")


def test_what_is_no_key_beside_an_agent_is_let_be(tmp_path: Path) -> None:
    folder = agent(tmp_path, ".env.example", "env", "node_modules/x/.env", ".venv/.env")
    (folder / ".env").touch()
    (folder / "data").mkdir()
    (folder / "data" / ".env").mkdir()
    refuse_env_files([str(tmp_path), str(tmp_path / "nowhere")], ["planner", "planner.missing"], "team")


@pytest.mark.parametrize(("allowed", "said"), [("", ".env beside the agents"), ("true", "database")])
def test_the_command_refuses_to_start_with_status_2_or_is_told_to(
    allowed: str, said: str, tmp_path: Path
) -> None:
    agent(tmp_path, ".env")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")}
    url = "" if allowed else "postgresql://nobody@127.0.0.1:1/none"
    ended = subprocess.run(
        [sys.executable, "-m", "agentjobs.cli", "worker", "--module", "planner"],
        env={
            **environment,
            "AGENTJOBS_PATH": str(tmp_path),
            "AGENTJOBS_ALLOW_ENV_FILES": allowed,
            "AGENTJOBS_DATABASE_URL": url,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "very-secret" not in ended.stderr
