"""The times and limits on which workers and operators agree, and what each protects from."""

from __future__ import annotations

from datetime import UTC, datetime

HEARTBEAT_SECONDS = 5.0
"""The pause between two beats. A beat costs one row per process."""
EXPIRY_SECONDS = 15.0
"""Three missed beats: a paused process or a slow network is no death. Also the length of the lease."""
POLL_SECONDS = 5.0
"""The pause between two polls: how long a lost notification can delay work (H24)."""
TICK_SECONDS = 1.0
"""The pause between two ticks of a process: an idle worker costs 2 statements a second at most (H26)."""
RETENTION_SECONDS = 7 * 86400
"""How long results, attempts and payloads of finished jobs are kept."""
AUDIT_RETENTION_SECONDS = 400 * 86400
"""How long it is kept who did what: a year and the time to look at it."""
PRUNE_SECONDS = 60.0
"""The pause between two passes of retention."""
PRUNE_JOBS = 1000
"""The most jobs, and the most rows of the audit, that one transaction of retention removes."""
YIELD_JOBS = 1000
"""The most jobs that one transaction takes from their sessions when their queue is paused."""
COUNT_PAGE = 50_000
"""The most rows that one statement of the metrics counts."""
ACT_JOBS = 1000
"""The most jobs that one transaction acts on: none of them can be claimed or acked meanwhile."""
ERASE_LOOK = 2000
"""The most jobs that one transaction of an erasure looks at. It reads their payloads."""
ERASED_OBJECTS = 10_000
"""The most names of objects that an erasure's answer has."""
LIST_LOOK = 5_000
"""About the most rows of a table that one statement looks at to find the jobs of a list."""
LIST_COUNT = 20_000
"""The same of a statement that only counts."""
LIST_STATEMENTS = 20
"""The most statements for a page of a list; one that is not full then is continued by the next."""
SCHEDULE_RUNS = 20
"""The last children that a list shows of a schedule."""
LIST_JOBS = 1000
"""The most jobs of a page."""

CLAIM_JOBS = 64
"""The most jobs in a claim's reply (H7); SQL bounds its bytes."""
PAYLOAD_BYTES = 1 << 20
MOST_ATTEMPTS = 1_000_000
MOST_SLOTS = 2**31 - 1
"""The highest limit of a queue's running jobs: a Postgres integer."""
OBJECT_NAME_CHARACTERS = 253
"""The longest name of an object in Kubernetes."""
ANSWER_BYTES = 16 << 10
"""The limit of what a person fills in: it comes in an annotation, and goes into the payload."""
ANSWER_TEXT_BYTES = 1024
"""The limit of an answer's reason, and of the name of the person who answered."""
SESSION_BYTES = 1024
FIRST_TIME, LAST_TIME = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)
"""The times of jobs that callers may give, as in the resource. Postgres can store some beyond Python's, and
one of those in a list would fail the list."""

STATEMENT_TIMEOUT_SECONDS = 30
"""Our statements are short; a stuck one must not keep its row locks."""
IDLE_IN_TRANSACTION_SECONDS = 30
"""A client that vanished inside a transaction must not keep its locks."""
BEAT_ANSWER_SECONDS = 5
"""The longest wait for the answer to a beat, which has a quick one: a database that vanished without a word must be
noticed before the lease is over."""
