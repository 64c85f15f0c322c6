"""Ends after the line was lost."""

from bot.operations.verdict_table.rows import Ended, Section
from bot.operations.verdict_table.samples import (
    ABANDONED,
    BEFORE_BOTH,
    BUILT,
    CUT_OFF,
    NEW,
    NEWEST,
    OLD,
    OLD_WORKER,
    RELEASED,
    RUNNING,
    ended,
)

LOST = Section(
    title="The line was lost",
    text="A deploy dies with its connection, unless the loss is a silent one. What Dokku kept "
    "tells how far it came.",
    rows=(
        Ended(
            read="The record is shown as running.",
            evidence=ended(None, RUNNING, (OLD,), BUILT),
        ),
        Ended(
            read="The same, and the longest duration is over.",
            evidence=ended(None, RUNNING, (OLD,), BUILT, last_word=True),
        ),
        Ended(
            read="The record ended without telling (abandoned, or failed/-1); nothing changed.",
            evidence=ended(None, ABANDONED, (OLD,), BUILT),
        ),
        Ended(
            read="The record says failed with 141 (cut off); the new containers serve.",
            recording=f"{NEWEST}m4_ssh_lost_kill9_post_deploy",
            evidence=ended(None, CUT_OFF, (NEW,), RELEASED),
        ),
        Ended(
            read="The same, with web replaced and the worker not.",
            evidence=ended(None, CUT_OFF, (NEW, OLD_WORKER), RELEASED, before=BEFORE_BOTH),
        ),
        Ended(
            read="Nothing was printed and there is no record, though Dokku writes one at once: it "
            "had not begun.",
            evidence=ended(None, None, (OLD,), frozenset(), never_began=True),
        ),
        Ended(
            read="There is no record, or there are two that may be ours.",
            evidence=ended(None, None, (OLD,), BUILT),
        ),
        Ended(
            read="The same, and no more waiting is allowed.",
            evidence=ended(None, None, (OLD,), BUILT, last_word=True),
        ),
    ),
)
