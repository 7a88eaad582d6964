"""The operator on a database that guards its doors."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from clusters import Cluster
from operators import bench, eventually, serving
from rotation import RotatedRole


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
                    status = await b.objects.until(name, "Complete", within=60)
                    assert status["attempts"] == 1
                    await eventually(connected, within=60)
                    role.rotate()
    finally:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role.role)))
