"""What the domain needs from outside, in its own words. Adapters implement these."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

from bot.deployments.dokku_facts import AppReport, BuildRecord, Containers, LogEnd, Pace
from bot.deployments.model import (
    Actor,
    AppKey,
    AppPolicy,
    AuditEntry,
    Deployment,
    Event,
    LogFacts,
    MessagePlace,
    Person,
    Phase,
    Who,
)
from bot.deployments.refs import Commits
from bot.deployments.store_parts import Leases, Locks, Logs

MaySend = Callable[[], bool]
"""Asked at the last instant before a command is sent: whether it still may be."""


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
        """`bot.clock.seconds()` of the last byte received (of the start, before any)."""
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

    @property
    def pace(self) -> Pace:
        """How quickly it answers now; asks nothing."""
        return Pace()

    @property
    def runner(self) -> str:
        """The app in whose one-off containers its deploys run; empty: on connections of the bot."""
        return ""

    async def keeps_records(self) -> bool:
        """Whether this Dokku has `builds:*` (>= 0.38)."""
        ...

    async def apps(self) -> Sequence[str]:
        """Names of all apps."""
        ...

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        """Build records, newest first; empty before 0.38. CommandFailed with 20: no such app."""
        ...

    async def report(self, app: str) -> AppReport:
        """`apps:report`. CommandFailed with exit status 20: no such app."""
        ...

    async def containers(self, app: str) -> Containers | None:
        """What runs now; None: it could not be read (Docker down, containers gone)."""
        ...

    async def app_log(self, app: str, process: str) -> Sequence[str]:
        """The end of what a process (`web.1`) printed, cleaned and redacted."""
        ...

    async def fetched_sha(self, app: str) -> str | None:
        """`git:report --git-sha`: the commit fetched last. Not what is live."""
        ...

    async def deploy_branch(self, app: str) -> str | None:
        """The branch that Dokku builds; None (before 0.38 perhaps `master`) where none is set."""
        ...

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        """The whole text of an ended build, cleaned and redacted, with what it states."""
        ...

    async def log_end(self, app: str, build_id: str) -> LogEnd:
        """The end of the log of a build that may still print. Takes a second or more."""
        ...

    async def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:
        """What stored lines (cleaned, redacted) state."""
        ...

    async def cancel_build(self, app: str, *, may_send: MaySend | None = None) -> bool:
        """`builds:cancel`; whether Dokku says that it killed one. Withheld: nothing was sent."""
        ...

    async def deploy(
        self, app: str, repo: str, pinned: str, *, may_send: MaySend | None = None
    ) -> DeployStream:
        """Log in and start `git:sync --build`. Raises Unreachable: nothing was started.

        A login takes time: `may_send` is asked at the last instant. Withheld: it did not hold.
        """
        ...

    async def run_detached(
        self, app: str, repo: str, pinned: str, *, runner: str, may_send: MaySend | None = None
    ) -> str:
        """Start `git:sync --build` in a one-off container of `runner`; its name, if it is shown.

        Raises as `deploy`. Declined: the runner does not exist. CommandFailed: nothing may run.
        """
        ...

    async def one_offs(self, runner: str) -> Mapping[str, str]:
        """The one-off containers of an app that run: name -> command."""
        ...

    async def build_head(self, app: str, build_id: str) -> str | None:
        """`REPO#REF`, with which a build's output begins; None: it does not, or not yet."""
        ...

    async def follow(self, app: str, build_id: str, seen: Sequence[str]) -> DeployStream:
        """The output of a build after the lines `seen`. Closing it kills nothing. Unreachable."""
        ...


class Servers(Protocol):
    """All configured servers."""

    def names(self) -> Sequence[str]:
        """Configured names, in order."""
        ...

    def get(self, name: str) -> Dokku:
        """The driver of a server; for an unknown name one whose questions all raise Unreachable."""
        ...


class Urgency(IntEnum):
    """Order of edits: results and answers to clicks, phases and first lines, then the rest."""

    NOW = 0
    PHASE = 1
    ROUTINE = 2


