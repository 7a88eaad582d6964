"""``agentjobs sessions``: what is kept of conversations."""

from __future__ import annotations

from typing import Annotated

import typer

from agentjobs.cli.commands.options import Config, DatabaseUrlFile

app = typer.Typer(help="Look after stored conversations.", no_args_is_help=True, rich_markup_mode=None)


@app.command(short_help="Remove conversations of jobs whose record is gone.")
def prune(
    idle_days: Annotated[
        int, typer.Option(help="Days since the last event of a conversation that may go.", min=1)
    ] = 30,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell how many would go, and leave them.")
    ] = False,
    config: Config = None,
    database_url_file: DatabaseUrlFile = None,
) -> None:
    """Remove the conversations of jobs whose record retention has removed: their own sessions, with the files in them.

    Sessions that jobs name (spec.sessionID) stay. It asks the queue's database (AGENTJOBS_DATABASE_URL) which jobs have their record,
    and removes from the session store (AGENTJOBS_SESSION_DATABASE_URL; else the same database).
    """
    from datetime import timedelta

    from agentjobs.agents.sessions.prune import prune_sessions
    from agentjobs.agents.verdict.errors import SessionStoreUnavailable
    from agentjobs.cli.database.opened import Database, opened
    from agentjobs.cli.errors import Unavailable
    from agentjobs.database.fault import one_line
    from agentjobs.values.setting_names import both_names

    with opened(Database(config, database_url_file)) as session:
        store, idle = session.settings.session_database(), timedelta(days=idle_days)
        try:
            done = session.do(lambda queue: prune_sessions(store, queue.kept_records, idle, dry_run=dry_run))
        except SessionStoreUnavailable as error:
            raise Unavailable(
                f"The session store cannot be used: {one_line(error.__cause__ or error)}. Check the database of "
                f"{both_names('session_database_url')} (the queue's where that is not set)."
            ) from None
    typer.echo(_told(done.removed, done.kept, idle_days, dry_run))


def _told(removed: int, kept: int, idle_days: int, dry_run: bool) -> str:
    """What one pass did, for people. Pure."""
    went = "1 conversation" if removed == 1 else f"{removed} conversations"
    verb = "would be" if dry_run else "was" if removed == 1 else "were"
    stays = (
        "1 idle one stays: its job still has its record"
        if kept == 1
        else (f"{kept} idle ones stay: their jobs still have their records")
    )
    return f"{went} {verb} removed: nobody has written {'it' if removed == 1 else 'them'} for {idle_days} days. {stays}."
