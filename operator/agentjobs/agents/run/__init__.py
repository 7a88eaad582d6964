"""Runs: an executor carries one attempt of a job through ADK, from its spec to its outcome."""
