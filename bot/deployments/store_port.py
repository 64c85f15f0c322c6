"""Where deployments are kept: the store's port, in the words of the domain. Adapters implement it.

Every method is one transaction.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from bot.deployments.model import Actor, AppKey, AuditEntry, Deployment, Event, MessagePlace, Phase
from bot.deployments.states import Who


class Leases(Protocol):
    """Which replica owns a deployment. A claim that outlives its lease may be taken over."""

    async def claim(self, deployment_id: str, replica: str, lease: timedelta) -> int | None:
        """Take the lease unless a living replica has it; the new fencing number, or None."""
        ...

    async def renew(self, replica: str, lease: timedelta, among: Collection[str]) -> frozenset[str]:
        """Prolong this replica's leases of these deployments; the ids of those it still has.

        No others: a lease whose claim was made, but whose answer was lost, must run out.
        """
        ...

    async def idle(self, deployment_id: str) -> timedelta:
        """How long ago its last owner gave the lease back or it ran out; 0 while it is valid."""
        ...

    async def release(self, deployment_id: str, fence: int) -> None:
        """Give a lease back. Nothing happens if another replica has it by now."""
        ...


class Logs(Protocol):
    """The output of deployments. Only a deployment's owner writes: else LeaseLost."""

    async def append(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        """Append cleaned, redacted lines. Keeps the first 1 MB and the last 15 MB."""
        ...

    async def replace(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        """Put Dokku's own full text in place of what a lost connection left."""
        ...

    async def read(self, deployment_id: str) -> str:
        """The whole text kept. Where the middle was dropped, a line counts what is missing."""
        ...


class Store(Protocol):
    """The deployments themselves, and beside them their leases and logs."""

    @property
    def leases(self) -> Leases:
        """Which replica owns which deployment."""
        ...

    @property
    def logs(self) -> Logs:
        """The output of each deployment."""
        ...

    async def create(self, deployment: Deployment, audit: AuditEntry) -> None:
        """Insert. Duplicate: the request key is known (deployment_id of the first one)."""
        ...

    async def get(self, deployment_id: str) -> Deployment | None:
        """By full id."""
        ...

    async def by_id_part(self, part: str, *, limit: int = 2) -> Sequence[Deployment]:
        """Those whose id starts or ends with `part` (any case), newest first."""
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
        """Write all columns but the cancel request and the message place; return the fresh row.

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
        """Record what became known after the end: the one write that may change an ended row."""
        ...

    async def unproven(self, since: datetime) -> Sequence[Deployment]:
        """Started ones that ended after `since` without proof, and are still being checked."""
        ...

    async def lately_succeeded(self, since: datetime) -> Sequence[Deployment]:
        """Ended `succeeded` after `since`, with live `new` and no reported crash."""
        ...

    async def newer(self, deployment: Deployment) -> Sequence[Deployment]:
        """Those of the same app that were requested later, oldest first."""
        ...

    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        """Record where the live message is."""
        ...

    async def withdraw(self, deployment_id: str, audit: AuditEntry) -> None:
        """Delete a row that nothing was done for (its message could not be posted).

        The audit row stays; the request key is free again.
        """
        ...

    async def ask_cancel(
        self, deployment_id: str, actor: Actor, at: datetime, *, through: str = "service"
    ) -> Deployment:
        """Write the cancel request, once; a second one changes nothing. Audited with `through`."""
        ...

    async def unfinished(self) -> Sequence[Deployment]:
        """All that have not ended, oldest first."""
        ...

    async def started(
        self, key: AppKey, *, commit: str = "", limit: int = 50
    ) -> Sequence[Deployment]:
        """Those of an app whose command was started, the last start first.

        `commit`: only of commits that start with these hex digits.
        """
        ...

    async def recent(
        self, *, app: str | None = None, server: str | None = None, limit: int = 20
    ) -> Sequence[Deployment]:
        """Newest first."""
        ...

    async def by_message(self, channel: str, ts: str) -> Deployment | None:
        """The deployment whose live message is there."""
        ...

    async def proven_live(
        self, key: AppKey, *, before: Deployment | None = None, other_than: str | None = None
    ) -> str | None:
        """Newest SHA with a result `succeeded`, live `new`.

        Created before `before` and not the SHA `other_than`, where given.
        """
        ...

    async def good_durations(self, key: AppKey, limit: int = 20) -> Sequence[timedelta]:
        """Durations of the newest deployments that ended `succeeded`, live `new`."""
        ...

    async def audit_of(self, deployment_id: str) -> Sequence[tuple[datetime, AuditEntry]]:
        """Oldest first."""
        ...
