"""What others do to an app, as Dokku's records tell it: named for people. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from bot.deployments.dokku_facts import (
    NEVER_FINALIZED,
    SYNC_SOURCE,
    BuildRecord,
    BuildStatus,
    Containers,
    Snapshot,
)
from bot.deployments.model import Blocker, Live, LogFacts

MOST_NAMED = 3
SOURCES: Mapping[str, str] = {
    "git-hook": "git push",
    "git:sync": "git:sync",
    "git:from-image": "git:from-image",
    "git:from-archive": "git:from-archive",
    "ps:rebuild": "ps:rebuild",
    "ps:restart": "ps:restart",
    "config-redeploy": "config:set",
    "deploy": "ps:start",
}
"""Dokku's word for how a record was begun -> the command that people know."""

UNRECORDED = Blocker(
    what="another deploy outside this bot (Dokku shows only its lock)",
    mend="An operator can find that deploy's process on the server and end it. "
    "`apps:unlock` would not stop it, and two builds could then run at once.",
)
"""Dokku before 0.38 tells neither source nor age: a lock is there, or is not."""


def command_of(record: BuildRecord) -> str:
    """The command that began a record: `git push`, `ps:restart`. Never empty."""
    return SOURCES.get(record.source, record.source) or "another command"


def describe_build(record: BuildRecord) -> str:
    """One phrase that names a foreign build: how it was started, and its id."""
    article = "a " if record.source in SOURCES else ""
    return f"{article}{command_of(record)} outside this bot (Dokku build {record.id})"


def how_to_end(record: BuildRecord, app: str) -> str:
    """What an operator can do about a build that does not end by itself, in one sentence.

    `builds:cancel` kills what holds the app's deploy lock, and signals the process that the
    record names: which may be another one by now, where the build died and its PID was reused.
    Restarts hold no lock (recordings j_second_deploy_while_running, l1_cancel_mid_build).
    """
    if record.kind == "deploy":
        return f"An operator can {_look(record.id, app)} and end that process on the server."
    return how_to_end_build(record.id, app)


def how_to_end_build(build_id: str, app: str) -> str:
    """The same, for what holds the app's deploy lock."""
    return (
        f"An operator can {_look(build_id, app)} and, if that process is still this build, end it "
        f"with `builds:cancel {app}`."
    )


def _look(build_id: str, app: str) -> str:
    return f"find its PID with `builds:info {app} {build_id}`"


def running_build(
    records: Sequence[BuildRecord], known: Collection[str] = frozenset()
) -> BuildRecord | None:
    """A build that runs on the server now; records with `known` ids do not count.

    Never start into it: a start that Dokku refuses empties its lock file, and the running build
    can then no longer be cancelled (recording l4_cancel_after_refused_second_deploy).
    """
    for record in records:
        if record.status is BuildStatus.RUNNING and record.id not in known:
            return record
    return None


def blocker(
    record: BuildRecord,
    what: str,
    *,
    app: str,
    now: datetime,
    longest: timedelta,
    known: Blocker | None,
) -> Blocker:
    """A running record as what a deployment waits for.

    Its age is Dokku's own span, laid before our `now`: two clocks are never compared. `known` is
    what was shown before; of the same build it keeps its instant, which would move by a second
    or two with each look. `longest` is for how long a deployment may run.
    """
    since = None if record.duration is None else now - record.duration
    if known is not None and known.what == what and known.since is not None:
        since = known.since
    return Blocker(
        what=what,
        since=since,
        stuck=since is not None and now - since > longest,
        mend=how_to_end(record, app),
    )


# --- during a deployment of ours


def outside_records(
    records: Sequence[BuildRecord], before: Snapshot, ours: str | None
) -> tuple[BuildRecord, ...]:
    """Records that others began since the snapshot, oldest first. None before 0.38.

    `ours` is the id of our own record; while it is not known, every git:sync may be ours.
    """
    if before.builds is None:
        return ()
    known = before.builds
    others = [
        one
        for one in records
        if one.id not in known
        and one.id != ours
        and (ours is not None or one.source != SYNC_SOURCE)
    ]
    return tuple(sorted(others, key=lambda one: one.id))


def may_have_changed(record: BuildRecord) -> bool:
    """Whether the command may have changed what runs.

    A build that ended without telling came no further than its build: Dokku refused it because
    of our lock, or it failed. Restarts never tell how they ended, and change what runs.
    Recordings: j_second_deploy_while_running, p_ps_rebuild_restart_stop_start.
    """
    if record.kind != "build":
        return True
    pruned = record.status is BuildStatus.FAILED and record.exit_code == NEVER_FINALIZED
    return record.status is not BuildStatus.ABANDONED and not pruned


def change_commands(records: Sequence[BuildRecord]) -> str:
    """The commands that may have changed what runs: `config:set and ps:restart`; or empty."""
    return " and ".join(dict.fromkeys(command_of(one) for one in records if may_have_changed(one)))


def release_commands(others: Sequence[BuildRecord]) -> str:
    """The commands that started containers of other code; empty: not known.

    Other code comes with a build; a restart is named only where no build is recorded.
    """
    return change_commands([one for one in others if one.kind == "build"]) or change_commands(
        others
    )


def note_about(others: Sequence[BuildRecord]) -> str | None:
    """One sentence beside a deployment: who works on the same app meanwhile. None: nobody."""
    busy = [one for one in others if may_have_changed(one)]
    if not busy:
        return None
    named = ", ".join(_named(one) for one in busy[:MOST_NAMED])
    more = f" and {len(busy) - MOST_NAMED} more" if len(busy) > MOST_NAMED else ""
    return f"Meanwhile, outside this bot: {named}{more}."


def _named(record: BuildRecord) -> str:
    runs = ", still running" if record.status is BuildStatus.RUNNING else ""
    return f"{command_of(record)} (Dokku build {record.id}{runs})"


def with_outside_changes(
    reason: str,
    live: Live | None,
    others: Sequence[BuildRecord],
    *,
    after: Containers | None,
    output: LogFacts,
    before: Snapshot,
) -> str:
    """The sentence of an end and, where it does not say so itself, what others did meanwhile.

    `ps:scale` leaves no record, and Dokku before 0.38 keeps none: then only containers of our
    release that our own output does not name tell of somebody.
    """
    note = note_about([one for one in others if command_of(one) not in reason])
    ours = output.started | output.renamed
    if (
        live in {Live.NEW, Live.MIXED}
        and not change_commands(others)
        and _replaced(after, before, ours)
    ):
        note = (
            "Containers were replaced meanwhile by a command that Dokku keeps no record "
            "of, such as ps:scale."
        )
    return f"{reason} {note}" if note else reason


def _replaced(after: Containers | None, before: Snapshot, ours: frozenset[str]) -> bool:
    """Whether containers run that neither stood there before nor were started by us.

    Where our output names none it was lost: then nobody can tell.
    """
    if after is None or before.containers is None or not ours:
        return False
    return bool(after.ids - before.containers.ids - ours)


def list_records(others: Sequence[BuildRecord]) -> str:
    """For operators: every record of others, whatever it did."""
    return ", ".join(f"{one.source} {one.id} {one.status}" for one in others)
