"""The files that agents of a local run have saved, copied from its database, which ends with the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from agentjobs.cli.local.progress_table import NamedJob
from agentjobs.transcript.artifacts import StoredFile
from agentjobs.transcript.jobs import SessionKey, session_of
from agentjobs.transcript.transcripts import Transcripts
from agentjobs.values.file_names import local_names


async def save_files(dsn: str, rows: Sequence[NamedJob], folder: Path, *, bare: bool) -> list[Path]:
    """Copies the newest version of each file of the jobs' sessions into the folder, and returns where they are.

    :param bare: the files of a single job stand in the folder itself. Else each job has a folder of its own below that one.
    """
    saved: list[Path] = []
    folders = folders_of(rows)
    async with await Transcripts.open(dsn) as transcripts:
        for row in rows:
            if (key := session_of(row.job)) is not None:
                place = folder if bare and len(rows) == 1 else folder / folders[row.job.uid]
                saved += await _save(transcripts, key, place)
    return saved


def folders_of(rows: Sequence[NamedJob]) -> dict[UUID, str]:
    """The folder's name of each job: its own; of jobs of one name, which other namespaces and earlier runs have, with
    the uid. Pure."""
    count = Counter(row.name for row in rows)
    names = {row.job.uid: row.name if count[row.name] == 1 else f"{row.name}.{row.job.uid}" for row in rows}
    local = local_names(names.values())
    return {uid: local[name] for uid, name in names.items()}


async def _save(transcripts: Transcripts, key: SessionKey, folder: Path) -> list[Path]:
    found: list[StoredFile] = []
    while files := await transcripts.artifacts.files(key, found[-1].name if found else ""):
        found += files
    here = [file for file in found if not file.address]
    local = local_names(file.name for file in here)
    saved: list[Path] = []
    for file in here:
        pieces = [piece async for piece in transcripts.artifacts.content(key, file)]
        saved.append(_written(folder / local[file.name], b"".join(pieces)))
    return saved


def _written(place: Path, content: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place
