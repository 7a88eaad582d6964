"""The kinds of objects that the operator reads for jobs."""

from __future__ import annotations

from dataclasses import dataclass

from agentjobs.values.setting_names import both_names


@dataclass(frozen=True, slots=True)
class ReadableKinds:
    """The kinds that the operator's settings let it read for jobs."""

    config_maps: bool = True
    secrets: bool = False

    def refusal(self, kind: str) -> str:
        """Why this kind is not read; empty: it is."""
        if kind == "AgentJob" or (self.config_maps if kind == "ConfigMap" else self.secrets):
            return ""
        setting = "input_config_maps" if kind == "ConfigMap" else "input_secrets"
        return f"this installation reads no {kind}s for jobs: ask for {both_names(setting)}, or use another source in a new object"
