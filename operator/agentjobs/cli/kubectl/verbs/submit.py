"""``submit`` and ``run``: creating AgentJobs, and waiting for them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from agentjobs.api.names import ACT
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.acts import Author, annotation
from agentjobs.cli.kubectl.apiserver import FIELD_MANAGER, JOBS, SCHEDULES, ApiServer
from agentjobs.cli.kubectl.filters import FINAL
from agentjobs.cli.kubectl.manifests import (
    Flags,
    changed,
    from_files,
    from_schedule,
    job_of,
    labels_of,
    text_of,
)
from agentjobs.cli.kubectl.reply import refused
from agentjobs.cli.kubectl.verbs.runs import whole_result
from agentjobs.cli.kubectl.verbs.wait import seconds, until_ended
from agentjobs.cli.kubectl.where import Where
from agentjobs.cli.state_flag import HELP, state_of
from agentjobs.values.verbs import Verb

File = Annotated[
    list[str] | None,
    option(
        "--file", "-f", metavar="FILE", help="AgentJobs of a file, a folder, a URL, or - for standard input."
    ),
]
Name = Annotated[str | None, option(metavar="NAME", help="Its name. Default: one is generated.")]
Module = Annotated[str | None, option(metavar="MODULE", help="The agent's module, such as pkg.mod.")]
Inline = Annotated[str | None, option(metavar="MODEL", help="An inline agent with this model.")]
Instruction = Annotated[str | None, option(metavar="TEXT", help="The inline agent's instruction, or @FILE.")]
Message = Annotated[
    str | None,
    option("--message", "-m", metavar="TEXT", help="What the agent is told: a text, @FILE, or @-."),
]
From = Annotated[
    str | None,
    option("--from", metavar="SCHEDULE", help="The job that this schedule would create now."),
]
Queue = Annotated[str | None, option(metavar="QUEUE", help="Its queue.")]
Priority = Annotated[int | None, option(metavar="0-9", help="Its priority; 0 is the first.")]
Session = Annotated[str | None, option(metavar="ID", help="The session to continue.")]
User = Annotated[str | None, option(metavar="ID", help="The user in whose name it runs.")]
MaxAttempts = Annotated[int | None, option(metavar="N", help="How often it is tried.")]
State = Annotated[list[str] | None, option(metavar="KEY=VALUE", help=HELP)]
Label = Annotated[list[str] | None, option(metavar="KEY=VALUE", help="A label; may be repeated.")]
DryRun = Annotated[bool, option("--dry-run", help="Let the API server check it, and create nothing.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags that describe a job."""

    name: Name = None
    module: Module = None
    inline: Inline = None
    instruction: Instruction = None
    message: Message = None
    from_: From = None
    queue: Queue = None
    priority: Priority = None
    session: Session = None
    user: User = None
    max_attempts: MaxAttempts = None
    state: State = None
    label: Label = None

    def flags(self) -> Flags:
        """What they say, with the texts of files.

        :raises BadInput: a file cannot be read, or a label is none.
        """
        return Flags(
            self.name,
            self.module,
            self.inline,
            text_of(self.instruction, "--instruction"),
            text_of(self.message, "--message"),
            self.queue,
            self.priority,
            self.session,
            self.user,
            self.max_attempts,
            state_of(self.state),
            labels_of(self.label),
        )


def submit(
    where: Where,
    file: File = None,
    *,
    asked: Asked,
    because: o.Because = "",
    dry_run: DryRun = False,
    wait: Annotated[bool, option("--wait", "-w", help="Wait for its end; the exit status is its.")] = False,
    watch: Annotated[bool, option("--watch", help="Wait, and print each change on standard error.")] = False,
    result: Annotated[
        bool, option("--result", help="Wait, and print the answer on standard output.")
    ] = False,
    timeout: o.Timeout = None,
    form: o.Output = "",
) -> None:
    """Create AgentJobs, and wait for them where asked.

    \b
    kubectl agentjobs submit -f job.yaml --wait
    kubectl agentjobs submit --module shop.agent -m "Report on yesterday" --result
    kubectl agentjobs submit --inline gemini-2.5-flash --instruction @role.txt -m @question.txt
    kubectl agentjobs submit --from nightly-report

    \b
    Status 0: created; with --wait: all are Complete.
    Status 1: refused; with --wait: one has ended otherwise.
    Status 2: with --timeout: not finished; or the command must be mended.
    """
    flags = asked.flags()
    limit = seconds(timeout)
    if output.checked(form) == "wide":
        raise BadInput("-o: 'wide' is for lists; there are json, yaml, name and jsonpath=….")
    if bool(file) and bool(asked.from_ or asked.module or asked.inline):
        raise BadInput("-f goes with neither --from, --module nor --inline: name one thing to run.")
    waits = (wait or watch or result) and not dry_run
    with ApiServer.open(where) as server:
        jobs = (
            [changed(job, flags) for job in from_files(file)] if file else [_one(server, flags, asked.from_)]
        )
        if asked.name is not None and len(jobs) > 1:
            raise BadInput(f"--name: there are {len(jobs)} jobs; a name is one job's.")
        server.namespace = _namespace_of(server, jobs)
        author = Author(server.user(), because)
        created = [_create(server, job, author, dry_run=dry_run) for job in jobs]
        _told(created, form, dry_run=dry_run, quiet=result)
        if not waits:
            return
        names = [job["metadata"]["name"] for job in created]
        ends = until_ended(server, names, frozenset(FINAL), limit, quiet=not watch)
        if result:
            for one in names:
                _print_result(server, one, ends[one])
    sys.exit(0 if all(state == "Complete" for state in ends.values()) else 1)


