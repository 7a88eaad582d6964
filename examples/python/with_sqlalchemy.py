"""SQLAlchemy: a session's job, in the session's transaction; the same with asyncio's session.

AGENTJOBS_DATABASE_URL=postgresql://… python examples/python/with_sqlalchemy.py
"""

import asyncio
import os

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from agentjobs import Job, Queue, SyncQueue

DSN = os.environ["AGENTJOBS_DATABASE_URL"]
URL = "postgresql+psycopg://" + DSN.partition("://")[2]
AGENT = {"name": "clerk", "model": "echo", "instruction": "Confirm the parcel."}


def parcel(number: int) -> str:
    with SyncQueue(DSN) as queue:
        engine = create_engine(URL)
        with Session(engine) as session, session.begin():
            session.execute(text("create table if not exists parcels (number int)"))
            session.execute(text("insert into parcels values (:number)"), {"number": number})
            handle = queue.enqueue(Job.inline(AGENT, f"Parcel {number} is sent."), conn=session)
        engine.dispose()
        return handle.result(timeout=120)


async def parcels(numbers: list[int]) -> list[str]:
    engine = create_async_engine(URL)
    async with await Queue.open(DSN) as queue:
        async with AsyncSession(engine) as session, session.begin():
            jobs = [Job.inline(AGENT, f"Parcel {number} is sent.") for number in numbers]
            handles = await queue.enqueue(jobs, conn=session)
        answers = await asyncio.gather(*(handle.result(timeout=120) for handle in handles))
    await engine.dispose()
    return answers


if __name__ == "__main__":
    print(parcel(1))
    print(*asyncio.run(parcels([2, 3])), sep="\n")
