"""Ends after the line was lost, or was closed on purpose, on a Dokku without build records."""

from tests.verdicts.rows import Ended, Section
from tests.verdicts.samples import (
    BUILD_FAILED,
    BUILT,
    EXIT_3,
    FETCHING,
    FREED,
    HELD,
    NEW,
    OLD,
    OLD_DOKKU,
    OLDER,
    RELEASED,
    ended,
)

LOST_ON_OLD_DOKKU = Section(
    title="The line was lost before Dokku 0.38",
    text="There are no records, and no copy of the text. The deploy lock is taken between fetch "
    "and build, and a deploy that is dead has freed it within 2 s: a lock that is free, and still "
    "is 3 s later, proves that our command does not run any more. It proves nothing while it "
    "fetches; there the line must have been lost for a minute. The recorded source is written by "
    "a good end alone.",
    rows=(
        Ended(
            read="The lock is free, our text had come to the build, nothing changed.",
            recording=f"{OLDER}m1_ssh_lost_kill9_mid_build",
            step="deploy",
            evidence=ended(None, None, (OLD,), BUILT, **FREED),
        ),
        Ended(
            read="The lock is free; our own text says that the build failed.",
            model="old_lost_after_build_failed",
            evidence=ended(None, None, (OLD,), BUILD_FAILED, error=EXIT_3, **FREED),
        ),
        Ended(
            read="The lock is free; the new containers serve; the recorded source is the old one.",
            recording=f"{OLDER}inspect_c_interrupted_post_deploy",
            step="deploy",
            evidence=ended(None, None, (NEW,), RELEASED, **FREED),
        ),
        Ended(
            read="The recorded source became our commit and our containers run.",
            model="old_lost_after_all_was_done",
            evidence=ended(None, None, (NEW,), RELEASED, lock_was_free=True, **OLD_DOKKU),
        ),
        Ended(
            read="The same, but the text was lost before it named a container: every container "
            "is another one than before, of another image.",
            model="old_lost_text",
            evidence=ended(
                None,
                None,
                (NEW,),
                BUILT,
                started=frozenset(),
                lock_was_free=True,
                **OLD_DOKKU,
            ),
        ),
        Ended(
            read="The lock is held: a deploy runs, ours as far as can be told.",
            model="old_lock_held",
            evidence=ended(None, None, (OLD,), BUILT, **HELD),
        ),
        Ended(
            read="The same, and the longest duration is over.",
            model="old_lock_held_at_cap",
            evidence=ended(None, None, (OLD,), BUILT, last_word=True, lost_long=True, **HELD),
        ),
        Ended(
            read="The lock is free, and our text had not come to the build.",
            model="old_lost_in_fetch",
            evidence=ended(None, None, (OLD,), FETCHING, **FREED),
        ),
        Ended(
            read="The same, and the line was lost a minute ago.",
            model="old_lost_in_fetch_long_ago",
            evidence=ended(None, None, (OLD,), FETCHING, lost_long=True, **FREED),
        ),
        Ended(
            read="Somebody pressed Cancel, so that the bot hung up; the lock is free, nothing "
            "changed.",
            recording=f"{OLDER}m1_ssh_lost_kill9_mid_build",
            step="deploy",
            evidence=ended(None, None, (OLD,), BUILT, cancel_asked=True, **FREED),
        ),
        Ended(
            read="The same, but the new containers serve.",
            recording=f"{OLDER}inspect_c_interrupted_post_deploy",
            step="deploy",
            evidence=ended(None, None, (NEW,), RELEASED, cancel_asked=True, **FREED),
        ),
        Ended(
            read="The longest duration was over, so that the bot hung up; the lock is free, "
            "nothing changed.",
            model="old_stopped_at_cap",
            evidence=ended(None, None, (OLD,), BUILT, cap_reached=True, **FREED),
        ),
    ),
)
