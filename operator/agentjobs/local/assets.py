"""Where the binaries of the local control plane come from: ``KUBEBUILDER_ASSETS``, or an earlier build.

``KUBEBUILDER_ASSETS`` is the variable of controller-runtime's envtest: a folder with etcd, kube-apiserver and kubectl.
Where there is neither, :mod:`agentjobs.local.kubebuild` builds them from their Go modules.
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
    """The binaries cannot be had; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Assets:
    """The binaries of a control plane. ``controller_manager`` and ``kubectl`` are absent in some downloads."""

    etcd: Path
    apiserver: Path
    controller_manager: Path | None
    kubectl: Path | None
    origin: str


def find(environment: Mapping[str, str] = os.environ, sources: Path = SOURCES) -> Assets | None:
    """The folder that ``KUBEBUILDER_ASSETS`` names, else an earlier build of the same sources, else None.

    Raises :class:`AssetsError` where the variable is set and its folder lacks a binary: falling back to another
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
    """The binaries in one folder."""
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
    """``$XDG_CACHE_HOME/agentjobs/kube``."""
    home = environment.get("XDG_CACHE_HOME") or str(
        Path(environment.get("HOME") or "~").expanduser() / ".cache"
    )
    return Path(home) / "agentjobs" / "kube"


def build_folder(environment: Mapping[str, str] = os.environ, sources: Path = SOURCES) -> Path | None:
    """Where the build of exactly these sources belongs: version and a digest of what it is made of; None without sources."""
    try:
        content = b"".join((sources / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    except OSError:
        return None
    return (
        cache_folder(environment)
        / f"{kubernetes_version(sources)}-{hashlib.sha256(content).hexdigest()[:12]}"
    )


def kubernetes_version(sources: Path = SOURCES) -> str:
    """The version of Kubernetes that the sources require, as ``v1.34.4``."""
    for line in (sources / "go.mod").read_text().splitlines():
        words = line.split()
        if words[:1] == ["k8s.io/kubernetes"]:
            return words[1]
    raise AssetsError(f"{sources / 'go.mod'}: no requirement k8s.io/kubernetes in it")
