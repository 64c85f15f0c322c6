"""What a deployment is: the terms of the glossary as frozen types."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bot.deployments.dokku_facts import Containers, Snapshot, Trouble
from bot.deployments.refs import Commits


class Status(StrEnum):
    """The five statuses that the outside sees."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """Where a deployment is; `states.STATUS` maps it to a status."""

    AWAITING_APPROVAL = "awaiting_approval"
    QUEUED = "queued"
    STARTING = "starting"
    FETCHING = "fetching"
    BUILDING = "building"
    RELEASING = "releasing"
    CHECKING = "checking"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Who(StrEnum):
    """Who may cause a move."""

    OWNER = "owner"
    """The replica that holds the deployment's lease."""
    SERVICE = "service"
    """Any replica, asked by a person or by the queue's own rules; needs no lease."""


class Failure(StrEnum):
    """Why a deployment failed."""

    BUILD_FAILED = "build_failed"
    HEALTHCHECK_FAILED = "healthcheck_failed"
    RELEASE_FAILED = "release_failed"
    CRASHED = "crashed"
    NOT_DEPLOYED = "not_deployed"
    REF_NOT_FOUND = "ref_not_found"
    REPO_UNREACHABLE = "repo_unreachable"
    APP_NOT_FOUND = "app_not_found"
    SERVER_UNREACHABLE = "server_unreachable"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXPIRED = "expired"
    TIMED_OUT = "timed_out"
    LOST_CONTACT = "lost_contact"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class Live(StrEnum):
    """What serves now; shown with every result."""

    NEW = "new"
    PREVIOUS = "previous"
    MIXED = "mixed"
    NONE = "none"
    UNKNOWN = "unknown"


class Approval(StrEnum):
    """What an app's deployments need before they join the queue."""

    NONE = "none"
    CONFIRM = "confirm"
    """One click of the requester, or of an approver."""
    SECOND_PERSON = "second_person"
    """An approver who is not the requester."""


class Trigger(StrEnum):
    """How a deployment was requested."""

    COMMAND = "command"
    FORM = "form"
    MESSAGE_ACTION = "message_action"
    MENTION = "mention"
    BUTTON = "button"
    CLI = "cli"


class LogMarker(StrEnum):
    """Facts that lines of Dokku's output state."""

    FETCHING = "fetching"
    BUILDING = "building"
    RELEASING = "releasing"
    DEPLOYING = "deploying"
    CHECKING = "checking"
    SWITCHING = "switching"
    POST_DEPLOY = "post_deploy"
    DEPLOYED = "deployed"
    BUILD_SKIPPED = "build_skipped"
    DEPLOY_SKIPPED = "deploy_skipped"
    BUILD_FAILED = "build_failed"
    CHECKS_FAILED = "checks_failed"
    RELEASE_FAILED = "release_failed"
    REF_MISSING = "ref_missing"
    REPO_UNREACHABLE = "repo_unreachable"
    APP_MISSING = "app_missing"
    LOCKED = "locked"
    REFUSED = "refused"
    DOCKER_DOWN = "docker_down"
    NO_COMMAND = "no_command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who caused something: a person, the bot or the server."""

    user: str
    """Slack user id, or a word such as `cli`, `bot`, `server`."""
    team: str | None = None
    name: str | None = None
    """For display only; decides nothing."""


