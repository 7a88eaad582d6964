"""An asyncio service: an order and its job in one transaction, then the answer.

AGENTJOBS_DATABASE_URL=postgresql://… python examples/python/service.py
"""

import asyncio
import os

import psycopg

from agentjobs import Job, JobFailed, Queue


async def greet(dsn: str, customer: str) -> str:
    job = Job.inline(
        {"name": "greeter", "model": "echo", "instruction": "Greet the customer."},
        f"Welcome, {customer}!",
        user_id=customer,
    )
    async with await Queue.open(dsn) as queue, await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("create table if not exists customers (name text)")
        await conn.execute("insert into customers values (%s)", (customer,))
        handle = await queue.enqueue(job, conn=conn)
        await conn.commit()  # now it is there, and a worker is woken
        try:
            return await handle.result(timeout=120)
        except JobFailed as failed:
            return f"no greeting: {failed.reason}: {failed.message}"


if __name__ == "__main__":
    print(asyncio.run(greet(os.environ["AGENTJOBS_DATABASE_URL"], "anna")))
