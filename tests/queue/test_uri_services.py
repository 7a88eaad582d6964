"""Services by URI as they are made: at a worker's start, and of schemes that services.yaml and services.py add (invariant 12)."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.adk.artifacts import InMemoryArtifactService
from google.adk.cli.service_registry import get_service_registry

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.sessions.uri_services import ARTIFACTS, MEMORY, ServiceInvalid, made, shown_uri
from agentjobs.cli.errors import BadInput
from agentjobs.cli.services import check_services, services_folder, with_services
from local_runs import run

OWN = """
from google.adk.artifacts import InMemoryArtifactService
from google.adk.memory import InMemoryMemoryService

ASKED = []

class Mine(InMemoryArtifactService):
    def __init__(self, uri, agents_dir):
        super().__init__()
        ASKED.append((uri, agents_dir))

class MyMemory(InMemoryMemoryService):
    def __init__(self, uri, **_):
        super().__init__()

class NoService:
    def __init__(self, **_):
        pass

from subprocess import Popen
"""
YAML = """
services:
  - {scheme: mine, type: artifact, class: shop.kept.Mine}
  - {scheme: mine, type: memory, class: shop.kept.MyMemory}
  - {scheme: mine, type: session, class: nowhere.at.all.Sessions}
  - {scheme: other, type: artifact, class: nowhere.at.all.Other}
"""

Agents = Callable[..., AgentSettings]


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agents]:
    """Writes a package ``shop`` with services beside it, and gives the settings of its pool."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = get_service_registry()
    before = {kind.noun: dict(kind.factories(registry)) for kind in (ARTIFACTS, MEMORY)}
    modules = set(sys.modules)

    def write(
        uri: str, yaml: str = YAML, *, modules: tuple[str, ...] = ("shop",), **more: Any
    ) -> AgentSettings:
        (tmp_path / "shop").mkdir(exist_ok=True)
        (tmp_path / "shop" / "__init__.py").touch()
        (tmp_path / "shop" / "kept.py").write_text(OWN)
        (tmp_path / "services.yaml").write_text(yaml)
        return with_services(AgentSettings(modules=modules, **more), [tmp_path], uri, None)

    yield write
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("shop", "services", "my_agents"):
            del sys.modules[name]
    for kind in (ARTIFACTS, MEMORY):
        kind.factories(registry).clear()
        kind.factories(registry).update(before[kind.noun])


# services.yaml and services.py ---------------------------------------------------------------------------------


def test_a_scheme_of_services_yaml_is_made_as_adk_makes_it(agents: Agents, tmp_path: Path) -> None:
    service = made(ARTIFACTS, agents("mine://place/x"))
    assert isinstance(service, InMemoryArtifactService)
    assert [("mine://place/x", str(tmp_path))] == sys.modules["shop.kept"].ASKED
    both = replace(agents("mine://x"), memory_service_uri="mine://x")
    assert type(made(MEMORY, both)).__name__ == "MyMemory"


def test_invariant_12_a_class_of_a_module_that_the_pool_does_not_allow_is_not_imported(
    agents: Agents,
) -> None:
    settings = agents("mine://x", modules=("other",))
    with pytest.raises(
        ServiceInvalid, match=r"does not allow module 'shop\.kept'; it allows: other.*pools\.default\.modules"
    ):
        made(ARTIFACTS, settings)
    assert "shop" not in sys.modules
    assert made(ARTIFACTS, replace(settings, local=True)), "a developer's own code"


