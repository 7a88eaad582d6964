"""How a run ended, as the supervisor saw it."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentjobs.agents.verdict.outcome import Outcome
from agentjobs.values.usage import Usage
from agentjobs.worker.process.stopping import Why


@dataclass(frozen=True, slots=True)
class Ended:
    """The truth is the result message where there is one, else the exit status."""

    outcome: Outcome | None = None
    cancelled: bool = False
    """The executor says that its task was cancelled. Believed only where ``why`` says that we asked."""
    crash: str = ""
    """What the executor itself says of its crash (``sys.exit`` in a tool)."""
    exit_status: int | None = None
    """Negative: the signal. None: not known, because the result came first, or because nobody could see it."""
    why: Why | None = None
    """Why we stopped it; None: we did not."""
    never_ran: str = ""
    """Not the job's doing: the template died, or no process could be started. Says what happened."""
    event_count: int = 0
    usage: Usage = field(default_factory=Usage)
    """As told while it ran: what is known of a run that left no outcome."""
    log_tail: str = ""
    duration_seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_resident_bytes: int = 0
