"""What every tier shares. The fixtures are in ``support/``; docs/development.md tells what they need."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# a busy machine makes any example slow: how long one takes says nothing about it
settings.register_profile("agentjobs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("agentjobs")

pytest_plugins = ["memory", "tiers", "lanes", "durations", "databases", "clusters", "charts"]
