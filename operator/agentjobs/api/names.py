"""Names of the API. This module imports nothing, since the kubectl plugin starts anew for each command."""

from __future__ import annotations

GROUP = "agentjobs.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

INPUT_RESPONSE = f"{GROUP}/input-response"
"""Annotation on an AgentJob that waits for input: ``approve:<id>``, ``reject:<id>`` or JSON
(``input_response``)."""

ACT = f"{GROUP}/act"
"""Annotation on an AgentJob or ScheduledAgentJob: who made the change with which it came, and why (``act``)."""
