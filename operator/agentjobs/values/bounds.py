"""Bounds of texts (H7), in bytes of UTF-8."""

from __future__ import annotations

RESULT_BYTES = 1 << 20
"""Of an answer. A longer one is cut and flagged; the whole conversation is in the session."""
ERROR_BYTES = 64 << 10
"""Of an error's message."""
LOG_TAIL_BYTES = 64 << 10
"""Of what a run printed last."""
