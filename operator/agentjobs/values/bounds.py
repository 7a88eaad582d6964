"""Bounds of texts (H7), in bytes of UTF-8."""

from __future__ import annotations

RESULT_BYTES = 1 << 20
"""Longest stored answer. A longer one is cut and flagged; the session has the whole conversation."""
ERROR_BYTES = 64 << 10
"""Longest message of an error."""
LOG_TAIL_BYTES = 64 << 10
"""Longest kept end of a run's output."""
