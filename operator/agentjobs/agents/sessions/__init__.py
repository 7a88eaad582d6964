"""Conversations: ADK's tables in Postgres, or memory."""
