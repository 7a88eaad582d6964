"""``agentjobs migrate``: bring the queue's schema up or down, show its version, print the SQL of roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from agentjobs.cli.commands.options import Config, DatabaseUrlFile

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from agentjobs.queue.migrate import Status

_RETRY_SECONDS = 0.5
_TELL_SECONDS = 15.0
"""Between two lines about a database that does not answer, where they say the same."""
T = TypeVar("T")

app = typer.Typer(
    help="Bring the database's schema up, down, or tell where it is.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def up(
    grant_to: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="Grant what this version needs to the roles PREFIX_worker … that `migrate roles` made."
            " Needed once: roles that were granted to before are granted what is new.",
        ),
    ] = None,
    wait_seconds: Annotated[
        float, typer.Option(help="How long to wait for a database that does not answer yet.", min=0)
    ] = 0,
    accept_newer: Annotated[
        bool,
        typer.Option(
            "--accept-newer",
            help="Status 0 where the schema is newer than this program: an older worker may run on it.",
        ),
    ] = False,
    config: Config = None,
    database_url_file: DatabaseUrlFile = None,
) -> None:
    """Bring the schema up to this version. Safe to repeat, and while workers run."""
    dsn = _dsn(config, database_url_file)
    if grant_to is not None:
        _sql(grants_only=True, prefix=grant_to)  # a prefix that cannot be is refused before anything is done
    from agentjobs.queue import migrate

    found = _run(_reached(dsn, wait_seconds))
    if accept_newer and found.newer:
        typer.echo(found.newer)
        return
    done = _run(migrate.up(dsn, grant_to=grant_to))
    for one in done:
        typer.echo(f"up {one}")
    typer.echo(f"The schema is at version {migrate.SCHEMA_VERSION}.")
    if not done and grant_to is None:
        return
    granted = _run(migrate.granted_to(dsn))
    for prefix in granted:
        typer.echo(f"Granted to the roles of {prefix}.")
    if not granted and _run(migrate.has_roles(dsn)):
        typer.echo(
            "Roles are in use here: grant them what is new with `agentjobs migrate up --grant-to PREFIX`."
        )


@app.command()
def down(
    to: Annotated[int, typer.Option(help="The schema version to go back to; 0 removes everything.", min=0)],
    yes: Annotated[bool, typer.Option("--yes", help="Needed: jobs and results may be lost.")] = False,
    release: Annotated[
        int | None,
        typer.Option(
            help="With the functions of this release, where several were installed on that version.", min=1
        ),
    ] = None,
    config: Config = None,
    database_url_file: DatabaseUrlFile = None,
) -> None:
    """Take the schema down to an earlier version, with the functions that were there. Jobs may be lost: needs
    --yes."""
    from agentjobs.cli.errors import BadInput

    dsn = _dsn(config, database_url_file)
    from agentjobs.queue import migrate

    if to > migrate.SCHEMA_VERSION:
        raise BadInput(
            f"--to {to}: the newest version is {migrate.SCHEMA_VERSION}; name an earlier one, or 0."
        )
    if not yes:
        raise BadInput(f"migrate down --to {to} may lose jobs and results. Stop the workers, then add --yes.")
    try:
        done = _run(migrate.down(dsn, to, to_release=release))
    except ValueError as error:
        raise BadInput(str(error)) from None
    for one in done:
        typer.echo(f"down {one}")
    typer.echo(f"The schema is at version {_run(migrate.status(dsn)).version}.")


@app.command()
def status(config: Config = None, database_url_file: DatabaseUrlFile = None) -> None:
    """Tell version and release of the database, and this program's. Status 0 where they are the same, else
    1."""
    dsn = _dsn(config, database_url_file)
    from agentjobs.queue import migrate

    found = _run(migrate.status(dsn))
    typer.echo(f"The schema is at version {found.version}; this program wants {found.wanted}.")
    typer.echo(
        f"The functions are of release {found.release}; this program is of release {found.wanted_release}."
    )
    if found.newer:
        typer.echo("The database is newer than this program: install the release that made it.")
        raise typer.Exit(1)
    for one in found.pending:
        typer.echo(f"pending {one}")
    if found.pending:
        typer.echo("Bring it up with: agentjobs migrate up")
        raise typer.Exit(1)


@app.command()
def roles(
    print_sql: Annotated[
        bool, typer.Option("--print-sql", help="Needed: nothing else is done. Read it, then give it to psql.")
    ] = False,
    prefix: Annotated[str, typer.Option(help="What the roles' names begin with.")] = "agentjobs",
) -> None:
    """Print the SQL that makes roles of least privilege for migrations, workers, operator, sessions and
    readers."""
    from agentjobs.cli.errors import BadInput

    if not print_sql:
        raise BadInput(
            "Roles are made by an administrator of the database: agentjobs migrate roles --print-sql | "
            "psql -1 -v ON_ERROR_STOP=1 …"
        )
    typer.echo(_sql(grants_only=False, prefix=prefix))


def _sql(*, grants_only: bool, prefix: str) -> str:
    from agentjobs.cli.errors import BadInput
    from agentjobs.queue.roles import grants_sql, setup_sql

    try:
        return grants_sql(prefix) if grants_only else setup_sql(prefix)
    except ValueError as error:
        raise BadInput(str(error)) from None


async def _reached(dsn: str, wait_seconds: float) -> Status:
    """The schema's status, asked for until the database answers. Tells on stderr what it waits for.

    :raises QueueUnavailable: it does not within ``wait_seconds``, or waiting would not help.
    """
    import asyncio
    import time

    from agentjobs.cli.printable import printable
    from agentjobs.queue import migrate
    from agentjobs.queue.errors import Misconfigured, QueueUnavailable

    until = time.monotonic() + wait_seconds
    told, told_at = "", 0.0
    while True:
        try:
            return await migrate.status(dsn)
        except Misconfigured as error:
            raise QueueUnavailable(
                f"{error}; waiting does not cure that: correct the URL (in the chart, the Secret that"
                " database.existingSecret names) or the database"
            ) from error
        except QueueUnavailable as error:
            now = time.monotonic()
            if now >= until:
                raise
            if str(error) != told or now - told_at >= _TELL_SECONDS:
                told, told_at = str(error), now
                typer.echo(f"agentjobs: {printable(told)}; waiting for {until - now:.0f} s more", err=True)
        await asyncio.sleep(_RETRY_SECONDS)


def _dsn(config: Config, database_url_file: DatabaseUrlFile) -> str:
    """The direct URL where there is one: a pooler in transaction mode does not keep the session that a
    migration needs."""
    from agentjobs.cli.settings_sources import load

    settings = load({"database_url_file": database_url_file}, config)
    return settings.direct_dsn() or settings.dsn()


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    from agentjobs.cli.errors import Unavailable
    from agentjobs.queue.errors import QueueError

    try:
        return asyncio.run(work)
    except QueueError as error:
        raise Unavailable(str(error)) from None
