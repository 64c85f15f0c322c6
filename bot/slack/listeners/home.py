"""The Home tab: shown when someone opens it, and refreshed for a while after that.

Nothing else depends on it: an error costs a version of the tab, and the next look makes another.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from bot.deployments.lock import Lock
from bot.deployments.model import Actor, Deployment
from bot.deployments.states import ENDINGS
from bot.errors import BotError, Declined, NotKnown, SlackError
from bot.slack.limits import HomeLimits
from bot.slack.listeners.desk import Desk
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.listeners.modals import open_form
from bot.slack.listeners.payloads import Asker, Body, asker_of, part, word, write_meta
from bot.slack.refusals import PASSING, RateLimited
from bot.slack.render.blocks import Json
from bot.slack.render.home import RECENT, Home, HomeLock, Known, home_view, sentence_view

_MINUTE_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _OpenTab:
    """One person's tab."""

    asker: Asker
    opened_at: float
    looked_at: float = float("-inf")
    """When its turn was last."""
    shown: str = ""
    """A hash of what it shows; empty: nothing yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Board:
    """What all of them are shown."""

    unfinished: Sequence[Known]
    locks: Sequence[Lock]
    ended: Sequence[Deployment]


class HomeTabs:
    """The tabs that were opened lately in this process: at most `HomeLimits.people`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._limits: HomeLimits = desk.limits.home
        self.tabs: OrderedDict[str, _OpenTab] = OrderedDict()
        """By user, who opened it last at the end; empty: nobody may be looking."""
        self._paused_until = float("-inf")

    async def opened(self, _desk: Desk, body: Body) -> None:
        """Someone opened the app: show the tab now, and keep it up to date."""
        if word(part(body, "event"), "tab") != "home":
            return
        asker = asker_of(body)
        user = asker.actor.user
        tab = _OpenTab(asker=asker, opened_at=self._now())
        self.tabs[user] = tab
        self.tabs.move_to_end(user)
        while len(self.tabs) > self._limits.people:
            self.tabs.popitem(last=False)
        if self._now() < self._paused_until:
            return  # the next look shows it
        try:
            board = await self._read()
        except BotError as error:
            log.warning("home_not_read", error=type(error).__name__)
            await self._publish(tab, sentence_view(str(error)))
        else:
            await self._show(tab, board)

    async def refresh(self) -> None:
        """Show what has changed to those whose turn it is. Called regularly; never raises."""
        now = self._now()
        for user, tab in list(self.tabs.items()):
            if now - tab.opened_at > self._limits.open_for.total_seconds():
                del self.tabs[user]
        if now < self._paused_until:
            return
        due = [tab for tab in self.tabs.values() if now - tab.looked_at >= self._spacing()]
        if not due:
            return
        try:
            board = await self._read()
            for tab in due:
                if self._now() >= self._paused_until:
                    await self._show(tab, board)
        except BotError as error:
            log.warning("home_not_refreshed", error=type(error).__name__)
        except Exception as error:
            # The scheduler would only log it; the other regular jobs have nothing to do with it.
            log.exception("home_not_refreshed", error=type(error).__name__)

    def _now(self) -> float:
        return self._desk.clock.monotonic()

    def _spacing(self) -> float:
        """Between two versions of one tab: longer while many are open."""
        shared = _MINUTE_S * len(self.tabs) / self._limits.per_minute
        return max(self._limits.spacing.total_seconds(), shared)

    async def _read(self) -> _Board:
        queries = self._desk.queries
        rows = await queries.store.unfinished()
        known = [queries.snapshot(one) for one in rows]
        newest = await queries.store.recent(limit=RECENT + len(rows))
        return _Board(
            # One may have ended in the cache, but not in what was read.
            unfinished=[one for one in known if one[0].phase not in ENDINGS],
            locks=await self._desk.service.locks.held(),
            ended=[one for one in newest if one.phase in ENDINGS][:RECENT],
        )

    async def _show(self, tab: _OpenTab, board: _Board) -> None:
        """Publish it if it looks different now. People without access see one sentence."""
        user = tab.asker.actor.user
        async with self._desk.repeats.hold(f"home {user}"):
            if self.tabs.get(user) is not tab:
                return  # opened again meanwhile, which shows something newer
            tab.looked_at = self._now()
            try:
                # Not `Desk.admit`: the tab is shown to the end, and nothing is asked for.
                actor = await self._desk.service.access.admit(tab.asker.actor)
            except Declined as declined:
                if not isinstance(declined, NotKnown):
                    self._forget(tab)
                await self._publish(tab, sentence_view(str(declined)))
                return
            home = Home(
                unfinished=board.unfinished,
                locks=[
                    HomeLock(lock=one, may_end=await self._may_end(one, actor))
                    for one in board.locks
                ],
                ended=board.ended,
                name_server=self._desk.names_server,
            )
            # Where the bot writes to this person: a click in the tab comes from no conversation.
            metadata = write_meta(dm=tab.asker.channel)
            view = home_view(home, buttons=MESSAGE_BUTTONS, metadata=metadata)
            await self._publish(tab, view)

    async def _may_end(self, lock: Lock, actor: Actor) -> bool:
        try:
            await self._desk.service.locks.check_may_end(lock, actor)
        except Declined:
            return False
        return True

    async def _publish(self, tab: _OpenTab, view: Json) -> None:
        digest = hashlib.sha256(json.dumps(view).encode()).hexdigest()
        if digest == tab.shown:
            return
        try:
            await self._desk.client.publish_home(tab.asker.actor.user, view)
        except RateLimited as error:
            self._pause(error.retry_after)
        except SlackError as error:
            log.warning("home_not_shown", error=error.code)
            if error.code in PASSING:
                self._pause(self._limits.pause)
            else:
                self._forget(tab)
        else:
            tab.shown = digest

    def _pause(self, wait: timedelta) -> None:
        self._paused_until = max(self._paused_until, self._now() + wait.total_seconds())

    def _forget(self, tab: _OpenTab) -> None:
        user = tab.asker.actor.user
        if self.tabs.get(user) is tab:
            del self.tabs[user]


async def open_deploy_form(desk: Desk, body: Body) -> None:
    """`Deploy`: the same form as `/deploy`; its deployment is posted as `modals` says."""
    asker = asker_of(body)
    await desk.admit(asker)
    await open_form(desk, asker, from_home=True)
