"""The flags of the commands by the setting that each of them sets. A test compares them with the commands."""

from __future__ import annotations

from collections.abc import Mapping

FLAGS: Mapping[str, tuple[str, ...]] = {
    "worker": (
        "queues",
        "modules",
        "models",
        "preload",
        "drain_seconds",
        "memory_limit_mib",
        "tool_threads",
        "pool",
    ),
    "operator": ("namespaces", "kubeconfig", "default_ttl_seconds", "status_output"),
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
