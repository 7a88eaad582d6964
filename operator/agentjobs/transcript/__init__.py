"""Transcripts: what was said and done in a job's session, read from ADK's tables. Imports nothing of ADK."""
