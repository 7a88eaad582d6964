"""The rules of the ClusterRoles, made from the table of routes: for the chart, the documentation and the tests."""

from __future__ import annotations

from collections.abc import Sequence

from agentjobs.values.json import JsonObject
from agentjobs.web.names import GROUP
from agentjobs.web.routes import RESOURCES, Resource, Role

INCLUDED = {
    Role.EVERYONE: (Role.EVERYONE,),
    Role.VIEW: (Role.VIEW,),
    Role.EDIT: (Role.VIEW, Role.EDIT),
    Role.ADMIN: (Role.VIEW, Role.EDIT, Role.ADMIN),
    Role.QUEUES: (Role.QUEUES,),
}
"""What each role may do. ``view`` is aggregated into ``edit``, and that into ``admin``."""


def allows(role: Role, resource: Resource, verb: str) -> bool:
    """Whether a user of this role may do the verb. False too where the verb is not served."""
    served = resource.verbs.get(verb)
    return served is not None and served[0] in INCLUDED[role]


def rules(role: Role, resources: Sequence[Resource] = RESOURCES) -> list[JsonObject]:
    """All rules of the role's ClusterRole: one for all resources with the same verbs."""
    by_verbs: dict[tuple[str, ...], list[str]] = {}
    for resource in resources:
        verbs = tuple(sorted(verb for verb in resource.verbs if allows(role, resource, verb)))
        if verbs:
            by_verbs.setdefault(verbs, []).append(resource.name)
    return [
        {"apiGroups": [GROUP], "resources": sorted(names), "verbs": list(verbs)}
        for verbs, names in sorted(by_verbs.items(), key=lambda pair: sorted(pair[1]))
    ]
