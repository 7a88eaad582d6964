"""The numbers that workers and operators agree on, and what each protects from."""

from __future__ import annotations

HEARTBEAT_SECONDS = 5.0
"""One row per process and beat: cheap enough to say it often."""
EXPIRY_SECONDS = 15.0
"""Three missed beats: a pause for garbage collection or a slow network is not a death."""
POLL_SECONDS = 5.0
"""How long a lost notification can delay work (H24)."""
TICK_SECONDS = 1.0
"""Between two ticks of one process, jittered: an idle worker costs at most 2 statements a second (H26)."""
RETENTION_SECONDS = 7 * 86400
"""How long results, attempts and payloads of finished jobs are kept."""

CLAIM_JOBS = 64
"""Jobs in one claim's reply (H7); its bytes are bounded in SQL."""
PAYLOAD_BYTES = 1 << 20
ANSWER_BYTES = 16 << 10
"""Of what a person fills in for a tool's question: it comes in an annotation, and goes into the job's payload."""
ANSWER_TEXT_BYTES = 1024
"""Of a reason, and of who says to have answered."""
SESSION_BYTES = 1024

STATEMENT_TIMEOUT_SECONDS = 30
"""No statement of ours is long; a stuck one must not hold its row locks."""
IDLE_IN_TRANSACTION_SECONDS = 30
"""A client that vanished inside a transaction must not hold its locks."""
TCP_USER_TIMEOUT_SECONDS = 10
"""A database that vanished without a word is noticed before our own heartbeat expires."""
CONNECT_TIMEOUT_SECONDS = 5
