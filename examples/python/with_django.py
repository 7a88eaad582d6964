"""Django: a job that is there if, and only if, the view's transaction commits. The queue's tables are in Django's database.

    AGENTJOBS_DATABASE_URL=postgresql://… python examples/python/with_django.py

A project has the settings and the URL in its own places; `queue` stands in a module of yours, and connects when it is first used.
"""

import os

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from agentjobs import Job, SyncQueue

DSN = os.environ["AGENTJOBS_DATABASE_URL"]
queue = SyncQueue(DSN)


def configure() -> None:
    """What your settings.py does."""
    url = conninfo_to_dict(DSN)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.pop("dbname"),
        "USER": url.pop("user", ""),
        "PASSWORD": url.pop("password", ""),
        "HOST": url.pop("host", ""),
        "PORT": url.pop("port", ""),
        "OPTIONS": url,
    }
    settings.configure(DATABASES={"default": database}, USE_TZ=True)
    django.setup()


def order(number: int) -> str:
    """What a view does. The key makes a repeated request find the first job."""
    from django.db import connection, transaction

    job = Job.inline(
        {"name": "clerk", "model": "echo", "instruction": "Confirm the order."},
        f"Order {number} is confirmed.",
    )
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("create table if not exists orders (number int)")
            cursor.execute("insert into orders values (%s)", [number])
        handle = queue.enqueue(job, conn=connection, unique=f"order-{number}")
    return handle.result(timeout=120)


if __name__ == "__main__":
    configure()
    print(order(17))
    queue.close()
