"""What the domain needs from outside, in its own words. Adapters implement these."""

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol
from urllib.parse import urlsplit

from bot.deployments.model import (
    Actor,
    AppKey,
    AppPolicy,
    AppReport,
    AuditEntry,
    BuildRecord,
    Containers,
    Deployment,
    Event,
    LogFacts,
    MessagePlace,
    Phase,
)
from bot.deployments.states import Who


class DeployStream(Protocol):
    """One deploy command on an SSH connection of its own. Closing it kills the deploy."""

    @property
    def facts(self) -> LogFacts:
        """What the lines so far state."""
        ...

    @property
    def exit_status(self) -> int | None:
        """The command's exit status; None while it runs and when it was never learnt.

        A process killed by a signal gives -1.
        """
        ...

    @property
    def last_byte_at(self) -> float:
        """`time.monotonic()` of the last byte received (of the start, before any)."""
        ...

    def lines(self) -> AsyncIterator[Sequence[str]]:
        """Cleaned, redacted, complete lines, in batches as they arrive; ends with the command.

        Never raises for a lost line: it then ends with `exit_status` None.
        """
        ...

    async def close(self) -> None:
        """Hang up. The deploy dies at its next line of output."""
        ...


class Dokku(Protocol):
    """One Dokku server. Every question may raise Unreachable, OutcomeUnknown, OddReport."""

    async def keeps_records(self) -> bool:
        """Whether this Dokku has `builds:*` (>= 0.38)."""
        ...

    async def apps(self) -> Sequence[str]:
        """Names of all apps."""
        ...

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        """Build records of one app, newest first; empty before 0.38.

        CommandFailed with exit status 20: no such app.
        """
        ...

    async def report(self, app: str) -> AppReport:
        """`apps:report`. CommandFailed with exit status 20: no such app."""
        ...

    async def containers(self, app: str) -> Containers | None:
        """What runs now; None: it could not be read (Docker down, containers gone)."""
        ...

    async def fetched_sha(self, app: str) -> str | None:
        """`git:report --git-sha`: the commit fetched last. Not what is live."""
        ...

    async def deploy_branch(self, app: str) -> str | None:
        """`git:report --git-deploy-branch`; None where none is set yet."""
        ...

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        """The whole text of an ended build, cleaned and redacted, with what it states."""
        ...

    def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:
        """What lines that were kept (cleaned, redacted) state."""
        ...

    async def cancel_build(self, app: str) -> bool:
        """`builds:cancel`. True: it says that it killed a deploy. False: nothing was killed."""
        ...

    async def deploy(self, app: str, repo: str, pinned: str) -> DeployStream:
        """Log in anew and start `git:sync --build`. Unreachable: nothing was started."""
        ...


class Servers(Protocol):
    """All configured servers."""

    def names(self) -> Sequence[str]:
        """Configured names, in order."""
        ...

    def get(self, name: str) -> Dokku:
        """The driver of a server. KeyError for an unknown name."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A ref's commit."""

    sha: str


@dataclass(frozen=True, slots=True)
class NotThere:
    """The repository was listed and has no such ref."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The repository could not be listed from here (private, down, too slow, short SHA)."""

    why: str


@dataclass(frozen=True, slots=True)
class Several:
    """A shortened commit that may be each of these."""

    shas: tuple[str, ...]


RefAnswer = Found | NotThere | CannotTell | Several


class Refs(Protocol):
    """Lists git repositories."""

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        """The full commit of a branch, tag or SHA. Answers within 5 s; raises nothing.

        A full SHA is Found as it is. A short one (7 digits or more) is Found where it is the
        beginning of exactly one commit that a branch or tag names, else CannotTell or Several.
        """
        ...


class Urgency(IntEnum):
    """Order of edits: ends and answers to clicks, then phases and first lines, then the rest."""

    NOW = 0
    PHASE = 1
    ROUTINE = 2


class Announcer(Protocol):
    """Tells Slack. Implemented by the live message."""

    async def post(self, deployment: Deployment) -> MessagePlace:
        """Post the live message. SlackError, with a sentence for the asker: it cannot be."""
        ...

    def changed(self, deployment_id: str, urgency: Urgency) -> None:
        """The deployment looks different now; the message will converge. Returns at once."""
        ...


class Catalog(Protocol):
    """What the settings say of apps."""

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        """The policy of an app. Declined: unknown server, or the app is not listed and must be."""
        ...

    def listed(self) -> Sequence[AppPolicy]:
        """Apps with a table of their own."""
        ...

    def repo_for(self, policy: AppPolicy) -> str | None:
        """The app's own repo, else the template's; None: Dokku's own record must tell."""
        ...


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

    async def waiting(self) -> Sequence[Deployment]:
        """Those in the queue, in queue order (queued_at, id)."""
        ...

    async def started(
        self, key: AppKey, *, commit: str = "", limit: int = 50
    ) -> Sequence[Deployment]:
        """Those of an app whose command was started, the last start first.

        `commit`: only of commits (hex) that begin so.
        """
        ...

    async def running_of(self, key: AppKey) -> Deployment | None:
        """The running deployment of an app."""
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


class Groups(Protocol):
    """Slack user groups."""

    async def groups_of(self, user: str, among: Collection[str]) -> frozenset[str]:
        """Those of the group ids `among` that hold the user; unknown ones are left out."""
        ...


class Observer(Protocol):
    """Counts and times for operators; never decides anything."""

    def ended(self, deployment: Deployment) -> None:
        """A deployment ended."""
        ...

    def polled(self, took_s: float) -> None:
        """A poll was answered."""
        ...

    def poll_failed(self) -> None:
        """A poll was not answered."""
        ...

    def counted(self, unfinished: Collection[Deployment]) -> None:
        """All that have not ended, at this moment."""
        ...


class Polls(Protocol):
    """The scheduler, as the domain sees it."""

    def watch(self, deployment_id: str) -> None:
        """Call `Runner.tick(id)` each poll interval, spread, until `unwatch`."""
        ...

    def unwatch(self, deployment_id: str) -> None:
        """Stop. Unknown ids are fine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Every duration that the domain counts with (settings; product contract section 4)."""

    poll_interval: timedelta = timedelta(seconds=10)
    poll_timeout: timedelta = timedelta(seconds=8)
    max_poll_errors: int = 5
    settle: timedelta = timedelta(seconds=10)
    queue_ttl: timedelta = timedelta(hours=2)
    start_window: timedelta = timedelta(seconds=60)
    start_tries: int = 3
    record_wait: timedelta = timedelta(seconds=5)
    """How long a record may be shown running after our command's end (design: step 8)."""
    lookup_grace: timedelta = timedelta(milliseconds=500)
    lease: timedelta = timedelta(seconds=20)
    heartbeat: timedelta = timedelta(seconds=5)
    tracker_ttl: timedelta = timedelta(minutes=5)
    late_interval: timedelta = timedelta(seconds=60)
    late_duration: timedelta = timedelta(hours=2)
    start_again_within: timedelta = timedelta(minutes=10)
    """A loss older than this is not mended by a second start."""
    crash_looks: timedelta = timedelta(minutes=10)
    """For how long after a success a crash loop is told in the thread."""


ServerHealth = Mapping[str, str | None]
"""Server name -> None when its last question was answered, else the sentence why not."""
