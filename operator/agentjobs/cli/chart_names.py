"""The chart's values and flags by the setting that each of them sets: one thing has three names, and each page can say the others.

A test compares these with the chart's values.yaml, its templates, and the commands.
"""

from __future__ import annotations

from collections.abc import Mapping

CHART: Mapping[str, tuple[str, ...]] = {
    "database_url": ("database.keys.url",),
    "database_url_file": ("database.keys.url",),
    "database_direct_url": ("database.keys.directUrl",),
    "database_direct_url_file": ("database.keys.directUrl",),
    "session_database_url": ("database.keys.sessionUrl",),
    "session_database_url_file": ("database.keys.sessionUrl",),
    "queues": ("pools.<name>.queues",),
    "modules": ("pools.<name>.modules",),
    "models": ("pools.<name>.models",),
    "preload": ("pools.<name>.preload",),
    "path": ("pools.<name>.path",),
    "signal_modules": ("pools.<name>.signalModules",),
    "standbys": ("pools.<name>.standbys",),
    "stop_grace_seconds": ("pools.<name>.stopGraceSeconds",),
    "drain_seconds": ("pools.<name>.drainSeconds",),
    "memory_limit_mib": ("pools.<name>.memoryLimitMib",),
    "model_timeout_seconds": ("pools.<name>.modelTimeoutSeconds",),
    "artifact_limit_mib": ("pools.<name>.artifactLimitMib",),
    "session_artifacts_limit_mib": ("pools.<name>.sessionArtifactsLimitMib",),
    "namespaces": ("watchNamespaces",),
    "queue_access": ("queues",),
    "default_ttl_seconds": ("operator.defaultTtlSeconds",),
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
    "log_level": ("pools.<name>.logLevel", "operator.logLevel", "web.logLevel"),
}
"""Values that set a setting. A pool's default is that of ``poolDefaults``."""

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

BY_ENV: Mapping[str, str] = {
    "lease_grace_seconds": "pools.<name>.env",
    "poll_seconds": "pools.<name>.env",
    "model_health": "pools.<name>.env",
    "credential_key_file": "pools.<name>.env",
    "allow_env_files": "pools.<name>.env",
    "tracebacks": "pools.<name>.env",
    "restored_label": "operator.env",
    "runs_api_port": "operator.env",
    "mass_vanish_limit": "operator.env",
    "web_ingress_rights": "web.env",
    "web_trace_url": "web.env",
    "log_format": "pools.<name>.env, operator.env, web.env",
}
"""Settings without a value of their own: the list of variables in which to name them."""

OUTSIDE = frozenset({"kubeconfig", "local"})
"""Settings that make no sense in a pod of the chart."""

FLAGS: Mapping[str, tuple[str, ...]] = {
    "worker": (
        "queues",
        "modules",
        "models",
        "preload",
        "drain_seconds",
        "memory_limit_mib",
        "pool",
    ),
    "operator": ("namespaces", "kubeconfig", "default_ttl_seconds"),
    "web": ("web_tls_dir", "web_port", "web_ingress_port", "kubeconfig"),
}
"""Settings with a flag, by the command that has it."""

EVERY_COMMAND = ("health_port", "name", "database_url_file", "log_level")
"""Settings with a flag of each of these commands."""


def flag_of(setting: str) -> str | None:
    """The flag of a setting: of a list that of one item (``--queue``). None: it has none."""
    if setting not in EVERY_COMMAND and not any(setting in settings for settings in FLAGS.values()):
        return None
    name = setting.removeprefix("web_")
    if setting in ("queues", "modules", "models", "namespaces"):
        name = name[:-1]
    return f"--{name.replace('_', '-')}"


def chart_of(setting: str) -> str:
    """What to set in the chart for a setting, as Markdown."""
    if setting in CHART:
        return ", ".join(f"`{value}`" for value in CHART[setting])
    if setting in BY_THE_CHART:
        return "the chart sets it"
    if setting in BY_ENV:
        return "by " + ", ".join(f"`{value}`" for value in BY_ENV[setting].split(", "))
    return "–"
