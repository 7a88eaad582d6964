"""The operator on a database that guards its doors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from agentjobs.queue.records import AckKind, State
from clusters import Cluster
from operators import bench, eventually, serving
from roles import Roles, roles_in
from rotation import RotatedRole
from scrapes import scrape
from stack import stack

ECHO = {"inline": {"type": "llm", "name": "echo", "model": "echo", "instruction": "Repeat."}}


async def test_a_rotated_password_is_taken_up_by_a_running_operator(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    role = RotatedRole(dsn, f"operator_{uuid4().hex[:8]}", tmp_path / "url")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("create role {} superuser").format(sql.Identifier(role.role)))
    role.rotate()
    wanted = {"agentjobs-operator", "agentjobs-operator-beat", "agentjobs-operator-listen"}

    async def connected() -> bool:
        return role.connections() >= wanted

    try:
        async with bench(cluster, dsn) as b, b.running(dsn=role.dsn()):
            worker = await b.worker()
            async with serving(worker):
                for name in ("first", "second", "third"):
                    await b.objects.create(name)
                    status = await b.objects.until(name, "Complete", within=90)
                    assert status["attempts"] == 1
                    await eventually(connected, within=60)
                    role.rotate()
    finally:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role.role)))


async def test_the_operator_does_its_whole_work_with_its_role(
    cluster: Cluster, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with roles_in(dsn) as roles:
        async with bench(cluster, dsn) as b, b.running(dsn=roles.dsn("operator"), health_port=0):
            worker = await b.worker()
            await b.objects.create("retried", {"maxAttempts": 2, "ttlSecondsAfterFinished": 3600})
            await worker.ack(await worker.one(), AckKind.RETRY, reason="ModelServerError", message="500")
            await worker.ack(await worker.one())
            await b.objects.until("retried", "Complete")
            await b.objects.patch("retried", {"spec": {"ttlSecondsAfterFinished": 0}})
            await eventually(lambda: b.objects.exists("retried"), lambda there: not there)

            await b.objects.create("held", {"suspend": True})
            await b.objects.until("held", "Suspended")
            await b.objects.patch("held", {"spec": {"suspend": False, "priority": 0}})
            await b.objects.until("held", "Queued")
            await b.objects.patch("held", {"spec": {"cancel": True}})
            await b.objects.until("held", "Cancelled")
            await b.objects.wipe_status("held")
            await b.objects.until("held", "Cancelled")

            await b.objects.create("unserved", {"queue": "nobody"})
            await eventually(
                lambda: b.objects.status("unserved"), lambda status: status.get("reason") == "NoWorkers"
            )
            await b.objects.delete("unserved")
            await eventually(b.queue.counts, lambda counts: ("nobody", State.QUEUED) not in counts)
            assert b.operator is not None
            port = b.operator.port
            await eventually(
                lambda: scrape(port), lambda found: found.value("agentjobs_operator_database_up") == 1
            )
    assert "permission denied" not in caplog.text


def files_of(roles: Roles, folder: Path) -> dict[str, RotatedRole]:
    made = {
        name: RotatedRole(roles.admin, f"{roles.prefix}_{name}", folder / name)
        for name in ("operator", "worker", "sessions")
    }
    for role in made.values():
        role.rotate()
    return made


@pytest.mark.timeout(300)
async def test_deployed_processes_run_with_roles_from_files_and_take_up_rotated_passwords(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    with roles_in(dsn) as roles:
        files = files_of(roles, tmp_path)

        def from_files(**named: str) -> Mapping[str, str]:
            told = {f"AGENTJOBS_{key.upper()}_URL_FILE": str(files[role].file) for key, role in named.items()}
            return {"AGENTJOBS_DATABASE_URL": "", **told}

        async with bench(cluster, dsn) as b:
            with stack(cluster, dsn, tmp_path) as parts:
                parts.operator(b.objects.namespace, from_files(database="operator"))
                worker = parts.worker(
                    "one",
                    "--queue=agents=4",
                    "--model=echo",
                    environment=from_files(database="worker", session_database="sessions"),
                )
                for generation in range(3):
                    names = [f"job-{generation}-{i}" for i in range(6)]
                    for name in names:
                        await b.objects.create(name, {"agent": ECHO, "message": f"echo:sleep 1\n{name}"})
                    if generation:  # with these jobs under way
                        for role in files.values():
                            await asyncio.to_thread(role.rotate)
                    for name in names:
                        status = await b.objects.until(name, "Complete", within=90)
                        assert (status["result"], status["attempts"]) == (name, 1), status
                logs = "".join(part.text() for part in parts.parts)
                assert await asyncio.to_thread(worker.stop) == 0
    assert "permission denied" not in logs
    assert all(role.password not in logs for role in files.values())
