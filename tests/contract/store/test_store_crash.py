"""A process that is killed while it writes leaves whole transactions."""

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from bot.deployments.model import Phase
from bot.store.engine import open_store
from tests.contract.store.stories import StillClock, plan_both

WRITER = """
import asyncio, sys
from dataclasses import replace
from bot.deployments.model import Event, Phase
from bot.deployments.model import Who
from bot.store.engine import open_store
from tests.contract.store.stories import StillClock, create, own, plan_both, said

async def write(store, number):
    while True:
        deployment = await own(store, await create(store, dokku_app=f"app{number}"))
        print("created", deployment.id, flush=True)
        await store.logs.append(deployment.id, ["x" * 50] * 40, fence=deployment.fence)
        print("logged", deployment.id, flush=True)
        for phase in (Phase.STARTING, Phase.BUILDING, Phase.FAILED):
            deployment = await store.save(
                replace(deployment, phase=phase), was=deployment.phase, by=Who.OWNER,
                audit=said(phase.value), event=Event(type=phase.value),
            )
            print(phase.value, deployment.id, flush=True)

async def main():
    async with open_store(sys.argv[1], clock=StillClock(), planner=plan_both) as store:
        await asyncio.gather(*(write(store, number) for number in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 40, 117])
async def test_killed_process_leaves_whole_transactions(
    tmp_path: Path, clock: StillClock, lines: int
) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, url, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        printed = [await child.stdout.readline() for _ in range(lines)]
        child.kill()
        printed += (await child.stdout.read()).splitlines(keepends=True)
        assert await child.wait() == -signal.SIGKILL

    with sqlite3.connect(tmp_path / "x.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()
    order = ["created", "logged", "starting", "building", "failed"]
    async with open_store(url, clock=clock, planner=plan_both) as store:
        events = await store.outbox.outgoing(limit=10_000)
        said = [line.decode().split() for line in printed if line[-1:] == b"\n"]
        last = {deployment_id: word for word, deployment_id in said}
        for deployment_id, word in last.items():
            row = await store.get(deployment_id)
            assert row is not None
            reached = {Phase.QUEUED: 1}.get(row.phase) or order.index(row.phase)
            assert reached >= order.index(word)
            if word != "created":
                assert (await store.logs.read(row.id)).count("\n") == 40
            # The row, its audit and its outbox rows: one transaction each.
            moves = order[2 : reached + 1]
            trace = [entry.action for _, entry in await store.audit_of(row.id)]
            assert trace == ["requested", *moves]
            mine = [out.kind for out in reversed(events) if out.deployment_id == row.id]
            assert mine == moves
