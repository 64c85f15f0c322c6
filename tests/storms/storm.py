"""One storm: requests at once, failures on all sides, and the judgement when it is over."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bot.clock import SystemClock
from bot.deployments.model import Deployment
from bot.deployments.states import ENDINGS, status_of
from bot.slack.limits import EditLimits
from bot.slack.render.words import HEADLINES
from bot.store.engine import open_store, upgrade
from bot.store.sql_store import SqlStore
from bot.store.tables import deployments, outbox
from bot.webhooks.payload import planner
from tests.kills.invariants import live_messages
from tests.storms.checks import Audit, Seen, edits_per_minute, not_told, untrue
from tests.storms.servers import REPO, StormServer, open_servers
from tests.storms.weather import Answer, Ready, Weather, keep_time
from tests.support.bot_process import BotProcess, Run
from tests.support.bot_processes import Processes, an_app, open_processes
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.quick_clock import QuickClock
from tests.truth.history import History

PEOPLE = ("ada", "grace", "alan")
LOOK_S = 0.2
SETTLE = "80s"
"""Longer than the judge demands that a release was up."""
SLACKS_LIMIT = 50
POSTED = 0.95
"""The weather turns when so many messages are there: later requests are refused, with a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large a storm is."""

    deployments: int = 200
    servers: int = 20
    failing: float = 0.3
    speed: float = 5.0
    """How many times faster than the machine's clock the bot's clock and the servers are."""
    seed: int = 1
    replicas: int = 1
    """More than one: on PostgreSQL."""
    within_s: float = 600.0
    """Real seconds until everything must have ended."""


@dataclass(kw_only=True)
class Outcome:
    """What is wrong, and the figures."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


@dataclass(kw_only=True)
class Storm:
    """A storm under way."""

    plan: Plan
    clock: QuickClock
    it: Processes
    servers: Sequence[StormServer]
    bots: Sequence[BotProcess]
    store: SqlStore
    """The bot's database, which is only read here."""
    postgres: PostgresServer | None
    webhooks: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    attempts: int = 0
    """To deliver a webhook."""
    outcome: Outcome = field(default_factory=Outcome)

    async def run(self) -> Outcome:
        """Let it rage, wait until it is over, and judge."""
        began = time.monotonic()
        ready = Ready(bots=self.bots)
        weather = Weather(world=self.it.world, bots=self.bots, minute_s=60 / self.plan.speed)
        receiver = self.it.world.simulators.receiver
        receiver.any_time_for_test = True
        receiver.on_received.append(self._note_webhook)
        acked = 0
        watching = asyncio.create_task(ready.watch())
        ticking = asyncio.create_task(keep_time(self.it.world, self.clock))
        try:
            async with asyncio.timeout(self.plan.within_s):
                acked = await self._rage(ready, weather)
                await self._all_over()
        except TimeoutError:
            self.outcome.problems += await self._left()
        finally:
            watching.cancel()
            ticking.cancel()
            await asyncio.wait({watching, ticking})
        if not watching.cancelled() and (error := watching.exception()):
            raise error
        self.outcome.figures |= {
            "took_s": round(time.monotonic() - began, 1),
            "took_bot_minutes": round((time.monotonic() - began) * self.plan.speed / 60, 1),
            "acked_in_time": acked,
            "rss_most_mb": round(ready.most_rss_mb, 1),
        }
        self.outcome.problems += [f"{bot.pid} ended" for bot in self.bots if not bot.running]
        for bot in self.bots:
            # Nothing changes any more while it is judged.
            await self.it.terminate(bot, within_s=30)
        await self._judge(weather)
        return self.outcome

    def _note_webhook(self) -> None:
        newest = self.it.world.simulators.receiver.received[-1]
        self.attempts += 1
        if newest.delivered:
            self.webhooks.append((newest.webhook_id, newest.body))

    # --- raging

    async def _rage(self, ready: Ready, weather: Weather) -> int:
        most = round(self.plan.deployments * POSTED)
        async with weather.endpoint_is_dead():
            asking = asyncio.gather(*(self._ask(n) for n in range(self.plan.deployments)))
            await self._until(lambda: len(live_messages(self.it.world)) >= most)
            hit = self.servers[-1]
            await asyncio.gather(weather.slack_is_busy(), weather.server_is_down(hit))
            acked = sum(await asking)
        if self.postgres is None:
            await weather.disk_is_full(lambda: self._not_ready(ready))
        else:
            away = weather.database_is_away(self.postgres.stop, self.postgres.start)
            await asyncio.gather(away, self._not_ready(ready))
        back_s = await ready.until(lambda one: one.status == HTTPStatus.OK)
        self.outcome.figures["ready_again_after_s"] = round(back_s, 2)
        return acked

    async def _ask(self, number: int) -> bool:
        slack = self.it.world.slack
        person = slack.user(PEOPLE[number % len(PEOPLE)])
        done = await slack.command(
            person, self.it.world.deploys, "/deploy", f"app-{number:03} main"
        )
        return bool(done.acked)

    async def _not_ready(self, ready: Ready) -> None:
        def says(one: Answer) -> bool:
            return one.status == HTTPStatus.SERVICE_UNAVAILABLE and "database" in one.why

        took_s = await ready.until(says)
        answer = next(one for one in reversed(ready.answers) if says(one))
        self.outcome.figures["not_ready_after_s"] = round(took_s, 2)
        self.outcome.figures["not_ready_because"] = answer.why
        if set(answer.why) != {"database"}:
            self.outcome.problems.append(f"/readyz blames {answer.why}")

    async def _until(self, there: Callable[[], bool]) -> None:
        await self.it.world.slack.until(there, timeout_s=self.plan.within_s)

    # --- the end

    async def _all_over(self) -> None:
        while True:
            if not await self._left():
                return
            # The database of other processes reports no change to this one.
            await asyncio.sleep(LOOK_S)

    async def _left(self) -> list[str]:
        """What is still under way, waits to be sent, or is not shown yet."""
        async with self.store.database.read() as connection:
            counted = select(outbox.c.lane, outbox.c.state, func.count()).group_by(
                outbox.c.lane, outbox.c.state
            )
            rows = (await connection.execute(counted)).all()
            phases = select(deployments.c.phase, func.count()).group_by(deployments.c.phase)
            there = (await connection.execute(phases)).all()
        left = [f"{n} in the outbox for {lane}" for lane, state, n in rows if state == "waiting"]
        left += [f"{n} are still {phase}" for phase, n in there if phase not in ENDINGS]
        if not left:
            rows_ = await self.store.recent(limit=10_000)
            messages = live_messages(self.it.world)
            for row in rows_:
                said = messages.get(row.id, [])
                if len(said) == 1 and HEADLINES[status_of(row.phase)] not in said[0].text:
                    left.append(f"{row.id}: its message says {said[0].text}")
        return left

    # --- judging

    async def _judge(self, weather: Weather) -> None:
        world, problems = self.it.world, self.outcome.problems
        rows = sorted(await self.store.recent(limit=10_000), key=lambda row: row.id)
        seen = Seen(world=world, clock=self.clock, spells=weather.spells, webhooks=self.webhooks)
        messages = live_messages(world)
        by_name = {one.name: one for one in self.servers}
        ended: list[Deployment] = [row for row in rows if row.phase in ENDINGS]
        for row in ended:
            audit: Audit = await self.store.audit_of(row.id)
            one = by_name[row.server]
            journal = [entry for entry in one.host.journal if entry.app == row.dokku_app]
            problems += untrue(seen, one, row, audit, History(journal))
            problems += not_told(seen, messages.get(row.id, []), row, audit)
        told = sum(len(world.slack.ephemerals(world.slack.user(name))) for name in PEOPLE)
        refused = self.plan.deployments - len(rows)
        if told < refused:
            problems.append(f"{refused} requests led to nothing, and {told} answers say so")
        for one in self.servers:
            problems += [f"{one.name}: {complaint}" for complaint in one.host.complaints]
        edits = edits_per_minute(world)
        if max(edits, default=0) > SLACKS_LIMIT:
            problems.append(f"{max(edits)} edits in one minute")
        self.outcome.figures |= {
            "asked": self.plan.deployments,
            "refused": refused,
            "servers": len(self.servers),
            "replicas": len(self.bots),
            "ends": dict(Counter(f"{row.phase}/{row.failure or '-'}" for row in ended)),
            "edits": len(edits),
            "edits_per_minute_most": max(edits, default=0),
            "edits_per_minute_budget": EditLimits().per_minute,
            "webhook_attempts": self.attempts,
            "webhooks": len(self.webhooks),
            "weather": {
                spell.kind: f"{(spell.ended - spell.began) * self.plan.speed:.0f} s"
                for spell in weather.spells
            },
        }


