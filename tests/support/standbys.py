"""Real standbys of the embedded Postgres: made with pg_basebackup, promoted, and made of a former primary."""

from __future__ import annotations

import os
import pwd
import signal
import time
from urllib.parse import urlsplit

import psycopg

from agentjobs.local.folder import OwnedFolder
from agentjobs.local.postgres import UNPRIVILEGED_USER, EmbeddedPostgres
from agentjobs.local.process import spawn
from databases import OPTIONS


def standby_of(primary: EmbeddedPostgres, **options: str) -> EmbeddedPostgres:
    """A running hot standby that streams from ``primary``; ``stop()`` removes its folder."""
    folder = OwnedFolder.make("agentjobs-standby-")
    server = EmbeddedPostgres(folder.path, options=OPTIONS | options)
    server._temporary = folder
    folder.path.chmod(0o711)
    (folder.path / "password").write_text(_password(primary))
    (folder.path / "password").chmod(0o600)
    server.data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        owner = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(server.data, owner.pw_uid, owner.pw_gid)
    command = [str(server.binaries / "pg_basebackup"), "-D", str(server.data), "-d", primary.dsn("postgres")]
    command += ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    process = spawn(command, log=server.log, terms=server._terms(signal.SIGKILL), env=environment)
    assert process.wait() == 0, server.log.read_text()
    return server.start()


def follow(former: EmbeddedPostgres, primary: EmbeddedPostgres) -> None:
    """Starts a stopped former primary as a standby of ``primary``, which may itself still be a standby."""
    (former.data / "standby.signal").touch()
    parts = urlsplit(primary.dsn())
    with (former.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"primary_conninfo = 'host=127.0.0.1 port={parts.port} user={parts.username} password={parts.password}'\n"
        )
    if os.geteuid() == 0:
        owner = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(former.data / "standby.signal", owner.pw_uid, owner.pw_gid)
    former.start()


def halt(server: EmbeddedPostgres) -> None:
    """A fast shutdown that keeps the folder; a standby has received all by then."""
    server._end(signal.SIGINT)


def promote(standby: EmbeddedPostgres) -> None:
    with psycopg.connect(standby.dsn(), autocommit=True) as conn:
        assert conn.execute("select pg_promote(true, 60)").fetchone() == (True,)


def caught_up(primary: EmbeddedPostgres, standby: EmbeddedPostgres, seconds: float = 60) -> None:
    """Returns when the standby has replayed what the primary has written so far."""
    with psycopg.connect(primary.dsn(), autocommit=True) as conn:
        row = conn.execute("select pg_current_wal_lsn()::text").fetchone()
    assert row is not None
    end = time.monotonic() + seconds
    with psycopg.connect(standby.dsn(), autocommit=True) as conn:
        while conn.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() != (True,):
            assert time.monotonic() < end, "the standby does not catch up"
            time.sleep(0.02)


def _password(server: EmbeddedPostgres) -> str:
    return server._password
