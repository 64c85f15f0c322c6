"""The troubles that a visitor of the demo page can switch on, each until its own end.

A trouble is a coroutine that runs while the trouble is on; switching it off cancels it. All act
through the test controls of the simulators, so that the bot meets what the scenarios test.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bot.simulators.dokku.app import App
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Nowhere
from bot.simulators.dokku.sshd import DokkuServer
from bot.simulators.forge import FEATURE_BRANCH, Forge
from bot.simulators.slack.model import NotPossible
from bot.simulators.slack.simulator import SlackSimulator

CUT_AT = "build step 3/"
SLACK_PAUSE_S = 15
EDIT = "chat.update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One trouble."""

    name: str
    title: str
    text: str
    """One sentence: what it does, and what ends it."""
    lasts: Callable[[], Coroutine[Any, Any, None]]
    """Runs while the trouble is on, and cleans up when it is cancelled."""
    hint: str
    """A command that shows it."""


class Troubles:
    """Switches troubles on and off.

    Args:
        app: the app that fails, and that someone else pushes to.
        slack: Slack, and the page that shows the troubles.
        dokku: the server.
        server: SSH in front of it.
        forge: where the commit comes from that someone else pushes.
    """

    def __init__(
        self,
        *,
        app: str,
        slack: SlackSimulator,
        dokku: DokkuHost,
        server: DokkuServer,
        forge: Forge,
    ) -> None:
        self._name = app
        self._slack = slack
        self._dokku = dokku
        self._server = server
        self._forge = forge
        self._on: dict[str, asyncio.Task[None]] = {}
        self._troubles = {one.name: one for one in self._table()}

    def _table(self) -> Sequence[Trouble]:
        deploy = f"/deploy {self._name} main"
        return (
            Trouble(
                name="build_fails",
                title="The build fails",
                text=f"Makes the next build of {self._name} fail in one of its steps; ends with "
                "that build.",
                lasts=partial(self._behave, "build_fails"),
                hint=deploy,
            ),
            Trouble(
                name="check_fails",
                title="The health check fails",
                text=f"Makes the next release of {self._name} answer its health check with an "
                "error; ends when its build begins.",
                lasts=partial(self._behave, "checks_fail"),
                hint=deploy,
            ),
            Trouble(
                name="crash_loop",
                title="The new release crashes",
                text=f"Makes each process of the next release of {self._name} crash a second after "
                "every start; ends when its build begins, the crashes with the next deployment.",
                lasts=partial(self._behave, "crash_1s"),
                hint=deploy,
            ),
            Trouble(
                name="connection_cut",
                title="The connection is cut",
                text="Cuts the bot's connections to Dokku during a build, which kills the "
                "deployment there; ends at once, with a build that runs now or with the next one.",
                lasts=self._cut,
                hint=deploy,
            ),
            Trouble(
                name="dokku_away",
                title="Dokku is away",
                text="Makes the server refuse every connection, so that a new deployment fails "
                "after a minute; ends when you switch it off.",
                lasts=self._away,
                hint=deploy,
            ),
            Trouble(
                name="slack_429",
                title="Slack limits edits",
                text="Answers the next edit of a message with 429, so that messages stand still; "
                f"ends {SLACK_PAUSE_S} seconds after that, and only the newest state follows.",
                lasts=self._limit,
                hint=deploy,
            ),
            Trouble(
                name="outside_push",
                title="Someone else pushes",
                text=f"Runs another user's git push of {self._name}, behind which deployments "
                "wait; ends with that push.",
                lasts=self._push,
                hint=deploy,
            ),
        )

    def shown(self) -> list[dict[str, Any]]:
        """Return all troubles for the page."""
        return [
            {
                "name": one.name,
                "title": one.title,
                "text": one.text,
                "hint": one.hint,
                "on": one.name in self._on,
            }
            for one in self._troubles.values()
        ]

    async def switch(self, name: str, *, on: bool) -> None:
        """Switch one on or off. Raises NotPossible if it cannot be now, KeyError without a name."""
        trouble = self._troubles[name]
        task = self._on.get(name)
        if on and task is None:
            if name == "outside_push" and self._app.runs:
                raise NotPossible(
                    f"{self._name} is being deployed, and Dokku would refuse the push. "
                    "Try again when that has ended."
                )
            # A callback: a task that is cancelled before its first step runs no `finally`.
            task = self._on[name] = asyncio.create_task(trouble.lasts())
            task.add_done_callback(lambda _task: self._ended(name))
            self._slack.notify_page()
            await asyncio.sleep(0)  # it has begun when the click is answered
        elif not on and task is not None:
            await _cancel(task)

    async def aclose(self) -> None:
        """Switch everything off."""
        for task in list(self._on.values()):
            await _cancel(task)

    def _ended(self, name: str) -> None:
        del self._on[name]
        self._slack.notify_page()

    @property
    def _app(self) -> App:
        return self._dokku.apps[self._name]

    async def _until(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            await self._dokku.changed()

    async def _behave(self, behaviour: str) -> None:
        app = self._app
        app.next_outcome = behaviour
        self._dokku.notify()
        try:
            await self._until(lambda: app.next_outcome != behaviour)
        finally:
            if app.next_outcome == behaviour:
                app.next_outcome = None

    async def _cut(self) -> None:
        apps = list(self._dokku.apps.values())
        try:
            if not any(map(_builds_for_the_bot, apps)):
                for app in apps:
                    self._dokku.hold_for_test(app.name, at=CUT_AT, too=True)
                await self._until(lambda: any(self._dokku.holding(app.name) for app in apps))
            await self._server.drop_connections_for_test()
        finally:
            for app in apps:
                self._dokku.release_for_test(app.name, at=CUT_AT)

    async def _away(self) -> None:
        await self._server.refuse_connections_for_test()
        try:
            await self._server.drop_connections_for_test()
            await asyncio.Event().wait()
        finally:
            await self._server.accept_connections_for_test()

    async def _limit(self) -> None:
        calls = self._slack.calls
        before = len(calls)
        self._slack.rate_limit_for_test(EDIT, SLACK_PAUSE_S)
        changes = self._slack.workspace.changes
        try:
            while not any(one.outcome == "ratelimited" for one in calls[before:]):
                await changes.wait_beyond(len(changes.entries))
            await asyncio.sleep(SLACK_PAUSE_S)
        finally:
            self._slack.clear_faults_for_test()

    async def _push(self) -> None:
        sha = self._forge.sha(self._name, FEATURE_BRANCH)
        push = self._dokku.outside_push_for_test(self._name, sha)
        try:
            await asyncio.wait({push})
        finally:
            if not push.done():
                self._dokku.kill_dokku_for_test(self._name)


def _builds_for_the_bot(app: App) -> bool:
    """Whether a build of this app runs whose output the bot reads."""
    return app.lock_holder is not None and not isinstance(app.lock_holder.output, Nowhere)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a trouble, and wait until it has cleaned up."""
    task.cancel()
    await asyncio.wait({task})
