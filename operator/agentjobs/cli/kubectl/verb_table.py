"""The verbs of ``kubectl agentjobs``: where each is found, and its line of help. Importing it imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its module below ``verbs``, the function there, the section of the help, and the line there."""

    name: str
    module: str
    function: str
    section: str
    summary: str
    cluster: bool = True
    """Whether it acts in a cluster, and so has the flags of ``where``."""
    completes: str = ""
    """The resource whose names its arguments are. Empty: none."""


_JOBS, _SCHEDULES = "agentjobs", "scheduledagentjobs"
VERBS: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("submit", "submit", "submit", "Run", "Create an AgentJob, and wait for it where asked."),
        Verb("run", "submit", "run", "Run", "Create an AgentJob, wait for its end and print its answer."),
        Verb("wait", "wait", "wait", "Run", "Wait for jobs; the exit status is theirs.", completes=_JOBS),
        Verb("list", "listing", "list_jobs", "Look", "List jobs by state, reason, queue, agent, user and more."),
        Verb("why", "look", "why", "Look", "Tell why a job is where it is, and what to do.", completes=_JOBS),
        Verb("describe", "look", "describe", "Look", "Tell all that the cluster knows of a job.", completes=_JOBS),
        Verb("result", "runs", "result", "Look", "Print a job's whole answer.", completes=_JOBS),
        Verb("logs", "runs", "logs", "Look", "Print what a job's runs have printed; -f follows.", completes=_JOBS),
        Verb("transcript", "runs", "transcript", "Look", "Print a job's conversation; -f follows.", completes=_JOBS),
        Verb("artifacts", "artifacts", "artifacts", "Look", "List files that agents have saved.", completes=_JOBS),
        Verb("cp", "artifacts", "cp", "Look", "Copy files that agents have saved.", completes=_JOBS),
        Verb("retry", "act", "retry", "Act", "Run failed or cancelled jobs once more.", completes=_JOBS),
        Verb("cancel", "act", "cancel", "Act", "End jobs.", completes=_JOBS),
        Verb("suspend", "act", "suspend", "Act", "Keep jobs from starting; stop running ones.", completes=_JOBS),
        Verb("resume", "act", "resume", "Act", "Let suspended jobs go on.", completes=_JOBS),
        Verb("delete", "act", "delete", "Act", "Delete jobs.", completes=_JOBS),
        Verb("inbox", "people", "inbox", "People", "List the questions that wait for a person."),
        Verb("approve", "people", "approve", "People", "Approve a tool's call.", completes=_JOBS),
        Verb("reject", "people", "reject", "People", "Reject a tool's call.", completes=_JOBS),
        Verb("answer", "people", "answer", "People", "Give a tool's result, or an input.", completes=_JOBS),
        Verb("schedules", "schedules", "schedules", "Schedules", "List schedules."),
        Verb("trigger", "schedules", "trigger", "Schedules", "Run a schedule now.", completes=_SCHEDULES),
        Verb("next", "schedules", "next_times_", "Schedules", "Tell a schedule's next times.", completes=_SCHEDULES),
        Verb("backfill", "backfill", "backfill", "Schedules", "Create jobs for missed times.", completes=_SCHEDULES),
        Verb("top", "top", "top", "Installation", "Show queues and running jobs, live."),
        Verb("web", "web", "web", "Installation", "Open the dashboard in a browser."),
        Verb("queues", "board", "queues", "Installation", "List queues: waiting, running, slots, limit, pause."),
        Verb("pause", "board", "pause", "Installation", "Pause a queue."),
        Verb("unpause", "board", "unpause", "Installation", "Let a paused queue go on."),
        Verb("workers", "board", "workers", "Installation", "List the live workers."),
        Verb("models", "board", "models", "Installation", "List models that fail, and their breakers."),
        Verb("doctor", "doctor", "doctor", "Health", "Check what jobs need: CRDs, rights, operator, clocks."),
        Verb("completion", "completion", "completion", "Health", "Print how a shell completes.", cluster=False),
    )
}  # fmt: skip


def help_text() -> str:
    """The help of the program."""
    lines = [
        "Usage: kubectl agentjobs VERB [OPTIONS]",
        "",
        "Run AI agents as AgentJobs, find out why they fail, steer them.",
    ]
    sections = dict.fromkeys(verb.section for verb in VERBS.values())
    for section in sections:
        lines += ["", f"{section}:"]
        lines += [f"  {v.name:<12} {v.summary}" for v in VERBS.values() if v.section == section]
    lines += [
        "",
        "Every verb takes -n, --context, --kubeconfig, --as and --as-group as kubectl does.",
        "More of one: kubectl agentjobs VERB --help",
    ]
    return "\n".join(lines)


def suggestion(word: str) -> str:
    """The verb that was meant, as the end of a sentence. Empty: no idea."""
    close = get_close_matches(word, VERBS, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
