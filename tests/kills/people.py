"""People who use the bot while it dies again and again: random, but the same for the same seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from bot.simulators.slack.model import Message, NotPossible
from tests.kills.stories import APP, GUARDED
from tests.kills.world import Lives

FAILING = "shop"
APPS = (APP, GUARDED, FAILING)
REFS = ("main", "feature/login", "v1.0")
PEOPLE = ("ada", "grace")
PAUSE_S = 0.4
"""The longest between two acts."""


class People:
    """Everyone in the channel. A command that finds no bot fails, as it does in Slack."""

    def __init__(self, lives: Lives, chance: random.Random) -> None:
        self._lives = lives
        self._world = lives.world
        self._chance = chance
        acts: Sequence[tuple[Callable[[], Awaitable[object]], int]] = (
            (self._deploy, 10),
            (self._decide, 6),
            (self._cancel, 4),
            (self._click, 4),
            (self._lock, 1),
            (self._unlock, 2),
            (self._look_home, 2),
            (self._ask, 2),
        )
        self._acts = [act for act, _ in acts]
        self._weights = [weight for _, weight in acts]

    async def act_until(self, over: asyncio.Event) -> None:
        """One act after the other."""
        while not over.is_set():
            (act,) = self._chance.choices(self._acts, weights=self._weights)
            # A button may vanish between the look and the click.
            with suppress(NotPossible):
                await act()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0, PAUSE_S)):
                    await over.wait()

    async def unlock_all(self) -> None:
        """Everybody ends their locks."""
        for user in PEOPLE:
            for app in (*APPS, "all"):
                await self._say(f"unlock {app}", user=user)

    async def cancel(self, deployment_id: str) -> None:
        """Cancel what waits for a decision."""
        await self._say(f"cancel {deployment_id}", user="grace")

    async def _say(self, text: str, user: str | None = None) -> None:
        await self._world.deploy(text, user=user or self._chance.choice(PEOPLE))

    async def _press(self, message: Message, action: str, user: str) -> None:
        with suppress(NotPossible):
            person = self._world.slack.user(user)
            await self._world.slack.click(person, message, action_id=action)

    async def _deploy(self) -> None:
        waiting = [one for one in self._world.messages if "deployment_cancel" in one.buttons]
        if len(waiting) < len(APPS):
            await self._say(f"{self._chance.choice(APPS)} {self._chance.choice(REFS)}")

    async def _decide(self) -> None:
        verb = "approve" if self._chance.random() < 0.7 else "reject"
        if any("deployment_approve" in one.buttons for one in self._world.messages):
            await self._say(f"{verb} {GUARDED}")

    async def _cancel(self) -> None:
        await self._say(f"cancel {self._chance.choice(APPS)}")

    async def _click(self) -> None:
        found = [one for one in self._world.messages if one.buttons]
        if found:
            message = self._chance.choice(found)
            actions = sorted({"deployment_cancel", "deployment_log"} & set(message.buttons))
            if actions:
                await self._press(message, self._chance.choice(actions), "ada")

    async def _lock(self) -> None:
        app = self._chance.choice((*APPS, "all"))
        await self._say(f"lock {app} for {self._chance.choice(('1m', '2m'))}")

    async def _unlock(self) -> None:
        user = self._chance.choice(PEOPLE)
        await self._say(f"unlock {self._chance.choice((*APPS, 'all'))}", user=user)

    async def _look_home(self) -> None:
        await self._world.slack.open_home(self._world.slack.user(self._chance.choice(PEOPLE)))

    async def _ask(self) -> None:
        await self._say(self._chance.choice(("status", "queue", f"history {APP}", "help")))
