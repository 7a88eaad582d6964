"""Each setting by all of its names: the chart's value, for who has the chart, and the variable of the process.

``cli.settings`` has each setting with its meaning, ``cli.flag_names`` the flags. Messages and the generated pages take the names
from here; tests compare them with the chart's values.yaml and its templates.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "AGENTJOBS_"
"""What the variables of all settings begin with."""
ANY = "<name>"
"""Stands for the name of a pool or a queue."""

CHART: Mapping[str, tuple[str, ...]] = {
    # every part
    "database_url": ("database.keys.url",),
    "database_url_file": ("database.keys.url",),
    "database_direct_url": ("database.keys.directUrl",),
    "database_direct_url_file": ("database.keys.directUrl",),
    "session_database_url": ("database.keys.sessionUrl",),
    "session_database_url_file": ("database.keys.sessionUrl",),
    "log_level": ("pools.<name>.logLevel", "operator.logLevel", "web.logLevel"),
    # workers
    "queues": ("pools.<name>.queues",),
    "modules": ("pools.<name>.modules",),
    "models": ("pools.<name>.models",),
    "preload": ("pools.<name>.preload",),
    "path": ("pools.<name>.path",),
    "allow_env_files": ("pools.<name>.allowEnvFiles",),
    "signal_modules": ("pools.<name>.signalModules",),
    "standbys": ("pools.<name>.standbys",),
    "stop_grace_seconds": ("pools.<name>.stopGraceSeconds",),
    "drain_seconds": ("pools.<name>.drainSeconds",),
    "memory_limit_mib": ("pools.<name>.memoryLimitMib",),
    "model_timeout_seconds": ("pools.<name>.modelTimeoutSeconds",),
    "tool_threads": ("pools.<name>.toolThreads",),
    "artifact_limit_mib": ("pools.<name>.artifactLimitMib",),
    "session_artifacts_limit_mib": ("pools.<name>.sessionArtifactsLimitMib",),
    "artifact_service_uri": ("pools.<name>.artifactServiceUri",),
    "memory_service_uri": ("pools.<name>.memoryServiceUri",),
    # the operator
    "namespaces": ("watchNamespaces",),
    "queue_access": ("queues",),
    "input_config_maps": ("operator.inputs.configMaps",),
    "input_secrets": ("operator.inputs.secrets",),
    "default_ttl_seconds": ("operator.defaultTtlSeconds",),
    "status_output": ("operator.statusOutput",),
    # the runs API and the dashboard
    "runs_api_off": ("web.enabled",),
    "runs_api_secret": ("web.certificates.secret",),
    "runs_api_certificates": ("web.certificates.mode",),
    "web_ingress_port": ("web.ingress.enabled",),
    "web_ingress_token_file": ("web.ingress.token.secret",),
    "web_ingress_proxy_secret_file": ("web.ingress.proxy.secret",),
    "web_ingress_user_header": ("web.ingress.proxy.userHeader",),
    "web_ingress_groups_header": ("web.ingress.proxy.groupsHeader",),
    "web_ingress_user_prefix": ("web.ingress.proxy.userPrefix",),
    "web_ingress_groups_prefix": ("web.ingress.proxy.groupsPrefix",),
}
"""The chart's values that set a setting. A pool's default is that of ``poolDefaults``."""

CHART_KEYS: Mapping[str, str] = {
    "queue_access.namespaces": "queues.<name>.allowedNamespaces",
    "queue_access.best_priority": "queues.<name>.bestPriority",
}
"""The chart's values that set a key, after the dot, of a setting's value."""

BY_THE_CHART = frozenset(
    {
        "pool",
        "lease_name",
        "lease_namespace",
        "runs_api_service",
        "web_tls_dir",
        "web_port",
        "name",
        "health_port",
    }
)
"""Settings that the chart's templates set, and no value changes."""

BY_ENV: Mapping[str, tuple[str, ...]] = {
    "lease_grace_seconds": ("pools.<name>.env",),
    "poll_seconds": ("pools.<name>.env",),
    "model_health": ("pools.<name>.env",),
    "tracebacks": ("pools.<name>.env",),
    "credential_key_file": ("pools.<name>.env",),
    "restored_label": ("operator.env",),
    "runs_api_port": ("operator.env",),
    "mass_vanish_limit": ("operator.env",),
    "web_ingress_rights": ("web.env",),
    "web_trace_url": ("web.env",),
    "log_format": ("pools.<name>.env", "operator.env", "web.env"),
}
"""Settings without a value of their own: the lists of variables in which to name them."""

OUTSIDE = frozenset({"kubeconfig", "local"})
"""Settings that make no sense in a pod of the chart."""


def chart_value(setting: str, *, pool: str = ANY, queue: str = ANY) -> str:
    """The chart's value of a setting, or of a key of its value, such as ``pools.default.modules``."""
    value = CHART_KEYS.get(setting) or " or ".join(CHART[setting])
    return value.replace(f"pools.{ANY}", f"pools.{pool}").replace(f"queues.{ANY}", f"queues.{queue}")


def variable(setting: str) -> str:
    """The environment variable of a setting, such as ``AGENTJOBS_MODULES``."""
    return f"{PREFIX}{setting.partition('.')[0].upper()}"


def both_names(setting: str, *, pool: str = ANY, queue: str = ANY) -> str:
    """A setting for people: ``pools.default.modules of the chart, or AGENTJOBS_MODULES``."""
    return f"{chart_value(setting, pool=pool, queue=queue)} of the chart, or {variable(setting)}"