def test_the_pages_file_names_a_class_that_is_made(agents: Agents, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    shown = "# /agents/services.yaml" + page.partition("# /agents/services.yaml")[2].partition("```")[0]
    settings = agents("s3://bucket", shown, modules=("my_agents",))
    (tmp_path / "my_agents").mkdir()
    (tmp_path / "my_agents" / "kept.py").write_text(OWN.replace("class Mine", "class S3Artifacts"))
    assert type(made(ARTIFACTS, settings)).__name__ == "S3Artifacts"


ARTIFACT = "services: [{{scheme: mine, type: artifact, class: {}}}]"
WRONG = {
    "subprocess.Popen": "Python's standard library",
    "shop.kept.Popen": "is of the module 'subprocess', which shop.kept only imports",
    "shop.kept.NoService": "makes a NoService, which is no BaseArtifactService",
    "shop.kept.Absent": "shop.kept has no class 'Absent'",
    "shop.kept.__name__": "has no class '__name__'",
    "shop.absent.Mine": "there is no module 'shop.absent'",
    "Mine": "it has no module",
}


@pytest.mark.parametrize("path", WRONG)
def test_a_class_that_is_none_is_refused_with_file_and_remedy(agents: Agents, path: str) -> None:
    with pytest.raises(ServiceInvalid, match=WRONG[path]):
        made(ARTIFACTS, agents("mine://x", ARTIFACT.format(path)))


@pytest.mark.parametrize(
    "text", ["[1", "services: 1", "- x", "services: [{scheme: mine, type: artifact}]", "a: \xff"]
)
def test_a_file_that_is_none_is_refused(agents: Agents, text: str, tmp_path: Path) -> None:
    settings = agents("mine://x", "")
    (tmp_path / "services.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ServiceInvalid, match=r"services\.yaml: "):
        made(ARTIFACTS, settings)


@pytest.mark.parametrize("text", ["", "# nothing", "other: 1"])
def test_a_file_without_services_adds_none(agents: Agents, text: str) -> None:
    with pytest.raises(ServiceInvalid, match="no artifact service has the scheme 'mine'"):
        made(ARTIFACTS, agents("mine://x", text))


PYTHON = """
from google.adk.cli.service_registry import get_service_registry
from shop.kept import Mine
get_service_registry().register_artifact_service("py", lambda uri, **more: Mine(uri, **more))
"""


def test_services_py_registers_schemes_once_its_module_is_allowed(agents: Agents, tmp_path: Path) -> None:
    settings = agents("py://x")
    (tmp_path / "services.py").write_text(PYTHON)
    with pytest.raises(
        ServiceInvalid, match=r"services\.py: worker pool 'default' does not allow module 'services'"
    ):
        made(ARTIFACTS, settings)
    assert type(made(ARTIFACTS, replace(settings, modules=("shop", "services")))).__name__ == "Mine"


def test_the_file_is_looked_for_where_adks_tools_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "image" / "shop"
    inner.mkdir(parents=True)
    (inner / "__init__.py").touch()
    (inner / "agent.py").touch()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.syspath_prepend(str(inner.parent))
    assert services_folder([other], ["shop.agent", "absent"]) is None
    for folder in (inner, inner.parent, other):  # the package's own, the one that holds it, one of the path
        (folder / "services.yaml").touch()
        assert services_folder([other], ["shop.agent", "absent"]) == str(folder)


# at the start --------------------------------------------------------------------------------------------------

REFUSED = {
    "s3://b": "no artifact service has the scheme 's3'. Known: file://, gs://, memory://",
    "/srv/files": "it has no scheme",
    "file://host/x": "must reference the local filesystem",
    "file://": "must include a path",
    "file:///proc/none": "the service cannot be made",
}


@pytest.mark.parametrize("uri", REFUSED)
def test_a_uri_that_leads_nowhere_is_refused_in_a_line_with_value_known_schemes_and_remedy(uri: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_services(AgentSettings(artifact_service_uri=uri), [])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(
        f"pools.default.artifactServiceUri of the chart, or AGENTJOBS_ARTIFACT_SERVICE_URI: {uri!r}: "
    )
    assert REFUSED[uri] in line


def test_each_wrong_service_has_a_line_and_a_custom_scheme_is_known(agents: Agents, tmp_path: Path) -> None:
    settings = replace(agents("mime://user:geheim@place/?key=geheim"), memory_service_uri="s3://b")
    with pytest.raises(BadInput) as caught:
        check_services(settings, [tmp_path])
    artifacts, memory = str(caught.value).splitlines()
    assert "geheim" not in artifacts
    assert "'mime://place/?key=[hidden]'" in artifacts
    assert "Known: file://, gs://, memory://, mine://, other://" in artifacts
    assert "Known: agentengine://, memory://, mine://, rag://, sqlite://" in memory
    check_services(replace(settings, artifact_service_uri="mine://x", memory_service_uri=None), [tmp_path])


def test_a_missing_client_library_is_named_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    with pytest.raises(
        ServiceInvalid, match=r"needs the package google-cloud-storage.*pip install 'agentjobs\[gcs\]'"
    ):
        made(ARTIFACTS, AgentSettings(artifact_service_uri="gs://b"))
    with pytest.raises(ServiceInvalid, match=r"pip install.*gcp"):
        made(
            MEMORY,
            AgentSettings(memory_service_uri="agentengine://projects/p/locations/l/reasoningEngines/1"),
        )


def test_a_pool_without_uris_starts_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started"))
    check_services(with_services(AgentSettings(), ["/"], None, ""), [])


def test_a_worker_with_a_wrong_uri_does_not_start(dsn: str, tmp_path: Path) -> None:
    # without what a run of tests has in its environment, of which a line of the worker's would tell
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTJOBS_")}
    done = subprocess.run(
        [sys.executable, "-m", "agentjobs.cli", "worker"],
        env=environment | {"AGENTJOBS_DATABASE_URL": dsn, "AGENTJOBS_ARTIFACT_SERVICE_URI": "s3://b"},
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "AGENTJOBS_ARTIFACT_SERVICE_URI: 's3://b': no artifact service has the scheme 's3'" in line


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("gs://bucket", "gs://bucket"),
        ("memory://", "memory://"),
        ("file:///a b", "file:///a b"),
        ("box:///folder/kept", "box:///folder/kept"),
        ("box:/folder?key=k", "box:/folder?key=[hidden]"),
        ("redis://u:p@h:1/0?password=p&x=", "redis://h:1/0?password=[hidden]&x=[hidden]"),
        ("x://[", "[hidden]"),
    ],
)
def test_a_uri_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert shown_uri(uri) == shown


# on a developer's machine ---------------------------------------------------------------------------------------

AGENT = """
from google.adk.agents import LlmAgent
from google.genai import types

async def write(tool_context):
    await tool_context.save_artifact("report.txt", types.Part(text="All is well."))
    return "written"

root_agent = LlmAgent(name="saver", model="echo", tools=[write])
"""


@pytest.fixture
def saver(tmp_path: Path) -> Path:
    (tmp_path / "saver").mkdir()
    (tmp_path / "saver" / "agent.py").write_text(textwrap.dedent(AGENT))
    (tmp_path / "saver" / "__init__.py").write_text("from . import agent\n")
    (tmp_path / "tmp").mkdir()
    return tmp_path


@pytest.mark.parametrize("flag", ["--artifact_service_uri", "--artifact-service-uri"])
def test_a_local_run_keeps_files_where_adks_flag_says(saver: Path, flag: str) -> None:
    uri = (saver / "kept").as_uri()
    status, answer, told = run(
        "saver", "echo:call write {}", f"{flag}={uri}", "--save", "out", cwd=saver, temporary=saver / "tmp"
    )
    assert status == 0, told
    assert "written" in answer
    assert f"Not copied: report.txt is kept at {uri}" in told
    kept = list((saver / "kept" / "apps" / "default" / "agentjobs").rglob("report.txt/versions/0/report.txt"))
    assert [file.read_text() for file in kept] == ["All is well."]


def test_a_local_run_refuses_a_scheme_that_nobody_knows_before_it_starts_anything(saver: Path) -> None:
    status, _, told = run(
        "saver", "x", "--memory_service_uri", "mine://x", cwd=saver, temporary=saver / "tmp"
    )
    assert status == 2
    assert "--memory_service_uri: 'mine://x': no memory service has the scheme 'mine'" in told
