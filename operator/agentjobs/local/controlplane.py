"""A local Kubernetes control plane, for the demo and the tests: etcd, kube-apiserver,
kube-controller-manager.

It is a real API server with RBAC, but without nodes: nothing runs pods. Where the controller manager's binary
is there, it collects garbage and deletes namespaces. etcd asks for a client certificate, so that no other
user of the machine can read or write past the API server.
"""

from __future__ import annotations

import atexit
import http.client
import os
import signal
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from agentjobs.local.assets import Assets
from agentjobs.local.certificates import Authority, Pair
from agentjobs.local.folder import OwnedFolder
from agentjobs.local.process import LocalServerError, Terms, end, free_port, spawn, tail, wait_until

TEMPORARY_PREFIX = "agentjobs-kube-"
READY_SECONDS = 90.0
SERVICE_RANGE = "10.96.0.0/16"
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "job-controller",
    "cronjob-controller",
    "ttl-after-finished-controller",
)
FRONT_PROXY = "front-proxy-client"
"""The common name by which the API server shows itself to aggregated APIs."""
ETCD, APISERVER, CONTROLLER_MANAGER = "etcd", "kube-apiserver", "kube-controller-manager"


class ControlPlane:
    """One control plane. Its ``kubeconfig`` (0600) is an administrator's, valid after :meth:`start`.

    ``work_dir``: a new or empty folder, which keeps the logs; by default a temporary one, which :meth:`stop`
    removes. ``apiserver_arguments`` are added to ours, such as an audit policy or feature gates.
    """

    def __init__(
        self, assets: Assets, work_dir: Path | None = None, *, apiserver_arguments: Sequence[str] = ()
    ) -> None:
        self.assets = assets
        self._temporary: OwnedFolder | None = None
        if work_dir is None:
            self._temporary = OwnedFolder.make(TEMPORARY_PREFIX)
            work_dir = self._temporary.path
        self.work_dir = work_dir.absolute()
        self.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._apiserver_arguments = tuple(apiserver_arguments)
        self.etcd_ports = (free_port(), free_port())
        # An authority of its own, so that no user's certificate opens etcd.
        self._etcd_authority = Authority(self.work_dir / "etcd-pki")
        self._etcd_pair = self._etcd_authority.server("etcd")
        self._authority = Authority(self.work_dir / "pki")
        self._serving = self._authority.server("server")
        self._tokens = self._authority.signing_key("service-accounts")
        # An authority of its own: by its certificates the API server shows itself to aggregated APIs, and nobody else.
        self.front_proxy_authority = Authority(self.work_dir / "front-proxy-pki")
        self._front_proxy = self.front_proxy_authority.client("front-proxy-client", FRONT_PROXY)
        self._admin = self._authority.client("admin", "admin", ("system:masters",))
        self.kubeconfig = self._authority.kubeconfig("admin", self.server, self._admin)
        self._trust = ssl.create_default_context(cafile=str(self._authority.certificate))
        self._trust.load_cert_chain(self._admin.certificate, self._admin.key)

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts all components; returns when the API server is ready and the controllers run."""
        atexit.register(self._at_exit, os.getpid())
        try:
            self._run(ETCD, self.assets.etcd, *self._etcd_arguments(), death_signal=signal.SIGKILL)
            self._start_apiserver()
            if self.assets.controller_manager is not None:
                # Not before readiness, which brings the roles: it exits where it may not read its
                # configuration.
                self._run(
                    CONTROLLER_MANAGER, self.assets.controller_manager, *self._controller_manager_arguments()
                )
                self._await("the controllers", "/api/v1/namespaces/default/serviceaccounts/default")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends all components, clients before their servers. Removes a temporary folder."""
        for name, sign, grace_seconds in (
            (CONTROLLER_MANAGER, signal.SIGKILL, 5),  # only etcd has something to store
            (APISERVER, signal.SIGKILL, 5),
            (ETCD, signal.SIGTERM, 10),
        ):
            process = self.processes.pop(name, None)
            if process is not None:
                end(process, sign, grace_seconds)
        atexit.unregister(self._at_exit)
        if self._temporary is not None:
            self._temporary.remove()

    def kill_apiserver(self) -> None:
        """Kills the API server: open watches break, connections are refused until
        :meth:`restart_apiserver`."""
        end(self.processes[APISERVER], signal.SIGKILL, 10)

    def restart_apiserver(self) -> None:
        """Starts the API server again, on the same port and data; returns when it is ready."""
        self.kill_apiserver()
        self._start_apiserver()

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """The kubeconfig of a user who may do only what RBAC grants to ``user`` or ``groups``."""
        client = self._authority.client(f"user-{user}".replace(":", "-"), user, groups)
        return self._authority.kubeconfig(f"user-{user}".replace(":", "-"), self.server, client)

    def check(self) -> None:
        """Raises :class:`LocalServerError`, with the end of the log, where a component has ended."""
        for name, process in self.processes.items():
            status = process.poll()
            if status is not None:
                log = self._log(name)
                raise LocalServerError(f"{name} ended with status {status}; end of {log}:\n{tail(log)}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _at_exit(self, owner: int) -> None:
        if os.getpid() == owner:  # not in a forked child
            self.stop()

    def _log(self, name: str) -> Path:
        return self.work_dir / f"{name}.log"

    def _run(self, name: str, binary: Path, *arguments: str, death_signal: int = signal.SIGKILL) -> None:
        self.processes[name] = spawn(
            [str(binary), *arguments], log=self._log(name), terms=Terms(death_signal)
        )

    def _start_apiserver(self) -> None:
        self._run(APISERVER, self.assets.apiserver, *self._apiserver_options(), *self._apiserver_arguments)
        self._await("kube-apiserver", "/readyz")

    def _await(self, what: str, path: str) -> None:
        def answered() -> bool:
            self.check()
            return self._get(path) == 200

        if not wait_until(answered, READY_SECONDS, every_seconds=0.05):
            log = self._log(APISERVER)
            raise LocalServerError(
                f"{what}: not ready after {READY_SECONDS:.0f} s; end of {log}:\n{tail(log)}"
            )

    def _get(self, path: str) -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=self._trust)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _etcd_arguments(self) -> tuple[str, ...]:
        client, peer = (f"https://127.0.0.1:{port}" for port in self.etcd_ports)
        pair, trusted = self._etcd_pair, self._etcd_authority.certificate
        return (
            "--name=default",
            f"--data-dir={self.work_dir / 'etcd'}",
            "--unsafe-no-fsync",  # killed processes lose nothing; a power cut would end a demo anyway
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--client-cert-auth",
            "--peer-client-cert-auth",
            *(f"--{prefix}cert-file={pair.certificate}" for prefix in ("", "peer-")),
            *(f"--{prefix}key-file={pair.key}" for prefix in ("", "peer-")),
            *(f"--{prefix}trusted-ca-file={trusted}" for prefix in ("", "peer-")),
        )

    def _apiserver_options(self) -> tuple[str, ...]:
        return (
            f"--etcd-servers=https://127.0.0.1:{self.etcd_ports[0]}",
            f"--etcd-cafile={self._etcd_authority.certificate}",
            f"--etcd-certfile={self._etcd_pair.certificate}",
            f"--etcd-keyfile={self._etcd_pair.key}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.work_dir / 'pki'}",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            f"--client-ca-file={self._authority.certificate}",
            f"--requestheader-client-ca-file={self.front_proxy_authority.certificate}",
            f"--requestheader-allowed-names={FRONT_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self._front_proxy.certificate}",
            f"--proxy-client-key-file={self._front_proxy.key}",
            "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--disable-admission-plugins=ServiceAccount",  # as envtest does: pods need no token secret
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={self._tokens.certificate}",
            f"--service-account-signing-key-file={self._tokens.key}",
        )

    def _controller_manager_arguments(self) -> tuple[str, ...]:
        client: Pair = self._authority.client("controller-manager", "system:kube-controller-manager")
        kubeconfig = self._authority.kubeconfig("controller-manager", self.server, client)
        return (
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._tokens.key}",
            f"--root-ca-file={self._authority.certificate}",
            f"--controllers={','.join(CONTROLLERS)}",
        )
