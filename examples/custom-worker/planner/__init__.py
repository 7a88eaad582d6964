"""The folder of an agent, as `adk create` makes it: __init__.py and agent.py."""

from . import agent

__all__ = ["agent"]
