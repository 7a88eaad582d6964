"""A real API server for the tests, the first of these that can be had:

1. the cluster that ``AGENTJOBS_TEST_KUBECONFIG`` names,
2. a control plane of our own, from ``KUBEBUILDER_ASSETS`` or an earlier build,
3. kind, through pytest-kind, where it is on PATH and Docker answers,
4. a control plane of our own, built from its Go modules, where Go is at hand.

Under pytest-xdist each worker process has a control plane of its own; a given cluster and kind are shared.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytest_kind import KindCluster

from agentjobs.local import assets as control_plane_assets
from agentjobs.local import kubebuild
from agentjobs.local.assets import Assets, AssetsError
from agentjobs.local.controlplane import ControlPlane
from agentjobs.local.process import LocalServerError, wait_until
from tiers import leave_out

GIVEN = "AGENTJOBS_TEST_KUBECONFIG"
CRDS = Path(__file__).parents[2] / "crds"
FIXTURES = frozenset({"cluster", "namespace", "own_assets"})
Manifest = Mapping[str, Any] | Sequence[Mapping[str, Any]] | str


class KubectlError(AssertionError):
    """kubectl ended with an error; ``stderr`` is what it said."""

    def __init__(self, arguments: Sequence[str], stdout: str, stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: {stderr.strip() or stdout.strip()}")
        self.stdout, self.stderr = stdout, stderr


@dataclass(frozen=True)
class Cluster:
    """A cluster as tests see it. ``own`` is the control plane where it is ours to kill, else None."""

    kubeconfig: Path
    kubectl_path: Path
    origin: str
    own: ControlPlane | None = field(default=None)

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """Run kubectl; its standard output, or, with ``check=False``, all that it said. Raises :class:`KubectlError`."""
        command = [str(self.kubectl_path), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise KubectlError(arguments, done.stdout, done.stderr)
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, manifest: Manifest, namespace: str | None = None) -> str:
        """Apply an object, a list of objects, or YAML; into ``namespace`` where the object names none."""
        where = [f"--namespace={namespace}"] if namespace else []
        return self.kubectl("apply", *where, "-f", "-", input=as_text(manifest))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """One object, as the API server has it now."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", kind, name, f"--namespace={namespace}", "-o", "json")
        )
        return found

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A new namespace with a random name, deleted at the end (not waited for)."""
        name = f"test-{uuid.uuid4().hex[:10]}"
        self.kubectl("create", "namespace", name)
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found", check=False)

    def require_own(self) -> ControlPlane:
        """The control plane, for a test that stops it; skips the test where it is not ours."""
        if self.own is None:
            pytest.skip(f"stops the API server, and this one is not ours to stop ({self.origin})")
        return self.own

    def install_crds(self, folder: Path = CRDS) -> None:
        """Apply our definitions and wait until they are served: they are Established a little before that."""
        files = sorted(folder.glob("*.yaml"))
        if not files:
            return
        named = [argument for file in files for argument in ("-f", str(file))]
        self.kubectl("apply", "--server-side", "--force-conflicts", *named)
        self.kubectl("wait", "--for=condition=Established", "--timeout=110s", *named)
        kinds = ",".join(f"{file.stem}.agentjobs.dev" for file in files)

        def served() -> bool:
            with suppress(KubectlError):
                self.kubectl("get", kinds, "--namespace=default")
                return True
            return False

        assert wait_until(served, 60, every_seconds=0.2), f"{kinds} are not served"


def as_text(manifest: Manifest) -> str:
    """Anything that can be applied, as text: JSON, since kubectl's YAML takes an unquoted ``n`` for a boolean."""
    if isinstance(manifest, str):
        return manifest
    objects = [manifest] if isinstance(manifest, Mapping) else manifest
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


@contextmanager
def own_cluster(assets: Assets, crds: bool = True) -> Iterator[Cluster]:
    """A control plane of our own with our definitions in it."""
    if assets.kubectl is None:
        leave_out(f"{assets.origin} has no kubectl, and none is on PATH")
    try:
        plane = ControlPlane(assets).start()
    except LocalServerError as error:
        leave_out(f"the control plane from {assets.origin} does not start: {error}")
    try:
        cluster = Cluster(
            plane.kubeconfig, assets.kubectl, f"our own control plane from {assets.origin}", plane
        )
        if crds:
            cluster.install_crds()
        yield cluster
    finally:
        plane.stop()


@contextmanager
def given_cluster(kubeconfig: Path, origin: str, kubectl: Path | None) -> Iterator[Cluster]:
    """A cluster that others keep."""
    kubectl = kubectl or Path(shutil.which("kubectl") or "")
    if not kubectl.is_file():
        leave_out(f"{origin}: no kubectl on PATH")
    cluster = Cluster(kubeconfig, kubectl, origin)
    answer = cluster.kubectl("version", "--request-timeout=10s", check=False)
    if "Server Version" not in answer:
        leave_out(f"{origin}: no API server answers: {answer.strip()}")
    cluster.install_crds()
    yield cluster


