"""Good ends: exit status 0, or a record of success where the line was lost."""

from bot.deployments.dokku_facts import AppReport
from bot.deployments.model import LogMarker
from tests.verdicts.rows import Ended, Section
from tests.verdicts.samples import (
    ABANDONED,
    BEFORE_BOTH,
    BEFORE_FIRST,
    BEFORE_FIRST_ON_OLD_DOKKU,
    BUILT,
    DEPLOYED,
    FETCHING,
    NEW,
    NEW_OF_OLD_CONTENT,
    NEW_WORKER,
    NEWEST,
    NONE_OF_OURS,
    OLD,
    OLD_AGAIN,
    OLD_DOKKU,
    OLD_WORKER,
    OLDER,
    PRUNED,
    PUSH,
    RELEASED,
    SKIPPED,
    STRANGER,
    SUCCEEDED,
    UNCHANGED,
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
            read="The same, with every step of the build from the cache.",
            recording=f"{NEWEST}inspect_a_redeploy",
            step="same_commit",
            evidence=ended(0, SUCCEEDED, (NEW_OF_OLD_CONTENT,)),
        ),
        Ended(
            read="Another commit with the same files: ours, and the image is the old one.",
            recording=f"{NEWEST}inspect_a_redeploy",
            step="same_files",
            evidence=ended(0, SUCCEEDED, (NEW_OF_OLD_CONTENT,)),
        ),
        Ended(
            read="Back to an older commit, whose image is there already.",
            recording=f"{NEWEST}inspect_a_redeploy",
            step="back",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="An older commit, by its full SHA.",
            recording=f"{NEWEST}r_rollback_sha_tag_branch",
            step="full_sha",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="A first deploy by its full SHA.",
            recording=f"{NEWEST}r2_first_deploy_by_full_sha",
            step="deploy",
            evidence=ended(0, SUCCEEDED, (NEW,), before=BEFORE_FIRST),
        ),
        Ended(
            read="Two process types, web and worker; both are ours.",
            recording=f"{NEWEST}t_worker_zero_web_skip",
            step="deploy_two_types",
            evidence=ended(0, SUCCEEDED, (NEW, NEW_WORKER), before=BEFORE_FIRST),
        ),
        Ended(
            read="Web is scaled to nothing; the worker is ours.",
            recording=f"{NEWEST}t_worker_zero_web_skip",
            step="deploy_web_0",
            evidence=ended(
                0, SUCCEEDED, (NEW_WORKER,), RELEASED | {LogMarker.DEPLOYED}, before=BEFORE_BOTH
            ),
        ),
        Ended(
            read="Somebody's `config:set` ran into our build, and ours was switched to last.",
            recording=f"{NEWEST}inspect_e_foreign_in_our_deploy",
            step="config_set_in_build",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="Somebody's `ps:restart` ran into our release; a container of our image serves.",
            recording=f"{NEWEST}inspect_e_foreign_in_our_deploy",
            step="restart_at_release",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="For 40 s nothing passed the network; it healed, and every byte came.",
            recording=f"{NEWEST}m5_ssh_blackhole_40s_mid_build",
            step="deploy",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="Somebody had locked the app with `apps:lock`: Dokku ignores and removes it.",
            model="apps_locked",
            recording=f"{NEWEST}v_apps_lock_unlock",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="Two apps of one server at once: one is deployed again.",
            recording=f"{NEWEST}k_two_apps_at_once",
            step="deploy",
            evidence=ended(0, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="The other of the two, deployed for the first time.",
            recording=f"{NEWEST}k_two_apps_at_once",
            step="deploy_web2",
            evidence=ended(0, SUCCEEDED, (NEW,), before=BEFORE_FIRST),
        ),
        Ended(
            read="Dokku 0.35, which keeps no records, says that it deployed; every container is "
            "ours; the commit is ours.",
            recording=f"{OLDER}b_redeploy_ok",
            step="deploy",
            evidence=ended(0, None, (NEW,), **OLD_DOKKU),
        ),
        Ended(
            read="The same on the first deploy of an app.",
            recording=f"{OLDER}a_first_deploy_ok",
            step="deploy",
            evidence=ended(0, None, (NEW,), **(OLD_DOKKU | {"before": BEFORE_FIRST_ON_OLD_DOKKU})),
        ),
        Ended(
            read="The build record is missing: decided as on a Dokku without records.",
            model="record_gone",
            evidence=ended(0, None, (NEW,)),
        ),
        Ended(
            read="The build record says that it ended without telling (failed/-1): the same.",
            model="record_says_otherwise",
            evidence=ended(0, PRUNED, (NEW,)),
        ),
        Ended(
            read="The line was lost; the record says succeeded, Dokku's copy of the text names "
            "our containers.",
            model="lost_after_all_was_done",
            recording=f"{NEWEST}m6_ssh_blackhole_forever",
            evidence=ended(None, SUCCEEDED, (NEW,)),
        ),
        Ended(
            read="No process is scaled up.",
            recording=f"{NEWEST}t_worker_zero_web_skip",
            step="deploy_nothing",
            evidence=ended(0, SUCCEEDED, (), BUILT | {LogMarker.DEPLOYED}),
        ),
        Ended(
            read="The app's skip-deploy property: built and recorded as succeeded, not started.",
            model="skip_deploy",
            evidence=ended(0, SUCCEEDED, (OLD,), SKIPPED, started=NONE_OF_OURS),
        ),
        Ended(
            read="The same before anything was ever deployed.",
            recording=f"{NEWEST}t_worker_zero_web_skip",
            step="deploy_skip",
            evidence=ended(0, SUCCEEDED, (), SKIPPED, before=BEFORE_FIRST),
        ),
        Ended(
            read="The same property, and meanwhile somebody restarted the former release.",
            model="skip_deploy_restarted",
            evidence=ended(0, SUCCEEDED, (OLD_AGAIN,), SKIPPED, started=NONE_OF_OURS),
        ),
        Ended(
            read="The same property, and others started containers of another image: a restart "
            "starts what was built last.",
            model="skip_deploy_started",
            evidence=ended(0, SUCCEEDED, (STRANGER,), SKIPPED, started=NONE_OF_OURS),
        ),
        Ended(
            read="The same property, and meanwhile a `git push` put another release in place.",
            model="skip_deploy_pushed",
            evidence=ended(
                0, SUCCEEDED, (STRANGER,), SKIPPED, started=NONE_OF_OURS, others=(PUSH,)
            ),
        ),
        Ended(
            read="The same property; the line was lost, and Dokku's copy of the text tells it.",
            model="lost_after_skip_deploy",
            evidence=ended(None, SUCCEEDED, (OLD,), SKIPPED, started=NONE_OF_OURS),
        ),
        Ended(
            read="The same property, the containers cannot be read, and the longest duration of a "
            "deployment is over.",
            model="skip_deploy_unreadable_at_cap",
            evidence=ended(0, SUCCEEDED, None, SKIPPED, started=NONE_OF_OURS, last_word=True),
        ),
        Ended(
            read="Dokku named and deployed our containers; others of the former image run, which "
            "is ours too where the content is the same.",
            model="same_content_restarted",
            evidence=ended(0, SUCCEEDED, (OLD_AGAIN,), DEPLOYED),
        ),
        Ended(
            read="Dokku says that nothing changed and builds nothing.",
            recording=f"{NEWEST}f_noop_same_commit",
            step="build_if_changes",
            evidence=ended(0, ABANDONED, (OLD,), UNCHANGED, started=NONE_OF_OURS),
        ),
        Ended(
            read="The same after the build of that very commit had failed.",
            recording=f"{NEWEST}f2_build_if_changes_after_failed_build",
            step="build_if_changes",
            evidence=ended(0, ABANDONED, (OLD,), UNCHANGED, started=NONE_OF_OURS),
        ),
        Ended(
            read="Dokku fetches, and builds nothing.",
            recording=f"{NEWEST}f_noop_same_commit",
            step="without_build",
            evidence=ended(0, ABANDONED, (OLD,), FETCHING, started=NONE_OF_OURS),
        ),
        Ended(
            read="The recorded source is another commit.",
            model="other_source",
            evidence=ended(0, SUCCEEDED, (NEW,), report=AppReport(metadata="0ffd" * 10)),
        ),
        Ended(
            read="Dokku never said that it deployed.",
            alone="no Dokku was seen to exit with 0 after a release without saying so",
            evidence=ended(0, SUCCEEDED, (NEW,), RELEASED),
        ),
        Ended(
            read="The line was lost during post-deploy; the record says succeeded, and Dokku's "
            "copy of the text is gone.",
            model="text_gone",
            evidence=ended(None, SUCCEEDED, (NEW,), RELEASED),
        ),
        Ended(
            read="The network fell silent for ever during the build, and Dokku came to its end: "
            "the record says succeeded, other containers serve. What it printed after the first "
            "6 s was not recorded.",
            recording=f"{NEWEST}m6_ssh_blackhole_forever",
            step="deploy",
            evidence=ended(None, SUCCEEDED, (STRANGER,), BUILT, started=NONE_OF_OURS),
        ),
        Ended(
            read="The containers are neither ours nor the old ones.",
            model="replaced_by_unknown",
            evidence=ended(0, SUCCEEDED, (STRANGER,)),
        ),
        Ended(
            read="The same, and Dokku's records tell of a `git push` begun since the start.",
            model="replaced_by_push",
            evidence=ended(0, SUCCEEDED, (STRANGER,), others=(PUSH,)),
        ),
        Ended(
            read="Old and new processes side by side.",
            model="old_beside_new",
            evidence=ended(0, SUCCEEDED, (NEW, OLD_WORKER), before=BEFORE_BOTH),
        ),
        Ended(
            read="The same, and the longest duration of a deployment is over.",
            model="old_beside_new_at_cap",
            evidence=ended(0, SUCCEEDED, (NEW, OLD_WORKER), before=BEFORE_BOTH, last_word=True),
        ),
        Ended(
            read="The containers cannot be read.",
            model="unreadable",
            evidence=ended(0, SUCCEEDED, None),
        ),
        Ended(
            read="The same, and the longest duration of a deployment is over.",
            model="unreadable_at_cap",
            evidence=ended(0, SUCCEEDED, None, last_word=True),
        ),
    ),
)
