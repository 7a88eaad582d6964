"""Paths are read as kube-apiserver reads them, or not at all."""

from __future__ import annotations

import pytest

from agentjobs.web.names import ROOT
from agentjobs.web.routes import RESOURCES, route_of
from agentjobs.web.status import ApiError
from agentjobs.web.target import Target, target_of

NS = f"{ROOT}/namespaces/team"


@pytest.mark.parametrize(
    ("method", "path", "query", "wanted"),
    [
        ("GET", f"{ROOT}/agentruns", {}, Target("list", "agentruns", None, None)),
        ("GET", f"{NS}/agentruns", {"watch": ["true"]}, Target("watch", "agentruns", "team", None)),
        ("GET", f"{NS}/agentruns", {"watch": ["0"]}, Target("list", "agentruns", "team", None)),
        (
            "GET",
            f"{NS}/agentruns",
            {"fieldSelector": ["metadata.name=a"]},
            Target("list", "agentruns", "team", "a"),
        ),
        ("GET", f"{NS}/agentruns/a", {"watch": ["true"]}, Target("get", "agentruns", "team", "a")),
        ("GET", f"{NS}/agentruns/a/log", {}, Target("get", "agentruns/log", "team", "a")),
        ("GET", f"{ROOT}/namespaces/-/agentruns/a", {}, Target("get", "agentruns", "-", "a")),
        ("GET", "/apis", {}, None),
    ],
)
def test_a_path_is_verb_resource_namespace_and_name(
    method: str, path: str, query: dict[str, list[str]], wanted: Target | None
) -> None:
    assert target_of(method, path.encode(), query) == wanted


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        (f"{NS}/agentruns/", {}, 404),
        (f"{NS}//agentruns", {}, 404),
        (f"{NS}/agentruns/../agentruns/a", {}, 404),
        (f"{NS}/agentruns/%2e%2e/a", {}, 404),
        (f"{NS}/agentruns/a%2Flog", {}, 404),
        (f"{NS}/agentruns/a;b", {}, 404),
        (f"{NS}/agentruns/a/log/more", {}, 404),
        (f"{ROOT}/namespaces/team", {}, 404),
        (f"{NS}/agentruns", {"watch": ["true", "false"]}, 400),
        (f"{NS}/agentruns", {"watch": ["yes"]}, 400),
        (f"{NS}/agentruns", {"fieldSelector": ["metadata.name=a", "metadata.name=b"]}, 400),
        (f"{NS}/agentruns", {"fieldSelector": ["metadata.namespace=b"]}, 400),
    ],
)
def test_what_two_programs_could_read_differently_is_refused(
    path: str, query: dict[str, list[str]], code: int
) -> None:
    with pytest.raises(ApiError) as refused:
        target_of("GET", path.encode(), query)
    assert refused.value.code == code


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_no_verbs(method: str) -> None:
    with pytest.raises(ApiError) as refused:
        target_of(method, f"{NS}/agentruns/a".encode(), {})
    assert refused.value.code == 405


def test_only_the_table_of_routes_is_served() -> None:
    for resource in RESOURCES:
        for verb in ("get", "list", "watch", "create"):
            name = "a" if verb == "get" else None
            target = Target(verb, resource.name, "team" if resource.namespaced else None, name)
            if verb in resource.verbs:
                assert route_of(target)[0] is resource
            else:
                with pytest.raises(ApiError):
                    route_of(target)
    for target in (
        Target("get", "agentruns", None, "a"),
        Target("get", "agentruns/exec", "team", "a"),
        Target("list", "secrets", "team", None),
        Target("get", "ui", "team", "now.html"),
    ):
        with pytest.raises(ApiError) as refused:
            route_of(target)
        assert refused.value.code == 404


def test_a_list_of_one_name_is_refused_where_no_name_can_be_got() -> None:
    for resource in (resource for resource in RESOURCES if "list" in resource.verbs):
        target = Target("list", resource.name, "team", "mine")
        if "get" in resource.verbs:
            assert route_of(target)[0] is resource
        else:
            with pytest.raises(ApiError) as refused:
                route_of(target)
            assert refused.value.code == 400
