"""A process that is killed while it writes leaves whole transactions."""

import signal
import sqlite3
from pathlib import Path

import pytest

from bot.deployments.model import Phase
from bot.store.engine import open_store
from tests.contract.store.deaths import Write
from tests.contract.store.stories import StillClock, plan_both
from tests.support.bot_process import BotProcess


@pytest.mark.parametrize("lines", [1, 40, 117])
async def test_killed_process_leaves_whole_transactions(
    tmp_path: Path, clock: StillClock, lines: int
) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    child = await BotProcess.start(Write(url), {}, folder=tmp_path)
    await child.printed(lines)
    assert await child.kill() == -signal.SIGKILL

    with sqlite3.connect(tmp_path / "x.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()
    order = ["created", "logged", "starting", "building", "failed"]
    async with open_store(url, clock=clock, planner=plan_both) as store:
        events = await store.outbox.outgoing(limit=10_000)
        last = {deployment_id: word for word, deployment_id in map(str.split, child.lines)}
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
