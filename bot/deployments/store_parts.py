"""What a store keeps beside the deployments themselves: leases, locks, logs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from bot.deployments.lock import Follower, Lock, Notice, Standing
from bot.deployments.log_pages import LogPages
from bot.deployments.model import AuditEntry


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica that was seen lately, and how many deployments it drives."""

    name: str
    running: int
    posting: frozenset[str] = frozenset()
    """The deployments that it is posting or withdrawing."""
    unseen_for: timedelta = field(default=timedelta(0), compare=False)
    """Since its last heartbeat."""


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

    async def beat(
        self,
        replica: str,
        running: int,
        seen_within: timedelta,
        *,
        listens: bool = False,
        posting: Collection[str] = (),
    ) -> Sequence[Replica]:
        """Note that this replica lives; all that were seen within that time, it included.

        `listens`: Slack's requests reach it. `posting`: as in `Replica`.
        """
        ...

    async def cancel_requests(self, replica: str) -> frozenset[str]:
        """Which of the unfinished deployments that it owns someone asked to cancel."""
        ...

    async def free(self) -> Mapping[str, timedelta]:
        """Unfinished deployments that no replica has a lease of: id -> how long it has been so."""
        ...

    async def release(self, deployment_id: str, fence: int) -> None:
        """Give a lease back. Nothing happens if another replica has it by now."""
        ...


class Locks(Protocol):
    """Locks of people, and who waits for an app. Audit and notices: in the same transaction."""

    async def standing(self) -> Standing:
        """All that is stored now."""
        ...

    async def put(
        self, lock: Lock, *, instead_of: Lock | None, audit: AuditEntry, notices: Sequence[Notice]
    ) -> None:
        """Store a lock in place of another (None: of no) one. StaleState: another is there."""
        ...

    async def remove(self, lock: Lock, *, audit: AuditEntry, notices: Sequence[Notice]) -> None:
        """Delete a lock. StaleState: it is not there any more."""
        ...

    async def follow(self, follower: Follower) -> None:
        """Store a follower; once for each app and person."""
        ...

    async def unfollow(self, follower: Follower, *, notices: Sequence[Notice]) -> None:
        """Delete one. StaleState: as for `remove`."""
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

    async def pages(self, deployment_id: str, first: int | None, most: int = 1) -> LogPages:
        """At most `most` pages, starting at `first` (None: the newest). Reads only these."""
        ...
