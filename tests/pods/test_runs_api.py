"""The runs API in a real cluster: registered with real pods behind it, read by people, withdrawn before others notice much."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from agentjobs.controller.runs_api.objects import NAME, REGISTRATION
from agentjobs.web.names import GROUP, ROOT
from clusters import Cluster
from pods import NAMESPACE, WEB, Jobs, Pods, restricted_namespace, until

REGISTERED_SECONDS = 60.0
DELETABLE_SECONDS = 120.0
"""What others may have to wait for a namespace, while an operator runs."""
ANSWER = "The cat sat on the mat."


def person(pods: Pods, namespace: str, role: str, folder: Path) -> Cluster:
    """Somebody with one of Kubernetes' own roles in one namespace, and a token."""
    where = f"--namespace={namespace}"
    pods.kubectl("create", "serviceaccount", role, where)
    pods.kubectl(
        "create", "rolebinding", role, f"--clusterrole={role}", f"--serviceaccount={namespace}:{role}", where
    )
    config = yaml.safe_load(pods.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": pods.kubectl("create", "token", role, where).strip()}
    file = folder / f"{role}.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return Cluster(file, pods.cluster.kubectl_path, "kind")


def registration(pods: Pods) -> dict[str, Any] | None:
    """The APIService; None: there is none."""
    text = pods.kubectl("get", "apiservice", NAME, "-o", "json", "--ignore-not-found")
    return json.loads(text) if text else None


def available(found: dict[str, Any] | None) -> bool:
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)


def registered(pods: Pods) -> dict[str, Any]:
    """The APIService, once the API server reaches the pods; tried at once where it was withdrawn before."""
    if registration(pods) is None:
        pods.kubectl("annotate", "service", WEB, f"--namespace={NAMESPACE}", f"{REGISTRATION}-", check=False)
    found = until(lambda: registration(pods), available, REGISTERED_SECONDS)
    until(lambda: pods.kubectl("get", "--raw", ROOT, check=False), lambda said: "APIResourceList" in said)
    assert found is not None
    return found


def withdrawals(pods: Pods) -> list[str]:
    """What the Events on the Service say about them."""
    found = pods.objects("events", NAMESPACE)
    return [event["message"] for event in found if event["reason"] == "RunsApiWithdrawn"]


@contextmanager
def doomed(pods: Pods) -> Iterator[str]:
    """A namespace that somebody else wants to delete, with something in it."""
    name = f"doomed-{uuid.uuid4().hex[:8]}"
    pods.kubectl("create", "namespace", name)
    pods.kubectl("create", "configmap", "something", f"--namespace={name}")
    try:
        yield name
    finally:
        pods.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def namespace(pods: Pods, name: str) -> dict[str, Any] | None:
    text = pods.kubectl("get", "namespace", name, "-o", "json", "--ignore-not-found")
    return json.loads(text) if text else None


def goes(pods: Pods, name: str, within: float) -> None:
    """Wait until a namespace that is being deleted is gone."""
    until(lambda: namespace(pods, name), lambda found: found is None, within)


