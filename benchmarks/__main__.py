"""All benches, one after another: prints their tables, and writes them into the documentation with ``--write``.

About 35 minutes on two cores, half of them for the 10,000 jobs of `endurance`. What is at hand decides what is measured; what is left out says why. A bench that fails has no table, what ``--write``
finds of it stays, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import report
from benchmarks.clients import ROOT
from benchmarks.machine import describe
from benchmarks.report import Options, Table, markdown
from benchmarks.server import Server

BENCHES = (
    "enqueue",
    "drain",
    "backlog",
    "lists",
    "web",
    "latency",
    "slots",
    "fleet",
    "session_store",
    "attempt",
    "endurance",
    "apply",
    "operator_load",
    "schedules",
    "rescue",
    "pods",
)
MACHINE = "machine"


class MarkersMissing(Exception):
    """The file has no place for a block."""


def machine() -> str:
    """The machine and Postgres, as a Markdown list."""
    with Server() as server:
        facts = [*describe(), ("Postgres", server.describe())]
    return "\n".join(f"- {name}: {value}" for name, value in facts) + "\n"


def measured() -> str:
    """When, and at which state of the code."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    found = subprocess.run(git, capture_output=True, text=True)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    commit = f", commit {found.stdout.strip()}" if found.returncode == 0 else ""
    return f"Measured on {day}{commit}.\n"


def run(name: str, options: Options) -> Sequence[Table] | None:
    """The tables of one bench. None: it failed, standard error has the traceback, and the others may still run."""
    begin = time.monotonic()
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        tables: Sequence[Table] = importlib.import_module(f"benchmarks.{name}").run(options)
    except Exception:
        traceback.print_exc()
        return None
    print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return tables


def replaced(text: str, name: str, block: str) -> str:
    """``text`` with ``block`` between the markers of ``name``. Raises MarkersMissing."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    if begin not in text or end not in text:
        raise MarkersMissing(f"{begin} … {end} are not in the file; add them where the table belongs")
    head, rest = text.split(begin, 1)
    return f"{head}{begin}\n{block}{end}{rest.split(end, 1)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    report.add_options(parser)
    parser.add_argument("--only", action="append", choices=BENCHES, help="this bench alone; may be repeated")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this file")
    args = parser.parse_args(arguments)
    options = report.options(args)
    blocks = {MACHINE: machine()}
    if args.write:  # before the minutes are spent
        for name in (MACHINE, *(args.only or BENCHES)):
            replaced(args.write.read_text(), name, "")
    print(blocks[MACHINE], flush=True)
    failed = []
    for name in args.only or BENCHES:
        if (tables := run(name, options)) is None:
            failed.append(name)
            continue
        blocks[name] = "\n".join([*(markdown(table) for table in tables), measured()])
        print(blocks[name], flush=True)
    if args.write:
        text = args.write.read_text()
        for name, block in blocks.items():
            text = replaced(text, name, block)
        args.write.write_text(text)
    if failed:
        print(f"failed, and without a table: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
