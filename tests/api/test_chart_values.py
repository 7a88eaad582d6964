"""What helm accepts the API server accepts: values of the chart are refused before anything is installed, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from chart_values import ValuesCase, cases, title_of
from charts import Helm
from clusters import Cluster
from dry_run import DryRun

FOREIGN = ("keda.sh/", "monitoring.coreos.com/", "postgresql.cnpg.io/", "apiextensions.k8s.io/")
"""Groups that this API server does not have, and our CRDs, which it has already."""


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> DryRun:
    return DryRun(cluster, "default")


@pytest.fixture(scope="module")
def made() -> set[str]:
    """The namespaces that these tests have made: a dry run needs them."""
    return set()


def objects(rendered: str) -> Iterator[str]:
    for text in re.split(r"^---$", rendered, flags=re.MULTILINE):
        found = yaml.safe_load(text)
        if found and not found["apiVersion"].startswith(FOREIGN):
            yield text


@pytest.mark.parametrize("case", cases("accepted"), ids=title_of)
def test_the_api_server_takes_every_object_of_values_that_helm_accepts(
    helm: Helm, cluster: Cluster, server: DryRun, made: set[str], case: ValuesCase
) -> None:
    rendered, text = case.template(helm)
    assert rendered, text
    texts = list(objects(text))
    for name in {yaml.safe_load(text)["metadata"].get("namespace") for text in texts} - {None, *made}:
        assert isinstance(name, str), name
        cluster.kubectl("create", "namespace", name, check=False)  # an earlier run may have made it
        made.add(name)
    verdicts = [(text, server.create_text(text)) for text in texts]
    assert [(text, v.message) for text, v in verdicts if not v.accepted] == []
    assert texts or not case.values.get("operator", {}).get("enabled", True)
