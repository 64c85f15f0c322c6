"""What is told to the outside: rows of the outbox, and who plans and delivers them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from bot.deployments.model import Deployment, Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One thing to tell the outside, at least once, with one id on each try."""

    id: str
    """ULID; the webhook-id."""
    deployment_id: str
    lane: str
    """Who is told: `slack`, or `webhook_lane(url)`. Order is kept per lane and deployment."""
    kind: str
    """The event's type."""
    body: Mapping[str, object]
    """JSON. Without secrets."""
    tries: int = 0
    created_at: datetime | None = None
    next_at: datetime | None = None
    last_error: str | None = None
    state: str = "waiting"
    """waiting, delivered, given_up."""


WEBHOOKS = "webhook:"
"""Lanes of endpoints begin so."""


def webhook_lane(url: str) -> str:
    """The lane of an endpoint: its host, and a digest, for the whole address may be a secret."""
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    return f"{WEBHOOKS}{host}/{hashlib.sha256(url.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Somebody who wants to be told by webhook (product contract: Webhooks)."""

    url: str = field(repr=False)
    """Slack's holds a secret."""
    secret: str = field(repr=False)
    """As configured: `whsec_` and base64, or any text. Never logged, stored or printed."""
    events: frozenset[str] = frozenset({"deployment.finished", "deployment.corrected"})
    apps: frozenset[str] | None = None
    """None: all apps."""
    format: str = "standard"
    """`standard` (Standard Webhooks JSON) or `slack` (an incoming-webhook message)."""

    @property
    def lane(self) -> str:
        """Its lane in the outbox."""
        return webhook_lane(self.url)

    def wants(self, event: str, app: str) -> bool:
        """Whether it asked for this event of this app."""
        return event in self.events and (self.apps is None or app in self.apps)


class Planner(Protocol):
    """Turns an event into outbox rows; pure, called inside the store's transaction."""

    def __call__(self, deployment: Deployment, event: Event) -> Sequence[Outgoing]:
        """One row per party that wants to hear of it."""
        ...


class Outbox(Protocol):
    """Things to tell, kept in the database until told or given up."""

    async def take(self, lane: str, *, limit: int, hold: timedelta) -> Sequence[Outgoing]:
        """Due rows of a lane (exact name), the oldest undelivered one of each deployment only.

        They are invisible to others for `hold`, so that two replicas do not send one twice.
        """
        ...

    async def delivered(self, outgoing_id: str) -> None:
        """Told: done."""
        ...

    async def retry(self, outgoing_id: str, *, at: datetime, error: str) -> None:
        """Not told; try again at `at`. `tries` goes up by one. `error` is redacted."""
        ...

    async def give_up(self, outgoing_id: str, *, error: str) -> None:
        """Never told; kept for `webhooks list` and `replay`."""
        ...

    async def outgoing(self, *, limit: int = 50) -> Sequence[Outgoing]:
        """Newest first, webhook lanes only, for operators."""
        ...

    async def replay(self, outgoing_id: str) -> bool:
        """Make a row due again, with its tries forgotten. False: no such row."""
        ...

    async def turn_off(self, lane: str, reason: str) -> None:
        """The endpoint said 410: nothing is taken for the lane until `turn_on`."""
        ...

    async def turn_on(self, lane: str) -> bool:
        """Deliver again. False: it was not off."""
        ...

    async def hide_addresses(self) -> None:
        """Give lanes that are named by a whole address their present name.

        Earlier releases named them so, and may write some while both run.
        """
        ...
