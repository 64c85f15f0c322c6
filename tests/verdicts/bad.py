"""Bad ends: another exit status, or a record of failure where the line was lost."""

from bot.deployments.model import LogMarker
from tests.verdicts.rows import Ended, Section
from tests.verdicts.samples import (
    ABANDONED,
    BEFORE_BOTH,
    BEFORE_FIRST,
    BUILD_FAILED,
    BUILT,
    CHECKS_FAILED,
    CONFIG_SET,
    EXIT_3,
    FAILED,
    HTTP_500,
    NEW,
    NEWEST,
    OLD,
    OLD_AGAIN,
    OLD_DOKKU,
    OLD_RESTARTING,
    OLD_WORKER,
    OLDER,
    RELEASED,
    ended,
)

PREDEPLOY = "Execution of predeploy task failed: /app/migrate"
PREDEPLOY_FAILED = BUILT | {LogMarker.RELEASING, LogMarker.RELEASE_FAILED}

BAD = Section(
    title="A bad end: another exit status, or a record of failure where the line was lost",
    text="The text names the reason, the containers say what is serving. Exit status 1 does not "
    "mean that the old release still serves.",
    rows=(
        Ended(
            read="The build fails; the containers are the old ones.",
            recording=f"{NEWEST}c_redeploy_build_fails",
            step="deploy",
            evidence=ended(1, ABANDONED, (OLD,), BUILD_FAILED, error=EXIT_3),
        ),
        Ended(
            read="The build of a first deploy fails; there is no container.",
            recording=f"{NEWEST}e_first_deploy_build_fails",
            step="deploy",
            evidence=ended(1, ABANDONED, (), BUILD_FAILED, error=EXIT_3, before=BEFORE_FIRST),
        ),
        Ended(
            read="The build fails for an app that was restarted and scaled before.",
            recording=f"{NEWEST}inspect_b_foreign_restarts",
            step="build_fails",
            evidence=ended(1, ABANDONED, (OLD,), BUILD_FAILED, error=EXIT_3),
        ),
        Ended(
            read="The build fails on Dokku 0.35.",
            recording=f"{OLDER}c_redeploy_build_fails",
            step="deploy",
            evidence=ended(1, None, (OLD,), BUILD_FAILED, error=EXIT_3, **OLD_DOKKU),
        ),
        Ended(
            read="The health check fails; the containers are the old ones.",
            recording=f"{NEWEST}d_redeploy_healthcheck_fails",
            step="deploy",
            evidence=ended(1, FAILED, (OLD,), CHECKS_FAILED, error=HTTP_500),
        ),
        Ended(
            read="The health check fails after a failed build and a restart.",
            recording=f"{NEWEST}inspect_b_foreign_restarts",
            step="checks_fail",
            evidence=ended(1, FAILED, (OLD,), CHECKS_FAILED, error=HTTP_500),
        ),
        Ended(
            read="The health check fails on Dokku 0.35.",
            recording=f"{OLDER}d_redeploy_healthcheck_fails",
            step="deploy",
            evidence=ended(1, None, (OLD,), CHECKS_FAILED, error=HTTP_500, **OLD_DOKKU),
        ),
        Ended(
            read="The repository has no such ref.",
            recording=f"{NEWEST}g_ref_missing",
            step="deploy",
            evidence=ended(
                128,
                ABANDONED,
                (OLD,),
                frozenset({LogMarker.FETCHING, LogMarker.REF_MISSING}),
                error="fatal: no-such-branch^{commit}: not a valid SHA1",
            ),
        ),
        Ended(
            read="The same on a first deploy, in other words.",
            recording=f"{NEWEST}g_ref_missing",
            step="first_deploy",
            evidence=ended(
                1,
                ABANDONED,
                (),
                frozenset({LogMarker.FETCHING, LogMarker.REF_MISSING}),
                error="error: pathspec 'no-such-branch' did not match any file(s) known to git",
                before=BEFORE_FIRST,
            ),
        ),
        Ended(
            read="The repository cannot be reached, or not by this server.",
            recording=f"{NEWEST}h_repo_missing",
            step="no_such_host",
            evidence=ended(
                128,
                ABANDONED,
                (OLD,),
                frozenset({LogMarker.FETCHING, LogMarker.REPO_UNREACHABLE}),
                error="fatal: unable to access 'https://no-such-host.invalid/x.git/': "
                "Could not resolve host: no-such-host.invalid",
            ),
        ),
        Ended(
            read="The repository does not exist, or is not for us.",
            recording=f"{NEWEST}h_repo_missing",
            step="not_exported",
            evidence=ended(
                128,
                ABANDONED,
                (OLD,),
                frozenset({LogMarker.FETCHING, LogMarker.REPO_UNREACHABLE}),
                error="fatal: remote error: access denied or repository not exported: /nope.git",
            ),
        ),
        Ended(
            read="The repository's port is closed.",
            recording=f"{NEWEST}h_repo_missing",
            step="refused",
            evidence=ended(
                128,
                ABANDONED,
                (OLD,),
                frozenset({LogMarker.FETCHING, LogMarker.REPO_UNREACHABLE}),
                error="fatal: unable to connect to 198.51.100.10:",
            ),
        ),
        Ended(
            read="The repository's SSH server refuses.",
            recording=f"{NEWEST}h_repo_missing",
            step="ssh_refused",
            evidence=ended(
                128,
                ABANDONED,
                (OLD,),
                frozenset({LogMarker.FETCHING, LogMarker.REPO_UNREACHABLE}),
                error="ssh: connect to host 198.51.100.10 port 22: Connection refused",
            ),
        ),
        Ended(
            read="What is named is no repository.",
            recording=f"{NEWEST}h_repo_missing",
            step="no_url",
            evidence=ended(
                128,
                ABANDONED,
                (OLD,),
                frozenset({LogMarker.FETCHING, LogMarker.REPO_UNREACHABLE}),
                error="fatal: 'not-a-url' does not appear to be a git repository",
            ),
        ),
        Ended(
            read="The app does not exist any more.",
            recording=f"{NEWEST}i_app_missing",
            step="git_sync_build_ghost_git_//git.example/web.git_main",
            evidence=ended(
                20,
                None,
                None,
                frozenset({LogMarker.APP_MISSING}),
                error="App ghost does not exist",
            ),
        ),
        Ended(
            read="Dokku refuses before it has begun.",
            recording=f"{NEWEST}i_app_missing",
            step="git_sync_build_web",
            evidence=ended(
                1,
                None,
                (OLD,),
                frozenset({LogMarker.REFUSED}),
                error="Missing GIT_REMOTE parameter",
            ),
        ),
        Ended(
            read="The docker daemon dies during the build; Docker answers nobody.",
            recording=f"{NEWEST}n2_dockerd_killed_mid_build",
            step="deploy",
            evidence=ended(
                1,
                ABANDONED,
                None,
                BUILD_FAILED,
                error="ERROR: failed to receive status: rpc error: code = Unavailable "
                "desc = error reading from server: EOF",
            ),
        ),
        Ended(
            read="The docker daemon is dead during the build, and answers again at the end.",
            recording=f"{NEWEST}n2_dockerd_killed_mid_build",
            step="deploy_while_down",
            evidence=ended(
                1,
                ABANDONED,
                (OLD,),
                BUILD_FAILED | {LogMarker.DOCKER_DOWN},
                error="Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
                "Is the docker daemon running?",
            ),
        ),
        Ended(
            read="Dokku's processes are killed on the server during the build.",
            recording=f"{NEWEST}n1_dokku_killed_mid_build",
            step="deploy",
            evidence=ended(-1, ABANDONED, (OLD,), BUILT),
        ),
        Ended(
            read="A predeploy task fails: nothing of the new release was started.",
            model="predeploy_fails",
            evidence=ended(1, FAILED, (OLD,), PREDEPLOY_FAILED, error=PREDEPLOY),
        ),
        Ended(
            read="The same, and the old release is itself restarting.",
            model="old_release_restarting",
            evidence=ended(1, FAILED, (OLD_RESTARTING,), PREDEPLOY_FAILED, error=PREDEPLOY),
        ),
        Ended(
            read="The build fails; meanwhile somebody restarted the old release (other "
            "containers, the old image).",
            model="restarted_from_elsewhere",
            evidence=ended(1, ABANDONED, (OLD_AGAIN,), BUILD_FAILED, error=EXIT_3),
        ),
        Ended(
            read="The same, and Dokku's records tell of a `config:set` begun since the start.",
            model="restarted_by_config_set",
            evidence=ended(
                1,
                ABANDONED,
                (OLD_AGAIN,),
                BUILD_FAILED,
                error=EXIT_3,
                others=(CONFIG_SET,),
            ),
        ),
        Ended(
            read="The image names no command, and the app has no Procfile.",
            alone="the sentence was noted on a real Dokku, what it prints around it was not",
            evidence=ended(
                1,
                FAILED,
                (OLD,),
                BUILT | {LogMarker.RELEASING, LogMarker.NO_COMMAND},
                error="Error response from daemon: No command specified",
            ),
        ),
        Ended(
            read="A postdeploy task fails: the new containers serve already.",
            model="postdeploy_fails",
            evidence=ended(
                1,
                FAILED,
                (NEW,),
                RELEASED | {LogMarker.RELEASE_FAILED},
                error="Execution of postdeploy task failed: /app/migrate",
            ),
        ),
        Ended(
            read="The worker fails after web was replaced.",
            model="worker_fails",
            evidence=ended(
                1,
                FAILED,
                (NEW, OLD_WORKER),
                RELEASED | {LogMarker.RELEASE_FAILED},
                error="parallel: This job failed:",
                before=BEFORE_BOTH,
            ),
        ),
        Ended(
            read="The line was lost; the record says failed with exit status 1.",
            model="lost_after_checks_failed",
            evidence=ended(None, FAILED, (OLD,), CHECKS_FAILED, error=HTTP_500),
        ),
        Ended(
            read="The line was lost; the record never ended, but Dokku's text ends with the "
            "failed build.",
            model="lost_after_build_failed",
            evidence=ended(None, ABANDONED, (OLD,), BUILD_FAILED, error=EXIT_3),
        ),
    ),
)