def hangs(found: dict[str, Any] | None) -> bool:
    """Whether its deletion waits for an API that does not answer."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "NamespaceDeletionDiscoveryFailure" and c["status"] == "True" for c in conditions)


@contextmanager
def proxy(who: Cluster) -> Iterator[str]:
    """``kubectl proxy`` of somebody; the URL of its root."""
    command = [str(who.kubectl_path), f"--kubeconfig={who.kubeconfig}", "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield "http://" + process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def fetched(url: str, accept: str = "text/html") -> tuple[str, str]:
    """The text of an answer, and its content security policy."""
    with urllib.request.urlopen(
        urllib.request.Request(url, headers={"Accept": accept}), timeout=30
    ) as answer:
        return answer.read().decode(), answer.headers.get("Content-Security-Policy", "")


def test_people_read_what_their_roles_say_in_their_namespace_and_nothing_in_another(
    pods: Pods, jobs: Jobs, tmp_path: Path
) -> None:
    registered(pods)
    jobs.complete(jobs.create(["said"], f"echo:say {ANSWER}"))
    editor, viewer = (person(pods, jobs.namespace, role, tmp_path) for role in ("edit", "view"))
    with pods.cluster.namespace() as other:
        theirs = Jobs(pods, other)
        theirs.complete(theirs.create(["said"]))

        def result_in(name: str) -> tuple[str, ...]:
            return "get", "--raw", f"{ROOT}/namespaces/{name}/agentruns/said/result?format=text"

        here, there = f"--namespace={jobs.namespace}", f"--namespace={other}"
        # the roles reach view and edit by aggregation, which takes a moment
        table = until(
            lambda: viewer.kubectl("get", "agentruns", here, check=False), lambda t: "said" in t, 30
        )
        assert "Complete" in table
        assert ANSWER in until(lambda: editor.kubectl(*result_in(jobs.namespace), check=False), within=30)
        assert "forbidden" in viewer.kubectl(*result_in(jobs.namespace), check=False)
        for who in (editor, viewer):
            for asked in (result_in(other), ("get", "agentruns", there), ("get", "agentruns", "-A")):
                assert "forbidden" in who.kubectl(*asked, check=False), asked
        assert "attempt" in viewer.kubectl("explain", "agentrun.status")


def test_a_page_of_the_dashboard_comes_through_kubectl_proxy(pods: Pods, jobs: Jobs, tmp_path: Path) -> None:
    registered(pods)
    jobs.complete(jobs.create(["seen"]))
    editor = person(pods, jobs.namespace, "edit", tmp_path)
    runs = f"{ROOT}/namespaces/{jobs.namespace}/agentruns"
    until(lambda: editor.kubectl("get", "--raw", runs, check=False), lambda text: "seen" in text, 30)
    with proxy(editor) as root:
        shell, policy = fetched(f"{root}{ROOT}/ui/jobs.html?namespace={jobs.namespace}")
        assert "<!doctype html" in shell.lower()
        assert "default-src 'none'" in policy
        rows, _ = fetched(f"{root}{runs}")
        assert ">seen<" in rows


def test_pods_that_are_killed_and_come_back_are_not_withdrawn(pods: Pods, jobs: Jobs) -> None:
    before = registered(pods)["metadata"]["uid"]
    killed = pods.names("web")
    began = time.monotonic()
    pods.kubectl("delete", "pod", *killed, f"--namespace={NAMESPACE}", "--grace-period=0", "--force")
    pods.ready(WEB)
    until(
        lambda: pods.kubectl("get", "agentruns", f"--namespace={jobs.namespace}", check=False),
        lambda said: "No resources found" in said,
    )
    print(f"\nboth pods killed: served by others after {time.monotonic() - began:.1f} s")  # noqa: T201
    assert not set(killed) & set(pods.names("web"))
    assert registered(pods)["metadata"]["uid"] == before


def test_pods_that_stay_away_are_withdrawn_and_namespaces_can_be_deleted_again(
    pods: Pods, jobs: Jobs
) -> None:
    registered(pods)
    where = f"--namespace={NAMESPACE}"
    try:
        with doomed(pods) as first, doomed(pods) as name:
            began = time.monotonic()
            pods.kubectl("delete", "namespace", first, "--wait=false")
            goes(pods, first, 60)
            undisturbed = time.monotonic() - began

            killed = pods.names("web")
            pods.kubectl("scale", f"deploy/{WEB}", where, "--replicas=0")
            pods.kubectl("delete", "pod", *killed, where, "--grace-period=0", "--force", "--ignore-not-found")
            began = time.monotonic()
            until(lambda: registration(pods), lambda found: not available(found), 60)
            unavailable = time.monotonic() - began
            # what deletes namespaces asks for the APIs of the cluster, and that list is renewed every now and then
            listed = ("api-resources", f"--api-group={GROUP}", "--no-headers")
            until(lambda: pods.kubectl(*listed, check=False), lambda said: "agentruns" not in said)
            noticed = time.monotonic() - began
            pods.kubectl("delete", "namespace", name, "--wait=false")
            hung = until(lambda: namespace(pods, name), lambda found: found is None or hangs(found), 60)
            # what others see meanwhile
            assert pods.kubectl("get", "configmaps", f"--namespace={jobs.namespace}")
            jobs.complete(jobs.create(["meanwhile"]))
            said = pods.kubectl("get", "agentruns", f"--namespace={jobs.namespace}", check=False)
            assert "error" in said.lower(), said
            until(lambda: registration(pods), lambda found: found is None, DELETABLE_SECONDS)
            withdrawn = time.monotonic() - began
            goes(pods, name, DELETABLE_SECONDS)
            deletable = time.monotonic() - began
        why = until(lambda: withdrawals(pods))[-1]  # Events follow a moment later
        assert "No endpoint of the Service is ready" in why
    finally:
        pods.kubectl("scale", f"deploy/{WEB}", where, "--replicas=2")
    pods.ready(WEB)
    registered(pods)
    print(  # noqa: T201
        f"\na namespace goes in {undisturbed:.1f} s with the API; pods killed: unavailable after {unavailable:.1f} s, not listed "
        f"after {noticed:.1f} s, withdrawn after {withdrawn:.1f} s; a namespace deleted in the outage "
        f"{'hung' if hung else 'did not hang'}, and was gone {deletable:.1f} s after the kill"
    )
    assert deletable < DELETABLE_SECONDS


def test_uninstalling_withdraws_it_so_that_namespaces_can_be_deleted_right_after(
    pods: Pods, jobs: Jobs
) -> None:
    registered(pods)
    with doomed(pods) as name:
        pods.ask_helm("uninstall", "agentjobs", f"--namespace={NAMESPACE}", "--timeout=110s")
        try:
            assert registration(pods) is None
            began = time.monotonic()
            pods.kubectl("delete", "namespace", name, "--wait=false")
            goes(pods, name, 60)
            print(f"\nafter helm uninstall a namespace goes in {time.monotonic() - began:.1f} s")  # noqa: T201
        finally:
            pods.install("agentjobs", pods.values())
    registered(pods)


def test_a_release_whose_namespace_is_deleted_takes_it_along(pods: Pods, jobs: Jobs) -> None:
    # the APIService is one for the cluster, so ours has to go first
    home = f"{jobs.namespace}-home"
    restricted_namespace(pods, home)
    values = pods.values(
        database={},
        devPostgres={"enabled": True, "image": f"agentjobs-dev-postgres:{pods.tag}"},
        crds={"enabled": False},
        rbac={"aggregate": False},
        pools={"default": None},
    )
    pods.ask_helm("uninstall", "agentjobs", f"--namespace={NAMESPACE}", "--timeout=110s")
    try:
        pods.install("brief", values, namespace=home)
        registered(pods)
        began = time.monotonic()
        pods.kubectl("delete", "namespace", home, "--wait=false")
        until(lambda: registration(pods), lambda found: found is None, DELETABLE_SECONDS)
        withdrawn = time.monotonic() - began
        goes(pods, home, DELETABLE_SECONDS)
        print(  # noqa: T201
            f"\nthe release's namespace is deleted: withdrawn after {withdrawn:.1f} s, gone after {time.monotonic() - began:.1f} s"
        )
    finally:
        pods.kubectl("delete", "apiservice", NAME, "--ignore-not-found")
        pods.kubectl("delete", "namespace", home, "--ignore-not-found", "--wait=false")
        pods.kubectl(
            "delete", "clusterroles,clusterrolebindings", "--selector=app.kubernetes.io/instance=brief"
        )
        pods.kubectl(
            "delete", "rolebindings", "--namespace=kube-system", "--selector=app.kubernetes.io/instance=brief"
        )
        pods.install("agentjobs", pods.values())
    registered(pods)
