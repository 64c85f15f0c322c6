"""The verdict's table as data: evidence of every kind, and the recording that it was seen in.

`docs/verdicts.md` is made from it by asking the rules themselves; tests hold the rows against
the recordings.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from bot.deployments.model import (
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    Failure,
    LogFacts,
    Mark,
    Snapshot,
)
from bot.deployments.settling import Judgement, Look, Settling, judge
from bot.deployments.verdict import (
    ENDED_WITHOUT_TELLING,
    PIPE_CLOSED,
    Evidence,
    Verdict,
    before_start,
    decide,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of evidence. `read` says in words what the rules are given."""

    read: str
    recording: str | None = None
    """`VERSION/SCENARIO` under bot/simulators/dokku/transcripts; None: on the model."""
    step: str | None = None
    """The recorded deploy whose text and exit status are the row's own."""

    def outcome(self) -> Verdict | Judgement:
        """What the rules say of it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstarted(Row):
    """An end before Dokku's command was started."""

    failure: Failure
    cause: str
    after: Containers | None

    def outcome(self) -> Verdict:
        """By `before_start`."""
        return before_start(self.failure, self.cause, self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Row):
    """The command has ended, or its line was lost."""

    evidence: Evidence

    def outcome(self) -> Verdict:
        """By `decide`."""
        return decide(self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Row):
    """A good end: two looks at the new release, more than the settle time apart."""

    first: tuple[Container, ...] | None
    """What the first look showed; None: this is the first one."""
    now: tuple[Container, ...] | None
    """What this look shows; None: it could not be read."""
    last_word: bool = False

    def outcome(self) -> Judgement:
        """By `judge`."""
        first = None if self.first is None else _look(0, self.first)
        now = _look(SETTLE.total_seconds() + 1, self.now)
        return judge(first, now, _SETTLING, last_word=self.last_word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows that belong together."""

    title: str
    text: str
    rows: tuple[Row, ...]


def _container(id_: str, process: str, image: str, **more: Any) -> Container:
    given = {"state": "running", "started_at": "2026-11-24T11:00:00Z"}
    return Container(id=id_, process=process, image=image, **(given | more))


SETTLE = timedelta(seconds=10)
_OLD = _container("0" * 12, "web.1", "old")
_OLD_WORKER = _container("1" * 12, "worker.1", "old")
_OLD_AGAIN = _container("2" * 12, "web.1", "old")
_OLD_RESTARTING = _container("0" * 12, "web.1", "old", state="restarting")
_NEW = _container("3" * 12, "web.1", "new")
_NEW_WORKER = _container("4" * 12, "worker.1", "new")
_NEW_AGAIN = _container("5" * 12, "web.1", "new")
_NEW_OF_OLD_CONTENT = _container("6" * 12, "web.1", "old")
_STRANGER = _container("7" * 12, "web.1", "other")
_CRASHED = _container("3" * 12, "web.1", "new", restarts=8, state="restarting")
_CRASHED_ONCE = _container("3" * 12, "web.1", "new", restarts=1)

_WAS = Containers(listed=(_OLD,))
_NOTHING = Containers()
_BEFORE = Snapshot(builds=frozenset(), report=AppReport(), containers=_WAS)
_BEFORE_BOTH = Snapshot(
    builds=frozenset(), report=AppReport(), containers=Containers(listed=(_OLD, _OLD_WORKER))
)
_BEFORE_FIRST = Snapshot(builds=frozenset(), report=AppReport(), containers=_NOTHING)
_BEFORE_ON_OLD_DOKKU = Snapshot(builds=None, report=AppReport(), containers=_WAS)
_OUR_COMMIT = "https://git.example/acme/web.git#" + "a1b2c3d4" * 5
_SETTLING = Settling(
    ours=frozenset({_NEW.id, _NEW_WORKER.id}),
    images=frozenset({_NEW.image}),
    before=_BEFORE_BOTH,
    settle=SETTLE,
)

_BUILT = frozenset({Mark.FETCHING, Mark.BUILDING})
_RELEASED = _BUILT | {Mark.RELEASING, Mark.DEPLOYING, Mark.CHECKING}
_DEPLOYED = _RELEASED | {Mark.POST_DEPLOY, Mark.DEPLOYED}
_BUILD_FAILED = _BUILT | {Mark.BUILD_FAILED}
_CHECKS_FAILED = _RELEASED | {Mark.CHECKS_FAILED}
_OURS = frozenset({_NEW.id, _NEW_WORKER.id, _NEW_OF_OLD_CONTENT.id})
_EXIT_3 = (
    "ERROR: failed to solve: executor failed running [/bin/sh -c sh /app/build.sh]: exit code: 3"
)
_HTTP_500 = "Failure in name='web health': unexpected status code: 500"
_NEWEST = "0.38.27/"
_OLDER = "0.35.20/"


def _look(at: float, listed: tuple[Container, ...] | None) -> Look:
    found = None if listed is None else Containers(listed=listed)
    return Look(began=at, done=at, containers=found)


def _record(status: BuildStatus, exit_code: int | None = None) -> BuildRecord:
    return BuildRecord(id="b", app="web", status=status, source="git:sync", exit_code=exit_code)


_SUCCEEDED = _record(BuildStatus.SUCCEEDED, 0)
_FAILED = _record(BuildStatus.FAILED, 1)
_CANCELED = _record(BuildStatus.CANCELED, ENDED_WITHOUT_TELLING)
_ABANDONED = _record(BuildStatus.ABANDONED)
_RUNNING = _record(BuildStatus.RUNNING)
_CUT_OFF = _record(BuildStatus.FAILED, PIPE_CLOSED)


def _ended(
    exit_status: int | None,
    record: BuildRecord | None,
    after: tuple[Container, ...] | None,
    marks: frozenset[Mark] = _DEPLOYED,
    *,
    error: str | None = None,
    report: AppReport | None = None,
    **more: Any,
) -> Evidence:
    given: dict[str, Any] = {
        "keeps_records": True,
        "before": _BEFORE,
        "expected": _OUR_COMMIT,
    }
    return Evidence(
        exit_status=exit_status,
        record=record,
        # Where nothing is listed after a good end, the output named no container either.
        output=LogFacts(
            marks=marks, started=_OURS if after != () or exit_status else frozenset(), error=error
        ),
        after=None if after is None else Containers(listed=after),
        report=report or AppReport(metadata=_OUR_COMMIT),
        **(given | more),
    )


_OLD_DOKKU: dict[str, Any] = {"keeps_records": False, "before": _BEFORE_ON_OLD_DOKKU}

_UNSTARTED = Section(
    title="Before Dokku's command was started",
    text="Nothing of ours ran. The containers are read once, to say what is serving.",
    rows=(
        Unstarted(
            read="The server could not be reached for the start.",
            failure=Failure.SERVER_UNREACHABLE,
            cause="production could not be reached",
            after=None,
        ),
        Unstarted(
            read="Dokku says that the app does not exist.",
            recording=f"{_NEWEST}i_app_missing",
            failure=Failure.APP_NOT_FOUND,
            cause="web does not exist on production",
            after=None,
        ),
        Unstarted(
            read="The repository has no such branch, tag or commit.",
            failure=Failure.REF_NOT_FOUND,
            cause="The repository has no branch, tag or commit v9",
            after=_WAS,
        ),
        Unstarted(
            read="Dokku refuses the questions before the start, and the app has no container.",
            failure=Failure.REFUSED,
            cause="Dokku refused: the command is not allowed",
            after=_NOTHING,
        ),
    ),
)

_REFUSED = Section(
    title="Dokku refused the start",
    text="Another deploy of the app holds Dokku's lock.",
    rows=(
        Ended(
            read="Exit status 1; the text says that the app has a deploy lock in place.",
            recording=f"{_NEWEST}j_second_deploy_while_running",
            step="second",
            evidence=_ended(1, _ABANDONED, (_OLD,), frozenset({Mark.FETCHING, Mark.LOCKED})),
        ),
        Ended(
            read="The same on Dokku 0.35, which keeps no record of it.",
            recording=f"{_OLDER}j_second_deploy_while_running",
            step="second",
            evidence=_ended(1, None, (_OLD,), frozenset({Mark.LOCKED}), **_OLD_DOKKU),
        ),
    ),
)

_GOOD = Section(
    title="A good end: exit status 0, or a record of success where the line was lost",
    text="Exit status 0 is no success yet. The containers must be those that our own output "
    "names, the recorded source must be our commit, and the release must stay up (next section).",
    rows=(
        Ended(
            read="Dokku says that it deployed; every container is ours; the commit is ours.",
            recording=f"{_NEWEST}b_redeploy_ok",
            step="deploy",
            evidence=_ended(0, _SUCCEEDED, (_NEW,)),
        ),
        Ended(
            read="The same on the first deploy of an app.",
            recording=f"{_NEWEST}a_first_deploy_ok",
            step="deploy",
            evidence=_ended(0, _SUCCEEDED, (_NEW,), before=_BEFORE_FIRST),
        ),
        Ended(
            read="The same commit again: the containers are ours, their image is the old one.",
            recording=f"{_NEWEST}f_noop_same_commit",
            step="deploy_again",
            evidence=_ended(0, _SUCCEEDED, (_NEW_OF_OLD_CONTENT,)),
        ),
        Ended(
            read="The same on Dokku 0.35, which keeps no records.",
            recording=f"{_OLDER}b_redeploy_ok",
            step="deploy",
            evidence=_ended(0, None, (_NEW,), **_OLD_DOKKU),
        ),
        Ended(
            read="The build record is missing: decided as on a Dokku without records.",
            evidence=_ended(0, None, (_NEW,)),
        ),
        Ended(
            read="The line was lost; the record says succeeded, Dokku's copy of the text names "
            "our containers.",
            evidence=_ended(None, _SUCCEEDED, (_NEW,)),
        ),
        Ended(
            read="The line was lost on Dokku 0.35; the recorded source is our commit and our "
            "containers run.",
            evidence=_ended(None, None, (_NEW,), _RELEASED, **_OLD_DOKKU),
        ),
        Ended(
            read="No process is scaled up.",
            recording=f"{_NEWEST}t_worker_zero_web_skip",
            step="deploy_nothing",
            evidence=_ended(0, _SUCCEEDED, (), _BUILT | {Mark.DEPLOYED}),
        ),
        Ended(
            read="The app's skip-deploy property: built and recorded as succeeded, not started.",
            recording=f"{_NEWEST}t_worker_zero_web_skip",
            step="deploy_skip",
            evidence=_ended(0, _SUCCEEDED, (_OLD,), _BUILT | {Mark.DEPLOY_SKIPPED}),
        ),
        Ended(
            read="The same before anything was ever deployed.",
            evidence=_ended(
                0, _SUCCEEDED, (), _BUILT | {Mark.DEPLOY_SKIPPED}, before=_BEFORE_FIRST
            ),
        ),
        Ended(
            read="Dokku says that nothing changed and builds nothing.",
            recording=f"{_NEWEST}f_noop_same_commit",
            step="build_if_changes",
            evidence=_ended(0, _ABANDONED, (_OLD,), frozenset({Mark.FETCHING, Mark.BUILD_SKIPPED})),
        ),
        Ended(
            read="The recorded source is another commit.",
            evidence=_ended(0, _SUCCEEDED, (_NEW,), report=AppReport(metadata="0ffd" * 10)),
        ),
        Ended(
            read="Dokku never said that it deployed.",
            evidence=_ended(0, _SUCCEEDED, (_NEW,), _RELEASED),
        ),
        Ended(
            read="The containers are neither ours nor the old ones.",
            evidence=_ended(0, _SUCCEEDED, (_STRANGER,)),
        ),
        Ended(
            read="Old and new processes side by side.",
            evidence=_ended(0, _SUCCEEDED, (_NEW, _OLD_WORKER), before=_BEFORE_BOTH),
        ),
        Ended(
            read="The same, and the longest duration of a deployment is over.",
            evidence=_ended(
                0, _SUCCEEDED, (_NEW, _OLD_WORKER), before=_BEFORE_BOTH, last_word=True
            ),
        ),
        Ended(
            read="The containers cannot be read.",
            evidence=_ended(0, _SUCCEEDED, None),
        ),
        Ended(
            read="The same, and the longest duration of a deployment is over.",
            evidence=_ended(0, _SUCCEEDED, None, last_word=True),
        ),
    ),
)

_SETTLED = Section(
    title="Does the new release stay up?",
    text="After a good end the containers are read twice, at least the settle time apart "
    "(`DEPLOYBOT_SETTLE`). Dokku's own success says nothing of it: a process that exits one second "
    "after its start still gives exit status 0.",
    rows=(
        Watched(
            read="Both looks show the same containers, running, never restarted.",
            recording=f"{_NEWEST}inspect_a_redeploy",
            first=(_NEW,),
            now=(_NEW,),
        ),
        Watched(
            read="A process is restarting.",
            recording=f"{_NEWEST}u_crashloop",
            first=None,
            now=(_CRASHED,),
        ),
        Watched(
            read="Every process has exited, and Docker starts none of them again.",
            first=None,
            now=(replace(_CRASHED, state="exited"),),
        ),
        Watched(
            read="A process runs, but was restarted.",
            recording=f"{_NEWEST}inspect_d_crash_loops",
            first=(_NEW,),
            now=(_CRASHED_ONCE,),
        ),
        Watched(
            read="Another container of our own image: somebody restarted our release.",
            recording=f"{_NEWEST}p_ps_rebuild_restart_stop_start",
            first=(_NEW,),
            now=(_NEW_AGAIN,),
        ),
        Watched(
            read="The same over and over, until the longest duration is over.",
            first=(_NEW,),
            now=(_NEW_AGAIN,),
            last_word=True,
        ),
        Watched(
            read="Containers of an image that is neither ours nor the old one.",
            recording=f"{_NEWEST}w_git_push_out_of_band",
            first=(_NEW,),
            now=(_STRANGER,),
        ),
        Watched(read="The old image runs again.", first=(_NEW,), now=(_OLD_AGAIN,)),
        Watched(
            read="No container is left: stopped, or scaled down.",
            recording=f"{_NEWEST}x_config_scale_domains",
            first=(_NEW,),
            now=(),
        ),
        Watched(
            read="An old process beside the new ones.",
            first=(_NEW, _NEW_WORKER),
            now=(_NEW, _OLD_WORKER),
        ),
        Watched(
            read="The same, and the longest duration is over.",
            first=(_NEW, _NEW_WORKER),
            now=(_NEW, _OLD_WORKER),
            last_word=True,
        ),
        Watched(read="The containers cannot be read.", first=(_NEW,), now=None),
        Watched(
            read="The same, and the longest duration is over.",
            first=(_NEW,),
            now=None,
            last_word=True,
        ),
    ),
)

_BAD = Section(
    title="A bad end: another exit status, or a record of failure where the line was lost",
    text="The text names the reason, the containers say what is serving. Exit status 1 does not "
    "mean that the old release still serves.",
    rows=(
        Ended(
            read="The build fails; the containers are the old ones.",
            recording=f"{_NEWEST}c_redeploy_build_fails",
            step="deploy",
            evidence=_ended(1, _ABANDONED, (_OLD,), _BUILD_FAILED, error=_EXIT_3),
        ),
        Ended(
            read="The build of a first deploy fails; there is no container.",
            recording=f"{_NEWEST}e_first_deploy_build_fails",
            step="deploy",
            evidence=_ended(1, _ABANDONED, (), _BUILD_FAILED, error=_EXIT_3, before=_BEFORE_FIRST),
        ),
        Ended(
            read="The build fails on Dokku 0.35.",
            recording=f"{_OLDER}c_redeploy_build_fails",
            step="deploy",
            evidence=_ended(1, None, (_OLD,), _BUILD_FAILED, error=_EXIT_3, **_OLD_DOKKU),
        ),
        Ended(
            read="The health check fails; the containers are the old ones.",
            recording=f"{_NEWEST}d_redeploy_healthcheck_fails",
            step="deploy",
            evidence=_ended(1, _FAILED, (_OLD,), _CHECKS_FAILED, error=_HTTP_500),
        ),
        Ended(
            read="The health check fails on Dokku 0.35.",
            recording=f"{_OLDER}d_redeploy_healthcheck_fails",
            step="deploy",
            evidence=_ended(1, None, (_OLD,), _CHECKS_FAILED, error=_HTTP_500, **_OLD_DOKKU),
        ),
        Ended(
            read="The repository has no such ref.",
            recording=f"{_NEWEST}g_ref_missing",
            step="deploy",
            evidence=_ended(
                128,
                _ABANDONED,
                (_OLD,),
                frozenset({Mark.FETCHING, Mark.REF_MISSING}),
                error="fatal: no-such-branch^{commit}: not a valid SHA1",
            ),
        ),
        Ended(
            read="The same on a first deploy, in other words.",
            recording=f"{_NEWEST}g_ref_missing",
            step="first_deploy",
            evidence=_ended(
                1,
                _ABANDONED,
                (),
                frozenset({Mark.FETCHING, Mark.REF_MISSING}),
                error="error: pathspec 'no-such-branch' did not match any file(s) known to git",
                before=_BEFORE_FIRST,
            ),
        ),
        Ended(
            read="The repository cannot be reached, or not by this server.",
            recording=f"{_NEWEST}h_repo_missing",
            step="no_such_host",
            evidence=_ended(
                128,
                _ABANDONED,
                (_OLD,),
                frozenset({Mark.FETCHING, Mark.REPO_UNREACHABLE}),
                error="fatal: unable to access 'https://no-such-host.invalid/x.git/': "
                "Could not resolve host: no-such-host.invalid",
            ),
        ),
        Ended(
            read="The app does not exist any more.",
            recording=f"{_NEWEST}i_app_missing",
            step="git_sync_build_ghost_git_//git.example/web.git_main",
            evidence=_ended(
                20,
                None,
                None,
                frozenset({Mark.APP_MISSING}),
                error="App ghost does not exist",
            ),
        ),
        Ended(
            read="Dokku refuses before it has begun.",
            recording=f"{_NEWEST}i_app_missing",
            step="git_sync_build_web",
            evidence=_ended(
                1,
                None,
                (_OLD,),
                frozenset({Mark.REFUSED}),
                error="Missing GIT_REMOTE parameter",
            ),
        ),
        Ended(
            read="The docker daemon dies during the build; Docker answers nobody.",
            recording=f"{_NEWEST}n2_dockerd_killed_mid_build",
            step="deploy",
            evidence=_ended(
                1,
                _ABANDONED,
                None,
                _BUILD_FAILED,
                error="ERROR: failed to receive status: rpc error: code = Unavailable "
                "desc = error reading from server: EOF",
            ),
        ),
        Ended(
            read="Dokku's processes are killed on the server during the build.",
            recording=f"{_NEWEST}n1_dokku_killed_mid_build",
            step="deploy",
            evidence=_ended(-1, _ABANDONED, (_OLD,), _BUILT),
        ),
        Ended(
            read="The release fails for another reason; the old release is itself restarting.",
            evidence=_ended(1, _FAILED, (_OLD_RESTARTING,), _RELEASED | {Mark.RELEASE_FAILED}),
        ),
        Ended(
            read="The build fails; meanwhile somebody restarted the old release (other "
            "containers, the old image).",
            recording=f"{_NEWEST}p_ps_rebuild_restart_stop_start",
            evidence=_ended(1, _ABANDONED, (_OLD_AGAIN,), _BUILD_FAILED, error=_EXIT_3),
        ),
        Ended(
            read="A postdeploy task fails: the new containers serve already.",
            evidence=_ended(
                1,
                _FAILED,
                (_NEW,),
                _RELEASED | {Mark.RELEASE_FAILED},
                error="Execution of postdeploy task failed: /app/migrate",
            ),
        ),
        Ended(
            read="The worker fails after web was replaced.",
            evidence=_ended(
                1,
                _FAILED,
                (_NEW, _OLD_WORKER),
                _RELEASED | {Mark.RELEASE_FAILED},
                error="parallel: This job failed:",
                before=_BEFORE_BOTH,
            ),
        ),
        Ended(
            read="The line was lost; the record says failed with exit status 1.",
            evidence=_ended(None, _FAILED, (_OLD,), _CHECKS_FAILED, error=_HTTP_500),
        ),
        Ended(
            read="The line was lost; the record never ended, but Dokku's text ends with the "
            "failed build.",
            evidence=_ended(None, _ABANDONED, (_OLD,), _BUILD_FAILED, error=_EXIT_3),
        ),
    ),
)

_CANCELS = Section(
    title="Cancelled",
    text="By a person, by the bot because the longest duration was over, or on the server.",
    rows=(
        Ended(
            read="Somebody pressed Cancel; the record says canceled; the old containers serve.",
            recording=f"{_NEWEST}l1_cancel_mid_build",
            evidence=_ended(PIPE_CLOSED, _CANCELED, (_OLD,), _BUILT, cancel_asked=True),
        ),
        Ended(
            read="The same, but the proxy was switched before: the new containers serve.",
            evidence=_ended(PIPE_CLOSED, _CANCELED, (_NEW,), _RELEASED, cancel_asked=True),
        ),
        Ended(
            read="The same, with web replaced and the worker not.",
            evidence=_ended(
                PIPE_CLOSED,
                _CANCELED,
                (_NEW, _OLD_WORKER),
                _RELEASED,
                cancel_asked=True,
                before=_BEFORE_BOTH,
            ),
        ),
        Ended(
            read="Our own line was closed, our command is dead, nothing changed.",
            evidence=_ended(None, _ABANDONED, (_OLD,), _BUILT, cancel_asked=True),
        ),
        Ended(
            read="The longest duration was over; the record says canceled; the old containers "
            "serve.",
            evidence=_ended(PIPE_CLOSED, _CANCELED, (_OLD,), _BUILT, cap_reached=True),
        ),
        Ended(
            read="Nobody asked the bot, and the record says canceled.",
            recording=f"{_NEWEST}l1_cancel_mid_build",
            evidence=_ended(PIPE_CLOSED, _CANCELED, (_OLD,), _BUILT),
        ),
    ),
)

_LOST = Section(
    title="The line was lost",
    text="A deploy dies with its connection, unless the loss is a silent one. What Dokku kept "
    "tells how far it came.",
    rows=(
        Ended(
            read="The record is shown as running.",
            evidence=_ended(None, _RUNNING, (_OLD,), _BUILT),
        ),
        Ended(
            read="The same, and the longest duration is over.",
            evidence=_ended(None, _RUNNING, (_OLD,), _BUILT, last_word=True),
        ),
        Ended(
            read="The record ended without telling (abandoned, or failed/-1); nothing changed.",
            evidence=_ended(None, _ABANDONED, (_OLD,), _BUILT),
        ),
        Ended(
            read="The record says failed with 141 (cut off); the new containers serve.",
            recording=f"{_NEWEST}m4_ssh_lost_kill9_post_deploy",
            evidence=_ended(None, _CUT_OFF, (_NEW,), _RELEASED),
        ),
        Ended(
            read="The same, with web replaced and the worker not.",
            evidence=_ended(None, _CUT_OFF, (_NEW, _OLD_WORKER), _RELEASED, before=_BEFORE_BOTH),
        ),
        Ended(
            read="There is no record, or there are two that may be ours.",
            evidence=_ended(None, None, (_OLD,), _BUILT),
        ),
        Ended(
            read="The same, and no more waiting is allowed.",
            evidence=_ended(None, None, (_OLD,), _BUILT, last_word=True),
        ),
        Ended(
            read="The same on Dokku 0.35, which keeps no records.",
            evidence=_ended(None, None, (_OLD,), _BUILT, last_word=True, **_OLD_DOKKU),
        ),
    ),
)

SECTIONS: tuple[Section, ...] = (
    _UNSTARTED,
    _REFUSED,
    _GOOD,
    _SETTLED,
    _BAD,
    _CANCELS,
    _LOST,
)
