"""What the chart renders to, for each case, is what somebody has looked at: ``UPDATE_GOLDEN=1`` writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from charts import Helm

HERE = Path(__file__).parent
CASES = sorted(file.stem for file in (HERE / "cases").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_a_case_renders_to_its_golden_file(helm: Helm, case: str) -> None:
    values = yaml.safe_load((HERE / "cases" / f"{case}.yaml").read_text())
    # the definitions have a test of their own, and would bury the rest
    rendered = helm.text(values, "--set", "crds.enabled=false")
    golden = HERE / "golden" / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text(), f"look at the difference, then: UPDATE_GOLDEN=1 pytest {__file__}"


def test_every_template_is_in_a_golden_file() -> None:
    golden = "".join(file.read_text() for file in (HERE / "golden").glob("*.yaml"))
    templates = HERE.parents[1] / "charts" / "agentjobs" / "templates"
    for template in templates.rglob("*.yaml"):
        name = template.relative_to(templates).as_posix()
        assert name in ("crds.yaml", "checks.yaml") or f"templates/{name}\n" in golden, (
            f"no case renders {name}"
        )
