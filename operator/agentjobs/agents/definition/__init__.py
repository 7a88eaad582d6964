"""From ``spec.agent`` to an ADK agent."""
