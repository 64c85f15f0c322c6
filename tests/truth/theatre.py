"""One round's world: the simulators, the bot between them, and what is noted of both."""

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
"""A wake-up that is so late says that the bot's questions may time out as well."""
START_S = 3.0
"""A start of the bot that takes longer says the same; it takes one second."""


class AnyCommit:
    """The forge's refs; a full SHA that it does not have is a commit all the same.

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
    """A spell of trouble, in readings of `time.monotonic()`."""

    kind: str
    began: float
    ended: float = float("inf")


@dataclass(kw_only=True)
class Theatre:
    """Everything of one round."""

    stage: Simulators
    bot: BotProcess
    wall_at: datetime
    monotonic_at: float
    troubles: list[Trouble] = field(default_factory=list)
    webhooks: list[Mapping[str, Any]] = field(default_factory=list)
    _webhook_ids: set[str] = field(default_factory=set)
    _ends: dict[str, asyncio.Event] = field(default_factory=dict)
    bot_life: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whoever ends the bot holds it until it is started again."""
    _bot_up: asyncio.Event = field(default_factory=asyncio.Event)

    def simulated(self, instant: datetime) -> datetime:
        """The simulated server's time at a real instant."""
        seconds = (instant - self.wall_at).total_seconds()
        return self.stage.dokku.clock.instant_of(self.monotonic_at + seconds)

    # The bot.

    async def start_bot(self) -> None:
        began = time.monotonic()
        await self.bot.start()
        self._note_if_busy(began, START_S)
        self._bot_up.set()

    async def stop_bot(self) -> None:
        self._bot_up.clear()
        await self.bot.stop()

    async def kill_bot(self) -> None:
        self._bot_up.clear()
        await self.bot.kill()

    @asynccontextmanager
    async def trouble(self, kind: str) -> AsyncIterator[None]:
        """Note a spell of trouble."""
        spell = Trouble(kind=kind, began=time.monotonic())
        self.troubles.append(spell)
        try:
            yield
        finally:
            spell.ended = time.monotonic()

    async def bot_is_up(self) -> None:
        """Wait until it listens."""
        await self._bot_up.wait()

    # The machine.

    async def watch_machine(self) -> None:
        """Note when it is too busy to wake up in time. Until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(WATCH_EVERY_S)
            self._note_if_busy(began, WATCH_EVERY_S + LATE_S)

    def _note_if_busy(self, began: float, most_s: float) -> None:
        now = time.monotonic()
        if now - began > most_s:
            self.troubles.append(Trouble(kind=BUSY, began=began, ended=now))

    # What it told.

    def take_webhook(self) -> None:
        """Called after each request to the receiver."""
        newest = self.stage.receiver.received[-1]
        if not newest.delivered or newest.webhook_id in self._webhook_ids:
            return
        self._webhook_ids.add(newest.webhook_id)
        self.webhooks.append(newest.body)
        if newest.body["type"] == FINISHED:
            self.end_of(newest.body["data"]["id"]).set()

    def end_of(self, deployment_id: str) -> asyncio.Event:
        """Set once its end was told."""
        return self._ends.setdefault(deployment_id, asyncio.Event())

    def live_messages(self) -> dict[str, list[Message]]:
        """By deployment id, those that stand in the channel."""
        slack = self.stage.slack
        found: dict[str, list[Message]] = {}
        for message in slack.messages(slack.channel("deploys")):
            metadata = message.metadata or {}
            if metadata.get("event_type") == METADATA_TYPE:
                found.setdefault(metadata["event_payload"]["id"], []).append(message)
        return found


def settings_file(folder: Path) -> Path:
    """Where each app's cap stands."""
    path = folder / "deploybot.toml"
    caps = {name: CAP_S if name == CAPPED else MAX_DURATION_S for name in app_names()}
    tables = [f'[apps.{name}]\nmax_duration = "{cap}s"\n' for name, cap in caps.items()]
    path.write_text("\n".join(tables))
    return path


@asynccontextmanager
async def open_theatre(
    folder: Path, *, live: frozenset[str], version: str
) -> AsyncIterator[Theatre]:
    """Build it, with a bot that listens. `live`: the apps that were deployed before."""
    apps = [
        DemoApp(name=name, behaviour="ok", hint="", commits=COMMITS, live=name in live)
        for name in app_names()
    ]
    async with open_simulators(
        manifest=manifest(), folder=folder, apps=apps, speed=SPEED, version=version
    ) as stage:
        stage.dokku.refs = AnyCommit(stage.forge)
        environ = {**stage.settings, "DEPLOYBOT_CONFIG": str(settings_file(folder))}
        theatre = Theatre(
            stage=stage,
            bot=BotProcess(environ | {"DEPLOYBOT_DRAIN_TIMEOUT": "0.3"}, folder),
            wall_at=datetime.now(UTC),
            monotonic_at=time.monotonic(),
        )
        stage.receiver.on_received.append(theatre.take_webhook)
        await theatre.start_bot()
        try:
            yield theatre
        finally:
            if theatre.bot.up:
                await theatre.stop_bot()
