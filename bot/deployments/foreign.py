"""What others do to an app, as Dokku's records tell it: named for people. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from bot.clock import duration_words
from bot.deployments.model import Blocker, BuildRecord

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
    what="another deploy outside this bot (its lock is all that Dokku shows)",
    mend="An operator can look on the server for the process of that deploy, and end it; "
    "`apps:unlock` would stop nothing and let two builds run at once.",
)
"""Dokku before 0.38 tells neither source nor age: a lock is there, or is not."""


def command_of(record: BuildRecord) -> str:
    """The command that began a record: `git push`, `ps:restart`. Never empty."""
    return SOURCES.get(record.source, record.source) or "another command"


def describe_foreign(record: BuildRecord) -> str:
    """One phrase that names a foreign build: how it was started, and its id."""
    article = "a " if record.source in SOURCES else ""
    return f"{article}{command_of(record)} outside this bot (Dokku build {record.id})"


def how_to_end(record: BuildRecord, app: str) -> str:
    """What an operator can do about a build that does not end by itself, in one sentence.

    `builds:cancel` kills what holds the app's deploy lock, and signals the process that the
    record names: which may be another one by now, where the build died and its PID was reused.
    Restarts hold no lock (recordings j_second_deploy_while_running, l1_cancel_mid_build).
    """
    look = f"look at its PID with `builds:info {app} {record.id}`"
    if record.kind == "deploy":
        return f"An operator can {look} and end that process on the server."
    return (
        f"An operator can {look} and, if that process still is this build, end it with "
        f"`builds:cancel {app}`."
    )


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


def expiry(waits_for: str, known: Blocker | None, now: datetime) -> str:
    """Why a place in the queue was given up: what it waited for, and what an operator can do."""
    cause = f"It waited too long for {waits_for}"
    if known is None:
        return cause
    if known.since is not None:
        cause += f", which has been running for {duration_words(now - known.since)}"
    return f"{cause}. {known.mend}" if known.mend else cause
