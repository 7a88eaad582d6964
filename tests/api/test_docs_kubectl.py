"""The kubectl lines of the pages, to the real kubectl: it knows each verb and flag, and the API server each type and selector."""

from __future__ import annotations

import os
import subprocess

import pytest

from clusters import Cluster
from doc_blocks import Command
from doc_rules import page_commands

COMMANDS = sorted(
    {
        command.words[1:]: command
        for command in page_commands()
        if command.program == "kubectl"
        and "agentjobs" not in command.words[1:4]
        and not {"proxy"} & set(command.words)
        and not command.is_mention
    }.values(),
    key=lambda command: command.where,
)
STAY = {"port-forward", "-w", "--watch", "-f"}
"""Words of commands that do not end by themselves, or that write."""
UNREADABLE = (
    "unknown flag",
    "unknown shorthand",
    "unknown command",
    "flag needs an argument",
    "invalid argument",
)
UNKNOWN = (
    "doesn't have a resource type",
    "field label not supported",
    "couldn't find resource",
    "does not exist",
    "error parsing jsonpath",
    "unable to parse",
)
ELSEWHERE = {"agentruns", "agentruns.runs.agentjobs.dev", "agentrun.status", "apiservice", "--raw"}
"""Of the runs API, which this control plane has not registered: tests/api/test_runs_api.py asks for them."""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.where)
def test_kubectl_can_read_the_command(cluster: Cluster, command: Command) -> None:
    nowhere = ["--server=http://127.0.0.1:1", "--request-timeout=1s"]
    done = subprocess.run(
        [str(cluster.kubectl_path), *nowhere, *command.words[1:]],
        env={**os.environ, "KUBECONFIG": os.devnull},
        input="",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not any(text in done.stderr for text in UNREADABLE), done.stderr


@pytest.mark.parametrize(
    "command",
    [
        one
        for one in COMMANDS
        if {"get", "describe", "explain", "auth"} & set(one.words)
        and not (STAY | ELSEWHERE) & set(one.words)
        and not any("agentruns" in word for word in one.words)
    ],
    ids=lambda command: command.where,
)
def test_the_api_server_knows_what_the_command_asks_for(
    cluster: Cluster, namespace: str, command: Command
) -> None:
    told = cluster.kubectl(*command.words[1:], check=False)
    assert not any(text in told for text in UNKNOWN), told


def test_the_pages_show_commands_of_kubectl() -> None:
    assert len(COMMANDS) > 60
