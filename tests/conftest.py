"""What every tier shares. The fixtures are in ``support/``; docs/development.md tells what they need."""

from __future__ import annotations

pytest_plugins = ["memory", "tiers", "lanes", "durations", "databases", "clusters", "charts"]