BOT = Actor(user="bot", name="deploybot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What Slack says of a user."""

    teams: frozenset[str] = frozenset()
    """Workspaces; several in an enterprise."""
    enterprise: str | None = None
    guest: bool = False
    outsider: bool = False
    """Deactivated, or of another organization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What the lines of one deploy's output state."""

    markers: frozenset[LogMarker] = frozenset()
    phase: Phase | None = None
    """FETCHING, BUILDING or RELEASING, by the last matching line."""
    step: str | None = None
    """The step inside the phase, for people: `step 5 of 9`, `health checks of web.1`."""
    started: frozenset[str] = frozenset()
    """Container ids (12 hex) of `Start of APP container output (...)` lines."""
    renamed: frozenset[str] = frozenset()
    """Container ids (12 hex) of `Renaming container ...` lines."""
    url: str | None = None
    error: str | None = None
    """The line that names the cause, cleaned and redacted."""
    trouble: Trouble | None = None
    """What that line is about, where people can do something about it."""

    @property
    def named_containers(self) -> frozenset[str]:
        """The containers that this output names: the proof that they are this deployment's.

        Start lines; Renaming lines only where checks are off and no Start line was printed.
        """
        return self.started or self.renamed


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """A person's request to cancel a deployment."""

    by: Actor
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePlace:
    """Where the live message is in Slack."""

    channel: str
    ts: str
    permalink: str | None = None

    @property
    def root(self) -> str:
        """The ts that replies belong under: of the thread the message is in, else its own.

        Only a message that was posted again is in a thread; its permalink names the root.
        """
        named = _THREAD_ROOT.search(self.permalink or "")
        return named[1] if named else self.ts


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One request to bring one git ref of one app live on one server."""

    id: str
    """ULID, known from the first moment."""
    server: str
    app: str
    """The name people use (the table's name)."""
    dokku_app: str
    repo: str | None
    """None until it is looked up."""
    ref: str
    """What was typed, or the default."""
    sha: str | None = None
    """Full commit, once pinned."""
    ready: bool = False
    """Repository and commit have been looked up, found or not: it may start."""
    phase: Phase = Phase.QUEUED
    failure: Failure | None = None
    live: Live | None = None
    """Set with the result."""
    reason: str | None = None
    """For people: why it ended so, set with the result."""
    evidence: str | None = None
    """For operators: which rule decided, on what evidence; redacted."""
    requested_by: Actor
    trigger: Trigger
    request_key: str
    """Slack's trigger, view or event id: the same key twice is one deployment."""
    channel: str
    """Slack channel that the request came from; empty for none (CLI)."""
    message: MessagePlace | None = None
    created_at: datetime
    queued_at: datetime | None = None
    started_at: datetime | None = None
    """First start of Dokku's command, over both attempts."""
    finished_at: datetime | None = None
    attempt: int = 1
    before: Snapshot | None = None
    build_id: str | None = None
    left_build: str | None = None
    """Its build that was seen to go on long after the connection to it was lost."""
    exit_status: int | None = None
    """Of Dokku's command; None: it has not ended, or its status was never received."""
    url: str | None = None
    previous_sha: str | None = None
    """What was live at the start: proven (`before.proven`), else according to Dokku."""
    commits: Commits | None = None
    """What it ships; read in the background, and None where the repository cannot be read."""
    retry_of: str | None = None
    rollback_of: str | None = None
    rollback_sha: str | None = None
    """Newest SHA proven live before this deployment; set with the result."""
    came_from: str | None = None
    """Of a rollback, whose `ref` is a commit: the ref that the commit was deployed from before."""
    after: Containers | None = None
    """What the last look showed; None: it could not be read, or never was."""
    corrected_from: Mapping[str, str | None] | None = None
    """The former `status`, `failure` and `live`, once a late verdict corrected them."""
    late_over: bool = False
    """No late verdict is possible any more, although the result is not proven."""
    crash_told: bool = False
    """The thread has the note that the release, reported as live, crashes."""
    cancel: CancelRequest | None = None
    approval: Approval = Approval.NONE
    """What it needed when it was requested; later settings do not change it."""
    approved_by: Actor | None = None
    max_duration: timedelta = timedelta(minutes=30)
    fence: int = 0
    """Fencing number of the lease under which it was last written."""

    @property
    def pinned(self) -> str:
        """What Dokku gets: the commit, else the ref."""
        return self.sha or self.ref

    @property
    def unverified_sha(self) -> str | None:
        """The earlier commit that was live at the start according to Dokku's record only."""
        if self.previous_sha == self.sha or (self.before and self.before.proven):
            return None
        return self.previous_sha

    @property
    def target(self) -> "AppKey":
        """The queue it belongs to."""
        return AppKey(server=self.server, dokku_app=self.dokku_app)

    @property
    def shipped(self) -> Commits | None:
        """What it ships; without a comparison with a commit that was not live at the start.

        None too if it was read for another commit: the ref has moved before the approval.
        """
        known = self.commits
        if known is None or known.head.sha != self.sha:
            return None
        if self.before is None or known.base == self.previous_sha:
            return known
        return Commits(head=known.head)

    def duration(self, now: datetime) -> timedelta:
        """Elapsed time: from the start (or the request, while waiting) to the end or now."""
        begin = self.started_at or self.created_at
        return max(timedelta(0), (self.finished_at or now) - begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What Dokku is given. `sha` None: the commit is not known until Dokku has fetched it."""

    ref: str
    repo: str
    sha: str | None
    deployed: str | None = None
    """The commit that Dokku's own record names as deployed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDeployable:
    """Why the request can never be deployed, in one sentence that also says what to do."""

    failure: Failure
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKey:
    """One Dokku app on one server: at most one running deployment each."""

    server: str
    dokku_app: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPolicy:
    """What the settings say about an app; the defaults if it has no table."""

    server: str
    app: str
    dokku_app: str
    repo: str | None = None
    default_ref: str | None = None
    deployers: frozenset[str] = frozenset()
    """Slack users and user groups; empty: everybody in the bot's workspace but guests."""
    approval: Approval = Approval.NONE
    approvers: frozenset[str] = frozenset()
    """Slack users and user groups who approve and end locks of others; empty: deployers."""
    max_duration: timedelta = timedelta(minutes=30)
    channel: str | None = None
    """Where its messages are posted; None: where it was asked for."""
    channels: frozenset[str] = frozenset()
    notify: frozenset[str] = frozenset()
    """Where it may be deployed from (empty: everywhere); where its result is posted as well."""
    latest: bool = False
    """A newer request cancels those of the app that wait."""
    broadcast: bool = False
    """The reply about a failed deployment goes to the channel too."""

    @property
    def target(self) -> AppKey:
        """What it is about, whatever people call it."""
        return AppKey(server=self.server, dokku_app=self.dokku_app)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who caused a change, and how."""

    actor: Actor
    through: str
    """`command`, `button`, `thread`, `dispatcher`, `poll`, `cli`, ..."""
    action: str
    """Past-tense word: `requested`, `started`, `ended`, `cancel_asked`, ..."""
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that the outside is notified of; written in the transaction of the change.

    One outbox row per webhook endpoint that wants it; for ends and corrections also a mention.
    """

    type: str
    """`deployment.`, and `started`, `finished`, `corrected`; for the thread: `note`, `approval`."""
    text: str | None = None
    """Of a `deployment.note`: the sentence for the thread. Notes go nowhere else."""
    mentions: tuple[str, ...] = ()
    """Of a `deployment.approval`: the users and user groups who are asked."""
    log_tail: tuple[str, ...] = ()
    corrected_from: Mapping[str, str | None] | None = None


_THREAD_ROOT = re.compile(r"[?&]thread_ts=(\d+\.\d+)")
