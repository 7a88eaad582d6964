"""The chart's roles give exactly what the table of routes says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agentjobs.web.names import GROUP
from agentjobs.web.routes import RESOURCES, Role

GOLDEN = Path(__file__).parents[2] / "chart" / "golden"
"""The chart as helm renders it, which tests/chart holds to the templates."""
NAMES = {Role.EVERYONE: "ui"}
"""Of a role whose ClusterRole in the chart ends otherwise."""


def _granted(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (resource, verb)
        for rule in found["rules"]
        if rule["apiGroups"] == [GROUP]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("role", Role)
def test_a_role_of_the_chart_grants_what_is_served_for_it_and_nothing_else(role: Role) -> None:
    files = [file.read_text() for file in sorted(GOLDEN.glob("*.yaml")) if "-runs-ui" in file.read_text()]
    assert files
    served = {
        (resource.name, verb)
        for resource in RESOURCES
        for verb, (least, _) in resource.verbs.items()
        if least is role
    }
    for text in files:
        (found,) = [
            one
            for one in yaml.safe_load_all(text)
            if one
            and one["kind"] == "ClusterRole"
            and one["metadata"]["name"].endswith(f"-runs-{NAMES.get(role, role)}")
        ]
        assert _granted(found) == served
