"""Durable background runs of AI agents (Google ADK) on Kubernetes."""

__version__ = "0.1.0"