async def run_storm(plan: Plan) -> Outcome:
    """Run one in an empty folder. NoPostgres: several replicas need it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storm-")))
        postgres = None if plan.replicas == 1 else stack.enter_context(postgres_server())
        async with (
            open_processes(folder, an_app(REPO)) as it,
            open_servers(
                it.world,
                servers=plan.servers,
                apps=plan.deployments,
                failing=plan.failing,
                speed=plan.speed,
                seed=plan.seed,
            ) as servers,
        ):
            url = it.world.environ["DATABASE_URL"]
            if postgres is not None:
                url = postgres.new_schema()
                await upgrade(url)
            clock = QuickClock(plan.speed)
            bots = [await _begin(it, clock, url) for _ in range(plan.replicas)]
            for bot in bots:
                if not await bot.ready():
                    raise RuntimeError("\n".join(bot.last_lines))
            idle = SystemClock()
            plans_nothing = planner((), clock=idle)
            async with open_store(url, clock=idle, planner=plans_nothing, migrate=False) as store:
                return await Storm(
                    plan=plan,
                    clock=clock,
                    it=it,
                    servers=servers,
                    bots=bots,
                    store=store,
                    postgres=postgres,
                ).run()


async def _begin(it: Processes, clock: QuickClock, url: str) -> BotProcess:
    """Start a bot whose jobs, which go by the machine's clock, come as often by its own."""

    def real(seconds: float) -> timedelta:
        return timedelta(seconds=seconds / clock.speed)

    run = Run(
        options={"clock": clock},
        poll_interval=real(10),
        silent_intervals=round(5 * clock.speed),
        heartbeat=real(5),
        look_for_work=real(5),
        late_interval=real(60),
    )
    return await it.begin_main(
        run, DATABASE_URL=url, DEPLOYBOT_SETTLE=SETTLE, DEPLOYBOT_LOG_LEVEL="WARNING"
    )
