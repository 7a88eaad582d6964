"""What `make release` builds: the same bytes for the same commit, whole, and enough to run an agent with."""

from __future__ import annotations

import email
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from release_builds import NO_HELM, built, checkout, git, outside, release

INSTALL_SECONDS = 900
"""For a whole installation from an index on a busy machine; a quiet one with pip's cache needs 1 to 3 minutes."""
MANIFEST = """
apiVersion: agentjobs.dev/v1alpha1
kind: AgentJob
metadata: {name: greeter}
spec:
  agent: {inline: {type: llm, name: greeter, model: echo, instruction: Greet the user.}}
  message: Good morning from a wheel.
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean checkout; who changes it takes a clone."""
    return checkout(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def dist(sources: Path) -> Path:
    """A release of it."""
    return built(sources)


@pytest.fixture
def clone(sources: Path, tmp_path: Path) -> Path:
    """Another checkout of the same commit."""
    git(tmp_path, "clone", "--quiet", str(sources), "clone")
    return tmp_path / "clone"


def wheel_of(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


def test_the_same_commit_gives_the_same_bytes_wherever_and_by_whomever_it_is_built(
    dist: Path, clone: Path
) -> None:
    (clone / "operator/agentjobs/__pycache__").mkdir()
    (clone / "operator/agentjobs/__pycache__/left.cpython-311.pyc").write_text("ignored by git")
    again = built(clone, umask=0o077, TZ="Pacific/Auckland")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in dist.iterdir()
    }


def test_the_checksums_are_those_of_all_files(dist: Path) -> None:
    listed = dict(line.split("  ")[::-1] for line in (dist / "SHA256SUMS").read_text().splitlines())
    assert listed == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dist.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert {"agentjobs-0.1.0-py3-none-any.whl", "agentjobs-0.1.0.tar.gz"} <= listed.keys()


def test_the_wheel_has_the_whole_package_and_nothing_else(dist: Path, sources: Path) -> None:
    package = git(sources, "ls-files", "operator/agentjobs").split()
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {name.removeprefix("operator/") for name in package}
    assert "agentjobs/py.typed" in names
    for kind in ("queue/sql/functions/", "queue/sql/schema/", "web/ui/static/", "web/ui/templates/"):
        assert any(name.startswith(f"agentjobs/{kind}") for name in names), kind


def test_the_sdist_builds_the_same_wheel(dist: Path, tmp_path: Path, sources: Path) -> None:
    epoch = git(sources, "log", "-1", "--format=%ct").strip()
    (sdist,) = dist.glob("*.tar.gz")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(sdist),
    ]
    subprocess.run(pip, cwd=tmp_path, env={**outside(), "SOURCE_DATE_EPOCH": epoch}, check=True, timeout=120)
    assert wheel_of(tmp_path).read_bytes() == wheel_of(dist).read_bytes()


def test_the_sbom_names_the_wheel_and_what_each_extra_for_users_installs(dist: Path) -> None:
    (path,) = dist.glob("*.sbom.json")
    sbom = json.loads(path.read_text())
    (digest,) = sbom["metadata"]["component"]["hashes"]
    assert digest["content"] == hashlib.sha256(wheel_of(dist).read_bytes()).hexdigest()
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        told = email.message_from_bytes(wheel.read(metadata))
    asked = [Requirement(line) for line in told.get_all("Requires-Dist", [])]
    needed = {each.name for each in asked if "extra == 'dev'" not in str(each.marker).replace('"', "'")}
    named = {component["name"] for component in sbom["components"]}
    assert needed - {"agentjobs"} <= named
    assert "pytest" not in named


def test_a_release_without_helm_says_so_and_prints_how_to_publish_the_rest(clone: Path) -> None:
    done = release(clone, HELM_BIN=NO_HELM)
    assert done.returncode == 0, done.stderr
    assert "LEFT OUT: the chart: no `helm` on PATH" in done.stdout
    assert "LEFT OUT: the images: IMAGES=0" in done.stdout
    assert "nothing was published" in done.stdout
    assert "twine upload dist/agentjobs-0.1.0-py3-none-any.whl" in done.stdout
    assert "helm push" not in done.stdout


def test_changes_that_are_not_committed_are_refused_unless_they_are_asked_for(clone: Path) -> None:
    (clone / "operator/agentjobs/forgotten.py").write_text("")
    refused = release(clone)
    assert (refused.returncode, "DIRTY=1" in refused.stderr) == (1, True)
    assert "operator/agentjobs/forgotten.py" in refused.stderr
    assert not (clone / "dist").exists()
    allowed = release(clone, DIRTY="1", HELM_BIN=NO_HELM)
    assert "NOT TO BE PUBLISHED" in allowed.stdout
    with zipfile.ZipFile(wheel_of(clone / "dist")) as wheel:
        assert "agentjobs/forgotten.py" in wheel.namelist()


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("charts/agentjobs/Chart.yaml", "\nversion: ", "\nversion: 9", 'Chart.yaml, version, says "9'),
        (
            "charts/agentjobs/Chart.yaml",
            "\nappVersion: ",
            "\nappVersion: 9",
            'Chart.yaml, appVersion, says "9',
        ),
        ("operator/agentjobs/__init__.py", '__version__ = "', '__version__ = "9', '__version__, says "9'),
        ("pyproject.toml", '\nversion = "', '\nversion = "1.0rc', "needs MAJOR.MINOR.PATCH"),
    ],
)
def test_a_version_that_differs_is_refused_by_its_file(
    clone: Path, file: str, old: str, new: str, said: str
) -> None:
    text = (clone / file).read_text()
    (clone / file).write_text(text.replace(old, new, 1))
    done = release(clone, DIRTY="1")
    assert done.returncode == 1
    assert said in done.stderr


def test_a_folder_that_holds_something_else_is_not_overwritten(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    done = release(clone, OUT=str(tmp_path / "mine"))
    assert (done.returncode, "is not empty" in done.stderr) == (1, True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may read: Postgres, started by root, runs as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.timeout(INSTALL_SECONDS + 180)
def test_the_wheel_in_an_empty_environment_runs_an_agent(dist: Path, open_folder: Path) -> None:
    tmp_path = open_folder
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
    pip: list[str | Path] = [
        environment / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    installed = subprocess.run(
        [*pip, f"{wheel_of(dist)}[local]"],
        cwd=tmp_path,
        env=outside(),
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    assert installed.returncode == 0, installed.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "greeter.yaml").write_text(MANIFEST)
    ran = subprocess.run(
        [environment / "bin/agentjobs", "local", "-f", "greeter.yaml"],
        cwd=elsewhere,
        env={**outside(), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Good morning from a wheel." in ran.stdout