def run(
    where: Where,
    file: File = None,
    *,
    asked: Asked,
    because: o.Because = "",
    timeout: o.Timeout = None,
) -> None:
    """Create an AgentJob, wait for its end and print its answer: `submit --watch --result`.

    \b
    kubectl agentjobs run --module shop.agent -m "Report on yesterday" > report.md
    """
    submit(where, file, asked=asked, because=because, watch=True, result=True, timeout=timeout)


def _one(server: ApiServer, flags: Flags, schedule: str | None) -> dict[str, Any]:
    if schedule is None:
        return job_of(flags)
    if flags.module is not None or flags.inline is not None:
        raise BadInput("--from goes with neither --module nor --inline: the agent is the schedule's.")
    return changed(from_schedule(server.get(SCHEDULES, schedule), server.now()), flags)


def _create(server: ApiServer, job: Mapping[str, Any], author: Author, *, dry_run: bool) -> dict[str, Any]:
    metadata = dict(job.get("metadata") or {})
    namespace = server.namespace
    given = metadata.get("annotations") or {}
    said = {} if ACT in given else annotation(Verb.CREATE, author, server.now())
    if said or given:
        metadata["annotations"] = {**given, **said}
    query = {
        "fieldManager": FIELD_MANAGER,
        "fieldValidation": "Strict",
        **({"dryRun": "All"} if dry_run else {}),
    }
    reply = server.request("POST", server.path_of(JOBS), query, {**job, "metadata": metadata})
    what = metadata.get("name") or metadata.get("generateName", "")
    if reply.status == 409:
        raise BadInput(
            f"agentjob {namespace}/{what} is there already: give another --name, or look with kubectl agentjobs why "
            f"{what} -n {namespace}{server.where.shown()}"
        )
    if not reply.ok:
        raise refused(reply, f"agentjob {namespace}/{what}", f"-n {namespace}{server.where.shown()}")
    return reply.json()


def _namespace_of(server: ApiServer, jobs: list[dict[str, Any]]) -> str:
    """The one namespace of the jobs: that of their objects, else the command's.

    :raises BadInput: there are several, or the command names another.
    """
    named = sorted({str(n) for job in jobs if (n := (job.get("metadata") or {}).get("namespace"))})
    if len(named) > 1:
        raise BadInput(
            f"-f: the jobs are of several namespaces ({', '.join(named)}): submit them one by one."
        )
    if named and server.where.namespace is not None and named[0] != server.namespace:
        raise BadInput(f"-n {server.namespace}: the job is of namespace {named[0]}; leave one of them out.")
    return named[0] if named else server.namespace


def _told(created: list[dict[str, Any]], form: str, *, dry_run: bool, quiet: bool) -> None:
    if form:
        whole = [output.without_managed_fields(job) for job in created]
        echo(output.written(form, whole[0] if len(whole) == 1 else output.listed("AgentJobList", whole)))
        return
    for job in created:
        echo(
            f"agentjob.agentjobs.dev/{job['metadata']['name']} created{' (dry run)' if dry_run else ''}",
            err=quiet,
        )


def _print_result(server: ApiServer, name: str, state: str) -> None:
    if state != "Complete":
        return
    status = server.get(JOBS, name).get("status") or {}
    text, problem = str(status.get("result") or ""), ""
    if status.get("resultTruncated"):
        try:
            text, cut = whole_result(server, name)
            problem = "1 MiB of it is kept." if cut else ""
        except Unavailable as missing:
            problem = f"an object shows 4096 bytes of it. {missing}"
    echo(output.printable_lines(text))
    if problem:
        echo(f"{name}: this is not the whole answer: {problem}", err=True)
