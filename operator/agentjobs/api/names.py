"""The names that need no model to be read: what a kubectl plugin, which starts for each command, imports alone."""

from __future__ import annotations

GROUP = "agentjobs.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

INPUT_RESPONSE = f"{GROUP}/input-response"
"""Annotation on an AgentJob that waits for input: ``approve:<id>``, ``reject:<id>`` or JSON (``input_response``)."""
