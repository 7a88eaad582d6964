"""Mechanisms that both kinds of objects use."""
