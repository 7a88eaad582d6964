"""The folders into which a local run copies what its jobs have saved."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from agentjobs.cli.local.progress_table import NamedJob
from agentjobs.cli.local.saved_files import folders_of
from controller_builders import job as view


def row(name: str, n: int) -> NamedJob:
    return NamedJob(name, replace(view(), uid=UUID(int=n)))


def test_jobs_of_one_name_have_folders_of_their_own() -> None:
    """They are of two namespaces, or one is of an earlier run with the same data."""
    folders = folders_of([row("weather", 1), row("refund", 2), row("weather", 3)])
    assert folders == {
        UUID(int=1): f"weather.{UUID(int=1)}",
        UUID(int=2): "refund",
        UUID(int=3): f"weather.{UUID(int=3)}",
    }
