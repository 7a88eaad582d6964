"""Agent definitions: the executor makes an ADK agent from ``spec.agent``, within what the pool allows."""
