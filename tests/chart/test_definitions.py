"""The definitions of our resources as the chart installs them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import CHART, LEAST, Helm, Object

CRDS = Path(__file__).parents[2] / "crds"


def definitions(objects: list[Object]) -> dict[str, Object]:
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == "CustomResourceDefinition"}


def committed() -> dict[str, Any]:
    return {d["metadata"]["name"]: d for d in (yaml.safe_load(f.read_text()) for f in CRDS.glob("*.yaml"))}


def test_the_charts_copy_is_what_is_in_crds() -> None:
    for file in CRDS.glob("*.yaml"):
        copy = CHART / "files" / "crds" / file.name
        assert copy.read_text() == file.read_text(), "run: make crds"


@pytest.mark.parametrize("keep", [True, False])
def test_they_are_rendered_as_they_are_with_or_without_keep(helm: Helm, keep: bool) -> None:
    rendered = definitions(helm.render({**LEAST, "crds": {"keep": keep}}))
    wanted = committed()
    for definition in wanted.values() if keep else ():
        definition["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    assert rendered == wanted


def test_braces_in_a_rule_are_not_taken_for_a_template(helm: Helm, tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "agentjobs")
    file = chart / "files" / "crds" / "agentjobs.yaml"
    file.write_text(file.read_text() + "# {{ fail 1 }}\n")
    done = helm.run("template", "x", str(chart), values=LEAST)
    assert done.returncode == 0, done.stderr
    assert "{{ fail 1 }}" in done.stdout


def test_a_release_without_them_has_none(helm: Helm) -> None:
    assert definitions(helm.render({**LEAST, "crds": {"enabled": False}})) == {}


def test_they_can_be_installed_alone(helm: Helm) -> None:
    alone = {"operator": {"enabled": False}, "pools": {"default": None}, "tests": {"enabled": False}}
    assert {o["kind"] for o in helm.render(alone)} == {"CustomResourceDefinition"}
