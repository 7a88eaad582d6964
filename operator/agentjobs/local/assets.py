"""The binaries of the local control plane: found by ``KUBEBUILDER_ASSETS``, or in an earlier build.

``KUBEBUILDER_ASSETS`` is the variable of controller-runtime's envtest: a folder with etcd, kube-apiserver and
kubectl. Where neither is there, :mod:`agentjobs.local.kubebuild` builds the binaries from their Go modules.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "KUBEBUILDER_ASSETS"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
SOURCES = Path(__file__).parents[3] / "tools"  # of a checkout; an installed wheel has none


class AssetsError(RuntimeError):
    """The binaries cannot be found or built; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Assets:
    """The binaries of a control plane. Some downloads lack ``controller_manager`` and ``kubectl``."""

    etcd: Path
    apiserver: Path
    controller_manager: Path | None
    kubectl: Path | None
    origin: str


def find(environment: Mapping[str, str] = os.environ, sources: Path = SOURCES) -> Assets | None:
    """The binaries that ``KUBEBUILDER_ASSETS`` names, else those of an earlier build of the sources, else
    None.

    Raises :class:`AssetsError` where the variable is set and its folder lacks a binary: to take another
    control plane than the one asked for would hide the mistake.
    """
    named = environment.get(VARIABLE)
    if named:
        return in_folder(Path(named), f"{VARIABLE}={named}")
    built = build_folder(environment, sources)
    if built is None or not (built / "kube-apiserver").exists():
        return None
    return in_folder(built, f"the build in {built}")


def in_folder(folder: Path, origin: str) -> Assets:
    """The binaries in a folder. Raises AssetsError where etcd or kube-apiserver is missing."""
    for name in ("etcd", "kube-apiserver"):
        if not os.access(folder / name, os.X_OK):
            raise AssetsError(
                f"{origin}: no executable {name} there. Point {VARIABLE} at a folder with etcd and kube-apiserver, "
                "or unset it: they are then built from their Go modules"
            )
    manager, kubectl = folder / "kube-controller-manager", folder / "kubectl"
    on_path = shutil.which("kubectl")
    return Assets(
        etcd=folder / "etcd",
        apiserver=folder / "kube-apiserver",
        controller_manager=manager if os.access(manager, os.X_OK) else None,
        kubectl=kubectl if os.access(kubectl, os.X_OK) else Path(on_path) if on_path else None,
        origin=origin,
    )


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of all builds: ``$XDG_CACHE_HOME/agentjobs/kube``."""
    home = environment.get("XDG_CACHE_HOME") or str(
        Path(environment.get("HOME") or "~").expanduser() / ".cache"
    )
    return Path(home) / "agentjobs" / "kube"


def build_folder(environment: Mapping[str, str] = os.environ, sources: Path = SOURCES) -> Path | None:
    """The folder for the build of these sources, named by version and digest. None: there are no sources."""
    try:
        content = b"".join((sources / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    except OSError:
        return None
    return (
        cache_folder(environment)
        / f"{kubernetes_version(sources)}-{hashlib.sha256(content).hexdigest()[:12]}"
    )


def kubernetes_version(sources: Path = SOURCES) -> str:
    """The version of Kubernetes that the sources require, such as ``v1.34.4``."""
    for line in (sources / "go.mod").read_text().splitlines():
        words = line.split()
        if words[:1] == ["k8s.io/kubernetes"]:
            return words[1]
    raise AssetsError(f"{sources / 'go.mod'}: no requirement k8s.io/kubernetes in it")
