"""The table of wrong and odd values of the chart (``tests/chart/values_table.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from charts import CHART, LEAST, Helm

TABLE = Path(__file__).parents[1] / "chart" / "values_table.yaml"


@dataclass(frozen=True)
class ValuesCase:
    """One line of the table."""

    title: str
    values: Mapping[str, Any]
    release: str = "agentjobs"
    namespace: str = "agents"
    says: list[str] = field(default_factory=list)

    def template(self, helm: Helm) -> tuple[bool, str]:
        """Whether helm renders the values; the objects as text, or what helm said."""
        merged = {**LEAST, **self.values}
        for key, value in LEAST.items():
            if key in self.values and self.values[key] is not None:
                merged[key] = {**value, **self.values[key]}
        done = helm.run(
            "template", self.release, str(CHART), f"--namespace={self.namespace}", "--kube-version=1.34.0",
            values=merged,
        )  # fmt: skip
        return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


def cases(outcome: str) -> list[ValuesCase]:
    """The cases of the table whose outcome is ``refused`` or ``accepted``."""
    return [ValuesCase(**line) for line in yaml.safe_load(TABLE.read_text())[outcome]]


def title_of(case: ValuesCase) -> str:
    """For ``pytest.mark.parametrize(ids=…)``."""
    return case.title


def either() -> list[ValuesCase]:
    """The cases of the table that helm refuses or the API server accepts."""
    return [ValuesCase(str(values), values) for values in yaml.safe_load(TABLE.read_text())["either"]]
