"""The end of a run as the supervisor saw it; `supervisor/acks.py` makes the ack of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentjobs.agents.verdict.outcome import Outcome
from agentjobs.values.saved_file import SavedFile
from agentjobs.values.usage import Usage
from agentjobs.worker.process.stopping import Why


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run ended: by the executor's result message where there is one, else by its exit status."""

    outcome: Outcome | None = None
    """The executor's own word. None: it sent none."""
    cancelled: bool = False
    """The executor says that its task was cancelled. Counts only where ``why`` says who asked for it."""
    crash: str = ""
    """The executor's own description of its crash, such as ``sys.exit`` in a tool."""
    exit_status: int | None = None
    """Negative: the signal. None: not known, since the result came before the exit or the template died."""
    why: Why | None = None
    """Why the supervisor, the lease or the memory limit stopped the run. None: nothing did."""
    never_ran: str = ""
    """Why the run could not end by itself: the template died, or could not fork. Never charged."""
    event_count: int = 0
    usage: Usage = field(default_factory=Usage)
    """The last usage that the executor reported while it ran; counts where there is no outcome."""
    files: tuple[SavedFile, ...] = ()
    """What the agent has saved and deleted, each name once; at most ``MOST_TOLD`` of them."""
    log_tail: str = ""
    log_skipped: int = 0
    """Lines that were printed before ``log_tail``."""
    duration_seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_resident_bytes: int = 0
