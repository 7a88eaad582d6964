"""Where the control plane's binaries come from, and what is said where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentjobs.local import assets, kubebuild
from agentjobs.local.assets import AssetsError
from agentjobs.local.kubebuild import Go, why_not

GO_MOD = (
    "module x\n\ngo 1.24.0\n\nrequire (\n\tk8s.io/component-base v0.34.4\n\tk8s.io/kubernetes v1.34.4\n)\n"
)


def programs(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in (("go.mod", GO_MOD), ("go.sum", ""), ("main.go", "package main\n")):
        (folder / name).write_text(text)
    return folder


def test_a_named_folder_goes_before_an_earlier_build(tmp_path: Path, sources: Path) -> None:
    named = programs(tmp_path / "named", "etcd", "kube-apiserver", "kubectl")
    environment = {"HOME": str(tmp_path), assets.VARIABLE: str(named)}
    built = assets.build_folder(environment, sources)
    assert built is not None
    programs(built, *assets.COMPONENTS)
    found = assets.find(environment, sources)
    assert found is not None
    assert (found.apiserver, found.controller_manager) == (named / "kube-apiserver", None)


def test_a_named_folder_without_a_binary_is_an_error_and_not_passed_over(
    tmp_path: Path, sources: Path
) -> None:
    named = programs(tmp_path / "named", "kube-apiserver")
    with pytest.raises(AssetsError, match=rf"{assets.VARIABLE}={named}: no executable etcd there.*unset it"):
        assets.find({"HOME": str(tmp_path), assets.VARIABLE: str(named)}, sources)


def test_an_earlier_build_counts_only_for_exactly_these_sources(tmp_path: Path, sources: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    assert assets.find(environment, sources) is None
    built = assets.build_folder(environment, sources)
    assert built is not None
    assert built.parent == tmp_path / ".cache" / "agentjobs" / "kube"
    assert built.name.startswith("v1.34.4-")
    programs(built, *assets.COMPONENTS)
    found = assets.find(environment, sources)
    assert found is not None
    assert found.controller_manager == built / "kube-controller-manager"
    (sources / "main.go").write_text("package main // another one\n")
    assert assets.find(environment, sources) is None


def test_the_cache_folder_follows_xdg(tmp_path: Path) -> None:
    assert assets.cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "agentjobs" / "kube"


@pytest.mark.parametrize(
    ("go", "expected"),
    [
        (None, "no `go` on PATH; install Go 1.24 or newer"),
        (
            Go(Path("/usr/bin/go"), (1, 19), False),
            "/usr/bin/go is Go 1.19, and the build wants Go 1.24 or newer",
        ),
        (Go(Path("/usr/bin/go"), (1, 19), True), "is Go 1.19"),
        (Go(Path("/usr/bin/go"), (1, 23), False), "is Go 1.23"),
        (Go(Path("/usr/bin/go"), (0, 0), False), "is Go 0.0"),
        (Go(Path("/usr/bin/go"), (1, 21), True), None),
        (Go(Path("/usr/bin/go"), (1, 24), False), None),
        (Go(Path("/usr/bin/go"), (1, 26), False), None),
    ],
)
def test_what_is_wrong_with_a_go_is_said_with_the_remedy(go: Go | None, expected: str | None) -> None:
    reason = why_not(go, (1, 24))
    if expected is None:
        assert reason is None
    else:
        assert reason is not None
        assert expected in reason
        assert assets.VARIABLE in reason


def test_without_go_the_build_says_so_at_once(tmp_path: Path, sources: Path) -> None:
    lines: list[str] = []
    with pytest.raises(AssetsError, match=r"cannot be built: no `go` on PATH"):
        kubebuild.build(lines.append, {"HOME": str(tmp_path), "PATH": str(tmp_path)}, sources)
    assert lines == []


def test_without_sources_the_build_says_where_they_come_from(tmp_path: Path) -> None:
    reason = kubebuild.obstacle({"HOME": str(tmp_path), "PATH": ""}, tmp_path / "nowhere")
    assert reason is not None
    assert f"no sources of a control plane in {tmp_path / 'nowhere'}" in reason


def fake_go(folder: Path, build: str) -> str:
    """A `go` that answers as Go does: version and toolchain, the packages, and a build that ends as asked."""
    folder.mkdir()
    (folder / "go").write_text(
        "#!/bin/sh\ncase $1 in\n"
        "env) printf 'go1.25.1\\nauto\\n';;\n"
        "list) echo fmt; echo os; echo 'go: downloading k8s.io/kubernetes' >&2;;\n"
        f"build) {build};;\nesac\n"
    )
    (folder / "go").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_a_build_lands_whole_in_the_cache_and_is_made_once(tmp_path: Path, sources: Path) -> None:
    # the fake's arguments are: build -v -trimpath -ldflags=… -o FILE .
    path = fake_go(tmp_path / "go", 'echo k8s.io/x >&2; printf "#!/bin/sh\\n" > "$6"; chmod +x "$6"')
    environment, lines = {"HOME": str(tmp_path), "PATH": path}, list[str]()
    built = kubebuild.build(lines.append, environment, sources)
    assert built.kubectl is not None
    assert {file.resolve().name for file in (built.etcd, built.apiserver, built.kubectl)} == {"kube"}
    assert lines[0].endswith("once; about 8 minutes on 2 cores")
    again: list[str] = []
    assert kubebuild.build(again.append, environment, sources) == built
    assert again == []


def test_a_failed_build_shows_gos_words_and_leaves_nothing_behind(tmp_path: Path, sources: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "PATH": fake_go(tmp_path / "go", "echo main.go:7: oh no >&2; exit 3"),
    }
    with pytest.raises(AssetsError, match=r"ended with status 3; the end of its output:\n  main.go:7: oh no"):
        kubebuild.build(lambda line: None, environment, sources)
    assert assets.find(environment, sources) is None
    assert [file.name for file in assets.cache_folder(environment).iterdir()] == [".lock"]


def test_the_binary_is_told_its_version() -> None:
    flags = list(kubebuild.linker_flags("v1.34.4"))
    assert flags[:2] == ["-s", "-w"]
    assert "k8s.io/component-base/version.gitVersion=v1.34.4" in flags
    assert "k8s.io/client-go/pkg/version.gitMinor=34" in flags


def test_the_sources_of_this_checkout_can_be_keyed_and_want_a_known_go() -> None:
    assert assets.build_folder({"HOME": "/nowhere"}) is not None
    assert assets.kubernetes_version().startswith("v1.")
    assert kubebuild.wanted_go(assets.SOURCES) >= (1, 24)
