"""What others do: how it is named, since when it runs, and what an operator can do about it."""

from datetime import timedelta

import pytest

from bot.deployments.foreign import (
    SOURCES,
    UNRECORDED,
    blocker,
    command_of,
    describe_foreign,
    expiry,
    how_to_end,
)
from bot.deployments.model import Blocker, BuildRecord, BuildStatus
from tests.support.builders import NOW

LONGEST = timedelta(minutes=30)
PUSH = "a git push outside this bot (Dokku build b9)"


def record(
    source: str = "git-hook", *, kind: str = "build", duration: timedelta | None = None
) -> BuildRecord:
    return BuildRecord(
        id="b9", app="web", status=BuildStatus.RUNNING, source=source, kind=kind, duration=duration
    )


def running_for(minutes: float, known: Blocker | None = None, what: str = PUSH) -> Blocker:
    one = record(duration=timedelta(minutes=minutes))
    return blocker(one, what, app="web", now=NOW, longest=LONGEST, known=known)


def test_a_foreign_build_is_named_by_its_source() -> None:
    assert {source: describe_foreign(record(source)) for source in SOURCES} == {
        "git-hook": "a git push outside this bot (Dokku build b9)",
        "git:sync": "a git:sync outside this bot (Dokku build b9)",
        "git:from-image": "a git:from-image outside this bot (Dokku build b9)",
        "git:from-archive": "a git:from-archive outside this bot (Dokku build b9)",
        "ps:rebuild": "a ps:rebuild outside this bot (Dokku build b9)",
        "ps:restart": "a ps:restart outside this bot (Dokku build b9)",
        "config-redeploy": "a config:set outside this bot (Dokku build b9)",
        "deploy": "a ps:start outside this bot (Dokku build b9)",
    }
    assert describe_foreign(record("new:thing")) == "new:thing outside this bot (Dokku build b9)"
    assert describe_foreign(record("")) == "another command outside this bot (Dokku build b9)"


def test_a_command_always_has_a_name() -> None:
    assert command_of(record("git-hook")) == "git push"
    assert command_of(record("new:thing")) == "new:thing"
    assert command_of(record("")) == "another command"


def test_since_when_it_runs_is_its_own_span_laid_before_our_now() -> None:
    assert running_for(3).since == NOW - timedelta(minutes=3)
    assert blocker(record(), PUSH, app="web", now=NOW, longest=LONGEST, known=None).since is None


def test_the_instant_of_one_build_stays_and_of_another_is_new() -> None:
    first = running_for(3)
    later = Blocker(what=PUSH, since=NOW - timedelta(minutes=2))
    assert running_for(3, known=first) == first
    assert running_for(3, known=later).since == later.since
    assert running_for(3, known=Blocker(what=PUSH)).since == first.since
    assert running_for(3, known=later, what="another").since == first.since


def test_it_is_stuck_when_it_runs_for_longer_than_a_deployment_may() -> None:
    assert not running_for(30).stuck
    assert running_for(30.1).stuck
    unknown = blocker(record(), PUSH, app="web", now=NOW, longest=LONGEST, known=None)
    assert not unknown.stuck


def test_a_build_is_ended_by_cancel_and_only_after_a_look_at_its_pid() -> None:
    assert how_to_end(record(), "web") == (
        "An operator can look at its PID with `builds:info web b9` and, if that process still is "
        "this build, end it with `builds:cancel web`."
    )
    assert running_for(3).mend == how_to_end(record(), "web")


@pytest.mark.parametrize("source", ["ps:restart", "config-redeploy", "deploy"])
def test_a_restart_holds_no_lock_and_so_cannot_be_cancelled(source: str) -> None:
    assert how_to_end(record(source, kind="deploy"), "web") == (
        "An operator can look at its PID with `builds:info web b9` and end that process on the "
        "server."
    )


def test_nobody_is_told_to_unlock() -> None:
    assert "`apps:unlock` would stop nothing" in UNRECORDED.mend
    assert "unlock" not in how_to_end(record(), "web")


def test_a_place_that_expires_names_what_held_it_up_and_what_can_be_done() -> None:
    held_up = Blocker(what=PUSH, since=NOW - timedelta(hours=2, minutes=1), mend="Do this.")
    assert expiry(PUSH, held_up, NOW) == (
        f"It waited too long for {PUSH}, which has been running for 2h 1m. Do this."
    )
    assert expiry("the lock", Blocker(what="the lock", mend="Do this."), NOW) == (
        "It waited too long for the lock. Do this."
    )
    assert expiry("x", Blocker(what="x"), NOW) == "It waited too long for x"
    assert expiry("its turn", None, NOW) == "It waited too long for its turn"
