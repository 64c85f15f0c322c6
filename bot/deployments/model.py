"""What a deployment is: the words of the project as types. Frozen, no behaviour but reading."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bot.deployments.dokku_facts import Containers, Snapshot


class Status(StrEnum):
    """The five words the outside sees."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """Where a deployment is; its status follows from it (`states.STATUS`)."""

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
    """What serves now, shown with every end."""

    NEW = "new"
    PREVIOUS = "previous"
    MIXED = "mixed"
    NONE = "none"
    UNKNOWN = "unknown"


class Trigger(StrEnum):
    """Through what a deployment was asked for."""

    COMMAND = "command"
    FORM = "form"
    MESSAGE_ACTION = "message_action"
    MENTION = "mention"
    BUTTON = "button"
    CLI = "cli"


class LogMarker(StrEnum):
    """Facts that Dokku's own lines state (dokku.md sections 1.11 and 2)."""

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
    """A person (or the bot, or the server) who caused something."""

    user: str
    """Slack user id, or a word such as `cli`, `bot`, `server`."""
    team: str | None = None
    name: str | None = None
    """For people; never used to decide anything."""


BOT = Actor(user="bot", name="deploybot")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What the lines of one deploy's output state. Only ever grows."""

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

    @property
    def named_containers(self) -> frozenset[str]:
        """The containers that this output names: the proof that they are this deployment's.

        Start lines; Renaming lines only where checks are off and no Start line was printed.
        """
        return self.started or self.renamed


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """Somebody asked for the end of a deployment."""

    by: Actor
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePlace:
    """Where the live message stands in Slack."""

    channel: str
    ts: str
    permalink: str | None = None

    @property
    def root(self) -> str:
        """The ts that replies belong under: of the thread it stands in, else its own.

        Only a message posted anew stands in a thread; Slack names the root in its permalink.
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
    """None until it was looked up."""
    ref: str
    """What was typed, or the default."""
    sha: str | None = None
    """Full commit, once pinned."""
    ready: bool = False
    """Repo and commit have been looked up (found, or known not to be knowable): it may start."""
    phase: Phase = Phase.QUEUED
    failure: Failure | None = None
    live: Live | None = None
    """Known at the end only."""
    reason: str | None = None
    """One sentence for people, at an end."""
    evidence: str | None = None
    """Which rule decided on what, for operators; redacted."""
    requested_by: Actor
    trigger: Trigger
    request_key: str
    """Slack's trigger, view or event id: the same request twice is one deployment."""
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
    exit_status: int | None = None
    """Our command's exit status; None: not ended, or never learnt."""
    url: str | None = None
    previous_sha: str | None = None
    """What was live at the start: proven (`before.proven`), else what Dokku's record named."""
    retry_of: str | None = None
    rollback_of: str | None = None
    rollback_sha: str | None = None
    """Newest SHA proven live before this deployment, fixed when it ended."""
    after: Containers | None = None
    """What the last look before the end showed; None: it could not be read, or never was."""
    corrected_from: Mapping[str, str | None] | None = None
    """The former end (`status`, `failure`, `live`), once a late verdict corrected it."""
    late_over: bool = False
    """No late verdict is looked for any more, although the end is not proven."""
    crash_told: bool = False
    """The thread has been told that the release, called live, does not stay up."""
    cancel: CancelRequest | None = None
    max_duration: timedelta = timedelta(minutes=30)
    fence: int = 0
    """Fencing number of the lease under which it was last written."""

    @property
    def pinned(self) -> str:
        """What Dokku is given: the commit, else the ref."""
        return self.sha or self.ref

    @property
    def target(self) -> "AppKey":
        """The queue it belongs to."""
        return AppKey(server=self.server, dokku_app=self.dokku_app)

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
    """What the settings say of an app; the defaults where it has no table."""

    server: str
    app: str
    dokku_app: str
    repo: str | None = None
    default_ref: str | None = None
    deployers: frozenset[str] = frozenset()
    """Slack users and user groups; empty: everybody of the bot's own workspace."""
    max_duration: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """What keeps the head of a queue from starting, though nothing of this bot runs."""

    what: str
    """One phrase for people."""
    since: datetime | None = None
    """Since when it runs, by our own clock; None: nothing tells."""
    stuck: bool = False
    """It has run for longer than a deployment may: it may never end by itself."""
    mend: str = ""
    """What an operator can do about it, in one sentence; empty: it passes by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is shown of a deployment beside its row. Volatile: a restart may lose it."""

    step: str | None = None
    tail: tuple[str, ...] = ()
    """Last lines of the log, cleaned and redacted, oldest first (<= 40)."""
    excerpt: tuple[str, ...] = ()
    """At a failure: the lines around the error (<= 10)."""
    checked_at: datetime | None = None
    """Last answer of Dokku."""
    stale_since: datetime | None = None
    """Set while Dokku does not answer."""
    stale_why: str | None = None
    """Why it does not, in a sentence."""
    place: int | None = None
    """Place among the waiting, from 1."""
    waits_for: str | None = None
    """One phrase: what a waiting deployment waits for."""
    blocker: Blocker | None = None
    """What is known of it, where it is nothing of this bot."""
    reading_end: bool = False
    """The command ended; what is live is being read."""
    cut_off: bool = False
    """Our line to the command is gone, and its end is not known: it can only be watched."""
    usual: timedelta | None = None
    """Median duration of good deployments, once 3 are known."""
    others: str | None = None
    """One sentence: who else works on the app while this runs."""
    live_sha: str | None = None
    """Before the start: the commit that was proven live last, where nothing came after it."""
    notes: tuple[str, ...] = ()
    """Sentences that belong beside the facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who caused a change, through what."""

    actor: Actor
    through: str
    """`command`, `button`, `thread`, `dispatcher`, `poll`, `cli`, ..."""
    action: str
    """Past-tense word: `requested`, `started`, `ended`, `cancel_asked`, ..."""
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the outside is told about: written in the transaction of the change.

    The store turns it into outbox rows: one per webhook endpoint that wants it and, for ends
    and corrections, one thread mention.
    """

    type: str
    """`deployment.started`, `deployment.finished`, `deployment.corrected`, `deployment.note`."""
    text: str | None = None
    """Of a `deployment.note`: the sentence for the thread. Nobody else is told of a note."""
    log_tail: tuple[str, ...] = ()
    corrected_from: Mapping[str, str | None] | None = None


_THREAD_ROOT = re.compile(r"[?&]thread_ts=(\d+\.\d+)")
