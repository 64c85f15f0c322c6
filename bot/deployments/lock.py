"""What people agree on beside deployments: locks, and who waits for an app to be free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bot.deployments.model import Actor, AppKey
from bot.errors import Declined, StaleState

ALL = AppKey(server="", dokku_app="")
"""The key of a lock on every app of every server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Only its holder may deploy what it covers. There is at most one for each key."""

    id: str
    """ULID. Whoever changes or takes over a lock makes a new one."""
    key: AppKey
    app: str
    """The name people use; `all` for every app."""
    holder: Actor
    reason: str = ""
    """What the holder typed; foreign text."""
    since: datetime
    until: datetime | None = None
    """None: until someone unlocks it."""
    channel: str = ""
    """The Slack channel where it was set; empty for the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A person who wants one message when an app is free."""

    key: AppKey
    app: str
    user: str
    """Slack user id."""
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All locks, those that have ended and were not removed yet too, and all followers."""

    locks: Sequence[Lock] = ()
    followers: Sequence[Follower] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message that the bot owes a person or a channel; kept until it is delivered."""

    to: str
    """A Slack channel or user."""
    kind: str
    body: Mapping[str, object] = field(default_factory=dict)
    """JSON."""


class AppLocked(StaleState):
    """The store refused a request or a start: someone else holds a lock on the app."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        super().__init__(f"{lock.app} is locked by {lock.holder.name or lock.holder.user}")


class Locked(Declined):
    """Someone else's lock is in the way; Slack offers to end it, where that is allowed."""

    def __init__(self, sentence: str, lock: Lock, key: AppKey, app: str, *, effect: str) -> None:
        self.effect = effect
        """What that means for what was asked: a sentence, also the end of the whole one."""
        self.lock = lock
        self.key = key
        """The app that it stops; the lock may be on every app."""
        self.app = app
        super().__init__(f"{sentence} {effect}")
