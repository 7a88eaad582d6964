"""Sessions: executors keep conversations in ADK's tables in Postgres, each fenced for one run."""
