"""The control plane of the demo and the tests."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentjobs.local.assets import Assets
from agentjobs.local.controlplane import ControlPlane
from agentjobs.local.process import LocalServerError, wait_until
from clusters import Cluster, KubectlError, own_cluster

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"n": "7"}}


@pytest.fixture(scope="module")
def plane_cluster(own_assets: Assets) -> Iterator[Cluster]:
    """One for this module, without our definitions."""
    with own_cluster(own_assets, crds=False) as found:
        yield found


def gone(cluster: Cluster, *what: str) -> Callable[[], bool]:
    return lambda: "NotFound" in cluster.kubectl("get", *what, check=False)


def test_the_kubeconfig_is_an_administrators_and_only_the_owner_can_read_it(
    plane_cluster: Cluster,
) -> None:
    assert plane_cluster.kubectl("auth", "can-i", "*", "*").strip() == "yes"
    assert plane_cluster.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_objects_survive_a_killed_api_server_on_the_same_port(plane_cluster: Cluster) -> None:
    plane_cluster.apply(CONFIG_MAP, namespace="default")
    plane = plane_cluster.require_own()
    plane.kill_apiserver()
    with pytest.raises(KubectlError, match="refused"):
        plane_cluster.kubectl("get", "namespaces")
    plane.restart_apiserver()
    assert plane_cluster.get("configmap", "kept", "default")["data"] == {"n": "7"}


def test_rbac_holds_for_users_other_than_the_administrator(plane_cluster: Cluster) -> None:
    limited = plane_cluster.require_own().kubeconfig_for("system:serviceaccount:default:nobody")
    as_limited = Cluster(limited, plane_cluster.kubectl_path, "limited")
    with pytest.raises(KubectlError, match=r"nobody.* cannot list resource"):
        as_limited.kubectl("get", "namespaces")


def test_a_component_that_ends_is_named_with_the_end_of_its_log(plane_cluster: Cluster) -> None:
    plane = plane_cluster.require_own()
    broken = ControlPlane(plane.assets, apiserver_arguments=["--no-such-flag"])
    with pytest.raises(
        LocalServerError, match=r"kube-apiserver ended with status 1(.|\n)*unknown flag: --no-such-flag"
    ):
        broken.start()
    assert not broken.work_dir.exists()
    assert broken.processes == {}


def test_nothing_is_left_when_it_stops(own_assets: Assets) -> None:
    plane = ControlPlane(own_assets).start()
    processes = list(plane.processes.values())
    plane.stop()
    assert [process.poll() is None for process in processes] == [False] * len(processes)
    assert not plane.work_dir.exists()


def test_etcd_answers_nobody_without_a_certificate(plane_cluster: Cluster) -> None:
    port = plane_cluster.require_own().etcd_ports[0]
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=careless)
    connection.request("GET", "/version")
    with pytest.raises(ssl.SSLError, match="certificate required"):
        connection.getresponse()


def test_a_namespace_and_what_owners_leave_behind_are_collected(cluster: Cluster) -> None:
    if cluster.own is not None and cluster.own.assets.controller_manager is None:
        pytest.skip(f"no kube-controller-manager in {cluster.origin}")
    with cluster.namespace() as name:
        cluster.apply(CONFIG_MAP, namespace=name)
        owner = cluster.get("configmap", "kept", name)["metadata"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kept", "uid": owner["uid"]}
        owned = {**CONFIG_MAP, "metadata": {"name": "owned", "ownerReferences": [reference]}}
        cluster.apply(owned, namespace=name)
        cluster.kubectl("delete", "configmap", "kept", f"--namespace={name}")
        assert wait_until(gone(cluster, "configmap", "owned", f"--namespace={name}"), 80, every_seconds=0.2)
    assert wait_until(gone(cluster, "namespace", name), 80, every_seconds=0.2)


def test_every_test_gets_a_namespace_of_its_own(cluster: Cluster, namespace: str) -> None:
    with cluster.namespace() as other:
        assert other != namespace
        cluster.apply([CONFIG_MAP, {**CONFIG_MAP, "metadata": {"name": "second"}}], namespace=other)
        assert "kept" in cluster.kubectl("get", "configmaps", f"--namespace={other}")
        assert "kept" not in cluster.kubectl("get", "configmaps", f"--namespace={namespace}")


def test_the_definitions_are_served(cluster: Cluster) -> None:
    if not list((Path(__file__).parents[2] / "crds").glob("*.yaml")):
        pytest.skip("no definitions yet")
    assert "agentjobs" in cluster.kubectl("api-resources", "--api-group=agentjobs.dev", "-o", "name")
