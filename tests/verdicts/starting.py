"""Ends before Dokku's command ran, and a start that Dokku refused."""

from bot.deployments.model import Failure, LogMarker
from bot.errors import NotShown
from tests.verdicts.rows import Ended, Section, Unstarted
from tests.verdicts.samples import (
    ABANDONED,
    HELD,
    NEWEST,
    NOTHING,
    OLD,
    OLDER,
    WAS,
    ended,
)

UNSTARTED = Section(
    title="Before Dokku's command was started",
    text="Nothing of ours ran. The containers are read once, to say what is serving.",
    rows=(
        Unstarted(
            read="The server could not be reached for the start.",
            model="unreachable",
            failure=Failure.SERVER_UNREACHABLE,
            cause="dokku.example.com:22 refused the connection: nothing listens there. Check the "
            "port, and whether sshd runs.",
            after=None,
        ),
        Unstarted(
            read="Docker did not show the app's containers before the start, three times in a row.",
            model="containers_hidden",
            failure=Failure.SERVER_UNREACHABLE,
            cause=str(NotShown("web", "production")),
            after=None,
        ),
        Unstarted(
            read="Dokku says that the app does not exist.",
            model="app_gone",
            recording=f"{NEWEST}i_app_missing",
            failure=Failure.APP_NOT_FOUND,
            cause="web does not exist on production",
            after=None,
        ),
        Unstarted(
            read="The repository has no such branch, tag or commit.",
            model="ref_gone",
            failure=Failure.REF_NOT_FOUND,
            cause="web's repository has no branch, tag or commit v9",
            after=WAS,
        ),
        Unstarted(
            read="Dokku refuses the questions before the start, and the app has no container.",
            alone="no question was ever recorded to end with another bad status than 20",
            failure=Failure.REFUSED,
            cause="Dokku refused: the command is not allowed",
            after=NOTHING,
        ),
    ),
)

REFUSED = Section(
    title="Dokku refused the start",
    text="Another deploy of the app holds Dokku's lock.",
    rows=(
        Ended(
            read="Exit status 1; the text says that the app has a deploy lock in place.",
            recording=f"{NEWEST}j_second_deploy_while_running",
            step="second",
            evidence=ended(1, ABANDONED, (OLD,), frozenset({LogMarker.FETCHING, LogMarker.LOCKED})),
        ),
        Ended(
            read="The same on Dokku 0.35, which keeps no record of it.",
            recording=f"{OLDER}j_second_deploy_while_running",
            step="second",
            evidence=ended(1, None, (OLD,), frozenset({LogMarker.LOCKED}), **HELD),
        ),
    ),
)
