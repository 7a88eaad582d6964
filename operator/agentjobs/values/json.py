"""JSON objects as a type."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
