"""What the looks at a new release show."""

from dataclasses import replace

from tests.verdicts.rows import Section, Watched
from tests.verdicts.samples import (
    CRASHED,
    CRASHED_ONCE,
    NEW,
    NEW_AGAIN,
    NEW_WORKER,
    NEWEST,
    OLD_AGAIN,
    OLD_WORKER,
    PUSH,
    STRANGER,
)

SETTLED = Section(
    title="Does the new release stay up?",
    text="After a good end the containers are read twice, at least the settle time apart "
    "(`DEPLOYBOT_SETTLE`). Dokku's own success says nothing of it: a process that exits one second "
    "after its start still gives exit status 0.",
    rows=(
        Watched(
            read="Both looks show the same containers, running, never restarted.",
            recording=f"{NEWEST}inspect_a_redeploy",
            step="deploy",
            first=(NEW,),
            now=(NEW,),
        ),
        Watched(
            read="A process is restarting.",
            recording=f"{NEWEST}u_crashloop",
            step="deploy_1s",
            first=None,
            now=(CRASHED,),
        ),
        Watched(
            read="The same: it had crashed eight times when Dokku's command ended.",
            recording=f"{NEWEST}inspect_d_crash_loops",
            step="deploy_1s",
            first=None,
            now=(CRASHED,),
        ),
        Watched(
            read="Every process has exited, and Docker starts none of them again.",
            model="gave_up",
            first=None,
            now=(replace(CRASHED, state="exited"),),
        ),
        Watched(
            read="A process runs, but was restarted.",
            recording=f"{NEWEST}inspect_d_crash_loops",
            step="deploy_20s",
            first=(NEW,),
            now=(CRASHED_ONCE,),
        ),
        Watched(
            read="Another container of our own image: somebody restarted our release.",
            recording=f"{NEWEST}inspect_b_foreign_restarts",
            step="deploy",
            first=(NEW,),
            now=(NEW_AGAIN,),
        ),
        Watched(
            read="The same over and over, until the longest duration is over.",
            model="restarted_over_and_over",
            first=(NEW,),
            now=(NEW_AGAIN,),
            last_word=True,
        ),
        Watched(
            read="Containers of an image that is neither ours nor the old one.",
            model="settling_replaced",
            first=(NEW,),
            now=(STRANGER,),
        ),
        Watched(
            read="The same, and Dokku's records tell of a `git push` begun since the start.",
            model="settling_pushed",
            recording=f"{NEWEST}w_git_push_out_of_band",
            first=(NEW,),
            now=(STRANGER,),
            others=(PUSH,),
        ),
        Watched(
            read="The old image runs again.",
            model="settling_old_again",
            first=(NEW,),
            now=(OLD_AGAIN,),
        ),
        Watched(
            read="No container is left: stopped, or scaled down.",
            model="settling_scaled_down",
            recording=f"{NEWEST}x_config_scale_domains",
            first=(NEW,),
            now=(),
        ),
        Watched(
            read="An old process beside the new ones.",
            model="settling_old_beside_new",
            first=(NEW, NEW_WORKER),
            now=(NEW, OLD_WORKER),
        ),
        Watched(
            read="The same, and the longest duration is over.",
            model="settling_old_beside_new_at_cap",
            first=(NEW, NEW_WORKER),
            now=(NEW, OLD_WORKER),
            last_word=True,
        ),
        Watched(
            read="The containers cannot be read.",
            model="settling_unreadable",
            first=(NEW,),
            now=None,
        ),
        Watched(
            read="The same, and the longest duration is over.",
            model="settling_unreadable_at_cap",
            first=(NEW,),
            now=None,
            last_word=True,
        ),
    ),
)
