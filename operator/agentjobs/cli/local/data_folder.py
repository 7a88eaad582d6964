"""The folder of ``--data``: checked, and made, before anything else of a run is written."""

from __future__ import annotations

import os
from pathlib import Path

from agentjobs.cli.errors import BadInput

OURS = frozenset({"data", "password", "initdb-password", "postgres.log"})
"""What an embedded Postgres has in its folder, also where its first start was cut short."""
SHOWN = 3


def prepare(folder: Path) -> None:
    """Makes the folder where there is none, and sees that no more than an embedded database is in it.

    For example, ``--data my_agent`` is the agent's own folder: a database in it would go into the agent's image.

    :raises BadInput: it is a file, cannot be made or written to, or holds other things.
    """
    named = f"--data '{folder}'"
    try:
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{named} is a file. Name a folder: one with a database of before, or a new one.")
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        found = {entry.name for entry in folder.iterdir()}
        ours = "password" in found and (folder / "data" / "PG_VERSION").exists()
    except OSError as error:
        raise BadInput(
            f"{named} cannot be used: {error.filename or folder}: {error.strerror}. Name a folder that you may write to."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"{named} cannot be written to. Name a folder that you may write to.")
    others = sorted(found - OURS)
    if others and not ours:
        more = ", …" if len(others) > SHOWN else ""
        new = folder.with_name(f"{folder.name}-data") if folder.name else folder / "database"
        raise BadInput(
            f"{named} is a folder with other things in it ({', '.join(others[:SHOWN])}{more}), and the database wants one "
            f"of its own. Name a new one, such as '{new}'."
        )
