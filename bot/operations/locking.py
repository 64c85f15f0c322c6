"""Locks in a shell: lock, unlock, locks."""

from collections.abc import Sequence

from bot.clock import SystemClock
from bot.config.loading import load_settings
from bot.deployments.lock import ALL, Lock
from bot.deployments.locks.rules import describe, read_lasts
from bot.deployments.locks.service import EVERY_APP, LockAsk, LockService
from bot.deployments.ports import Store
from bot.errors import ConfigError, Declined
from bot.operations.records import operator
from bot.webhooks.payload import rfc3339


def read(name: str, lasts: str | None, reason: str, server: str | None) -> LockAsk:
    """The arguments of `deploybot lock`. ConfigError: a duration that is none."""
    span = None if lasts is None else read_lasts(lasts)
    if lasts is not None and span is None:
        raise ConfigError("--for", "command line", "not a duration", "Write e.g. 30m, 2h or 1d.")
    return LockAsk(
        app=name, server=server, lasts=span, reason=reason, actor=operator(), through="cli"
    )


async def lock(store: Store, ask: LockAsk) -> str:
    """Set a lock. Returns the sentence to print. Declined."""
    done = await _service(store).lock(ask)
    said = describe(done.lock)
    if done.lock.key == ALL or await store.started(done.lock.key, limit=1):
        return said
    return f"{said} It has never been deployed: check the name."


async def unlock(store: Store, name: str, server: str | None) -> str:
    """End a lock. Returns the sentence to print. Declined."""
    service = _service(store)
    found = await service.find(name, server)
    if found.key == ALL and name != EVERY_APP:
        raise Declined(
            f"{name} itself is not locked. {describe(found)} To end that: deploybot unlock all"
        )
    await service.unlock(found, actor=operator(), through="cli")
    what = "Every app" if found.key == ALL else f"{found.app} on {found.key.server}"
    return f"{what} is unlocked."


async def held(store: Store) -> Sequence[Lock]:
    """All locks in force."""
    return await _service(store).held()


def as_json(one: Lock) -> dict[str, object]:
    """A lock with stable fields; an empty server means every app."""
    return {
        "app": one.app,
        "server": one.key.server or None,
        "holder": {"user": one.holder.user, "team": one.holder.team, "name": one.holder.name},
        "reason": one.reason or None,
        "since": rfc3339(one.since),
        "until": rfc3339(one.until) if one.until else None,
    }


def _service(store: Store) -> LockService:
    """Without a guard: who has a shell on the bot's host may do everything."""
    return LockService(
        store=store,
        catalog=load_settings(complete=False).catalog(),
        clock=SystemClock(),
    )
