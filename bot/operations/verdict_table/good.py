"""Good ends: exit status 0, or a record of success where the line was lost."""

from bot.deployments.model import AppReport, Mark
from bot.operations.verdict_table.rows import Ended, Section
from bot.operations.verdict_table.samples import (
    ABANDONED,
    BEFORE_BOTH,
    BEFORE_FIRST,
    BUILT,
    NEW,
    NEW_OF_OLD_CONTENT,
    NEWEST,
    OLD,
    OLD_DOKKU,
    OLD_WORKER,
    OLDER,
    PUSH,
    RELEASED,
    STRANGER,
    SUCCEEDED,
    ended,
)

GOOD = Section(
    title="A good end: exit status 0, or a record of success where the line was lost",
    text="Exit status 0 is no success yet. The containers must be those that our own output "
    "names, the recorded source must be our commit, and the release must stay up (next section).",
    rows=(
        Ended(
            read="Dokku says that it deployed; every container is ours; the commit is ours.",
            recording=f"{NEWEST}b_redeploy_ok",
            step="deploy",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="The same on the first deploy of an app.",
            recording=f"{NEWEST}a_first_deploy_ok",
            step="deploy",
            evidence=ended(0, SUCCEEDED, (NEW,), before=BEFORE_FIRST),
        ),
        Ended(
            read="The same commit again: the containers are ours, their image is the old one.",
            recording=f"{NEWEST}f_noop_same_commit",
            step="deploy_again",
            evidence=ended(0, SUCCEEDED, (NEW_OF_OLD_CONTENT,)),
        ),
        Ended(
            read="The same on Dokku 0.35, which keeps no records.",
            recording=f"{OLDER}b_redeploy_ok",
            step="deploy",
            evidence=ended(0, None, (NEW,), **OLD_DOKKU),
        ),
        Ended(
            read="The build record is missing: decided as on a Dokku without records.",
            evidence=ended(0, None, (NEW,)),
        ),
        Ended(
            read="The line was lost; the record says succeeded, Dokku's copy of the text names "
            "our containers.",
            evidence=ended(None, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="No process is scaled up.",
            recording=f"{NEWEST}t_worker_zero_web_skip",
            step="deploy_nothing",
            evidence=ended(0, SUCCEEDED, (), BUILT | {Mark.DEPLOYED}),
        ),
        Ended(
            read="The app's skip-deploy property: built and recorded as succeeded, not started.",
            recording=f"{NEWEST}t_worker_zero_web_skip",
            step="deploy_skip",
            evidence=ended(0, SUCCEEDED, (OLD,), BUILT | {Mark.DEPLOY_SKIPPED}),
        ),
        Ended(
            read="The same before anything was ever deployed.",
            evidence=ended(0, SUCCEEDED, (), BUILT | {Mark.DEPLOY_SKIPPED}, before=BEFORE_FIRST),
        ),
        Ended(
            read="Dokku says that nothing changed and builds nothing.",
            recording=f"{NEWEST}f_noop_same_commit",
            step="build_if_changes",
            evidence=ended(0, ABANDONED, (OLD,), frozenset({Mark.FETCHING, Mark.BUILD_SKIPPED})),
        ),
        Ended(
            read="The recorded source is another commit.",
            evidence=ended(0, SUCCEEDED, (NEW,), report=AppReport(metadata="0ffd" * 10)),
        ),
        Ended(
            read="Dokku never said that it deployed.",
            evidence=ended(0, SUCCEEDED, (NEW,), RELEASED),
        ),
        Ended(
            read="The containers are neither ours nor the old ones.",
            evidence=ended(0, SUCCEEDED, (STRANGER,)),
        ),
        Ended(
            read="The same, and Dokku's records tell of a `git push` begun since the start.",
            evidence=ended(0, SUCCEEDED, (STRANGER,), others=(PUSH,)),
        ),
        Ended(
            read="Old and new processes side by side.",
            evidence=ended(0, SUCCEEDED, (NEW, OLD_WORKER), before=BEFORE_BOTH),
        ),
        Ended(
            read="The same, and the longest duration of a deployment is over.",
            evidence=ended(0, SUCCEEDED, (NEW, OLD_WORKER), before=BEFORE_BOTH, last_word=True),
        ),
        Ended(
            read="The containers cannot be read.",
            evidence=ended(0, SUCCEEDED, None),
        ),
        Ended(
            read="The same, and the longest duration of a deployment is over.",
            evidence=ended(0, SUCCEEDED, None, last_word=True),
        ),
    ),
)
