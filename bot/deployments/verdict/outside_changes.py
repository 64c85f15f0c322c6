"""Outside changes: what others do to an app according to Dokku's records, in words. Pure."""

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
from bot.deployments.model import Live, LogFacts
from bot.deployments.progress import Blocker

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
    what="another deploy outside the bot (Dokku shows only its lock)",
    advice="An operator can find that deploy's process on the server and end it. "
    "`apps:unlock` would not stop it, and two builds could then run at once.",
)
"""Dokku before 0.38 shows neither source nor age: only whether a lock is held."""


def command_of(record: BuildRecord) -> str:
    """The command that began a record: `git push`, `ps:restart`. Never empty."""
    return SOURCES.get(record.source, record.source) or "another command"


def describe_build(record: BuildRecord) -> str:
    """One phrase that names a build outside the bot: how it was started, and its id."""
    article = "a " if record.source in SOURCES else ""
    return f"{article}{command_of(record)} outside the bot (Dokku build {record.id})"


def how_to_end(record: BuildRecord, app: str) -> str:
    """What an operator can do about a command that does not end by itself.

    `builds:cancel` kills what holds the app's deploy lock, and signals the PID in the record. If
    the build died, another process may have that PID. Restarts hold no lock (recordings
    j_second_deploy_while_running, l1_cancel_mid_build).
    """
    if record.kind == "deploy":
        return f"An operator can {_look(record.id, app)} and end that process on the server."
    return how_to_end_build(record.id, app)


def how_to_end_build(build_id: str, app: str) -> str:
    """The same for a build, which holds the app's deploy lock."""
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
    own: bool,
) -> Blocker:
    """A running record as what a deployment waits for.

    Its age is the duration that Dokku reports, so two clocks are never compared. `known` is what
    was shown before: for the same build its start is kept, as a new one would differ by a second
    or two at each look. `longest` is how long a deployment may run. `own`: an earlier deployment
    of this bot started it, and its result is unknown.
    """
    since = None if record.duration is None else now - record.duration
    if known is not None and known.what == what and known.since is not None:
        since = known.since
    stuck = since is not None and now - since > longest
    # What others build may end by itself; and `builds:cancel` cannot end a restart.
    offered = record.kind == "build" and (own or stuck)
    return Blocker(
        what=what,
        since=since,
        stuck=stuck,
        advice=how_to_end(record, app),
        build=record.id if offered else None,
    )


# --- during a deployment


def outside_records(
    records: Sequence[BuildRecord], before: Snapshot, own: str | None
) -> tuple[BuildRecord, ...]:
    """Records of outside changes since the snapshot, oldest first; none before Dokku 0.38.

    `own` is the id of this deployment's record; None: every git:sync may be this deployment's.
    """
    if before.builds is None:
        return ()
    known = before.builds
    others = [
        one
        for one in records
        if one.id not in known and one.id != own and (own is not None or one.source != SYNC_SOURCE)
    ]
    return tuple(sorted(others, key=lambda one: one.id))


def may_have_changed(record: BuildRecord) -> bool:
    """Whether the command may have changed what runs.

    A build that ended without a result came no further than its build: Dokku refused it because of
    the deploy lock, or it failed. Restarts never record their result, and do change what runs.
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
    """One sentence about outside changes to the app meanwhile; None: there are none."""
    busy = [one for one in others if may_have_changed(one)]
    if not busy:
        return None
    named = ", ".join(_named(one) for one in busy[:MOST_NAMED])
    more = f" and {len(busy) - MOST_NAMED} more" if len(busy) > MOST_NAMED else ""
    return f"Meanwhile, outside the bot: {named}{more}."


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
    """The sentence of a result and, unless it says so itself, what others did meanwhile.

    `ps:scale` leaves no record, and Dokku before 0.38 keeps none: then only containers of this
    release that the deployment's output does not name show an outside change.
    """
    note = note_about([one for one in others if command_of(one) not in reason])
    own = output.started | output.renamed
    if live is Live.NEW and change_commands(others):
        note = " ".join(filter(None, (note, _left_over(after, output))))
    if (
        live in {Live.NEW, Live.MIXED}
        and not change_commands(others)
        and _replaced(after, before, own)
    ):
        note = (
            "Containers were replaced in the meantime by a command that Dokku keeps no record "
            "of, such as ps:scale."
        )
    return f"{reason} {note}" if note else reason


def _left_over(after: Containers | None, output: LogFacts) -> str:
    """A container that this deployment started and that another command overtook.

    The last to switch serves; the other one runs on as an `.upcoming-N` that `ps:inspect` does not
    list, so only the output shows that it was there (recording inspect_e_foreign_in_our_deploy).
    """
    if after is None:
        return ""
    left = sorted(output.started - output.renamed - after.ids)
    if not left:
        return ""
    return (
        f"This deployment's own container {' and '.join(left)} never took over and may still run "
        "beside the others, where Dokku does not list it: `docker ps` on the server shows it as "
        "`.upcoming-…`, and `docker rm -f` removes it."
    )


def _replaced(after: Containers | None, before: Snapshot, own: frozenset[str]) -> bool:
    """Whether containers run that were neither there before nor started by this deployment.

    If the output names none, it was lost, and this cannot be known.
    """
    if after is None or before.containers is None or not own:
        return False
    return bool(after.ids - before.containers.ids - own)


def list_records(others: Sequence[BuildRecord]) -> str:
    """For operators: every record of an outside command, whatever it did."""
    return ", ".join(f"{one.source} {one.id} {one.status}" for one in others)
