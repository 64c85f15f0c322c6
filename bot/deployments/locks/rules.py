"""What a lock stops, and its words. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from bot.deployments.lock import ALL, Follower, Lock, Notice
from bot.deployments.model import Actor, AppKey, Deployment, Phase
from bot.deployments.progress import Blocker
from bot.deployments.states import ENDINGS
from bot.names import quoted, slash

ENDED, RELEASED, TAKEN_OVER, FREE = "lock.ended", "lock.released", "lock.taken_over", "app.free"
"""Kinds of notices."""
LONGEST_REASON = 200
LONGEST = timedelta(days=366)
_LASTS = re.compile(
    r"(\d{1,9}(?:\.\d{1,3})?)\s?(?:(s|m|h|d)|(?:(s)ec(?:ond)?|(m)in(?:ute)?|(h)(?:ou)?r|(d)ay)s?)"
)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def read_lasts(text: str) -> timedelta | None:
    """How long a lock lasts: `90s`, `30m`, `2h`, `1d`, `2 hours`. None: not a duration."""
    found = _LASTS.fullmatch(text.strip().lower())
    if found is None:
        return None
    unit = next(filter(None, found.groups()[1:]))
    lasts = timedelta(seconds=float(found[1]) * _UNITS[unit])
    return lasts if timedelta(0) < lasts <= LONGEST else None


def in_force(locks: Collection[Lock], now: datetime) -> Sequence[Lock]:
    """Those that have not ended."""
    return [one for one in locks if one.until is None or now < one.until]


def covering(locks: Collection[Lock], key: AppKey) -> Sequence[Lock]:
    """Those on an app: its own lock first, then the one on every app."""
    found = [one for one in locks if one.key in {key, ALL}]
    return sorted(found, key=lambda one: one.key == ALL)


def stops(lock: Lock, actor: Actor) -> bool:
    """Whether it stops this person: it stops all but its holder."""
    return not is_same_person(lock.holder, actor)


def is_same_person(one: Actor, other: Actor) -> bool:
    """By their Slack ids; operators, who have none, by the user names of their shells."""
    if one.team is None and other.team is None:
        return (one.user, one.name) == (other.user, other.name)
    return one.user == other.user


def stopping(locks: Collection[Lock], key: AppKey, actor: Actor, now: datetime) -> Lock | None:
    """The lock that keeps this person from deploying the app."""
    held = covering(in_force(locks, now), key)
    return next((one for one in held if stops(one, actor)), None)


def stopped(
    waiting: Collection[Deployment], locks: Collection[Lock], now: datetime
) -> Mapping[str, Lock]:
    """Queued deployments that a lock stops: id -> the lock."""
    found = {
        one.id: stopping(locks, one.target, one.requested_by, now)
        for one in waiting
        if one.phase is Phase.QUEUED
    }
    return {identity: lock for identity, lock in found.items() if lock is not None}


def free_for(
    follower: Follower, locks: Collection[Lock], unfinished: Collection[Deployment], now: datetime
) -> bool:
    """Whether the follower could deploy now: nothing runs, is queued, or is locked by another.

    What waits for an approval is in nobody's way.
    """
    passes = {*ENDINGS, Phase.AWAITING_APPROVAL}
    busy = any(one.target == follower.key and one.phase not in passes for one in unfinished)
    held = covering(in_force(locks, now), follower.key)
    return not busy and all(one.holder.user == follower.user for one in held)


def blocker_of(lock: Lock) -> Blocker:
    """What a deployment waits for that a lock stops."""
    word = "all" if lock.key == ALL else lock.app
    return Blocker(
        what=f"the lock of {who(lock.holder)} to end",
        advice=f"Its holder, or who may end it, uses {slash(f'unlock {word}')}.",
        by=lock.holder,
        until=lock.until,
        why=lock.reason,
    )


def describe(lock: Lock) -> str:
    """One sentence: what is locked, by whom, until when, why. Harmless as mrkdwn too."""
    what = "Every app is" if lock.key == ALL else f"{lock.app} on {lock.key.server} is"
    end = f"until {lock.until:%Y-%m-%d %H:%M} UTC" if lock.until else "until someone unlocks it"
    why = f": {quoted(lock.reason)}" if lock.reason else ""
    return f"{what} locked by {quoted(who(lock.holder))} {end}{why}."


def who(actor: Actor) -> str:
    """A person's name; their id where the name is not known."""
    return actor.name or actor.user


def subject_of(key: AppKey) -> str:
    """The name under which the audit rows of a lock are kept."""
    return "lock:all" if key == ALL else f"lock:{key.server}/{key.dokku_app}"


def lock_notice(kind: str, lock: Lock, to: str, *, by: Actor | None = None) -> Notice:
    """Tell a channel or a person what happened to a lock."""
    body = {
        "app": lock.app,
        "server": lock.key.server,
        "holder": asdict(lock.holder),
        "reason": lock.reason,
        "by": by and asdict(by),
    }
    return Notice(to=to, kind=kind, body=body)


def free_notice(follower: Follower) -> Notice:
    """Tell a follower that the app is free."""
    body = {"app": follower.app, "server": follower.key.server}
    return Notice(to=follower.user, kind=FREE, body=body)
