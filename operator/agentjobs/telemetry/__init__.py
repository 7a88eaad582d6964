"""Signals, metrics, traces and logs: each name is defined here once."""
