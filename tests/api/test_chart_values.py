"""What helm accepts the API server accepts: values of the chart are refused before anything is installed, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from chart_values import ValuesCase, cases, either, title_of
from charts import Helm
from clusters import Cluster
from dry_run import DryRun

FOREIGN = ("keda.sh/", "monitoring.coreos.com/", "postgresql.cnpg.io/", "apiextensions.k8s.io/")
"""Groups that this API server does not have, and our CRDs, which it has already."""


def objects(rendered: str) -> Iterator[str]:
    for text in re.split(r"^---$", rendered, flags=re.MULTILINE):
        found = yaml.safe_load(text)
        if found and not found["apiVersion"].startswith(FOREIGN):
            yield text


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Takes:
    return Takes(cluster)


class Takes:
    """What of rendered objects a real API server refuses, in its own words."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._server = cluster, DryRun(cluster, "default")
        self._namespaces: set[str] = set()

    def refused(self, rendered: str) -> list[str]:
        """The API server's messages about each object that it would not create."""
        texts = list(objects(rendered))
        for name in {yaml.safe_load(text)["metadata"].get("namespace") for text in texts} - {
            None,
            *self._namespaces,
        }:
            assert isinstance(name, str), f"namespace {name!r} is not text"
            self._cluster.kubectl("create", "namespace", name, check=False)  # an earlier run may have made it
            self._namespaces.add(name)
        return [verdict.message for text in texts if not (verdict := self._server.create_text(text)).accepted]


@pytest.mark.parametrize("case", cases("accepted"), ids=title_of)
def test_the_api_server_takes_every_object_of_values_that_helm_accepts(
    helm: Helm, server: Takes, case: ValuesCase
) -> None:
    rendered, text = case.template(helm)
    assert rendered, text
    assert server.refused(text) == []


def test_odd_values_are_refused_by_helm_or_accepted_by_the_api_server(helm: Helm, server: Takes) -> None:
    odd = either()
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda case: case.template(helm), odd))
    late = {
        c.title: said
        for c, (ok, text) in zip(odd, answers, strict=True)
        if ok and (said := server.refused(text))
    }
    assert late == {}
    silent = {
        c.title: text for c, (ok, text) in zip(odd, answers, strict=True) if not ok and "nil pointer" in text
    }
    assert silent == {}, "a template failed without naming the value"
    assert 10 < sum(ok for ok, _ in answers) < len(odd) - 10
