"""Signals, metrics and tracing: each name is defined here once."""
