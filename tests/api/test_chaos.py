"""Everything fails while the whole product is under load; afterwards everything that was promised is true.

    make chaos                                          # ten minutes
    AGENTJOBS_CHAOS_SECONDS=60 AGENTJOBS_CHAOS_SEED=7 pytest tests/api/test_chaos.py -s

A seed repeats the dice, not the timing. A failed run prints what happened when.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import pytest

from agentjobs.local.postgres import EmbeddedPostgres
from chaos.checks import figures, history, left_over, problems
from chaos.faults import FAULTS
from chaos.load import Load
from chaos.world import World, world
from clusters import Cluster

SECONDS = float(os.environ.get("AGENTJOBS_CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("AGENTJOBS_CHAOS_SEED", random.randrange(1 << 32)))
ONLY = os.environ.get("AGENTJOBS_CHAOS_FAULTS", "")
"""Names of faults, separated by commas; empty: all."""
HEAL_SECONDS = float(os.environ.get("AGENTJOBS_CHAOS_HEAL_SECONDS", "240"))

pytestmark = pytest.mark.timeout(SECONDS + HEAL_SECONDS + 600)


async def happen(world: World, until: float) -> int:
    """One fault after the other, each once before any comes again; sometimes two at once."""
    names = [name for name in FAULTS if not ONLY or name in ONLY.split(",")]
    line: list[str] = []
    count = 0

    async def one() -> None:
        nonlocal line, count
        line = line or world.rng.sample(names, len(names))
        name = line.pop()
        world.note(f"{name} …")
        said = await FAULTS[name](world)
        count += 1
        world.note(f"{name}: over. {said or ''}")

    while time.monotonic() < until:
        await one()
        assert not world.ended_by_itself(), world.ended_by_itself()
        await asyncio.sleep(world.rng.uniform(0, 2))
    return count


async def until_answered(world: World) -> None:
    """Until the first jobs are complete: everything has started."""
    async with asyncio.timeout(240):
        while (await world.rows("select count(*) from outcome"))[0][0] < 5:  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.2)


async def test_invariant_4_after_a_storm_of_faults_everything_is_as_promised(
    own_control_plane: Cluster, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    async with world(own_control_plane, own_postgres, tmp_path, random.Random(SEED)) as made:
        load = Load(made)
        loading = asyncio.create_task(load.run())
        try:
            await until_answered(made)
            faults = await happen(made, time.monotonic() + SECONDS)
            load.calm.set()
            await asyncio.wait_for(loading, HEAL_SECONDS)
            healing = time.monotonic()
            async with asyncio.timeout(HEAL_SECONDS):
                while await left_over(made, load):  # noqa: ASYNC110 - the world changes, not this process
                    await asyncio.sleep(0.2)
            settled_after = time.monotonic() - healing
            found = await history(made, load)
        except BaseException:
            sys.stdout.write("\n".join([f"seed {SEED}", *made.journal, *await left_over(made, load), ""]))
            raise
        finally:
            loading.cancel()
        numbers = {"faults": faults, **figures(found), "settled after (s)": round(settled_after, 1)}
        lines = [f"{name:45} {number}" for name, number in numbers.items()]
        sys.stdout.write("\n".join(["", f"seed {SEED}, {SECONDS:.0f} s", *lines, ""]))
        wrong = problems(found)
        assert not wrong, "\n".join([f"seed {SEED}", *made.journal, *wrong])
