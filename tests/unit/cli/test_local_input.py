"""What `agentjobs local` makes of files and folders before anything is started."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from agentjobs.cli.errors import BadInput
from agentjobs.cli.local import agentfolder
from agentjobs.cli.local.run_request import RunRequest, from_agent, from_files
from agentjobs.cli.local.schedules import new_job
from agentjobs.cli.state_flag import state_of
from agentjobs.values.input_file import InputFile
from doc_rules import shown

HEAD = "apiVersion: agentjobs.dev/v1alpha1\nkind: AgentJob\n"
INLINE = "agent: {inline: {name: a, model: echo, instruction: i}}"
SCHEDULE = (
    "apiVersion: agentjobs.dev/v1alpha1\nkind: ScheduledAgentJob\nmetadata: {name: a}\n"
    f"spec: {{schedule: '@daily', jobTemplate: {{spec: {{{INLINE}, message: hello}}}}}}\n"
)
GOOD = f"{HEAD}metadata: {{name: a}}\nspec: {{{INLINE}, message: hello}}\n"

FROM_ELSEWHERE = (
    f"{HEAD}metadata: {{name: a}}\nspec: {{{INLINE}, messageFrom: {{configMapKeyRef: {{name: data, key: a}}}}, "
    "inputs: [{name: f.txt, secretKeyRef: {name: s, key: k}}]}\n"
)


def request(text: str) -> RunRequest:
    return from_files(["-"], io.StringIO(text))


BAD = [
    # (manifests, what the message must name)
    ("", ["no AgentJob and no ScheduledAgentJob in standard input"]),
    ("a: [", ["standard input is not YAML: ", "  in line 1, column 5"]),
    ("- a\n", ["document 1 (line 1)", "an object is wanted, not a list"]),
    ("kind: AgentJob\n", ["document 1 (line 1): apiVersion", "agentjobs.dev/v1alpha1", "got nothing"]),
    (
        GOOD + "---\nkind: ScheduledAgentJob\n",
        ["document 2 (line 6): apiVersion", "agentjobs.dev/v1alpha1", "got nothing"],
    ),
    ("kind: Pod\n", ["kind: 'Pod'", "only AgentJobs and ScheduledAgentJobs run locally"]),
    (
        GOOD + "---\n" + GOOD,
        ["document 2 (line 6): metadata.name 'a' is already the name of", "document 1 (line 1)"],
    ),
    (
        FROM_ELSEWHERE,
        [
            "document 1 (line 1): spec.messageFrom: ConfigMap data: is in none of the files",
            "what -f names",
            "; spec.inputs[0]: Secret s: ",
        ],
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\ndata: {a: 5}\n",
        ["metadata.name: is required", "data.a: wants a text, got int"],
    ),
    (f"{HEAD}spec: {{{INLINE}, message: hello}}\n", ["metadata.name: is required"]),
    (f"{HEAD}metadata: {{name: a}}\nspec: {{{INLINE}}}\n", ["spec.message: is required"]),
    (GOOD.replace("hello}", 'hello, maxAttempts: "3"}'), ["spec.maxAttempts", "a whole number", "'3'"]),
    (GOOD.replace("hello}", "hello, priority: 12}"), ["spec.priority", "at most 9", "12"]),
    (GOOD.replace("hello}", "hello, prioritty: 1}"), ["spec.prioritty", "did you mean priority?"]),
    (
        GOOD.replace("hello}", "hello, delaySeconds: 1, scheduledTime: 2026-12-01T00:00:00Z}"),
        ["scheduledTime"],
    ),
    (GOOD.replace("hello}", "hello, suspend: true}"), ["spec.suspend", "never end here"]),
    (GOOD.replace("hello}", "hello, cancel: true}"), ["spec.cancel", "never end here"]),
    (SCHEDULE.replace("@daily", "0 25 * * *"), ["spec.schedule", "'25' is not a number from 0 to 23"]),
    (SCHEDULE.replace("'@daily'", "'@daily', timeZone: Mars/Phobos"), ["spec.timeZone", "Mars/Phobos"]),
    (SCHEDULE.replace("'@daily'", "'@daily', timeZone: localtime"), ["spec.timeZone", "localtime"]),
    (SCHEDULE.replace("'@daily'", "'@daily', suspend: true"), ["spec.suspend", "never fire here"]),
    (SCHEDULE + "---\n" + SCHEDULE, ["metadata.name 'a' is already the name of"]),
    (GOOD.replace("inline:", "module: x.y, inline:"), ["spec.agent", "exactly one of"]),
]


@pytest.mark.parametrize(("text", "named"), BAD, ids=[named[0] for _, named in BAD])
def test_bad_manifests_name_document_field_and_remedy(text: str, named: list[str]) -> None:
    with pytest.raises(BadInput) as problem:
        request(text)
    for part in named:
        assert part in str(problem.value)


def test_a_problem_is_told_as_the_page_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = "apiVersion: agentjobs.dev/v1alpha1\nkind: AgentJob\nmetadata:\n  name: a\nspec:\n"
    agent = "  agent:\n    inline: {name: a, model: echo, instruction: i}\n"
    (tmp_path / "broken.yaml").write_text(
        f"{first}{agent}  message: Hello\n---\n{first}{agent}".replace("name: a\nspec", "name: b\nspec", 1)
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as problem:
        from_files(["broken.yaml"], io.StringIO())
    assert f"agentjobs: {problem.value}" == shown(
        "docs/local.md", "agentjobs: broken.yaml, document 2 (line 10): spec.message: is required"
    )


def test_all_problems_of_all_documents_are_told_at_once() -> None:
    with pytest.raises(BadInput) as problem:
        request("kind: Pod\n---\n" + GOOD + "---\nkind: Service\n")
    assert str(problem.value).count("\n") == 1


def test_a_file_that_is_no_yaml_hides_no_problem_of_the_others(tmp_path: Path) -> None:
    texts = {"a": "kind: Pod\n", "b": GOOD + "---\na: [", "c": "\udcff", "d": "kind: Service\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_bytes(text.encode(errors="surrogateescape"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput) as problem:
        from_files([str(tmp_path), "/nowhere.yaml", str(empty)], io.StringIO())
    told = [line for line in str(problem.value).splitlines() if line.startswith((str(tmp_path), "-f"))]
    for line, part in zip(
        told,
        (
            "'Pod'",
            "b.yaml is not YAML",
            "c.yaml' cannot be read",
            "'Service'",
            "'/nowhere.yaml'",
            "without manifests",
        ),
        strict=True,
    ):
        assert part in line


@pytest.mark.parametrize("name", ["job.yaml", "examples/job.yml", "a.json", "https://example.com/job.yaml"])
def test_a_manifest_in_the_agents_place_suggests_the_flag(name: str) -> None:
    with pytest.raises(BadInput, match=f"agentjobs local -f {name}"):
        from_agent(name, "Hello", attempts=1, stdin=io.StringIO())


def test_a_folder_of_manifests_in_the_agents_place_suggests_the_flag(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(GOOD)
    with pytest.raises(BadInput, match=f"agentjobs local -f {tmp_path}"):
        from_agent(str(tmp_path), "Hello", attempts=1, stdin=io.StringIO())


def test_a_generated_name_is_made_here() -> None:
    first, second = (request(GOOD.replace("name: a}", "generateName: poem-}")).jobs[0] for _ in range(2))
    assert first.metadata.name.startswith("poem-")
    assert first.metadata.name != second.metadata.name


def test_a_null_is_an_absent_field_as_on_the_api_server() -> None:
    assert request(GOOD.replace("hello}", "hello, queue: null}")).jobs[0].spec.queue == "agents"


def test_a_schedule_may_have_the_name_of_a_job_and_says_what_its_jobs_need() -> None:
    asked = request(GOOD + "---\n" + SCHEDULE.replace("model: echo", "model: other"))
    assert [job.metadata.name for job in asked.jobs] == ["a"]
    assert [schedule.metadata.name for schedule in asked.schedules] == ["a"]
    assert asked.queues == ("agents", "scheduled")
    assert asked.models == ("echo", "other")


def test_the_items_of_a_list_are_jobs() -> None:
    item = GOOD.replace("\n", "\n  ").strip()
    assert [j.metadata.name for j in request(f"kind: List\nitems:\n- {item}\n").jobs] == ["a"]


def test_a_folder_stands_for_its_manifests(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(GOOD.replace("name: a}", "name: b}"))
    (tmp_path / "a.yml").write_text(GOOD)
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [j.metadata.name for j in from_files([str(tmp_path)], io.StringIO()).jobs] == ["a", "b"]


def test_an_unreadable_file_is_named() -> None:
    with pytest.raises(BadInput, match=r"-f '/nowhere\.yaml' cannot be read: No such file"):
        from_files(["/nowhere.yaml"], io.StringIO())


def test_a_manifest_brings_its_folder_its_module_and_its_model(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        GOOD
        + "---\n"
        + GOOD.replace("name: a}", "name: b}").replace(INLINE, "agent: {module: 'pkg.mod:made'}")
    )
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / ".env").write_text("KEY=1")
    found = from_files([str(tmp_path / "job.yaml")], io.StringIO())
    assert (found.path, found.modules, found.models) == ((tmp_path,), ("pkg",), ("echo",))
    assert tmp_path / "pkg" / ".env" in found.env_files


def test_an_agents_package_that_is_nowhere_is_told_before_anything_starts(tmp_path: Path) -> None:
    job = GOOD.replace(INLINE, "agent: {module: 'no_such.weather'}")
    (tmp_path / "a.yaml").write_text(job + "---\n" + job.replace("name: a}", "name: b}"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.yaml").write_text(job.replace("name: a}", "name: c}"))
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "below" / "b.yaml")]
    with pytest.raises(BadInput) as problem:
        from_files(files, io.StringIO())
    lines = str(problem.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"{files[0]}, document 1 (line 1)",
        f"{files[0]}, document 2 (line 6)",
        f"{files[1]}, document 1 (line 1)",
    ]
    assert all(
        f"'no_such.weather': there is no 'no_such' in {tmp_path}, {tmp_path / 'below'}," in x for x in lines
    )
    (tmp_path / "below" / "no_such.py").touch()  # found through any manifest's folder, as its worker will
    assert from_files(files, io.StringIO()).modules == ("no_such",)


def test_a_delay_counts_from_the_start_of_the_run() -> None:
    job = new_job(request(GOOD.replace("hello}", "hello, delaySeconds: 5}")).jobs[0])
    assert job.run_at is not None
    assert job.created_at is not None
    assert (job.run_at - job.created_at).total_seconds() == 5
    assert job.ref is None


def agent_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "my_agent").mkdir()
    (folder / "my_agent" / "agent.py").write_text("root_agent = None")
    (folder / "my_agent" / ".env").write_text("GOOGLE_API_KEY=abc\n")
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("typed", ["my_agent", "my_agent/", "./my_agent"])
def test_an_agents_folder_is_found_with_its_env(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_here(tmp_path, monkeypatch)
    found = from_agent(typed, "Hello", attempts=1, stdin=io.StringIO())
    assert (found.modules, found.path, found.bare) == (("my_agent",), (tmp_path,), True)
    assert agentfolder.read_env(found.env_files)[0]["GOOGLE_API_KEY"] == "abc"
    [job] = found.jobs
    assert (job.spec.message, job.spec.max_attempts, job.metadata.name) == ("Hello", 1, "my-agent")


def test_an_agent_begins_with_the_state_of_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_here(tmp_path, monkeypatch)
    state = state_of(["city=Rome", "user=Ada", 'order={"id": 17}'])
    found = from_agent("my_agent", "Hello", attempts=1, stdin=io.StringIO(), state=state)
    assert found.jobs[0].spec.state == {"city": "Rome", "user": "Ada", "order": {"id": 17}}
    with pytest.raises(BadInput, match=r"spec\.state: key 'temp:a' begins with temp:"):
        from_agent("my_agent", "Hello", attempts=1, stdin=io.StringIO(), state={"temp:a": 1})


def test_an_agent_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_here(tmp_path, monkeypatch)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    found = from_agent("../my_agent", "-", attempts=1, stdin=io.StringIO("from a pipe"))
    assert found.path == (tmp_path, tmp_path / "below")
    assert found.jobs[0].spec.message == "from a pipe"


BAD_AGENTS = [
    (
        "nowhere",
        "Hello",
        "Agent folders here: my-agent, my_agent, yaml, yaml_only, yaml_package. Make one with: adk create nowhere",
    ),
    ("no/where", "Hello", "there is no such folder, and it is no module either"),
    ("empty", "Hello", "has no agent.py, no __init__.py and no root_agent.yaml"),
    ("yaml_only", "Hello", "agent.module: yaml_only/root_agent.yaml: it is empty"),
    ("yaml_package", "Hello", "agent.module: yaml_package/root_agent.yaml: it is empty"),
    (
        "yaml_only/root_agent.yaml",
        "Hello",
        "is the file of an agent. Name its folder: agentjobs local yaml_only",
    ),
    ("yaml", "Hello", "yaml/__init__.py by the name 'yaml', since the folder has no __init__.py"),
    ("my-agent", "Hello", "'my-agent' is not a Python name"),
    ("nothing.py", "Hello", "there is no such file"),
    ("my_agent", "  ", "MESSAGE is empty"),
    ("my_agent", "x" * 70_000, "spec.message: wants at most 65536"),
]


@pytest.mark.parametrize(("agent", "message", "told"), BAD_AGENTS, ids=[t for _, _, t in BAD_AGENTS])
def test_a_bad_agent_is_told_before_anything_starts(
    agent: str, message: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_here(tmp_path, monkeypatch)
    (tmp_path / "empty").mkdir()
    for name in ("yaml_only", "yaml_package", "yaml"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "root_agent.yaml").touch()
    (tmp_path / "yaml_package" / "__init__.py").write_text(
        '"""An agent."""\nimport os\nfrom . import tools\nLIMIT = 3\n'
    )
    (tmp_path / "my-agent").mkdir()
    (tmp_path / "my-agent" / "agent.py").touch()
    with pytest.raises(BadInput) as problem:
        from_agent(agent, message, attempts=1, stdin=io.StringIO())
    assert told in str(problem.value)


def test_a_package_that_names_an_agent_beside_its_yaml_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_here(tmp_path, monkeypatch)
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "root_agent.yaml").touch()
    (tmp_path / "both" / "__init__.py").write_text("from my_agent.agent import root_agent\n")
    assert agentfolder.locate("both", tmp_path) == ("both", tmp_path)


def test_a_yaml_agents_folder_and_a_manifest_of_it_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_here(tmp_path, monkeypatch)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "root_agent.yaml").write_text(
        "name: a\nmodel: m\ninstruction: i\ntools: [{name: beside.tool}]\n"
    )
    (tmp_path / "shop" / ".env").write_text("KEY=1\n")
    by_folder = from_agent("shop", "Hello", attempts=1, stdin=io.StringIO())
    by_manifest = request(GOOD.replace(INLINE, "agent: {module: shop}"))
    for found in (by_folder, by_manifest):
        assert (found.modules, found.env_files) == (("shop",), (tmp_path / "shop" / ".env",))


def test_each_yaml_agent_of_a_manifest_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "team" / "shop").mkdir(parents=True)
    (tmp_path / "team" / "shop" / "root_agent.yaml").write_text("tools:\n- name: os.system\n")
    with pytest.raises(
        BadInput, match=r"shop/root_agent\.yaml: tools\[0\]\.name: 'os\.system' is of Python's standard"
    ):
        request(GOOD.replace(INLINE, "agent: {module: team.shop}"))


def test_an_agents_file_is_told_from_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "root_agent.yaml").write_text("name: a\n")
    for typed in (tmp_path, tmp_path / "root_agent.yaml"):
        with pytest.raises(BadInput, match=r"is an agent's file and no manifest\. Run its folder with"):
            from_files([str(typed)], io.StringIO())


def test_two_env_files_that_disagree_are_told_and_the_first_one_counts(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"KEY={name}\nONLY_{name.upper()}=1\n")
    found, warnings = agentfolder.read_env([tmp_path / "a", tmp_path / "b"])
    assert found == {"KEY": "a", "ONLY_A": "1", "ONLY_B": "1"}
    [warning] = warnings
    assert "KEY differs" in warning


def test_a_job_gets_what_it_names_from_the_documents_beside_it() -> None:
    found = request(
        FROM_ELSEWHERE
        + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: data}\ndata: {a: Look.}\n"
        + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: text}\n"
    )
    payload = new_job(found.jobs[0], sources=found.sources).payload
    assert payload["message"] == "Look."
    assert [InputFile.from_json(one) for one in payload["inputs"]] == [
        InputFile("f.txt", "text/plain", b"text")
    ]


def test_an_agent_gets_the_files_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.py").write_text("root_agent = None")
    table = tmp_path / "data.csv"
    table.write_bytes(b"x,y")
    found = from_agent("agent", "Look.", attempts=1, stdin=io.StringIO(), inputs=[table])
    payload = new_job(found.jobs[0], sources=found.sources).payload
    assert [InputFile.from_json(one) for one in payload["inputs"]] == [
        InputFile("data.csv", "text/csv", b"x,y")
    ]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"no such.csv": None}, "--input no such.csv: the name 'no such.csv' wants letters"),
        ({"none.csv": None}, "--input none.csv: cannot be read: No such file"),
        ({"a/b.csv": b"", "b.csv": b""}, "--input b.csv: there is another file b.csv"),
        ({"big.bin": bytes(800_000)}, "spec.inputs: wants at most 716800 bytes together, got 800000"),
    ],
)
def test_a_file_that_cannot_be_given_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes | None], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.py").write_text("root_agent = None")
    for name, data in files.items():
        if data is not None:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput) as problem:
        from_agent("agent", "Look.", attempts=1, stdin=io.StringIO(), inputs=[Path(name) for name in files])
    assert says in str(problem.value)
