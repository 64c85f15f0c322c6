"""Ends after the line was lost."""

from bot.deployments.model import LogMarker
from tests.verdicts.rows import Ended, Section
from tests.verdicts.samples import (
    ABANDONED,
    BEFORE_BOTH,
    BUILT,
    CUT_OFF,
    FETCHING,
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
            model="lost_running",
            evidence=ended(None, RUNNING, (OLD,), BUILT),
        ),
        Ended(
            read="The same, and the longest duration is over.",
            model="lost_running_at_cap",
            evidence=ended(None, RUNNING, (OLD,), BUILT, last_word=True),
        ),
        Ended(
            read="The client was killed during the build: the record ended without telling "
            "(abandoned, or failed/-1), and nothing changed.",
            recording=f"{NEWEST}m1_ssh_lost_kill9_mid_build",
            step="deploy",
            evidence=ended(None, ABANDONED, (OLD,), BUILT),
        ),
        Ended(
            read="The same, with the channel closed and the connection kept.",
            recording=f"{NEWEST}m2_ssh_channel_closed_mid_build",
            step="deploy",
            evidence=ended(None, ABANDONED, (OLD,), BUILT),
        ),
        Ended(
            read="The same, with a terminal.",
            recording=f"{NEWEST}m8_pty_client_killed",
            step="deploy",
            evidence=ended(None, ABANDONED, (OLD,), BUILT),
        ),
        Ended(
            read="The same, in a build that prints nothing for 25 s, and lives for as long.",
            recording=f"{NEWEST}m11_ssh_lost_during_silent_build",
            step="deploy",
            evidence=ended(None, ABANDONED, (OLD,), BUILT),
        ),
        Ended(
            read="The same, for a client that gave up in an outage: it died when that was over.",
            recording=f"{NEWEST}m13_short_keepalive_in_blackout",
            step="deploy",
            evidence=ended(None, ABANDONED, (OLD,), BUILT),
        ),
        Ended(
            read="The line was lost; the record is shown as abandoned, and Dokku's copy of the "
            "text says that the repository has no such ref.",
            model="lost_after_ref_missing",
            evidence=ended(
                None,
                ABANDONED,
                (OLD,),
                FETCHING | {LogMarker.REF_MISSING},
                error=f"fatal: {'ab' * 20}^{{commit}}: not a valid SHA1",
            ),
        ),
        Ended(
            read="The client was killed during the checks: the record says failed with 141 (cut "
            "off), and nothing changed.",
            recording=f"{NEWEST}m3_ssh_lost_kill9_mid_checks",
            step="deploy",
            evidence=ended(None, CUT_OFF, (OLD,), RELEASED),
        ),
        Ended(
            read="The record says failed with 141 (cut off); the new containers serve.",
            recording=f"{NEWEST}m4_ssh_lost_kill9_post_deploy",
            step="deploy",
            evidence=ended(None, CUT_OFF, (NEW,), RELEASED),
        ),
        Ended(
            read="The same, seen by Docker's own report: the old container runs on, unlisted.",
            recording=f"{NEWEST}inspect_c_interrupted_post_deploy",
            step="deploy",
            evidence=ended(None, CUT_OFF, (NEW,), RELEASED),
        ),
        Ended(
            read="The same, with web replaced and the worker not.",
            model="lost_half_way",
            evidence=ended(None, CUT_OFF, (NEW, OLD_WORKER), RELEASED, before=BEFORE_BOTH),
        ),
        Ended(
            read="Nothing was printed and there is no record, though Dokku writes one at once: it "
            "had not begun.",
            model="lost_before_it_began",
            evidence=ended(None, None, (OLD,), frozenset(), never_began=True),
        ),
        Ended(
            read="There is no record, or there are two that may be ours.",
            model="lost_record",
            evidence=ended(None, None, (OLD,), BUILT),
        ),
        Ended(
            read="The same, and no more waiting is allowed.",
            model="lost_record_at_cap",
            evidence=ended(None, None, (OLD,), BUILT, last_word=True),
        ),
    ),
)
