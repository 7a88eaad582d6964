"""The patch of Argo CD's ConfigMap: the health checks beside this file, and fields that Argo CD must not
compare."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
KINDS = {"AgentJob": "agentjob-health.lua", "ScheduledAgentJob": "scheduledagentjob-health.lua"}
HEAD = """\
# kubectl -n argocd patch configmap argocd-cm --patch-file gitops/argocd/argocd-cm-patch.yaml
# Made by: python gitops/argocd/patch.py > gitops/argocd/argocd-cm-patch.yaml
data:
"""
IGNORED = """\
  # people suspend jobs and schedules in the cluster: that is no drift
  resource.customizations.ignoreDifferences.agentjobs.dev_{kind}: |
    jsonPointers: [/spec/suspend]
"""


def patch() -> str:
    """The patch as YAML."""
    parts = [HEAD]
    for kind, file in KINDS.items():
        parts.append(f"  resource.customizations.health.agentjobs.dev_{kind}: |\n")
        parts += [f"    {line}".rstrip() + "\n" for line in (HERE / file).read_text().splitlines()]
        parts.append(IGNORED.format(kind=kind))
    return "".join(parts)


if __name__ == "__main__":
    print(patch(), end="")
