"""Verdicts: the executor judges the error that ended an attempt, by a table of rules."""
