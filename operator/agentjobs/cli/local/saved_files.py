"""The files that agents of a local run have saved, copied from its database, which ends with the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentjobs.cli.local.progress_table import NamedJob
from agentjobs.transcript.jobs import SessionKey, session_of
from agentjobs.transcript.transcripts import Transcripts
from agentjobs.values.file_names import local_name


async def save_files(dsn: str, rows: Sequence[NamedJob], folder: Path, *, bare: bool) -> list[Path]:
    """Copies the newest version of each file of the jobs' sessions into the folder, and returns where they are.

    :param bare: there is one job. Else each has a folder of its own below that one.
    """
    saved: list[Path] = []
    async with await Transcripts.open(dsn) as transcripts:
        for row in rows:
            if (key := session_of(row.job)) is not None:
                place = folder if bare else folder / local_name(row.name)
                saved += await _save(transcripts, key, place)
    return saved


async def _save(transcripts: Transcripts, key: SessionKey, folder: Path) -> list[Path]:
    saved: list[Path] = []
    after = ""
    while files := await transcripts.artifacts.files(key, after):
        after = files[-1].name
        for file in files:
            if file.address:
                continue
            pieces = [piece async for piece in transcripts.artifacts.content(key, file)]
            saved.append(_written(folder, file.name, b"".join(pieces)))
    return saved


def _written(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / local_name(name)
    place.write_bytes(content)
    return place
