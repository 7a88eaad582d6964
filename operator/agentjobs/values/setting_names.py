"""Settings by both of their names: the chart's value, for who has the chart, and the variable of the process.

``cli.settings`` has each setting with its meaning. Messages take their names from here.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "AGENTJOBS_"
"""What the variables of all settings begin with."""
CHART: Mapping[str, str] = {
    # every part
    "database_url": "database.existingSecret",
    "database_direct_url": "database.keys.directUrl",
    "session_database_url": "database.keys.sessionUrl",
    # workers
    "queues": "pools.{pool}.queues",
    "modules": "pools.{pool}.modules",
    "models": "pools.{pool}.models",
    "preload": "pools.{pool}.preload",
    "path": "pools.{pool}.path",
    "signal_modules": "pools.{pool}.signalModules",
    "standbys": "pools.{pool}.standbys",
    "stop_grace_seconds": "pools.{pool}.stopGraceSeconds",
    "drain_seconds": "pools.{pool}.drainSeconds",
    "memory_limit_mib": "pools.{pool}.memoryLimitMib",
    "model_timeout_seconds": "pools.{pool}.modelTimeoutSeconds",
    "artifact_limit_mib": "pools.{pool}.artifactLimitMib",
    "session_artifacts_limit_mib": "pools.{pool}.sessionArtifactsLimitMib",
    # the operator
    "namespaces": "watchNamespaces",
    "queue_access.namespaces": "queues.{queue}.allowedNamespaces",
    "queue_access.best_priority": "queues.{queue}.bestPriority",
    "default_ttl_seconds": "operator.defaultTtlSeconds",
}
"""The chart's value by setting; after a dot stands a key of the setting's value."""


def chart_value(setting: str, *, pool: str = "<name>", queue: str = "<name>") -> str:
    """The chart's value of a setting, such as ``pools.default.modules``."""
    return CHART[setting].format(pool=pool, queue=queue)


def variable(setting: str) -> str:
    """The environment variable of a setting, such as ``AGENTJOBS_MODULES``."""
    return f"{PREFIX}{setting.partition('.')[0].upper()}"


def both_names(setting: str, *, pool: str = "<name>", queue: str = "<name>") -> str:
    """A setting for people: ``pools.default.modules of the chart, or AGENTJOBS_MODULES``."""
    return f"{chart_value(setting, pool=pool, queue=queue)} of the chart, or {variable(setting)}"
