"""Mechanisms that both kinds of objects use: due times, Events, sweeps, back-off."""
