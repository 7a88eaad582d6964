"""Agents: a job's ``spec.agent`` becomes an ADK agent, ADK runs it, and its answer or error gets a verdict.

All of this runs in the worker's template and executor processes. The supervisor imports only what needs no
ADK: the values ``AttemptSpec``, ``AgentSettings`` and ``Outcome``.
"""
