"""Requests about locks: set, end or take over a lock, and get a message when an app is free."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from ulid import ULID

from bot.clock import Clock
from bot.deployments.app_names import AppNames, did_you_mean, no_longer_known
from bot.deployments.lock import ALL, Follower, Lock, Locked, Notice
from bot.deployments.locks.rules import (
    ENDED,
    LONGEST_REASON,
    RELEASED,
    TAKEN_OVER,
    covering,
    describe,
    in_force,
    is_same_person,
    lock_notice,
)
from bot.deployments.model import Actor, AppKey, AppPolicy, AuditEntry
from bot.deployments.ports import Catalog, Store
from bot.errors import Declined, DokkuError, StaleState
from bot.names import check_app, slash

EVERY_APP = "all"
CHANGED = "The lock was changed by someone else meanwhile."


class Guard(Protocol):
    """Who may do what; raises Declined, with who may."""

    async def check_deployer(self, policy: AppPolicy, actor: Actor) -> None:
        """May this person deploy the app?"""
        ...

    async def check_approver(self, policy: AppPolicy, actor: Actor) -> None:
        """May this person decide about what others asked for?"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LockAsk:
    """What someone asked for."""

    app: str
    """`all`: every app."""
    server: str | None = None
    lasts: timedelta | None = None
    reason: str = ""
    actor: Actor
    through: str
    channel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done: the lock as it is, or was; and the one before it."""

    lock: Lock
    former: Lock | None = None
    unchecked: bool = False
    """The server did not say whether it has the app."""


class LockService:
    """Handles requests about locks, whichever way they came in. A refusal is one sentence."""

    def __init__(
        self,
        *,
        store: Store,
        catalog: Catalog,
        clock: Clock,
        guard: Guard | None = None,
        names: AppNames | None = None,
        patience: timedelta = timedelta(seconds=0.5),
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._guard = guard
        self._clock = clock
        self._names = names
        self._patience = patience

    @property
    def _list(self) -> str:
        # A shell has no guard.
        words = "`deploybot locks`" if self._guard is None else slash("queue")
        return f"{words} lists the locks."

    async def held(self) -> Sequence[Lock]:
        """All locks in force."""
        return in_force((await self._store.locks.standing()).locks, self._clock.now())

    async def lock(self, ask: LockAsk) -> Change:
        """Set a lock, or change one's own. Locked: someone else holds it; Declined."""
        policy = self.policy(ask.app, ask.server)
        if self._guard is not None:
            await self._guard.check_deployer(policy, ask.actor)
        unchecked = await self._check_exists(policy)
        key = key_of(policy)
        stored = former = await self._stored(key)
        now = self._clock.now()
        notices: Sequence[Notice] = ()
        if former is not None and not in_force([former], now):
            # It has expired, but no replica has removed it yet: notify its channel here.
            notices = [lock_notice(ENDED, former, former.channel)] if former.channel else ()
            former = None
        elif former is not None and not is_same_person(former.holder, ask.actor):
            raise locked(former, key, policy.app, effect="It stays as it is.")
        lock = Lock(
            id=str(ULID.from_datetime(now)),
            key=key,
            app=policy.app,
            holder=ask.actor,
            reason=" ".join(ask.reason.split())[:LONGEST_REASON],
            since=now,
            until=None if ask.lasts is None else now + ask.lasts,
            channel=ask.channel,
        )
        audit = _audit("locked", ask.actor, ask.through, lock)
        await self._put(lock, stored, audit, notices)
        return Change(lock=lock, former=former, unchecked=unchecked)

    async def find(self, app: str, server: str | None) -> Lock:
        """The lock of an app; else the one on every app. Declined: it is not locked."""
        policy = self.policy(app, server)
        found = covering(await self.held(), key_of(policy))
        if app == EVERY_APP:
            found = [one for one in found if one.key == ALL]
        if not found:
            what = "No lock is on every app" if app == EVERY_APP else f"{policy.app} is not locked"
            raise Declined(f"{what}. {self._list}")
        return found[0]

    async def by_id(self, lock_id: str) -> Lock:
        """The lock that a button belongs to. Declined: it has ended or changed since."""
        found = [one for one in await self.held() if one.id == lock_id]
        if not found:
            raise Declined(f"That lock is not there any more. {self._list}")
        return found[0]

    async def unlock(self, lock: Lock, *, actor: Actor, through: str) -> Change:
        """End a lock. Approvers may end another user's; its holder is notified. Declined."""
        await self.check_may_end(lock, actor)
        audit = _audit("unlocked", actor, through, lock)
        try:
            await self._store.locks.remove(
                lock, audit=audit, notices=_tell_holder(RELEASED, lock, actor)
            )
        except StaleState as stale:
            raise Declined(f"{CHANGED} {self._list}") from stale
        return Change(lock=lock)

    async def take_over(self, lock: Lock, *, actor: Actor, through: str) -> Change:
        """Become the holder; reason and end stay. The former holder is notified. Declined."""
        await self.check_may_end(lock, actor)
        if is_same_person(lock.holder, actor):
            raise Declined("You already hold that lock.")
        now = self._clock.now()
        mine = replace(lock, id=str(ULID.from_datetime(now)), holder=actor, since=now)
        await self._put(
            mine,
            lock,
            _audit("lock_taken_over", actor, through, lock),
            _tell_holder(TAKEN_OVER, lock, actor),
        )
        return Change(lock=mine, former=lock)

    async def follow(self, key: AppKey, app: str, actor: Actor) -> None:
        """Tell the person, once, when they could deploy the app. StoreError."""
        now = self._clock.now()
        await self._store.locks.follow(Follower(key=key, app=app, user=actor.user, since=now))

    def policy(self, app: str, server: str | None) -> AppPolicy:
        """The rules of an app, or of every app. Declined."""
        if app != EVERY_APP:
            return self._catalog.policy(check_app(app), server)
        if server is not None:
            raise Declined("`all` is every app on every server, so it takes no server.")
        listed = self._catalog.listed()
        # Who may deploy anything may also stop everything: it is shown to all, and undone easily.
        open_to_all = not listed or any(not one.deployers for one in listed)
        return AppPolicy(
            server="",
            app=EVERY_APP,
            dokku_app="",
            deployers=frozenset()
            if open_to_all
            else frozenset().union(*(one.deployers for one in listed)),
            approvers=frozenset().union(*(one.approvers for one in listed)),
        )

    async def _stored(self, key: AppKey) -> Lock | None:
        standing = await self._store.locks.standing()
        return next((one for one in standing.locks if one.key == key), None)

    async def _put(
        self, lock: Lock, former: Lock | None, audit: AuditEntry, notices: Sequence[Notice] = ()
    ) -> None:
        try:
            await self._store.locks.put(lock, instead_of=former, audit=audit, notices=notices)
        except StaleState as stale:
            raise Declined(f"{CHANGED} {self._list}") from stale

    async def check_may_end(self, lock: Lock, actor: Actor) -> None:
        """Declined: the person neither holds the lock nor may end those of others."""
        if self._guard is None or is_same_person(lock.holder, actor):
            return
        if lock.key == ALL:
            policy: AppPolicy | None = self.policy(EVERY_APP, None)
        else:
            policy = self._catalog.rules_of(lock.key, lock.app)
        if policy is None:
            gone = no_longer_known(self._catalog, lock.app, lock.key.server)
            raise Declined(
                f"{gone}. The holder may end the lock, or an operator with `deploybot unlock`."
            )
        await self._guard.check_approver(policy, actor)

    async def _check_exists(self, policy: AppPolicy) -> bool:
        """Whether it stays unknown. Declined: a lock on a misspelled name would lock nothing."""
        if policy.app == EVERY_APP or self._names is None:
            return False
        asked = asyncio.ensure_future(self._names.names(policy.server))
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait({asked}, timeout=self._patience.total_seconds())
        if not done or isinstance(asked.exception(), DokkuError):
            return policy.dokku_app not in self._names.cached(policy.server)
        if policy.dokku_app in asked.result():
            return False
        raise Declined(
            f"{self._names.no_app(policy.app, policy.server)}, so nothing was locked."
            f"{did_you_mean(policy.app, asked.result())}"
        )


def locked(lock: Lock, key: AppKey, app: str, *, effect: str) -> Locked:
    """The refusal of what someone else's lock stops."""
    return Locked(describe(lock), lock, key, app, effect=effect)


def key_of(policy: AppPolicy) -> AppKey:
    """The key of a lock on the app."""
    return AppKey(server=policy.server, dokku_app=policy.dokku_app)


def _audit(action: str, actor: Actor, through: str, lock: Lock) -> AuditEntry:
    detail = {"app": lock.app, "server": lock.key.server, "reason": lock.reason}
    if lock.until is not None:
        detail["until"] = lock.until.isoformat(timespec="seconds")
    if action != "locked":
        detail["holder"] = lock.holder.name or lock.holder.user
    return AuditEntry(
        actor=actor,
        through=through,
        action=action,
        detail={key: value for key, value in detail.items() if value},
    )


def _tell_holder(kind: str, lock: Lock, actor: Actor) -> Sequence[Notice]:
    """A DM for the former holder, if that is someone else, and someone whom Slack knows."""
    if is_same_person(lock.holder, actor) or lock.holder.team is None:
        return ()
    return (lock_notice(kind, lock, lock.holder.user, by=actor),)
