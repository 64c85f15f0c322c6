"""What the rules decide, as types. `wording.py` makes the sentence of it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from bot.deployments.model import Failure, Live, Phase


class Cause(StrEnum):
    """Why a deployment ended as it did; `Ended.detail` holds what the sentence names."""

    # Before Dokku's command was started: `detail` is the cause in words.
    NOT_STARTED = "not_started"
    OWN_FAULT = "own_fault"
    # A log marker of this deployment's output: `detail` is the line that names the error.
    APP_MISSING = "app_missing"
    REF_MISSING = "ref_missing"
    REPO_UNREACHABLE = "repo_unreachable"
    DOCKER_DOWN = "docker_down"
    NO_COMMAND = "no_command"
    CHECKS_FAILED = "checks_failed"
    BUILD_FAILED = "build_failed"
    REFUSED = "refused"
    RELEASE_FAILED = "release_failed"
    # The same, where people can do something about it.
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    RATE_LIMITED = "rate_limited"
    REGISTRY_REFUSED = "registry_refused"
    NO_CREDENTIALS = "no_credentials"
    NO_DEPLOY_KEY = "no_deploy_key"
    HOST_KEY_UNKNOWN = "host_key_unknown"
    SUBMODULE = "submodule"
    LFS = "lfs"
    FOLDER_OWNER = "folder_owner"
    APP_FILE = "app_file"
    # Output that stops without an error: the exit status says how.
    KILLED = "killed"
    CUT_OFF = "cut_off"
    # Cancelled, or stopped at the time limit.
    CANCELLED = "cancelled"
    CANCELLED_TOO_LATE = "cancelled_too_late"
    CANCELLED_ON_SERVER = "cancelled_on_server"
    TIME_LIMIT = "time_limit"
    TIME_LIMIT_UNCONFIRMED = "time_limit_unconfirmed"
    # A good end that proves no success.
    UNREADABLE = "unreadable"
    UNREADABLE_RELEASED_NOTHING = "unreadable_released_nothing"
    RELEASED_NOTHING = "released_nothing"
    NOT_REPORTED_DEPLOYED = "not_reported_deployed"
    OUTPUT_LOST = "output_lost"
    REPLACED = "replaced"
    """By a release whose code is known to be another one."""
    CONTAINERS_REPLACED = "containers_replaced"
    """Whether they run this deployment's code cannot be known."""
    COMMIT_NOT_CONFIRMED = "commit_not_confirmed"
    STOPPED = "stopped"
    NOTHING_SCALED_UP = "nothing_scaled_up"
    NOT_ALL_REPLACED = "not_all_replaced"
    # The connection was lost.
    NEVER_BEGAN = "never_began"
    DIED_WITH_CONNECTION = "died_with_connection"
    NO_CONTACT = "no_contact"
    RUN_NEVER_BEGAN = "run_never_began"
    """The one-off container that was to run the command ended before a build began."""
    RUN_UNSEEN = "run_unseen"
    """Such a container runs, or ran, and no build is certainly the one that it began."""
    RUN_ENDED = "run_ended"
    """The command of such a container ended, and nothing says how."""
    APP_GONE = "app_gone"
    """Dokku says that the app does not exist any more."""
    # Watching the new release.
    STABLE = "stable"
    NOT_UP = "not_up"
    CRASHED = "crashed"
    """`Ended.down` names the processes, here and in the next three."""
    NEVER_STARTED = "never_started"
    """Docker made the container and could not start it."""
    ENDED_BY_ITSELF = "ended_by_itself"
    """It ended once, with status 0."""
    NOT_RUNNING = "not_running"
    """Docker says something else about it, such as `paused`."""
    STOPPED_OUTSIDE = "stopped_outside"
    """Someone stopped the app; Dokku does not restore it."""
    PREVIOUS_RETURNED = "previous_returned"


class LiveDetail(StrEnum):
    """What the sentence adds to the live state."""

    NONE = "none"
    RESTARTING = "restarting"
    """The previous release is itself restarting."""
    RESTARTED = "restarted"
    """The previous release was restarted by `Ended.live_by`."""
    OTHER_CODE = "other_code"
    """Other code was started by `Ended.live_by`."""
    DEPLOYED = "deployed"
    """The new release is in place, but not known to serve."""
    OTHERS_RUN = "others_run"
    """The processes of the new release that the cause does not name are running."""
    RETURNED = "returned"
    """The previous release is in place again."""
    IN_CAUSE = "in_cause"
    """The cause's own sentence says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The deployment's result is proven, or can no longer be."""

    rule: str
    """Which rule decided, for operators; nothing branches on it."""
    phase: Phase
    failure: Failure | None
    live: Live
    cause: Cause
    detail: str = ""
    late: bool = False
    """It failed after new containers had started to serve."""
    by_lock: bool = False
    """Inferred from the released deploy lock: this Dokku keeps no build records."""
    by: str = ""
    """Commands of others that the cause names: `git push`; empty: not known."""
    live_detail: LiveDetail = LiveDetail.NONE
    live_by: str = ""
    """Commands of others that the live state names; empty: not known."""
    down: tuple[tuple[Cause, str], ...] = ()
    """How each process of the new release that does not run is down: `(cause, process)`."""
    shares: tuple[tuple[Live, str], ...] = ()
    """If the live state is mixed: which release each process runs."""


def failed(
    rule: str,
    failure: Failure,
    live: Live,
    cause: Cause,
    *,
    detail: str = "",
    late: bool = False,
    by_lock: bool = False,
    by: str = "",
    live_detail: LiveDetail = LiveDetail.NONE,
    live_by: str = "",
    down: tuple[tuple[Cause, str], ...] = (),
    shares: tuple[tuple[Live, str], ...] = (),
) -> Ended:
    """A result that is a failure, with everything that its sentences need."""
    return Ended(
        rule=rule,
        phase=Phase.FAILED,
        failure=failure,
        live=live,
        cause=cause,
        detail=detail,
        late=late,
        by_lock=by_lock,
        by=by,
        live_detail=live_detail,
        live_by=live_by,
        down=down,
        shares=shares,
    )


def app_gone() -> Ended:
    """The app was destroyed or renamed: under another name its containers may serve on."""
    return failed("app_gone", Failure.APP_NOT_FOUND, Live.UNKNOWN, Cause.APP_GONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRelease:
    """A good end: watch whether the new release keeps running for the settle time."""

    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAgain:
    """A good end, but the release cannot be watched yet: read everything again in a moment."""

    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAgain:
    """No verdict yet: look again at the next poll."""

    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAgain:
    """It died before its release and nothing changed: start it once more, if that is allowed."""

    otherwise: Ended
    """The result if it may not be started again."""

    def kept_from(self, detail: str) -> "StartAgain":
        """The same, with what keeps it from being started again."""
        return replace(self, otherwise=replace(self.otherwise, detail=detail))

    @property
    def rule(self) -> str:
        """The rule that decided."""
        return self.otherwise.rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """Dokku refused because another deploy holds its lock: nothing ran, it keeps its position."""

    rule: str = "lock_held_by_another"


Decision = Ended | WatchRelease | ReadAgain | LookAgain | StartAgain | Requeue