def docker_answers() -> bool:
    """Whether a Docker engine can be talked to."""
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode == 0
    )


class Kind:
    """A kind cluster by pytest-kind, under its own options (``--kind-bin``, ``--kind-image``, ``--keep-cluster`` …).

    Worker processes of xdist share it: the first one makes it, the last one deletes it.
    """

    def __init__(self, config: pytest.Config, binary: Path) -> None:
        self.keep = config.getoption("keep_cluster")
        kubectl = config.getoption("kind_kubectl_bin") or shutil.which("kubectl")
        self.cluster = KindCluster(
            config.getoption("cluster_name"),
            image=config.getoption("kind_image") or os.environ.get("KIND_NODE_IMAGE"),
            kind_path=binary,
            kubectl_path=Path(kubectl) if kubectl else None,
        )
        folder = self.cluster.path.absolute()
        self.lock, self.users = ((folder / name).open("w") for name in ("lock", "users"))
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            fcntl.flock(self.users, fcntl.LOCK_SH)
            self.cluster.create()
            self.cluster.ensure_kubectl()
        finally:
            fcntl.flock(self.lock, fcntl.LOCK_UN)

    def release(self) -> None:
        """Delete the cluster, unless it is to be kept or another process uses it still."""
        with self.lock, self.users:
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            try:
                fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if not self.keep:
                self.cluster.delete()


class ClusterPlugin:
    """Makes what takes longer than a test may (kind, a build), before the first test and only when one needs it."""

    def __init__(self) -> None:
        self.assets: Assets | None = None
        self.kind: Kind | None = None
        self.why_not: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look for a cluster where a selected test needs one."""
        if session.config.option.collectonly or not any(
            FIXTURES & set(_fixtures(item)) for item in session.items
        ):
            return
        try:
            self.assets = control_plane_assets.find()
            if self.assets is None and not os.environ.get(GIVEN) and not self._has_kind(session.config):
                self.assets = kubebuild.build(self._progress(session))
        except AssetsError as error:
            self.why_not.append(str(error))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Give back what was made, after the fixtures; later, xdist would kill a worker process that takes its time."""
        if self.kind is not None:
            self.kind.release()

    def _has_kind(self, config: pytest.Config) -> bool:
        binary = config.getoption("kind_bin") or shutil.which("kind")
        if binary is None or not docker_answers():
            self.why_not.append("kind needs `kind` on PATH and a Docker engine that answers")
            return False
        try:
            self.kind = Kind(config, Path(binary))
        except Exception as error:  # whatever pytest-kind, kind or Docker say, the next source is tried
            self.why_not.append(f"kind made no cluster: {error}")
            return False
        return True

    @staticmethod
    def _progress(session: pytest.Session) -> Callable[[str], None]:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:  # a worker process of xdist
            return lambda line: None
        return lambda line: reporter.write_line(line)


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin."""
    config.pluginmanager.register(ClusterPlugin(), "agentjobs-clusters")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster of this session, with our definitions applied."""
    plugin = request.config.pluginmanager.get_plugin("agentjobs-clusters")
    assert isinstance(plugin, ClusterPlugin)
    given = os.environ.get(GIVEN)
    if given:
        if not Path(given).is_file():
            leave_out(f"{GIVEN}={given}: no such file")
        kubectl = plugin.assets.kubectl if plugin.assets is not None else None
        with given_cluster(Path(given), f"{GIVEN}={given}", kubectl) as found:
            yield found
    elif plugin.assets is not None:
        with own_cluster(plugin.assets) as found:
            yield found
    elif plugin.kind is not None:
        made = plugin.kind.cluster
        with given_cluster(made.kubeconfig_path.absolute(), "kind", made.kubectl_path.absolute()) as found:
            yield found
    else:
        leave_out("; ".join([f"no {GIVEN}", *plugin.why_not]))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace for this test."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def own_assets(request: pytest.FixtureRequest) -> Assets:
    """The binaries of a control plane of our own; skips where there are none."""
    plugin = request.config.pluginmanager.get_plugin("agentjobs-clusters")
    assert isinstance(plugin, ClusterPlugin)
    if plugin.assets is None:
        why = "; ".join(plugin.why_not) or "none has been built (`make build-kube`)"
        pytest.skip(f"stops the API server, and needs a control plane of our own for that: {why}")
    return plugin.assets


@pytest.fixture
def own_control_plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane for this test alone (about 5 s): ``.own`` may be killed and restarted."""
    with own_cluster(own_assets) as found:
        yield found


@pytest.fixture
def bare_control_plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane for this test alone, without our definitions."""
    with own_cluster(own_assets, crds=False) as found:
        yield found
