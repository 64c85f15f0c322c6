"""The harness of one round: simulators, the bot between them, and records of both."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.simulators.dokku.refs import SHA, RefMissing
from bot.simulators.environment import DemoApp, Simulators, open_simulators
from bot.simulators.forge import Forge
from bot.simulators.slack.model import Message
from bot.slack.client import METADATA_TYPE
from bot.slack.manifest import manifest
from tests.truth.bot_process import BotProcess
from tests.truth.pace import CAP_S, MAX_DURATION_S, SPEED
from tests.truth.plans import CAPPED, app_names

COMMITS = ("Start the app", "Greet people", "Fix the login redirect")
FINISHED = "deployment.finished"
BUSY = "the machine under this test was too busy"
WATCH_EVERY_S = 0.2
LATE_S = 0.3
"""After a wake-up this late, the bot's queries may time out as well."""
START_S = 3.0
"""A slower start of the bot means the same; normally it takes one second."""


class AnyCommit:
    """The forge's refs, but every full SHA counts as a commit.

    Making a commit for each of thousands of deployments would take longer than deploying them.
    """

    def __init__(self, forge: Forge) -> None:
        self._forge = forge

    def resolve(self, url: str, ref: str) -> str:
        try:
            return self._forge.resolve(url, ref)
        except RefMissing:
            if SHA.fullmatch(ref):
                return ref
            raise


@dataclass(slots=True, kw_only=True)
class Trouble:
    """A fault and its duration, in readings of `time.monotonic()`."""

    kind: str
    began: float
    ended: float = float("inf")


@dataclass(kw_only=True)
class Harness:
    """Everything of one round."""

    simulators: Simulators
    bot: BotProcess
    wall_at: datetime
    monotonic_at: float
    troubles: list[Trouble] = field(default_factory=list)
    webhooks: list[Mapping[str, Any]] = field(default_factory=list)
    _webhook_ids: set[str] = field(default_factory=set)
    _ends: dict[str, asyncio.Event] = field(default_factory=dict)
    bot_life: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever stops the bot until it is started again."""
    _bot_up: asyncio.Event = field(default_factory=asyncio.Event)

    def simulated(self, instant: datetime) -> datetime:
        """The simulated server's time at a real instant."""
        seconds = (instant - self.wall_at).total_seconds()
        return self.simulators.dokku.clock.instant_of(self.monotonic_at + seconds)

    # --- the bot

    async def start_bot(self) -> None:
        began = time.monotonic()
        await self.bot.start()
        self._record_if_busy(began, START_S)
        self._bot_up.set()

    async def stop_bot(self) -> None:
        self._bot_up.clear()
        await self.bot.stop()

    async def kill_bot(self) -> None:
        self._bot_up.clear()
        await self.bot.kill()

    @asynccontextmanager
    async def trouble(self, kind: str) -> AsyncIterator[None]:
        """Record a fault while the block runs."""
        fault = Trouble(kind=kind, began=time.monotonic())
        self.troubles.append(fault)
        try:
            yield
        finally:
            fault.ended = time.monotonic()

    async def bot_is_up(self) -> None:
        """Wait until it listens."""
        await self._bot_up.wait()

    # --- the machine

    async def watch_machine(self) -> None:
        """Record when it is too busy to wake up in time. Runs until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(WATCH_EVERY_S)
            self._record_if_busy(began, WATCH_EVERY_S + LATE_S)

    def _record_if_busy(self, began: float, most_s: float) -> None:
        now = time.monotonic()
        if now - began > most_s:
            self.troubles.append(Trouble(kind=BUSY, began=began, ended=now))

    # --- what the bot reported

    def take_webhook(self) -> None:
        """Called after each request to the receiver."""
        newest = self.simulators.receiver.received[-1]
        if not newest.delivered or newest.webhook_id in self._webhook_ids:
            return
        self._webhook_ids.add(newest.webhook_id)
        self.webhooks.append(newest.body)
        if newest.body["type"] == FINISHED:
            self.end_of(newest.body["data"]["id"]).set()

    def end_of(self, deployment_id: str) -> asyncio.Event:
        """Set once its result was reported."""
        return self._ends.setdefault(deployment_id, asyncio.Event())

    def live_messages(self) -> dict[str, list[Message]]:
        """The messages in the channel, by deployment id."""
        slack = self.simulators.slack
        found: dict[str, list[Message]] = {}
        for message in slack.messages(slack.channel("deploys")):
            metadata = message.metadata or {}
            if metadata.get("event_type") == METADATA_TYPE:
                found.setdefault(metadata["event_payload"]["id"], []).append(message)
        return found


def settings_file(folder: Path) -> Path:
    """Write a settings file with each app's cap."""
    path = folder / "deploybot.toml"
    caps = {name: CAP_S if name == CAPPED else MAX_DURATION_S for name in app_names()}
    tables = [f'[apps.{name}]\nmax_duration = "{cap}s"\n' for name, cap in caps.items()]
    path.write_text("\n".join(tables))
    return path


@asynccontextmanager
async def open_harness(
    folder: Path, *, live: frozenset[str], version: str
) -> AsyncIterator[Harness]:
    """Open it with a bot that listens. `live`: the apps that were deployed before."""
    apps = [
        DemoApp(name=name, behaviour="ok", hint="", commits=COMMITS, live=name in live)
        for name in app_names()
    ]
    async with open_simulators(
        manifest=manifest(), folder=folder, apps=apps, speed=SPEED, version=version
    ) as simulators:
        simulators.dokku.refs = AnyCommit(simulators.forge)
        environ = {**simulators.settings, "DEPLOYBOT_CONFIG": str(settings_file(folder))}
        harness = Harness(
            simulators=simulators,
            bot=BotProcess(environ | {"DEPLOYBOT_DRAIN_TIMEOUT": "0.3"}, folder),
            wall_at=datetime.now(UTC),
            monotonic_at=time.monotonic(),
        )
        simulators.receiver.on_received.append(harness.take_webhook)
        await harness.start_bot()
        try:
            yield harness
        finally:
            if harness.bot.up:
                await harness.stop_bot()
