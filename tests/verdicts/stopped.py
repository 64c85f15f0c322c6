"""Ends by a cancel."""

from bot.deployments.verdict.evidence import PIPE_CLOSED
from tests.verdicts.rows import Ended, Section
from tests.verdicts.samples import (
    ABANDONED,
    BEFORE_BOTH,
    BEFORE_FIRST,
    BUILT,
    CANCELED,
    FETCHING,
    NEW,
    NEWEST,
    NONE_OF_OURS,
    OLD,
    OLD_WORKER,
    RELEASED,
    ended,
)

CANCELS = Section(
    title="Cancelled",
    text="By a person, by the bot because the longest duration was over, or on the server.",
    rows=(
        Ended(
            read="Somebody pressed Cancel; the record says canceled; the old containers serve.",
            recording=f"{NEWEST}l1_cancel_mid_build",
            step="deploy",
            evidence=ended(PIPE_CLOSED, CANCELED, (OLD,), BUILT, cancel_asked=True),
        ),
        Ended(
            read="The same, after signals that a forced command does not hear.",
            recording=f"{NEWEST}l5_ssh_signal_and_ctrl_c",
            step="deploy",
            evidence=ended(PIPE_CLOSED, CANCELED, (OLD,), BUILT, cancel_asked=True),
        ),
        Ended(
            read="The same, but the proxy was switched before: the new containers serve.",
            recording=f"{NEWEST}l3_cancel_post_deploy",
            step="deploy",
            evidence=ended(PIPE_CLOSED, CANCELED, (NEW,), RELEASED, cancel_asked=True),
        ),
        Ended(
            read="Somebody pressed Cancel during the first build of an app: there is no container.",
            model="cancelled_first",
            evidence=ended(
                PIPE_CLOSED,
                CANCELED,
                (),
                BUILT,
                started=NONE_OF_OURS,
                cancel_asked=True,
                before=BEFORE_FIRST,
            ),
        ),
        Ended(
            read="Somebody pressed Cancel when web was replaced and the worker not.",
            model="cancelled_half_way",
            evidence=ended(
                PIPE_CLOSED,
                CANCELED,
                (NEW, OLD_WORKER),
                RELEASED,
                cancel_asked=True,
                before=BEFORE_BOTH,
            ),
        ),
        Ended(
            read="Somebody pressed Cancel, and the line ended without an exit status: our command "
            "is dead, nothing changed.",
            model="cancelled_by_hanging_up",
            evidence=ended(None, ABANDONED, (OLD,), FETCHING, cancel_asked=True),
        ),
        Ended(
            read="The longest duration was over; the record says canceled; the old containers "
            "serve.",
            model="stopped_at_cap",
            evidence=ended(PIPE_CLOSED, CANCELED, (OLD,), BUILT, cap_reached=True),
        ),
        Ended(
            read="Nobody asked the bot, and the record says canceled.",
            model="cancelled_elsewhere",
            recording=f"{NEWEST}l1_cancel_mid_build",
            evidence=ended(PIPE_CLOSED, CANCELED, (OLD,), BUILT),
        ),
    ),
)