class Announcer(Protocol):
    """Shows deployments in Slack. The live message implements it."""

    async def post(self, deployment: Deployment) -> MessagePlace:
        """Post the live message. Raises SlackError with a sentence for the requester."""
        ...

    def changed(self, deployment_id: str, urgency: Urgency) -> None:
        """The deployment looks different now; the message will converge. Returns at once."""
        ...


class Catalog(Protocol):
    """What the settings say about apps."""

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        """The policy of an app. Raises Declined: unknown server, or an app that must be listed."""
        ...

    def rules_of(self, key: AppKey, app: str) -> AppPolicy | None:
        """About a stored Dokku app on its server, whatever a table is called now.

        `app` is what people called it then. None: the settings no longer know the app, or it had a
        table that no longer exists.
        """
        ...

    def servers(self) -> Sequence[str]:
        """The names of all servers."""
        ...

    def named(self) -> frozenset[str]:
        """Users and user groups whom any app names as deployers or approvers."""
        ...

    def listed(self) -> Sequence[AppPolicy]:
        """Apps that have a table in the settings."""
        ...

    def repo_for(self, policy: AppPolicy) -> str | None:
        """The app's repository, else the template's; None: Dokku's record has to name it."""
        ...


class People(Protocol):
    """Users and user groups, as Slack knows them. SlackError: it does not say now."""

    async def person(self, user: str) -> Person | None:
        """One user; None: Slack knows no such user, or does not show them to the bot."""
        ...

    async def group_members(self, group: str) -> frozenset[str]:
        """The users of a user group, by its id; none where the group no longer exists."""
        ...


class Polls(Protocol):
    """The scheduler, as the domain sees it."""

    def watch(self, deployment_id: str) -> None:
        """Call `Dispatcher.poll(id)` each poll interval, spread, until `unwatch`."""
        ...

    def unwatch(self, deployment_id: str) -> None:
        """Stop. Unknown ids are fine."""
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

    @property
    def locks(self) -> Locks:
        """Who may deploy what meanwhile."""
        ...

    async def create(
        self, deployment: Deployment, audit: AuditEntry, event: Event | None = None
    ) -> None:
        """Insert. Duplicate: the request key, or the same retry or rollback, is known.

        A retry or rollback counts until it has ended; Duplicate names the first one.

        AppLocked: not its requester, but someone else holds a lock on the app.
        """
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
        first: bool = False,
    ) -> Deployment:
        """Write all columns but cancel request, message place and commits; return the fresh row.

        `first`: Twin, and nothing is written, when another deployment waits for its commit.

        `was` is the phase the caller believed: StaleState when it is another by now, or when
        the table of moves forbids it for `by`. With `by=OWNER` the row's fence must be
        `deployment.fence` and its lease must not have been taken over: else LeaseLost.
        `was == deployment.phase` records facts without a move. A phase change needs an audit.
        StaleState also when another deployment of the same app is running (the partial
        unique index); ServerFull when as many run on its server as the settings allow; AppLocked
        at a start, when someone else than the requester holds a lock on the app.
        Audit row and outbox rows go into the same transaction.
        """
        ...

    async def correct(
        self, deployment: Deployment, *, audit: AuditEntry, event: Event | None
    ) -> Deployment:
        """Record what became known after the end: the one write that may change an ended row.

        The lease must still be held under `deployment.fence`: else LeaseLost.
        """
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

    async def place_commits(self, deployment_id: str, commits: Commits) -> None:
        """Record what it ships. StaleState: the deployment is gone."""
        ...

    async def withdraw(self, deployment_id: str, audit: AuditEntry) -> None:
        """Delete a row that nothing was done for (its message could not be posted).

        The audit row stays; the request key is free again.
        """
        ...

    async def ask_cancel(
        self,
        deployment_id: str,
        actor: Actor,
        at: datetime,
        *,
        through: str = "service",
        build: str | None = None,
    ) -> Deployment:
        """Write the cancel request, once; a second one changes nothing. Audited with `through`.

        `build`: of that build on the server, audited each time. The deployment whose build it is
        gets the cancel request, even if it has ended; a waiting one that it is in front of none.
        """
        ...

    async def unfinished(self, key: AppKey | None = None) -> Sequence[Deployment]:
        """All that have not ended, or those of one app; oldest first."""
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
