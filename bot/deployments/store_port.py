"""Where deployments are kept: the store, in the words of the domain. Adapters implement it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from bot.deployments.model import Actor, AppKey, AuditEntry, Deployment, Event, MessagePlace, Phase
from bot.deployments.states import Who


class Store(Protocol):
    """The durable truth. Every method is one transaction."""

    async def create(self, deployment: Deployment, audit: AuditEntry) -> None:
        """Insert. Duplicate: the request key is known (deployment_id of the first one)."""
        ...

    async def get(self, deployment_id: str) -> Deployment | None:
        """By full id."""
        ...

    async def save(
        self,
        deployment: Deployment,
        *,
        was: Phase,
        by: Who,
        audit: AuditEntry | None = None,
        event: Event | None = None,
    ) -> Deployment:
        """Write all columns but the wish and the message place; return the fresh row.

        `was` is the phase the caller believed: StaleState when it is another by now, or when
        the table of moves forbids it for `by`. With `by=OWNER` the row's fence must be
        `deployment.fence` and its lease must not have been taken over: else LeaseLost.
        `was == deployment.phase` records facts without a move. A phase change needs an audit.
        StaleState also when another deployment of the same app is running (the partial
        unique index); ServerFull when as many run on its server as the settings allow.
        Audit row and outbox rows go into the same transaction.
        """
        ...

    async def correct(
        self, deployment: Deployment, *, audit: AuditEntry, event: Event | None
    ) -> Deployment:
        """What is learnt after an end: the one write that may change an ended row."""
        ...

    async def unproven(self, since: datetime) -> Sequence[Deployment]:
        """Started ones that ended after `since` without a proof, and are still looked at."""
        ...

    async def lately_succeeded(self, since: datetime) -> Sequence[Deployment]:
        """Ended `succeeded` after `since`, with live `new` and no crash told of."""
        ...

    async def newer(self, deployment: Deployment) -> Sequence[Deployment]:
        """Those of the same app that were asked for later, oldest first."""
        ...

    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        """Remember where the live message stands."""
        ...

    async def withdraw(self, deployment_id: str, audit: AuditEntry) -> None:
        """Delete a row that nothing was done for (its message could not be posted).

        The audit row stays; the request key is free again.
        """
        ...

    async def ask_cancel(
        self, deployment_id: str, actor: Actor, at: datetime, *, through: str = "service"
    ) -> Deployment:
        """Write the wish, once; a second wish changes nothing. Audited, as asked `through`."""
        ...

    async def unfinished(self) -> Sequence[Deployment]:
        """All that have not ended, oldest first."""
        ...

    async def started(
        self, key: AppKey, *, commit: str = "", limit: int = 50
    ) -> Sequence[Deployment]:
        """Those of an app whose command was started, the last start first.

        `commit`: only of commits (hex) that begin so.
        """
        ...

    async def recent(
        self, *, app: str | None = None, server: str | None = None, limit: int = 20
    ) -> Sequence[Deployment]:
        """Newest first."""
        ...

    async def by_message(self, channel: str, ts: str) -> Deployment | None:
        """The deployment whose live message stands there."""
        ...

    async def proven_live(
        self, key: AppKey, *, before: Deployment | None = None, other_than: str | None = None
    ) -> str | None:
        """Newest SHA with an end `succeeded`, live `new`.

        Created before `before` and not the SHA `other_than`, where given.
        """
        ...

    async def good_durations(self, key: AppKey, limit: int = 20) -> Sequence[timedelta]:
        """Durations of the newest deployments that ended `succeeded`, live `new`."""
        ...

    async def audit_of(self, deployment_id: str) -> Sequence[tuple[datetime, AuditEntry]]:
        """Oldest first."""
        ...

    async def claim(self, deployment_id: str, replica: str, lease: timedelta) -> int | None:
        """Take the lease if nobody living holds it; the new fencing number, or None."""
        ...

    async def renew(self, replica: str, lease: timedelta, among: Collection[str]) -> frozenset[str]:
        """Prolong this replica's leases of these deployments; the ids of those it still holds.

        No others: a lease whose claim was made, but never heard of, must run out.
        """
        ...

    async def idle(self, deployment_id: str) -> timedelta:
        """How long ago its last owner gave the lease back or it ran out; 0 while it holds."""
        ...

    async def release(self, deployment_id: str, fence: int) -> None:
        """Give a lease back. Nothing happens when it is no longer ours."""
        ...

    async def append_log(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        """Append cleaned, redacted lines. Keeps the first 1 MB and the last 15 MB."""
        ...

    async def replace_log(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        """Put Dokku's own full text in place of what the lost line gave us."""
        ...

    async def read_log(self, deployment_id: str) -> str:
        """The whole text kept, with an honest marker where the middle was dropped."""
        ...
