"""Random trouble in virtual time always ends in exactly one true result."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bot.deployments.model import AuditEntry, Deployment, Event, Live, Phase
from bot.deployments.states import ENDINGS
from bot.errors import Declined, StoreError
from tests.support.builders import METADATA
from tests.support.fake_dokku import DOWN, UNKNOWN
from tests.support.memory_store import MemoryStore
from tests.support.playing_dokku import FAILING, PlayingDokku
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time

pytestmark = pytest.mark.slow

QUESTIONS = ("builds", "report", "containers", "keeps_records", "build_output", "deploy")
METHODS = ("save", "append_log", "get", "claim", "release", "renew", "read_log", "unfinished")


class _JudgedStore(MemoryStore):
    """Has each result judged in the moment in which it is written."""

    def __init__(self, judge: Callable[[Deployment], None]) -> None:
        super().__init__(LoopClock())
        self._judge = judge

    def _write(self, row: Deployment, audit: AuditEntry | None, event: Event | None) -> None:
        super()._write(row, audit, event)
        if row.phase in ENDINGS:
            self._judge(row)


class Trouble:
    """One run: a deployment, a server, a database, and random trouble with each."""

    def __init__(self, seed: int, *, keeps: bool) -> None:
        self.random = random.Random(seed)
        self.dokku = PlayingDokku(keeps=keeps)
        self.dokku.line_s = self.random.choice([0.3, 2.0, 11.0])
        if self.random.random() < 0.3:
            self.dokku.lines, self.dokku.status = FAILING, 1
        self.store = _JudgedStore(self.judge)
        self.rig: Rig = a_rig(waiting(), store=self.store, dokku=self.dokku)
        self.others = [
            a_rig(store=self.store, dokku=self.dokku) for _ in range(self.random.choice([0, 0, 1]))
        ]
        self.wrong: list[str] = []
        self.judged: list[Any] = []
        self.asked_to_cancel = False

    async def happen(self) -> None:
        """Cause some trouble, one after the other, then repair everything."""
        acts = [
            self.restart,
            self.hand_over,
            self.lose_connection,
            self.dokku_away,
            self.dokku_odd,
            self.database_away,
            self.database_odd,
            self.cancel,
        ]
        for _ in range(self.random.randint(1, 5)):
            await asyncio.sleep(self.random.uniform(0, 3 * self.dokku.line_s))
            await self.random.choice(acts)()
        self.dokku.down = None
        self.dokku.failing.clear()
        self.store.down = False
        self.store.failing.clear()

    async def restart(self) -> None:
        await self.rig.crash()
        self._close_streams()
        await asyncio.sleep(self.random.uniform(0, 40))
        self.rig = a_rig(store=self.store, dokku=self.dokku)

    async def hand_over(self) -> None:
        await self.rig.stop(timeout_s=self.random.uniform(0, 3))
        self._close_streams()
        self.rig = a_rig(store=self.store, dokku=self.dokku)

    async def lose_connection(self) -> None:
        self._close_streams()

    async def dokku_away(self) -> None:
        self.dokku.down = DOWN
        await asyncio.sleep(self.random.choice([1, 20, 90]))
        self.dokku.down = None

    async def dokku_odd(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            error = self.random.choice([DOWN, UNKNOWN, RuntimeError("a bug")])
            self.dokku.fail(self.random.choice(QUESTIONS), error)

    async def database_away(self) -> None:
        self.store.down = True
        await asyncio.sleep(self.random.choice([1, 12, 40]))
        self.store.down = False

    async def database_odd(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            method = self.random.choice(METHODS)
            if self.random.random() < 0.5 and method != "claim":
                self.store.lose_answer(method)
            else:
                self.store.fail(method)

    async def cancel(self) -> None:
        row = self.rig.row()
        with suppress(Declined, StoreError, RuntimeError):
            await self.rig.service.cancel(row.id, actor=row.requested_by, through="button")
            self.asked_to_cancel = True

    def _close_streams(self) -> None:
        for stream in self.dokku.streams:
            if not stream.ended:
                stream.lose()

    def judge(self, row: Deployment) -> None:
        """Hold a result, as it is written, against what runs."""
        self.judged.append(row.evidence)
        new = self.dokku.is_new
        if row.live is Live.UNKNOWN:
            return
        if self.dokku.alive:
            self.wrong.append(f"said {row.live} while {self.dokku.alive} run: {row.evidence}")
        if row.live is not (Live.NEW if new else Live.PREVIOUS):
            self.wrong.append(f"said {row.live}, new is {new}: {row.evidence}")
        if row.phase is Phase.SUCCEEDED and self.dokku.metadata != METADATA:
            self.wrong.append(f"succeeded without its commit: {row.evidence}")


@pytest.mark.parametrize("part", range(8))
def test_random_trouble_never_leaves_a_wrong_or_missing_result(part: int) -> None:
    for seed in range(part * 20, part * 20 + 20):
        run_random_trouble(seed)


@pytest.mark.parametrize("part", range(4))
def test_random_trouble_on_old_dokku_never_leaves_a_wrong_result(part: int) -> None:
    for seed in range(part * 20, part * 20 + 20):
        run_random_trouble(seed, keeps=False)


def run_random_trouble(seed: int, *, keeps: bool = True) -> None:
    @in_virtual_time
    async def run() -> None:
        trouble = Trouble(seed, keeps=keeps)
        playing = asyncio.create_task(trouble.dokku.watch())
        await trouble.happen()
        row = await trouble.rig.until_ended(within_s=3 * 3600)
        await trouble.rig.passes(120)
        assert row.evidence in trouble.judged, seed
        assert trouble.wrong == [], (seed, trouble.wrong)
        assert trouble.dokku.most_alive <= 1, seed
        assert len(trouble.dokku.streams) <= 2 + trouble.store.actions(row.id).count("never_began")
        events = trouble.store.event_types(row.id)
        assert events.count("deployment.finished") == 1, seed
        assert events.count("deployment.started") == (1 if row.started_at else 0), seed
        assert trouble.store.owner(row.id) is None, seed
        for rig in (trouble.rig, *trouble.others):
            assert rig.dispatcher._workers == {}, seed
            assert rig.dispatcher._unreleased == {}, seed
            assert rig.cache.active() == [], seed
        playing.cancel()

    run()
