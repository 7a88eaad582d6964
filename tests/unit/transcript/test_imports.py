"""A process that reads transcripts loads none of what runs agents."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import agentjobs.transcript.transcripts
print([name for name in ("google", "sqlalchemy", "pydantic", "kopf") if name in sys.modules])
"""


def test_reading_transcripts_loads_neither_adk_nor_sqlalchemy() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "[]\n"
