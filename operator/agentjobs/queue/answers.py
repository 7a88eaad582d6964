"""Whether an answer's payload fits the schema of the question that a job waits with."""

from __future__ import annotations

from uuid import UUID

from agentjobs.queue.connection import Database
from agentjobs.queue.records import InputAnswer
from agentjobs.queue.replies import open_requests
from agentjobs.values.answer_schema import misfit


async def answer_misfit(database: Database, uid: UUID, answer: InputAnswer, *, quoted: bool = True) -> str:
    """Why the answer does not fit the question; empty: it does, or the job asks something else, which the database refuses.

    Nothing comes between this and the answer: a question never changes, and another has another id.

    :param quoted: whether the message may have the value.
    """
    if answer.payload is None:
        return ""
    rows = await database.fetch("select job->'asked' from agentjobs.show(%s, 0, false)", (uid,))
    asked = open_requests(rows[0][0]) if rows else []
    if not asked or asked[0].id != answer.id:
        return ""
    return misfit(answer.payload, asked[0].schema, quoted=quoted)
